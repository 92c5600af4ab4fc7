// Test: check, then every test with coverage. With arguments: only these files or folders, without the rest.
import { spawn, spawnSync } from "node:child_process";
import { readdirSync, rmSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const COVERAGE = join(ROOT, "coverage/tmp");
/** Longest any one test may take: the fault test kills the daemon 100 times at about 3 s each, with room to spare. */
const TEST_TIMEOUT_MS = 15 * 60_000;
/** The lines that close a run of node:test. */
const CLOSING = /^(?:ℹ|#) (?:tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) /u;

const chosen = process.argv.slice(2);
const whole = chosen.length === 0;
const files = (whole ? ["test"] : chosen).flatMap(testsIn).sort(slowFirst);
if (files.length === 0) fail(`no test in ${chosen.join(" ")}`);

const checked = !whole || node([".ci/check.mjs"]) === 0;
const closing = [];
const tested = await runTests();
const covered = !whole || coverage() === 0;

// Last, whatever the coverage table printed: how many tests there were, and whether all is well.
if (whole) process.stdout.write(`\n${closing.join("\n")}\n`);
for (const [good, what] of [
  [checked, "the checks"],
  [tested, "the tests"],
  [covered, "the coverage thresholds"],
]) {
  if (!good) process.stderr.write(`npm test: ${what} failed, see above\n`);
}
process.exit(checked && tested && covered ? 0 : 1);

/** Node 20 expands no patterns after --test, and sh no double stars. */
function testsIn(path) {
  const full = join(ROOT, path);
  if (!statSync(full, { throwIfNoEntry: false })?.isDirectory()) return [path];
  return readdirSync(full, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".test.ts"))
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1));
}

/** The long ones begin first, so that the last minute is not one test alone. */
function slowFirst(a, b) {
  const slow = (file) => (/(^|\/)(e2e|fault)/.test(file) ? 0 : 1);
  return slow(a) - slow(b) || (a < b ? -1 : 1);
}

function runTests() {
  rmSync(COVERAGE, { recursive: true, force: true });
  const args = [
    "--import",
    "tsx",
    "--test",
    "--test-reporter=spec",
    `--test-concurrency=${Math.max(2, availableParallelism())}`,
    `--test-timeout=${TEST_TIMEOUT_MS}`,
    ...files,
  ];
  const env = whole ? { ...process.env, NODE_V8_COVERAGE: COVERAGE } : process.env;
  const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: ["ignore", "pipe", "inherit"] });
  let rest = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    process.stdout.write(text);
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    closing.push(...lines.filter((line) => CLOSING.test(line)));
  });
  return new Promise((resolve) => child.once("close", (code) => resolve(code === 0)));
}

/** Thresholds and what counts are in .c8rc.json. */
function coverage() {
  return node(["node_modules/c8/bin/c8.js", "report", "--temp-directory", COVERAGE]);
}

function node(args) {
  return spawnSync(process.execPath, args, { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"] }).status;
}

function fail(why) {
  process.stderr.write(`npm test: ${why}\n`);
  process.exit(1);
}
