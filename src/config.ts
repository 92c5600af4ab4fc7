/** Config: CIB_* variables, checked once at the start and frozen. No token, no start. */
import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { resolve } from "node:path";
import * as v from "valibot";
import { MAX_ASK_TIMEOUT_S, MIN_ASK_TIMEOUT_S } from "./session/answers.ts";
import { BRIDGE_FRAMES, type BridgeSettings, bridgeSettings, homePrefix } from "./transport/mqtt/bridge-address.ts";

/** A master token shorter than this could be guessed or is a word. */
export const MIN_TOKEN_CHARS = 32;

const MIB = 1024 * 1024;

/** Where to listen. */
export interface Listen {
  readonly host: string;
  readonly port: number;
  /** The default of `serve --dev`: where it is taken, the daemon does without, and says so. */
  readonly optional?: true;
}

export interface Config {
  readonly token: string;
  /** The token was made for this run: print it. */
  readonly minted: boolean;
  readonly previousToken: string | undefined;
  readonly listen: Listen;
  /** Raw TCP links; undefined: off. */
  readonly tcpListen: Listen | undefined;
  /** MQTT without TLS, and with; undefined: off. */
  readonly mqttListen: Listen | undefined;
  readonly mqttsListen: Listen | undefined;
  /** A foreign broker to join; undefined: none. */
  readonly bridge: BridgeSettings | undefined;
  /** Home Assistant's discovery prefix; undefined: no discovery. */
  readonly homeAssistant: string | undefined;
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  readonly plain: "loopback" | "private" | "any";
  /** Names by which the box may be reached, beyond loopback, its own addresses and *.local. */
  readonly hosts: readonly string[];
  readonly mode: "full" | "headless";
  readonly data: string;
  readonly workspace: string;
  /** HOME of the sessions; Claude's own folder is `.claude` in it. */
  readonly home: string;
  /** The engine of a session whose creator names none. */
  readonly engine: "pty" | "stream";
  /** Read text token by token on the way from the API. */
  readonly tap: boolean;
  readonly thinking: boolean;
  /** Seconds after which a question that nobody answered is denied. */
  readonly askTimeoutS: number;
  readonly fsync: "turn" | "always" | "off";
  readonly logMaxBytes: number;
  readonly ptyLogBytes: number;
  readonly restore: "resume" | "off" | "continue";
  readonly sessionUser: { readonly uid: number; readonly gid: number } | undefined;
  readonly model: string;
  readonly apiKey: string | undefined;
  readonly oauthToken: string | undefined;
  readonly baseUrl: string | undefined;
  /** CIB_* variables that are no settings: a slip of the pen, most likely. */
  readonly unknown: readonly string[];
  /** How to run Claude Code: a command and its first arguments. */
  readonly claude: readonly string[];
  /** The daemon's own environment: what a session may inherit is picked from it, never taken whole. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** What the person must mend before the daemon can start. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

export interface Overrides {
  /** `serve --dev`: mint a token when none is set, loopback only, everything under `.cib` in this folder. */
  readonly dev?: string;
  /** With `dev`: the token that an earlier run minted, so that clients and sealed secrets outlive a restart. */
  readonly devToken?: string;
  /** Claude Code where it does not come from PATH. */
  readonly claude?: readonly string[];
}

const size = (fallback: number, least: number) =>
  v.optional(
    v.pipe(
      v.string(),
      v.regex(/^\d{1,15}$/, "expected a number of bytes"),
      v.transform(Number),
      v.minValue(least, `expected at least ${least}`),
    ),
    String(fallback),
  );
const choice = <const T extends readonly string[]>(options: T, fallback: T[number]) =>
  v.optional(v.picklist(options), fallback);
const text = v.optional(v.string());

const VARIABLES = v.object({
  CIB_AUTH_TOKEN: text,
  CIB_AUTH_TOKEN_FILE: text,
  CIB_AUTH_TOKEN_PREVIOUS: text,
  CIB_LISTEN: text,
  CIB_TCP_LISTEN: text,
  CIB_MQTT_LISTEN: text,
  CIB_MQTTS_LISTEN: text,
  CIB_MQTT_BRIDGE: text,
  CIB_MQTT_BRIDGE_CA: text,
  CIB_MQTT_BRIDGE_FRAMES: choice(BRIDGE_FRAMES, "both"),
  CIB_MQTT_BRIDGE_NAME: text,
  CIB_MQTT_BRIDGE_TOKEN: text,
  CIB_HOME_ASSISTANT: v.optional(v.string(), "off"),
  CIB_TLS_CERT: text,
  CIB_TLS_KEY: text,
  CIB_PLAIN: choice(["loopback", "private", "any"], "private"),
  CIB_HOSTS: text,
  CIB_MODE: choice(["full", "headless"], "full"),
  CIB_DATA: text,
  CIB_WORKSPACE: text,
  CIB_HOME: text,
  CIB_ENGINE: choice(["pty", "stream"], "pty"),
  CIB_TAP: choice(["off", "on"], "off"),
  CIB_ASK_TIMEOUT_S: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^\d{1,7}$/, "expected a number of seconds"),
      v.transform(Number),
      v.minValue(MIN_ASK_TIMEOUT_S, `expected at least ${MIN_ASK_TIMEOUT_S}`),
      v.maxValue(MAX_ASK_TIMEOUT_S, `expected at most ${MAX_ASK_TIMEOUT_S}`),
    ),
    "86400",
  ),
  CIB_THINKING: choice(["on", "off"], "on"),
  CIB_FSYNC: choice(["turn", "always", "off"], "turn"),
  CIB_LOG_MAX_BYTES: size(64 * MIB, MIB),
  CIB_PTY_LOG_BYTES: size(MIB, 4096),
  CIB_RESTORE: choice(["resume", "off", "continue"], "resume"),
  CIB_SESSION_UID: v.optional(
    v.pipe(v.string(), v.regex(/^\d{1,9}(:\d{1,9})?$/, "expected uid or uid:gid, in numbers")),
  ),
  CIB_MODEL: v.optional(v.string(), "sonnet"),
  CIB_CLAUDE: text,
  ANTHROPIC_API_KEY: text,
  CLAUDE_CODE_OAUTH_TOKEN: text,
  ANTHROPIC_BASE_URL: text,
});

/** Read by the other commands, by the tests, and by the sessions' own marks. */
const OTHERS = ["CIB_URL", "CIB_TOKEN", "CIB_DEVICE_KEY", "CIB_BOX", "CIB_SESSION", "CIB_REQUIRE_ALL"];

/** Reads the environment. Throws ConfigError naming the variable and what to do. */
export function readConfig(env: Readonly<Record<string, string | undefined>>, overrides: Overrides = {}): Config {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ""));
  const result = v.safeParse(VARIABLES, given);
  if (!result.success) {
    const issue = result.issues[0];
    throw new ConfigError(`${v.getDotPath(issue)}: ${issue.message.replace(/^Invalid type: /, "").toLowerCase()}`);
  }
  const set = result.output;
  const known = new Set([...Object.keys(VARIABLES.entries), ...OTHERS]);
  const dev = overrides.dev;
  const { token, minted } = readToken(
    set.CIB_AUTH_TOKEN,
    set.CIB_AUTH_TOKEN_FILE,
    dev !== undefined,
    overrides.devToken,
  );
  const under = (production: string, local: string) => resolve(dev === undefined ? production : `${dev}/.cib/${local}`);
  const listen = readAddress(set.CIB_LISTEN ?? (dev === undefined ? "0.0.0.0:8080" : "127.0.0.1:8080"));
  const further = (name: "CIB_TCP_LISTEN" | "CIB_MQTT_LISTEN" | "CIB_MQTTS_LISTEN", port: number) =>
    readFurther(set[name], name, port, dev !== undefined);
  const tcpListen = further("CIB_TCP_LISTEN", 8081);
  const mqttListen = further("CIB_MQTT_LISTEN", 1883);
  const mqttsListen = further("CIB_MQTTS_LISTEN", 8883);
  if (minted && [listen, tcpListen, mqttListen, mqttsListen].some((each) => each && !isLoopback(each.host))) {
    throw new ConfigError(
      "CIB_AUTH_TOKEN: a minted token only serves loopback; set one to listen elsewhere (openssl rand -hex 32)",
    );
  }
  if ((set.CIB_TLS_CERT === undefined) !== (set.CIB_TLS_KEY === undefined)) {
    throw new ConfigError("CIB_TLS_CERT, CIB_TLS_KEY: set both or neither");
  }
  for (const path of [set.CIB_TLS_CERT, set.CIB_TLS_KEY]) {
    if (path !== undefined && !existsSync(path)) throw new ConfigError(`CIB_TLS_CERT, CIB_TLS_KEY: no file at ${path}`);
  }
  if (set.CIB_TLS_CERT && set.CIB_TLS_KEY) checkPair(set.CIB_TLS_CERT, set.CIB_TLS_KEY);
  const [uid, gid] = (set.CIB_SESSION_UID ?? "").split(":");
  return Object.freeze({
    token,
    minted,
    previousToken: set.CIB_AUTH_TOKEN_PREVIOUS,
    listen,
    tcpListen,
    mqttListen,
    mqttsListen,
    bridge: told(() => bridgeSettings(set)),
    homeAssistant: told(() => homePrefix(set.CIB_HOME_ASSISTANT)),
    tls: set.CIB_TLS_CERT && set.CIB_TLS_KEY ? { cert: set.CIB_TLS_CERT, key: set.CIB_TLS_KEY } : undefined,
    plain: set.CIB_PLAIN,
    hosts: (set.CIB_HOSTS ?? "").split(/[\s,]+/).filter((name) => name !== ""),
    mode: set.CIB_MODE,
    data: resolve(set.CIB_DATA ?? under("/var/lib/claude-in-box", "data")),
    workspace: resolve(set.CIB_WORKSPACE ?? under("/workspace", "workspace")),
    home: resolve(set.CIB_HOME ?? under(existsSync("/home/coder") ? "/home/coder" : homedir(), "home")),
    engine: set.CIB_ENGINE,
    tap: set.CIB_TAP === "on",
    askTimeoutS: set.CIB_ASK_TIMEOUT_S,
    thinking: set.CIB_THINKING === "on",
    fsync: set.CIB_FSYNC,
    logMaxBytes: set.CIB_LOG_MAX_BYTES,
    ptyLogBytes: set.CIB_PTY_LOG_BYTES,
    restore: set.CIB_RESTORE,
    sessionUser: uid ? { uid: Number(uid), gid: Number(gid ?? uid) } : undefined,
    model: set.CIB_MODEL,
    apiKey: set.ANTHROPIC_API_KEY,
    oauthToken: set.CLAUDE_CODE_OAUTH_TOKEN,
    baseUrl: set.ANTHROPIC_BASE_URL,
    unknown: Object.keys(given).filter((name) => name.startsWith("CIB_") && !known.has(name)),
    claude: set.CIB_CLAUDE ? set.CIB_CLAUDE.split(" ") : (overrides.claude ?? ["claude"]),
    env,
  });
}

function readToken(
  token: string | undefined,
  file: string | undefined,
  dev: boolean,
  kept: string | undefined,
): { token: string; minted: boolean } {
  let value = token;
  if (value === undefined && file !== undefined) {
    try {
      value = readFileSync(file, "utf8").trim();
    } catch (cause) {
      throw new ConfigError(`CIB_AUTH_TOKEN_FILE: cannot read ${file}`, { cause });
    }
  }
  // Hex: no command line takes it for an option.
  if (value === undefined && dev) return { token: kept ?? randomBytes(32).toString("hex"), minted: true };
  if (value === undefined) {
    throw new ConfigError(
      "CIB_AUTH_TOKEN: not set; set it to a secret of at least 32 characters (openssl rand -hex 32), or use serve --dev",
    );
  }
  // The subprotocol that carries it on WebSocket admits these characters only (RFC 9110 §5.6.2, token).
  if (value.length < MIN_TOKEN_CHARS || !/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(value)) {
    throw new ConfigError(
      `CIB_AUTH_TOKEN: expected at least ${MIN_TOKEN_CHARS} letters, digits or -._~, got ${value.length} characters`,
    );
  }
  return { token: value, minted: false };
}

/** What a part says of its settings, as a fault of the configuration. */
function told<T>(read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    if (!(thrown instanceof SyntaxError)) throw thrown;
    throw new ConfigError(thrown.message);
  }
}

/** The same or "off"; the default is every address, and loopback with --dev. */
function readFurther(value: string | undefined, name: string, port: number, dev: boolean): Listen | undefined {
  if (value === "off") return undefined;
  if (value !== undefined) return readAddress(value, name);
  return dev ? { host: "127.0.0.1", port, optional: true } : { host: "0.0.0.0", port };
}

/** What the listeners would only say without naming the variable, or not at all. */
function checkPair(cert: string, key: string): void {
  const read = <T>(name: string, path: string, take: (pem: Buffer) => T): T => {
    try {
      return take(readFileSync(path));
    } catch (failure) {
      const { code = "" } = failure as NodeJS.ErrnoException;
      const why = /^E[A-Z]+$/.test(code) ? code : "not PEM, or its key has a passphrase";
      throw new ConfigError(`${name}: ${path} cannot be used (${why})`);
    }
  };
  const certificate = read("CIB_TLS_CERT", cert, (pem) => new X509Certificate(pem));
  const secret = read("CIB_TLS_KEY", key, (pem) => createPrivateKey(pem));
  if (!certificate.checkPrivateKey(secret))
    throw new ConfigError("CIB_TLS_CERT, CIB_TLS_KEY: the first certificate is not that of this key");
}

/** `host:port`, `[v6]:port` or `:port`. */
function readAddress(value: string, name = "CIB_LISTEN"): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:]*)):(\d{1,5})$/.exec(value);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) throw new ConfigError(`${name}: expected host:port, got "${value}"`);
  return { host: match[1] ?? (match[2] || "0.0.0.0"), port };
}

/** As it is written in CIB_LISTEN: "127.0.0.1:8080", "[::1]:8080". */
export function addressText({ host, port }: Pick<Listen, "host" | "port">): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\./.test(host) || /^::ffff:127\./.test(host);
}
