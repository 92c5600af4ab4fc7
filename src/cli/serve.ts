/** cib serve: reads the configuration, starts the daemon, and stops it gracefully when told to. */
import { existsSync, readFileSync, unlinkSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { AddonError } from "../addon.ts";
import { addressText, type Config, ConfigError, readConfig } from "../config.ts";
import { type Daemon, startDaemon, VERSION } from "../daemon.ts";
import { runDemo } from "../demo/demo.ts";
import { startModel } from "../demo/model.ts";
import { type Look, lookOf } from "../demo/present.ts";
import { demoScript } from "../demo/script.ts";
import { FileError, writeRename } from "../files.ts";
import { LockedError } from "../lock.ts";
import { CannotListen } from "../transport/listen.ts";
import { type Box, CLIENT_FILE, call } from "./box.ts";
import { EXIT, Failure, type Io, UsageError } from "./io.ts";
import { pinnedClaude } from "./pinned.ts";

/** No account stands behind it: only the demo's own model on loopback ever sees it. */
const DEMO_KEY = "sk-ant-demo-0000000000000000000000000000";

/**
 * V8 lets its young generation grow from 1 to 16 MiB after a burst and hardly ever shrinks it. Kept small, 500 clients that
 * follow a session cost 4.5 instead of 10.5 KB each, and the fan-out is as fast (npm run bench -- clients fan-out).
 */
const SMALL_YOUNG_GENERATION = "--semi-space-growth-factor=1";

/** In CIB_DATA, 0600: what --dev minted, so that the next run has the same. */
const TOKEN_FILE = "dev-token";

const OPTIONS = { dev: { type: "boolean" }, demo: { type: "boolean" } } as const;

/** `stop` ends the daemon. Returns the exit code when all is closed; throws UsageError and Failure. */
export async function serve(
  args: readonly string[],
  io: Io,
  stop: AbortSignal,
  start: (config: Config) => Promise<Daemon> = startDaemon,
): Promise<number> {
  setFlagsFromString(SMALL_YOUNG_GENERATION);
  const { values, positionals } = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  if (positionals[0] !== undefined)
    throw new UsageError(`serve: does not know what to do with "${positionals[0]}"; settings are CIB_* variables`);
  const demo = values.demo === true;
  await using model = demo ? await startModel(demoScript) : undefined;
  const config = read(model === undefined ? io.env : demoEnv(io, model.url), io.cwd, demo || values.dev === true);
  const daemon = await begin(config, start);
  const left = demo || values.dev ? join(config.data, CLIENT_FILE) : undefined;
  const box: Box = { url: daemon.url, token: config.token };
  try {
    if (left !== undefined) writeRename(left, `${JSON.stringify(box)}\n`);
    if (config.minted) writeRename(join(config.data, TOKEN_FILE), `${config.token}\n`);
    greet(daemon, config, io);
    if (demo) await show({ ...box, mqtt: daemon.mqttPort }, io, stop);
    await ended(stop);
    io.err("stopping …\n");
  } finally {
    await daemon.stop();
    if (left !== undefined && existsSync(left)) unlinkSync(left);
  }
  io.err("stopped\n");
  return EXIT.ok;
}

/** The demo has its own folders: its sessions must never meet the real model. */
function demoEnv({ env, cwd }: Io, baseUrl: string): Io["env"] {
  const at = (name: string) => resolve(cwd, ".cib/demo", name);
  return {
    CIB_DATA: at("data"),
    CIB_WORKSPACE: at("workspace"),
    CIB_HOME: at("home"),
    ...env,
    ANTHROPIC_BASE_URL: baseUrl,
    ANTHROPIC_API_KEY: DEMO_KEY,
    CLAUDE_CODE_OAUTH_TOKEN: undefined,
  };
}

function read(env: Io["env"], cwd: string, dev: boolean): Config {
  const claude = pinnedClaude();
  try {
    if (!dev) return readConfig(env);
    const overrides = { dev: cwd, ...(claude && { claude: [claude] }) };
    const config = readConfig(env, overrides);
    const devToken = config.minted ? keptToken(config.data) : undefined;
    return devToken === undefined ? config : readConfig(env, { ...overrides, devToken });
  } catch (failure) {
    if (failure instanceof ConfigError) throw new Failure(failure.message);
    throw failure;
  }
}

function keptToken(data: string): string | undefined {
  const file = join(data, TOKEN_FILE);
  const token = existsSync(file) ? readFileSync(file, "utf8").trim() : "";
  return /^[\w-]{43}$/.test(token) ? token : undefined;
}

async function begin(config: Config, start: (config: Config) => Promise<Daemon>): Promise<Daemon> {
  try {
    return await start(config);
  } catch (failure) {
    const { code } = failure as NodeJS.ErrnoException;
    const { host, port } = config.listen;
    if ([ConfigError, FileError, LockedError, AddonError, CannotListen].some((kind) => failure instanceof kind))
      throw new Failure((failure as Error).message);
    if (code === "ENOSPC" || code === "EDQUOT")
      throw new Failure(`CIB_DATA is full: free some space on the disk of ${config.data}, then start again`);
    if (code === "EADDRINUSE")
      throw new Failure(
        `CIB_LISTEN: port ${port} on ${host} is taken; choose another one, as in CIB_LISTEN=${host}:${port + 1}`,
      );
    // Whatever the system refused (EACCES, ENOENT, EEXIST, ENOTDIR, ENOSPC, EROFS …) is the person's to mend.
    if (/^E[A-Z0-9]+$/.test(code ?? ""))
      throw new Failure(`cannot start: ${(failure as Error).message}; cib doctor tells more`);
    throw failure;
  }
}

function greet(daemon: Daemon, config: Config, io: Io): void {
  io.err(`claude-in-box ${VERSION} listens on ${daemon.url}\n`);
  for (const [what, listen, port] of [
    ["raw TCP", config.tcpListen, daemon.tcpPort],
    ["MQTT", config.mqttListen, daemon.mqttPort],
    ["MQTT over TLS", config.mqttsListen, daemon.mqttsPort],
  ] as const)
    if (listen !== undefined && port !== undefined) io.err(`${what} on ${addressText({ ...listen, port })}\n`);
  // On standard output and alone, for whoever starts it from a script; a token that was given is never shown.
  if (config.minted) io.out(`token ${config.token}\n`);
  if (daemon.isolation === "none") {
    io.err(
      "note: sessions run as this user (isolation: none): approvals and scopes are no barrier against what runs inside them\n",
    );
  }
  for (const note of daemon.notes) io.err(`note: ${note}\n`);
  for (const name of config.unknown)
    io.err(`note: ${name} is not a setting of this box (docs/HTTP-API.md lists them)\n`);
  const [claude = ""] = config.claude;
  if (!findable(claude, config.env["PATH"]))
    io.err(`note: Claude Code is not found (${claude}): no session can start; install it, or set CIB_CLAUDE\n`);
  const folder = join(config.home, ".claude");
  const paid = config.apiKey !== undefined || config.oauthToken !== undefined;
  if (!paid && !existsSync(join(folder, ".credentials.json"))) {
    io.err(`note: Claude Code has no login here: set ANTHROPIC_API_KEY, or run cib login\n`);
  }
}

function findable(command: string, path = ""): boolean {
  if (command.includes("/")) return existsSync(command);
  return path.split(delimiter).some((folder) => folder !== "" && existsSync(join(folder, command)));
}

async function show(box: Box & { readonly mqtt: number | undefined }, io: Io, stop: AbortSignal): Promise<void> {
  const look: Look = lookOf(process.stdout, io.env);
  try {
    await runDemo({ ...box, call: (method, path, body) => call(box, method, path, body) }, io.out, look, stop);
  } catch (failure) {
    if (!stop.aborted)
      throw failure instanceof Failure ? failure : new Failure(`the demo failed: ${(failure as Error).message}`);
  }
}

function ended(stop: AbortSignal): Promise<void> {
  if (stop.aborted) return Promise.resolve();
  return new Promise((resolve) => stop.addEventListener("abort", () => resolve(), { once: true }));
}
