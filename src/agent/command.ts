/** Command of one session: argv, an environment built from nothing, and the settings that bring Claude's hooks to us. */
import { join } from "node:path";
import type { AgentSpec } from "./agent.ts";
import { timeoutOf } from "./porter.ts";
import { FROZEN, guarded } from "./rules.ts";
import { writePrivate } from "./seed.ts";
import type { VersionRow } from "./versions.ts";

export interface Launch {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** Name of the file in runDir that a SessionStart hook leaves: `start.<pid>.json`. */
export const START_FILE = /^start\.\d+\.json$/;

/** Marker variables: every process of a box and of a session carries them. */
export const BOX_VARIABLE = "CIB_BOX";
export const SESSION_VARIABLE = "CIB_SESSION";

/** Writes the settings and returns what to run; seed.ts has made the folders. `hookUrl` is the inbox address of one event. */
export async function prepare(
  spec: AgentSpec,
  row: VersionRow,
  box: string,
  command: readonly string[],
  hookUrl: (event: string) => string,
): Promise<Launch> {
  const settings = join(spec.runDir, "settings.json");
  await writePrivate(settings, JSON.stringify(settingsOf(spec, row, hookUrl)), spec.user);
  return { argv: [...command, ...flags(spec, settings)], env: environment(spec, box) };
}

/** The stream engine: messages both ways, permissions asked over the same lines. */
const STREAM = ["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"].concat([
  "--include-partial-messages",
  "--replay-user-messages",
  "--permission-prompt-tool",
  "stdio",
]);

function flags(spec: AgentSpec, settings: string): string[] {
  const args: string[] = spec.engine === "stream" ? [...STREAM] : [];
  if (spec.start === "new") args.push("--session-id", spec.conversation);
  else if (spec.start === "resume") args.push("--resume", spec.conversation);
  else args.push("--resume", spec.start.fork, "--fork-session", "--session-id", spec.conversation);
  if (spec.bypass && spec.gated === undefined) args.push("--dangerously-skip-permissions");
  // Always named: /model writes the user settings and would change the default of other sessions.
  args.push("--model", spec.model);
  if (spec.effort !== undefined) args.push("--effort", spec.effort);
  args.push("--settings", settings);
  // Hooks in anyone else's settings, skills and agents could answer for the person: the session may write there.
  if (spec.gated !== undefined) args.push("--setting-sources", "");
  return args;
}

/** Taken from the daemon's own environment because the machine needs them to work, and none of them is a secret. */
const INHERITED = ["PATH", "LANG", "LC_ALL", "TZ", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"];
const LOOPBACK = "127.0.0.1,localhost,::1";
const PROXIES = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];

/** The whole environment of the session: built, never inherited. */
export function environment(
  spec: AgentSpec,
  box: string,
  own: NodeJS.ProcessEnv = process.env,
): Record<string, string> {
  return {
    ...baseEnvironment(spec.home, spec.configDir, own),
    ...wanted(spec),
    CLAUDE_CONFIG_DIR: spec.configDir,
    // Without it Claude refuses bypass mode as root.
    IS_SANDBOX: "1",
    ...(spec.baseUrl === undefined ? {} : { ANTHROPIC_BASE_URL: spec.baseUrl }),
    ...credential(spec),
    [BOX_VARIABLE]: box,
    [SESSION_VARIABLE]: spec.session,
  };
}

/** What every Claude Code of the box gets, without any credential. */
export function baseEnvironment(
  home: string,
  configDir: string,
  own: NodeJS.ProcessEnv = process.env,
): Record<string, string> {
  const env: Record<string, string> = {};
  for (const name of [...INHERITED, ...PROXIES]) {
    const value = own[name];
    if (value !== undefined) env[name] = value;
  }
  // Claude takes even calls to this machine to the proxy: its hooks, and an API on loopback, would never arrive.
  const near = [own["NO_PROXY"] ?? own["no_proxy"], LOOPBACK].filter(Boolean).join(",");
  return {
    PATH: "/usr/local/bin:/usr/bin:/bin",
    LANG: "C.UTF-8",
    ...env,
    ...(PROXIES.some((name) => env[name] !== undefined) && { NO_PROXY: near, no_proxy: near }),
    TERM: "xterm-256color",
    COLORTERM: "truecolor",
    HOME: home,
    CLAUDE_CONFIG_DIR: configDir,
    DISABLE_AUTOUPDATER: "1",
    DISABLE_TELEMETRY: "1",
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
    CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL: "1",
  };
}

/**
 * Variables that decide what pays for a session, where its credential is sent or which box it belongs to: a creator
 * cannot set them beside `auth`. Read from Claude Code 2.1.112, 2.1.197 and 2.1.330.
 */
export const RESERVED_VARIABLES: ReadonlySet<string> = new Set([
  "ANTHROPIC_API_KEY",
  "ANTHROPIC_AUTH_TOKEN",
  "ANTHROPIC_BASE_URL",
  "ANTHROPIC_CONFIG_DIR",
  "ANTHROPIC_CUSTOM_HEADERS",
  "ANTHROPIC_FEDERATION_RULE_ID",
  "ANTHROPIC_IDENTITY_TOKEN",
  "ANTHROPIC_IDENTITY_TOKEN_FILE",
  "ANTHROPIC_PROFILE",
  "ANTHROPIC_UNIX_SOCKET",
  "CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR",
  "CLAUDE_CODE_CUSTOM_OAUTH_URL",
  "CLAUDE_CODE_GATEWAY_TOKEN",
  "CLAUDE_CODE_GATEWAY_TOKEN_FILE_DESCRIPTOR",
  "CLAUDE_CODE_HFI_BEARER_TOKEN",
  "CLAUDE_CODE_HOST_AUTH_ENV_VAR",
  "CLAUDE_CODE_HOST_CREDS_FILE",
  "CLAUDE_CODE_OAUTH_REFRESH_TOKEN",
  "CLAUDE_CODE_OAUTH_SCOPES",
  "CLAUDE_CODE_OAUTH_TOKEN",
  "CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR",
  "CLAUDE_CODE_SESSIONS_OAUTH_TOKEN",
  "CLAUDE_CODE_SESSION_ACCESS_TOKEN",
  "CLAUDE_CONFIG_DIR",
  BOX_VARIABLE,
  SESSION_VARIABLE,
]);

/** The dynamic loader obeys these in setpriv too, which still runs as the daemon's user. */
const LOADER = /^(LD_|GLIBC_|GCONV_|MALLOC_|LOCPATH$|NLSPATH$)/;

function wanted(spec: AgentSpec): Readonly<Record<string, string>> {
  const kept = (name: string): boolean =>
    !RESERVED_VARIABLES.has(name) && (spec.user === undefined || !LOADER.test(name));
  return Object.fromEntries(Object.entries(spec.env).filter(([name]) => kept(name)));
}

function credential({ credential: c }: AgentSpec): Record<string, string> {
  if (c.mode === "api_key") return { ANTHROPIC_API_KEY: c.key };
  return c.token === undefined ? {} : { CLAUDE_CODE_OAUTH_TOKEN: c.token };
}

function settingsOf(spec: AgentSpec, row: VersionRow, hookUrl: (event: string) => string): object {
  const hooks: Record<string, object[]> = {};
  for (const event of row.hooks) {
    const timeout = timeoutOf(event, spec);
    hooks[event] = [{ hooks: [{ type: "http", url: hookUrl(event), timeout }] }];
  }
  // SessionStart is skipped for http hooks: it leaves a file instead, with nothing needed but a shell.
  const file = `${quoted(join(spec.runDir, "start."))}$$`;
  const command = `umask 077; cat > ${file}.new && mv ${file}.new ${file}.json`;
  hooks["SessionStart"] = [{ hooks: [{ type: "command", command, timeout: timeoutOf("SessionStart", spec) }] }];
  const frozen = spec.gated === undefined ? {} : { ConfigChange: [{ hooks: [FROZEN] }] };
  return {
    // The stream engine's hooks come over its own lines.
    hooks: spec.engine === "stream" ? frozen : { ...hooks, ...frozen },
    // Said here, it counts for more than in a file that the session writes, which Claude takes over while it runs.
    disableAllHooks: false,
    // Lists are joined: whatever else is listed, ours stays reachable, and nobody's that was before ceases to be.
    allowedHttpHookUrls: ["*"],
    skipDangerousModePermissionPrompt: true,
    ...guarded(spec),
    ...(spec.thinking ? { showThinkingSummaries: true } : {}),
  };
}

function quoted(path: string): string {
  return `'${path.replaceAll("'", `'\\''`)}'`;
}
