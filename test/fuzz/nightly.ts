/** Nightly: `npm run fuzz -- [minutes] [parser...]` runs every parser for so long (10), keeps what it finds, and exits with 1 if that is anything. */
import { fuzz, keep } from "./fuzz.ts";
import { PARSERS } from "./parsers.ts";

const [minutes = "10", ...names] = process.argv.slice(2);
for (const parser of PARSERS.filter(({ name }) => names.length === 0 || names.includes(name))) {
  try {
    const ran = fuzz(parser, { ms: Number(minutes) * 60_000 });
    process.stdout.write(`${parser.name}: ${ran} inputs, nothing found\n`);
  } catch (found) {
    process.exitCode = 1;
    const [, hex = ""] = /: ([0-9a-f]*) \(seed/.exec(String(found)) ?? [];
    keep(parser.name, hex);
    process.stdout.write(`${String(found)}\n${String((found as Error).cause)}\n`);
  }
}
