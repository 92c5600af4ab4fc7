/** cib doctor: looks at everything the daemon will need and says what to do about what is not in order. */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { rowFor } from "../agent/versions.ts";
import { addressText, type Config, ConfigError, type Listen, readConfig } from "../config.ts";
import { visible } from "../demo/present.ts";
import { EXIT, type Io, UsageError } from "./io.ts";
import { pinnedClaude } from "./pinned.ts";
import { type Folder, type Probes, probes } from "./probes.ts";

/** One thing looked at. `fail` must be mended before sessions run; `warn` is good to know. */
export interface Row {
  readonly what: string;
  readonly state: "ok" | "warn" | "fail";
  readonly found: string;
  /** What to do. */
  readonly todo?: string;
}

const OLDEST_NODE = [20, 19] as const;
const MIB = 1024 * 1024;
/** Below this the next long turn may not fit: CIB_LOG_MAX_BYTES (64 MiB) a session. */
const TIGHT_BYTES = 512 * MIB;
/** Below this not even one session's log fits. */
const FULL_BYTES = 64 * MIB;

const OPTIONS = { json: { type: "boolean" }, dev: { type: "boolean" } } as const;

/** `args` are those after `cib doctor`. 1 when something must be mended. */
export async function doctor(
  args: readonly string[],
  io: Io,
  _stop?: AbortSignal,
  with_: Probes = probes,
): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  if (positionals[0] !== undefined) throw new UsageError(`doctor: does not know what to do with "${positionals[0]}"`);
  const rows = await examine(io, values.dev === true, with_);
  const good = rows.every(({ state }) => state !== "fail");
  if (values.json) io.out(`${JSON.stringify({ ok: good, rows })}\n`);
  else for (const row of rows) io.out(shown(row));
  if (!values.json) io.err(good ? "all that must be in order is\n" : "mend what failed, then run cib doctor again\n");
  return good ? EXIT.ok : EXIT.failed;
}

async function examine(io: Io, dev: boolean, p: Probes): Promise<Row[]> {
  const rows = [node(p), await addon("uWebSockets.js", p), await addon("node-pty", p)];
  const { config, row } = configuration(io, dev);
  rows.push(row);
  if (config === undefined) return rows;
  const claude = await claudeCode(config, p);
  rows.push(claude);
  if (claude.state !== "fail") rows.push(await login(config, p));
  rows.push(
    dataFolder(config, p),
    folder("workspace", "CIB_WORKSPACE", config.workspace, p),
    folder("home", "CIB_HOME", config.home, p),
  );
  rows.push(...(await ports(config, p)), isolation(config, p), disk(config, p));
  return rows;
}

function node(p: Probes): Row {
  const [major = 0, minor = 0] = p.node.split(".").map(Number);
  const [oldest, point] = OLDEST_NODE;
  const good = major > oldest || (major === oldest && minor >= point);
  return good ? ok("node", p.node) : fail("node", p.node, `install Node ${oldest}.${point} or newer`);
}

async function addon(name: string, p: Probes): Promise<Row> {
  try {
    await p.load(name);
    return ok(name, "loads");
  } catch (thrown) {
    const [found = "", ...todo] = firstLine(thrown).split("; ");
    return fail(name, found, todo.join("; "));
  }
}

/** Where only the token is missing, the rest can still be looked at. */
function configuration({ env, cwd }: Io, dev: boolean): { config: Config | undefined; row: Row } {
  const claude = pinnedClaude();
  const overrides = dev ? { dev: cwd, ...(claude && { claude: [claude] }) } : {};
  try {
    return {
      config: readConfig(env, overrides),
      row: ok("configuration", dev ? "as cib serve --dev" : "as cib serve"),
    };
  } catch (failure) {
    if (!(failure instanceof ConfigError)) throw failure;
    const [found = "", todo = ""] = failure.message.split("; ");
    const row = fail("configuration", found, todo || "correct this variable (docs/HTTP-API.md)");
    try {
      return { config: readConfig({ ...env, CIB_AUTH_TOKEN: "-".repeat(64) }, overrides), row };
    } catch {
      return { config: undefined, row };
    }
  }
}

async function claudeCode({ claude, env }: Config, p: Probes): Promise<Row> {
  try {
    const version = await p.claudeVersion(claude, env);
    const { note } = rowFor(version);
    return note === undefined
      ? ok("claude", version)
      : {
          what: "claude",
          state: "warn",
          found: note,
          todo: "nothing, if sessions work; else install a version that was tested",
        };
  } catch (thrown) {
    return fail(
      "claude",
      firstLine(thrown),
      "install Claude Code so that it is on PATH, or set CIB_CLAUDE to its command",
    );
  }
}

async function login(config: Config, p: Probes): Promise<Row> {
  if (config.apiKey !== undefined) return ok("login", "ANTHROPIC_API_KEY is set");
  if (config.oauthToken !== undefined) return ok("login", "CLAUDE_CODE_OAUTH_TOKEN is set");
  const folder = join(config.home, ".claude");
  const todo = `set ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN, or run cib login while the daemon runs`;
  try {
    const { loggedIn, method } = await p.login(config, folder);
    // Claude looks at its own files only: whether the account still accepts them shows at the first turn.
    return loggedIn ? ok("login", method) : { what: "login", state: "warn", found: "not logged in", todo };
  } catch (thrown) {
    return { what: "login", state: "warn", found: `unknown: ${firstLine(thrown)}`, todo };
  }
}

function dataFolder({ data }: Config, p: Probes): Row {
  const row = folder("data", "CIB_DATA", data, p);
  const { mode } = p.folder(data);
  if (row.state !== "ok" || mode === undefined || (mode & 0o077) === 0) return row;
  return fail("data", `${data} is open to others (${(mode & 0o777).toString(8)})`, `chmod 700 ${data}`);
}

function folder(what: string, variable: string, path: string, p: Probes): Row {
  const { mode, writable }: Folder = p.folder(path);
  if (!writable)
    return fail(
      what,
      `${path} cannot be ${mode === undefined ? "made" : "written"} by this user`,
      `give it to the user that runs the daemon, or set ${variable} to another folder`,
    );
  return ok(what, mode === undefined ? `${path} will be made` : path);
}

async function ports(config: Config, p: Probes): Promise<Row[]> {
  const { listen, tcpListen, mqttListen, mqttsListen, tls } = config;
  const { host, port } = listen;
  const here = addressText({ host: host === "0.0.0.0" ? "127.0.0.1" : host, port });
  let runs = false;
  const rows = [
    await address("port", "CIB_LISTEN", listen, p, async (at) => {
      runs = await p.answers(`${tls ? "https" : "http"}://${here}`);
      return runs ? `a box runs at ${at}` : undefined;
    }),
  ];
  const further = [
    ["raw TCP", "CIB_TCP_LISTEN", tcpListen],
    ["MQTT", "CIB_MQTT_LISTEN", mqttListen],
    ["MQTT over TLS", "CIB_MQTTS_LISTEN", mqttsListen],
  ] as const;
  for (const [what, variable, listen] of further) {
    if (listen === undefined) continue;
    const row = await address(what, variable, listen, p, async (at) =>
      runs ? `${at} is taken, as it is while a box runs` : undefined,
    );
    // Nobody asked for it: the daemon does without, and says so.
    rows.push(listen.optional && row.state === "fail" ? { ...row, state: "warn" } : row);
  }
  return rows;
}

/** `ours`: what there is to say where it is taken, by the box itself. */
async function address(
  what: string,
  variable: string,
  listen: Listen,
  p: Probes,
  ours: (at: string) => Promise<string | undefined>,
): Promise<Row> {
  const at = addressText(listen);
  const off = variable === "CIB_LISTEN" ? "" : ', or to "off"';
  const problem = await p.listen(listen.host, listen.port);
  if (problem === undefined) return ok(what, `${at} is free`);
  if (problem === "EADDRINUSE") {
    const found = await ours(at);
    if (found !== undefined) return ok(what, found);
    return fail(what, `${at} is taken by something else`, `stop that, or set ${variable} to another port${off}`);
  }
  if (problem === "EACCES")
    return fail(what, `${at} is not for this user`, `choose a port of 1024 or more in ${variable}`);
  return fail(what, `${at}: ${problem}`, `set ${variable} to an address of this machine${off}`);
}

function isolation({ sessionUser }: Config, p: Probes): Row {
  if (sessionUser === undefined) {
    return {
      what: "isolation",
      state: "warn",
      found: "none: sessions run as the daemon's own user",
      todo: "set CIB_SESSION_UID to a user of their own, with CAP_SETUID, CAP_SETGID and CAP_KILL",
    };
  }
  if (p.maySwitchUser) return ok("isolation", `sessions run as uid ${sessionUser.uid}`);
  return fail(
    "isolation",
    `this user cannot start processes as uid ${sessionUser.uid}`,
    "give the daemon CAP_SETUID, CAP_SETGID and CAP_KILL, or unset CIB_SESSION_UID",
  );
}

function disk({ data }: Config, p: Probes): Row {
  const free = p.freeBytes(data);
  const found = `${Math.floor(free / MIB)} MiB free under ${data}`;
  if (free < FULL_BYTES) return fail("disk", found, "free some space");
  return free < TIGHT_BYTES
    ? { what: "disk", state: "warn", found, todo: "free some space soon, or lower CIB_LOG_MAX_BYTES" }
    : ok("disk", found);
}

function shown({ what, state, found, todo }: Row): string {
  const line = `${state.padEnd(5)} ${what.padEnd(14)} ${visible(found)}\n`;
  return todo === undefined ? line : `${line}${" ".repeat(21)}${visible(todo)}\n`;
}

const ok = (what: string, found: string): Row => ({ what, state: "ok", found });
const fail = (what: string, found: string, todo: string): Row => ({ what, state: "fail", found, todo });

function firstLine(thrown: unknown): string {
  return (thrown instanceof Error ? thrown.message : String(thrown)).split("\n")[0] ?? "";
}
