/** Command of one session: argv, an environment built from nothing, and the configuration that keeps every first-run dialog away. */
import { chmod, chown, mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { AgentSpec } from "./agent.ts";
import type { VersionRow } from "./versions.ts";

/** Claude stores the last characters of an approved key; without them it asks "use this key?" with the default No. */
const KEY_SUFFIX_CHARS = 20;
/** Seconds that Claude waits for our answer: it comes at once, so this only bounds a stalled daemon. */
const HOOK_TIMEOUT_S = 30;

export interface Launch {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** Name of the file in runDir that a SessionStart hook leaves: `start.<pid>.json`. */
export const START_FILE = /^start\.\d+\.json$/;

/** Marker variables: every process of a box and of a session carries them. */
export const BOX_VARIABLE = "CIB_BOX";
export const SESSION_VARIABLE = "CIB_SESSION";

/** Writes configuration and settings and returns what to run. `hookUrl` is the inbox address of one event. */
export async function prepare(
  spec: AgentSpec,
  row: VersionRow,
  box: string,
  command: readonly string[],
  hookUrl: (event: string) => string,
): Promise<Launch> {
  await seedConfig(spec);
  const settings = join(spec.runDir, "settings.json");
  await writePrivate(settings, JSON.stringify(settingsOf(spec, row, hookUrl)), spec.user);
  return { argv: [...command, ...flags(spec, settings)], env: environment(spec, box) };
}

function flags(spec: AgentSpec, settings: string): string[] {
  const args: string[] = [];
  if (spec.start === "new") args.push("--session-id", spec.conversation);
  else if (spec.start === "resume") args.push("--resume", spec.conversation);
  else args.push("--resume", spec.start.fork, "--fork-session", "--session-id", spec.conversation);
  if (spec.bypass) args.push("--dangerously-skip-permissions");
  // Always named: /model writes the user settings and would change the default of other sessions.
  args.push("--model", spec.model);
  if (spec.effort !== undefined) args.push("--effort", spec.effort);
  args.push("--settings", settings);
  return args;
}

/** Taken from the daemon's own environment because the machine needs them to work, and none of them is a secret. */
const INHERITED = ["PATH", "LANG", "LC_ALL", "TZ", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"];
const PROXIES = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];

/** The whole environment of the session: built, never inherited. */
export function environment(
  spec: AgentSpec,
  box: string,
  own: NodeJS.ProcessEnv = process.env,
): Record<string, string> {
  const env: Record<string, string> = {};
  for (const name of [...INHERITED, ...PROXIES]) {
    const value = own[name];
    if (value !== undefined) env[name] = value;
  }
  return {
    PATH: "/usr/local/bin:/usr/bin:/bin",
    LANG: "C.UTF-8",
    ...env,
    TERM: "xterm-256color",
    COLORTERM: "truecolor",
    HOME: spec.home,
    DISABLE_AUTOUPDATER: "1",
    DISABLE_TELEMETRY: "1",
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
    CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL: "1",
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

/** The dynamic loader obeys these in setpriv too, which still runs as the daemon's user. */
const LOADER = /^(LD_|GLIBC_|GCONV_|MALLOC_|LOCPATH$|NLSPATH$)/;

function wanted(spec: AgentSpec): Readonly<Record<string, string>> {
  if (spec.user === undefined) return spec.env;
  return Object.fromEntries(Object.entries(spec.env).filter(([name]) => !LOADER.test(name)));
}

function credential({ credential: c }: AgentSpec): Record<string, string> {
  if (c.mode === "api_key") return { ANTHROPIC_API_KEY: c.key };
  return c.token === undefined ? {} : { CLAUDE_CODE_OAUTH_TOKEN: c.token };
}

function settingsOf(spec: AgentSpec, row: VersionRow, hookUrl: (event: string) => string): object {
  const hooks: Record<string, object[]> = {};
  for (const event of row.hooks) {
    hooks[event] = [{ hooks: [{ type: "http", url: hookUrl(event), timeout: HOOK_TIMEOUT_S }] }];
  }
  // SessionStart is skipped for http hooks: it leaves a file instead, with nothing needed but a shell.
  const file = `${quoted(join(spec.runDir, "start."))}$$`;
  const command = `umask 077; cat > ${file}.new && mv ${file}.new ${file}.json`;
  hooks["SessionStart"] = [{ hooks: [{ type: "command", command, timeout: HOOK_TIMEOUT_S }] }];
  return {
    hooks,
    skipDangerousModePermissionPrompt: true,
    ...(spec.thinking ? { showThinkingSummaries: true } : {}),
  };
}

function quoted(path: string): string {
  return `'${path.replaceAll("'", `'\\''`)}'`;
}

/** Merges what no dialog needs into .claude.json, keeping what Claude itself has written there. */
async function seedConfig(spec: AgentSpec): Promise<void> {
  for (const dir of [spec.configDir, spec.home, spec.runDir]) await privateFolder(dir, spec.user);
  const file = join(spec.configDir, ".claude.json");
  const config = await readObject(file);
  const responses = asObject(config["customApiKeyResponses"]);
  const approved = new Set(Array.isArray(responses["approved"]) ? (responses["approved"] as unknown[]) : []);
  if (spec.credential.mode === "api_key") approved.add(spec.credential.key.slice(-KEY_SUFFIX_CHARS));
  const projects = asObject(config["projects"]);
  const seeded = {
    ...config,
    hasCompletedOnboarding: true,
    customApiKeyResponses: { rejected: [], ...responses, approved: [...approved] },
    // Trust on "/" covers every folder; bypass mode does not skip the trust dialog.
    projects: { ...projects, "/": { ...asObject(projects["/"]), hasTrustDialogAccepted: true } },
  };
  if (JSON.stringify(seeded) !== JSON.stringify(config)) await writePrivate(file, JSON.stringify(seeded), spec.user);
}

async function privateFolder(path: string, user: AgentSpec["user"]): Promise<void> {
  const made = await mkdir(path, { recursive: true, mode: 0o700 });
  if (made === undefined || user === undefined) return;
  for (let at = path; at.length >= made.length; at = dirname(at)) await chown(at, user.uid, user.gid);
}

/** 0600, by rename: another session of the same configuration may be reading it. */
async function writePrivate(path: string, text: string, user: AgentSpec["user"]): Promise<void> {
  const fresh = `${path}.${process.pid}.new`;
  await writeFile(fresh, text, { mode: 0o600 });
  await chmod(fresh, 0o600);
  if (user !== undefined) await chown(fresh, user.uid, user.gid);
  await rename(fresh, path);
}

async function readObject(path: string): Promise<Record<string, unknown>> {
  try {
    return asObject(JSON.parse(await readFile(path, "utf8")));
  } catch {
    return {};
  }
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
