/** MQTT broker: the daemon with an engine that says frames on command, or aedes alone that publishes as many bytes. Arguments, as JSON: Order. */
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Aedes } from "aedes";
import { readConfig } from "../src/config.ts";
import { startDaemon } from "../src/daemon.ts";
import type { FrameBody, SessionId } from "../src/frame/frame.ts";
import { ScriptEngine } from "../test/conformance/engine.ts";
import { MASTER } from "../test/e2e/box.ts";

/** What is measured. */
export interface Order {
  readonly kind: "aedes" | "daemon";
  readonly folder: string;
  /** Messages published, and of how many bytes. */
  readonly messages: number;
  readonly bytes: number;
  /** Device tokens to be made. */
  readonly tokens: number;
}

/** What a broker's subscribers need to know. */
export interface Where {
  readonly port: number;
  readonly topic: string;
  /** One for each token; the client ids of a user begin with its name. */
  readonly users: readonly { readonly name: string; readonly password: string }[];
}

/** Messages that are due in one turn of the loop. */
const DUE = 10;
/** What stands around the text of a text.delta frame in CBOR. */
const HEAD_BYTES = 35;
const { kind, folder, messages, bytes, tokens } = JSON.parse(process.argv[2] ?? "{}") as Order;
const emit = kind === "aedes" ? await aedes() : await daemon();
const commands = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
await commands.next();
for (let at = 0; at < messages; at += DUE) {
  emit(at);
  await new Promise(setImmediate);
}
await commands.next();

function say(where: Where): void {
  process.stdout.write(`${JSON.stringify(where)}\n`);
}

async function daemon(): Promise<(at: number) => void> {
  const engine = new ScriptEngine();
  const config = readConfig({
    CIB_AUTH_TOKEN: MASTER,
    CIB_LISTEN: "127.0.0.1:0",
    CIB_TCP_LISTEN: "off",
    CIB_MQTT_LISTEN: "127.0.0.1:0",
    CIB_MQTTS_LISTEN: "off",
    CIB_DATA: join(folder, "data"),
    CIB_WORKSPACE: join(folder, "workspace"),
    CIB_HOME: join(folder, "home"),
    ANTHROPIC_API_KEY: "sk-ant-dummy-000000000000000000000000000000",
  });
  const box = await startDaemon(config, { engine });
  const post = async (path: string, body: object): Promise<Record<string, unknown>> => {
    const headers = { authorization: `Bearer ${MASTER}` };
    const reply = await fetch(`${box.url}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    return (await reply.json()) as Record<string, unknown>;
  };
  const session = String((await post("/api/sessions", {}))["session"]);
  const users: Where["users"][number][] = [];
  while (users.length < tokens) {
    const made = await post("/api/tokens", { label: "lamp", scopes: ["sessions:read"] });
    users.push({ name: String(made["id"]), password: String(made["token"]) });
  }
  if (box.mqttPort === undefined) throw new Error("mqtt: not listening");
  say({ port: box.mqttPort, topic: `cib/${session}/frames/text.delta`, users });
  const said = (i: number): FrameBody => ({ type: "text.delta", text: `${i} `.padEnd(bytes - HEAD_BYTES, "lorem ") });
  return (at) => engine.say(session as SessionId, ...Array.from({ length: DUE }, (_, n) => said(at + n)));
}

async function aedes(): Promise<(at: number) => Promise<void>> {
  const broker = await Aedes.createBroker();
  const server = createServer((socket) => void broker.handle(socket.setNoDelay(true))).listen(0, "127.0.0.1");
  await new Promise((done) => server.once("listening", done));
  const topic = "cib/00000000-0000-4000-8000-000000000000/frames/text.delta";
  const users = Array.from({ length: tokens }, (_, i) => ({ name: `user${i}`, password: MASTER }));
  say({ port: (server.address() as AddressInfo).port, topic, users });
  const payload = Buffer.alloc(bytes, "lorem ");
  const packet = { cmd: "publish", topic, payload, qos: 0, dup: false, retain: false } as const;
  const publish = () => new Promise<void>((done, fail) => broker.publish(packet, (e) => (e ? fail(e) : done())));
  return async () => void (await Promise.all(Array.from({ length: DUE }, publish)));
}
