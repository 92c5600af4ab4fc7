/** The versions of Claude Code that the tests run: the pinned one from the checkout, others installed on demand. */
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const require = createRequire(import.meta.url);
/** 60 MB over a slow line. */
const INSTALL_DEADLINE_MS = 300_000;

const arch = process.arch === "arm64" ? "arm64" : "x64";
const NATIVE = `@anthropic-ai/claude-code-linux-${arch}`;
const JAVASCRIPT = "@anthropic-ai/claude-code";

/** Pinned in package.json. */
export const PINNED = "2.1.197";
/** The last build that is JavaScript. */
export const JS_VERSION = "2.1.112";
/** The newest that was tested. */
export const NEWEST = "2.1.330";
export const ALL_VERSIONS: readonly string[] = [PINNED, JS_VERSION, NEWEST];

/** What runs this version. Installs it under .cache/claude/<version> where it is not there yet; rejects when that fails. */
export async function claudeCommand(version: string): Promise<string[]> {
  if (version === PINNED) return [require.resolve(`${NATIVE}/claude`)];
  const folder = join(root, ".cache", "claude", version);
  const name = version === JS_VERSION ? JAVASCRIPT : NATIVE;
  const file = join(folder, "node_modules", name, version === JS_VERSION ? "cli.js" : "claude");
  if (!existsSync(file)) await install(folder, file, `${name}@${version}`);
  return version === JS_VERSION ? [process.execPath, file] : [file];
}

/** Why this version cannot be run here, or undefined. Where CIB_REQUIRE_ALL=1 nothing may be left out, and the reason is thrown. */
export async function offlineReason(version: string): Promise<string | undefined> {
  try {
    await claudeCommand(version);
    return undefined;
  } catch (fault) {
    if (process.env["CIB_REQUIRE_ALL"] === "1") throw fault;
    return `Claude Code ${version} is not installed and could not be: ${fault instanceof Error ? fault.message.split("\n")[0] : String(fault)}`;
  }
}

/** Into a folder beside it and then renamed: an interrupted installation is none. Of two that install at once the first wins. */
async function install(folder: string, file: string, what: string): Promise<void> {
  const fresh = `${folder}.${process.pid}.new`;
  await mkdir(fresh, { recursive: true });
  await writeFile(join(fresh, "package.json"), '{"private":true}\n');
  const npm = join(dirname(process.execPath), "npm");
  // Without a network the tests of this version are left out at once, not after npm's usual 70 s of patience.
  const patience = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=1000"];
  const args = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", ...patience, what];
  try {
    await promisify(execFile)(existsSync(npm) ? npm : "npm", args, { cwd: fresh, timeout: INSTALL_DEADLINE_MS });
    if (existsSync(file)) return;
    await rm(folder, { recursive: true, force: true });
    await rename(fresh, folder);
  } catch (fault) {
    if (existsSync(file)) return;
    throw new Error(reasonOf(fault), { cause: fault });
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

/** npm says what went wrong on its error output; the message of execFile only repeats the command. */
function reasonOf(fault: unknown): string {
  const said = (fault as { stderr?: unknown }).stderr;
  const errors =
    typeof said === "string" ? [...said.matchAll(/^npm (?:error|ERR!) (?!code |errno |syscall )(.+)$/gm)] : [];
  return errors[0]?.[1] ?? String(fault);
}

/** The version that package.json pins must be the one the tests speak of. */
export function pinnedInPackage(): string | undefined {
  const parsed = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    optionalDependencies?: Record<string, string>;
  };
  return parsed.optionalDependencies?.[NATIVE];
}
