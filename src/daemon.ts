/** The composition root: it alone names every part and hands each what it needs. */
import { randomBytes } from "node:crypto";
import { chownSync, existsSync } from "node:fs";
import { join } from "node:path";
import openapi from "../docs/openapi.json" with { type: "json" };
import type { Credential } from "./agent/agent.ts";
import { BOX_VARIABLE, RESERVED_VARIABLES } from "./agent/command.ts";
import { findConversation, listConversations } from "./agent/conversations.ts";
import { createEngine } from "./agent/engine.ts";
import { Login } from "./agent/login.ts";
import { sweep } from "./agent/process-tree.ts";
import { DeviceKeys } from "./auth/device-keys.ts";
import { Envelopes } from "./auth/envelopes.ts";
import { Gate } from "./auth/gate.ts";
import { Links } from "./auth/links.ts";
import { LoginToken } from "./auth/login-token.ts";
import { Tokens } from "./auth/tokens.ts";
import { Vault } from "./auth/vault.ts";
import type { Config } from "./config.ts";
import { BoxControl } from "./control/box.ts";
import { nodeProvider } from "./crypto/aead-node.ts";
import { CibError } from "./errors.ts";
import { tellFaults } from "./faults.ts";
import { makeFolder, privateFolder, writeRename } from "./files.ts";
import { HookBook, IMAGE_HOOKS } from "./hooks/book.ts";
import { readIdentity } from "./identity.ts";
import { Lock } from "./lock.ts";
import { REFUSED } from "./refused.ts";
import type { Box, Secrets } from "./session/box.ts";
import { Ledger } from "./session/ledger.ts";
import type { Meta } from "./session/meta.ts";
import { Sessions } from "./session/sessions.ts";
import { Webhooks } from "./session/webhooks.ts";
import { createHttp } from "./transport/http/http.ts";
import { CannotListen, unlessTaken } from "./transport/listen.ts";
import { createBridge } from "./transport/mqtt/bridge.ts";
import { createMqtt, type MqttTransport } from "./transport/mqtt/mqtt.ts";
import { overWebSocket } from "./transport/mqtt/ws-stream.ts";
import { Refusals } from "./transport/refusals.ts";
import type { SocketEvents } from "./transport/socket.ts";
import { createTcp } from "./transport/tcp/server.ts";
import { Undo } from "./undo.ts";

/** What a test or the demo may put in another's place. */
export interface Deps {
  readonly now?: () => number;
  /** Told of our own faults; the default prints them on stderr. */
  readonly fault?: (where: string, thrown: unknown) => void;
  /** Takes the operator's log of refusals, a line at a time; the default prints it on stderr. */
  readonly say?: (line: string) => void;
  /** An engine other than the real Claude Code: for transport tests only. */
  readonly engine?: Box["engine"] & AsyncDisposable;
}

export interface Daemon {
  /** Base URL of the HTTP listener, "http://127.0.0.1:8080". */
  readonly url: string;
  readonly port: number;
  /** Port of the raw TCP links; undefined where they are off. */
  readonly tcpPort: number | undefined;
  /** The same for MQTT without TLS, and with. */
  readonly mqttPort: number | undefined;
  readonly mqttsPort: number | undefined;
  /** What the person should know: a port that it does without. */
  readonly notes: readonly string[];
  readonly control: BoxControl;
  readonly isolation: "uid" | "none";
  /** Stops every session gracefully, tells every client, closes the logs clean. */
  stop(): Promise<void>;
}

declare const CIB_VERSION: string | undefined;
/** Set by the bundler from package.json; "dev" when the sources run as they are. */
export const VERSION = typeof CIB_VERSION === "string" ? CIB_VERSION : "dev";

/** Starts everything, in an order in which nothing can be reached before it works. Throws ConfigError, FileError, LockedError, system errors. */
export async function startDaemon(config: Config, deps: Deps = {}): Promise<Daemon> {
  const fault = deps.fault ?? tellFaults(console.error, deps.now ?? Date.now);
  const undo = new Undo(fault);
  try {
    return await compose(config, { now: Date.now, ...deps, fault }, undo);
  } catch (failure) {
    await undo.run();
    throw failure;
  }
}

async function compose(
  config: Config,
  deps: Deps & Required<Pick<Deps, "now" | "fault">>,
  undo: Undo,
): Promise<Daemon> {
  const { now, fault } = deps;
  const started = now();
  makeFolders(config);
  undo.use(Lock.take(join(config.data, "daemon.lock")));
  const { id, salt } = readIdentity(config.data);
  const tokens = undo.use(new Tokens(join(config.data, "tokens.json"), now));
  const vaults = [config.token, ...(config.previousToken ? [config.previousToken] : [])].map(
    (token) => new Vault(token, Buffer.from(salt, "hex")),
  );
  const deviceKeys = new DeviceKeys({
    file: join(config.data, "devices.json"),
    vault: vaults[0] as Vault,
    previous: vaults[1],
    provider: nodeProvider,
    now,
  });
  deviceKeys.keepOnly((token) => tokens.has(token));
  const engine = undo.use(
    deps.engine ??
      (await createEngine({ command: config.claude, box: id, now, fault: (thrown) => fault("agent", thrown) })),
  );
  const ledger = await Ledger.open({ file: join(config.data, "ledger.jsonl"), now, fault });
  undo.defer(() => ledger.close());
  const isolation = config.sessionUser === undefined || process.getuid?.() === config.sessionUser.uid ? "none" : "uid";
  const loginToken = new LoginToken(join(config.data, "login.json"), vaults);
  const login = undo.use(
    new Login({
      command: config.claude,
      box: id,
      home: config.home,
      ...(config.sessionUser && { user: config.sessionUser }),
      token: () => config.oauthToken ?? loginToken.value,
      pointless: () =>
        config.oauthToken === undefined ? undefined : "the daemon was started with CLAUDE_CODE_OAUTH_TOKEN, which pays",
      keep: (token) => loginToken.keep(token),
      own: config.env,
      fault: (thrown) => fault("login", thrown),
    }),
  );
  const book = new HookBook({
    image: IMAGE_HOOKS,
    user: join(config.data, "hooks.json"),
    env: { [BOX_VARIABLE]: id },
    fault: (thrown) => fault("hooks", thrown),
  });
  const webhooks = undo.use(new Webhooks({ file: join(config.data, "webhooks.json"), hooks: book, fault }));
  const projects = join(config.home, ".claude", "projects");
  const box: Box = {
    engine,
    ledger,
    now,
    settings: {
      home: config.home,
      model: config.model,
      thinking: config.thinking,
      tap: config.tap,
      askTimeoutS: config.askTimeoutS,
      ...(config.baseUrl !== undefined && { baseUrl: config.baseUrl }),
      ...(config.sessionUser && { user: config.sessionUser }),
    },
    credential: (mode, key) =>
      credentialOf({ ...config, oauthToken: config.oauthToken ?? loginToken.value }, mode, key),
    hooks: book,
    seal: (secrets, session) => (vaults[0] as Vault).seal(secrets, `session ${session}`),
    unseal: (text, session) =>
      vaults.map((vault) => vault.open(text, `session ${session}`)).find((value) => value !== undefined) as
        | Secrets
        | undefined,
    fault,
  };
  const sessions = new Sessions({
    box,
    folder: join(config.data, "sessions"),
    workspace: config.workspace,
    engine: config.engine,
    conversation: (wanted) => findConversation(projects, wanted),
    opened: (session) => webhooks.follow(session),
    gone: (session) => webhooks.forget(session),
    restore: config.restore,
    fsync: config.fsync,
    logMaxBytes: config.logMaxBytes,
    ptyLogBytes: config.ptyLogBytes,
    apiKey: config.apiKey !== undefined,
    oauthToken: () => (config.oauthToken ?? loginToken.value) !== undefined,
    ...(deps.engine === undefined && { loggedIn: () => login.loggedIn() }),
  });
  undo.defer(() => sessions.close());
  const refusals = undo.use(new Refusals({ say: deps.say ?? console.error, words: REFUSED }));
  const gate = new Gate({ masterToken: config.token, tokens, plain: config.plain, now });
  const control = new BoxControl({
    gate,
    tokens,
    deviceKeys,
    links: new Links({ keys: deviceKeys, gate, provider: nodeProvider, random: randomBytes }),
    envelopes: new Envelopes({ keys: deviceKeys, gate, provider: nodeProvider, random: randomBytes }),
    sessions,
    ledger,
    now,
    conversations: { list: async (wish) => ({ ...(await listConversations(projects, wish)) }) },
    hooks: book,
    reserved: RESERVED_VARIABLES,
    login,
    health: {
      version: VERSION,
      uptimeS: () => Math.floor((now() - started) / 1000),
      details: () => ({
        isolation,
        encryption: config.tls ? "tls" : "none",
        sessions: sessions.all().length,
        ...(tcp && { tcp_links: tcp.counts }),
        ...(mqtt && { mqtt: mqtt.counts }),
        ...(bridge && { mqtt_bridge: bridge.counts }),
        websocket_links: http.links,
        refused: refusals.counts,
        ...(deviceKeys.locked > 0 && { locked_device_keys: deviceKeys.locked }),
      }),
    },
  });
  const stopping = new AbortController();
  const http = createHttp({
    listen: config.listen,
    ...(config.tls && { tls: config.tls }),
    hosts: config.hosts,
    openapi: JSON.stringify(openapi),
    links: { now, refused: (address, why) => refusals.refused("websocket", address, why) },
    refusedEnvelope: (address, why) => refusals.refused("aes", address, why),
    mqtt: (config.mqttListen ?? config.mqttsListen) && ((...came) => takeMqtt(mqtt, ...came)),
    onFault: fault,
  });
  undo.use(http);
  const notes: string[] = [];
  const note = (line: string) => notes.push(line);
  if (deviceKeys.locked > 0)
    note(
      `device keys that are locked, made under another CIB_AUTH_TOKEN: ${deviceKeys.locked}; start with that one as CIB_AUTH_TOKEN_PREVIOUS, or revoke their tokens`,
    );
  if (config.homeAssistant !== undefined && !config.bridge && !config.mqttListen && !config.mqttsListen)
    note("CIB_HOME_ASSISTANT does nothing here: it needs CIB_MQTT_LISTEN, CIB_MQTTS_LISTEN or CIB_MQTT_BRIDGE");
  const tcpListen = await unlessTaken("CIB_TCP_LISTEN", config.tcpListen, note);
  const mqttListen = await unlessTaken("CIB_MQTT_LISTEN", config.mqttListen, note);
  const mqttsListen = await unlessTaken("CIB_MQTTS_LISTEN", config.mqttsListen, note);
  const tcp =
    tcpListen &&
    undo.use(
      createTcp({
        listen: tcpListen,
        now,
        onFault: fault,
        onRefused: (address, why) => refusals.refused("tcp", address, why),
      }),
    );
  const mqtt =
    (mqttListen ?? mqttsListen) &&
    undo.use(
      createMqtt({
        listen: mqttListen,
        tlsListen: mqttsListen,
        tls: config.tls,
        ...(config.homeAssistant !== undefined && { home: { prefix: config.homeAssistant, version: VERSION } }),
        now,
        file: join(config.data, "mqtt.json"),
        write: writeRename,
        onFault: fault,
        onRefused: (address, why) => refusals.refused("mqtt", address, why),
      }),
    );
  const bridge =
    config.bridge &&
    undo.use(
      createBridge({
        ...config.bridge,
        id,
        home: config.homeAssistant,
        version: VERSION,
        folder: join(config.data, "bridge"),
        now,
        say: deps.say ?? console.error,
        onFault: fault,
        onRefused: (address, why) => refusals.refused("mqtt", address, why),
        onDropped: (broker, why) => refusals.refused("bridge", broker, why),
      }),
    );
  // First the clients are told, then the sessions end: what they still say is in the log for the next time.
  undo.defer(() => stopping.abort("stopping"));
  const stubborn = await sweep(id, config.sessionUser);
  if (stubborn.length > 0)
    fault("sweep", new Error(`processes of an earlier daemon do not end: ${stubborn.join(", ")}`));
  await sessions.recover();
  await http.start(control, stopping.signal);
  await tcp?.start(control, stopping.signal).catch(CannotListen.by({ CIB_TCP_LISTEN: tcpListen }));
  await mqtt
    ?.start(control, stopping.signal)
    .catch(CannotListen.by({ CIB_MQTT_LISTEN: mqttListen, CIB_MQTTS_LISTEN: mqttsListen }));
  await bridge?.start(control, stopping.signal);
  const host = config.listen.host.includes(":")
    ? `[${config.listen.host}]`
    : config.listen.host.replace("0.0.0.0", "127.0.0.1");
  return {
    url: `${config.tls ? "https" : "http"}://${host}:${http.port}`,
    port: http.port,
    tcpPort: tcp?.port,
    mqttPort: mqtt?.port,
    mqttsPort: mqtt?.tlsPort,
    notes,
    control,
    isolation,
    stop: () => undo.run(),
  };
}

/** MQTT over WebSocket: the socket is HTTP's, what it says is the broker's. Undefined where the broker's ports were taken. */
function takeMqtt(mqtt: MqttTransport | undefined, ...came: Parameters<typeof overWebSocket>): SocketEvents {
  const { arrival, events } = overWebSocket(...came);
  if (mqtt === undefined) arrival.stream.destroy();
  else mqtt.take(arrival);
  return events;
}

function makeFolders(config: Config): void {
  privateFolder(config.data);
  for (const folder of [config.workspace, config.home]) {
    if (existsSync(folder)) continue;
    makeFolder(folder, 0o755);
    if (config.sessionUser) chownSync(folder, config.sessionUser.uid, config.sessionUser.gid);
  }
}

/** The one credential a session of this mode gets. */
function credentialOf(config: Config, mode: Meta["auth"], key: string | undefined): Credential {
  if (mode === "subscription") return { mode, ...(config.oauthToken !== undefined && { token: config.oauthToken }) };
  const found = key ?? config.apiKey;
  if (found === undefined)
    throw new CibError(
      "conflict",
      "auth: mode api_key needs a key, in the request or as ANTHROPIC_API_KEY at the daemon",
    );
  return { mode, key: found };
}
