// Setup: makes a fresh clone ready for `npm start` and `npm test`. Plain JavaScript, nothing but Node's own modules.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const BUNDLE = join(ROOT, "dist/cib.mjs");
/** What the bundle is made of: one of these younger than it, and it is built again. */
const SOURCES = ["src", "docs/openapi.json", "package.json", "package-lock.json", ".ci/build.mjs"];
const OLDEST_NODE = [20, 19];

checkNode();
// Not npm ci: the lock leaves out optional packages of other platforms, which npm ci takes for a mistake. Versions are the lock's all the same.
if (!installed())
  step("installing the packages of package-lock.json (about a minute, once)", () =>
    npm(["install", "--no-save", "--no-audit", "--no-fund"]),
  );
if (process.argv[2] !== "install" && !built())
  step("building dist/cib.mjs", () => run(process.execPath, [join(ROOT, ".ci/build.mjs")]));

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) return;
  say(`Node ${OLDEST_NODE.join(".")} or newer is needed, this is ${process.versions.node}`);
  process.exit(1);
}

/** Whether node_modules is what package-lock.json describes. By content: a checkout gives files any date. */
function installed() {
  const wanted = packagesOf(join(ROOT, "package-lock.json"));
  const present = packagesOf(join(ROOT, "node_modules/.package-lock.json"));
  if (wanted === undefined || present === undefined) return false;
  for (const [path, { version, optional, devOptional, peer }] of Object.entries(wanted)) {
    // Optional packages of other platforms are never there.
    if (path === "" || optional || devOptional || peer) continue;
    if (present[path]?.version !== version) return false;
  }
  return Object.entries(present).every(
    ([path, { version, optional }]) => (wanted[path]?.version ?? (optional && version)) === version,
  );
}

function packagesOf(file) {
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).packages : undefined;
}

function built() {
  if (!existsSync(BUNDLE)) return false;
  const age = statSync(BUNDLE).mtimeMs;
  return SOURCES.every((source) => youngest(join(ROOT, source)) <= age);
}

function youngest(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  // The folder's own date counts: it tells of removed and renamed files.
  return Math.max(stat.mtimeMs, ...readdirSync(path).map((name) => youngest(join(path, name))));
}

function step(what, act) {
  const started = performance.now();
  say(`${what} …`);
  act();
  say(`done in ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

/** npm as it was called, so that nothing else needs to be on PATH. */
function npm(args) {
  const cli = process.env.npm_execpath;
  if (cli?.endsWith("js")) run(process.execPath, [cli, ...args]);
  else run("npm", args);
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: ["ignore", 2, 2] });
  if (status === 0) return;
  say(`${command} failed: ${error?.message ?? `exit code ${status}`}`);
  process.exit(1);
}

function say(line) {
  process.stderr.write(`setup: ${line}\n`);
}
