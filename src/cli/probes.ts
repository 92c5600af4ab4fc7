/** Probes: how doctor looks at the machine. Nothing here changes anything, and nothing leaves it. */
import { execFile } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync, statfsSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { addon } from "../addon.ts";
import { detectVersion } from "../agent/versions.ts";
import type { Config } from "../config.ts";

/** `auth status` reads two files; on a Raspberry Pi 2 the JavaScript version takes 12 s to start. */
const CLAUDE_DEADLINE_MS = 30_000;
const ANSWER_DEADLINE_MS = 3000;
/** Bits of CapEff (capabilities(7)): KILL 5, SETGID 6, SETUID 7. */
const SWITCH_CAPABILITIES = 0b1110_0000n;

export interface Folder {
  /** Permission bits; undefined when it is not there. */
  readonly mode: number | undefined;
  /** This user may write into it, or make it. */
  readonly writable: boolean;
}

export interface Probes {
  /** Node's version, "20.19.0". */
  readonly node: string;
  /** Rejects when the native addon does not load. */
  readonly load: (name: string) => Promise<unknown>;
  readonly claudeVersion: (command: readonly string[], env: Config["env"]) => Promise<string>;
  /** What Claude says of its own login, with the sessions' configuration folder. */
  readonly login: (config: Config, folder: string) => Promise<{ readonly loggedIn: boolean; readonly method: string }>;
  readonly folder: (path: string) => Folder;
  /** undefined: free. Else the system's error code. */
  readonly listen: (host: string, port: number) => Promise<string | undefined>;
  /** Whether a box answers at this URL. */
  readonly answers: (url: string) => Promise<boolean>;
  readonly maySwitchUser: boolean;
  readonly freeBytes: (path: string) => number;
}

export const probes: Probes = {
  node: process.versions.node,
  load: async (name) => addon(name)(),
  claudeVersion: (command, env) => detectVersion(command, plainEnv(env)),
  login,
  folder,
  listen,
  answers,
  get maySwitchUser() {
    const [, bits = "0"] = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
    return (BigInt(`0x${bits}`) & SWITCH_CAPABILITIES) === SWITCH_CAPABILITIES;
  },
  freeBytes: (path) => {
    const { bavail, bsize } = statfsSync(nearest(path));
    return bavail * bsize;
  },
};

/** Enough to run a program; no credential is handed to it. */
function plainEnv({ PATH = "", HOME = "/" }: Config["env"]): Record<string, string> {
  return { PATH, HOME, DISABLE_AUTOUPDATER: "1", CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1" };
}

async function login(
  { claude: [command = "claude", ...first], env, home, sessionUser }: Config,
  folder: string,
): Promise<{ loggedIn: boolean; method: string }> {
  // Asking would make the folder, and make it ours.
  if (!existsSync(folder)) return { loggedIn: false, method: "none" };
  const run = promisify(execFile)(command, [...first, "auth", "status", "--json"], {
    env: { ...plainEnv(env), HOME: home, CLAUDE_CONFIG_DIR: folder },
    timeout: CLAUDE_DEADLINE_MS,
    ...(sessionUser !== undefined && probes.maySwitchUser && sessionUser),
  });
  // It exits with 1 when nobody is logged in, and says so all the same.
  const { stdout } = await run.catch((failure: { stdout?: string }) => {
    if (failure.stdout) return { stdout: failure.stdout };
    throw failure;
  });
  const { loggedIn, authMethod } = JSON.parse(stdout) as { loggedIn?: unknown; authMethod?: unknown };
  return { loggedIn: loggedIn === true, method: String(authMethod) };
}

function folder(path: string): Folder {
  const mode = statSync(path, { throwIfNoEntry: false })?.mode;
  try {
    accessSync(nearest(path), constants.W_OK | constants.X_OK);
    return { mode, writable: true };
  } catch {
    return { mode, writable: false };
  }
}

/** The path itself, or the closest folder above it that exists. */
function nearest(path: string): string {
  return existsSync(path) || path === dirname(path) ? path : nearest(dirname(path));
}

function listen(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (failure: NodeJS.ErrnoException) => resolve(failure.code ?? failure.message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/api/health`, {
      redirect: "error",
      signal: AbortSignal.timeout(ANSWER_DEADLINE_MS),
    });
    return ((await response.json()) as { status?: unknown }).status === "ok";
  } catch {
    return false;
  }
}
