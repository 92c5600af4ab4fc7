/** Nightly: `npm run fuzz -- [minutes] [parser...]` runs every parser for so long (10), keeps what it finds and what reached new code, and exits with 1 on a find. */
import { keep, kept, renew } from "./corpus.ts";
import { Coverage } from "./coverage.ts";
import { guided } from "./guided.ts";

const coverage = new Coverage();
const { PARSERS } = await import("./parsers.ts");
const [minutes = "10", ...names] = process.argv.slice(2);
for (const parser of PARSERS.filter(({ name }) => names.length === 0 || names.includes(name))) {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const limit = { ms: Number(minutes) * 60_000, seed };
  const { ran, corpus, functions, missed, found } = await guided(parser, kept(parser.name), limit, coverage);
  const what = `${parser.name}: ${ran} inputs, seed ${seed}, ${functions} functions reached and ${missed} blocks of them not`;
  if (found === undefined) {
    renew(parser.name, corpus);
    process.stdout.write(`${what}, ${corpus.length} inputs kept, nothing found\n`);
  } else {
    process.exitCode = 1;
    keep(parser.name, found.input);
    process.stdout.write(`${what}\nfound ${Buffer.from(found.input).toString("hex")}\n`);
    process.stdout.write(`${found.thrown instanceof Error ? found.thrown.stack : String(found.thrown)}\n`);
  }
}
process.exit();
