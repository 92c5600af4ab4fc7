// Check: everything that can be said about the code without running it. All steps run, so that one look shows all there is.
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const bin = (name) => join(ROOT, "node_modules/.bin", name);

const STEPS = [
  ["types", bin("tsc"), ["-p", "."]],
  ["lint and format", bin("biome"), ["ci", "--error-on-warnings", "--colors=off", "."]],
  ["promises", bin("oxlint"), ["--type-aware", "--deny-warnings", "src", "test", "bench", "docs"]],
  ["dead code", bin("knip"), []],
  ["generated files", process.execPath, ["--import", "tsx", "docs/generate.ts", "--check"]],
];

let failed = 0;
for (const [name, command, args] of STEPS) {
  const started = performance.now();
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: ROOT,
    encoding: "utf8",
    maxBuffer: 2 ** 26,
  });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const good = status === 0;
  process.stderr.write(`check: ${good ? "ok    " : "FAILED"} ${name} (${seconds} s)\n`);
  if (good) continue;
  failed++;
  process.stderr.write(`${error?.message ?? ""}${stdout}${stderr}\n`);
}
process.exit(failed === 0 ? 0 : 1);
