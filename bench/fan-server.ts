/** Fan server: the daemon with an engine that says frames on command, or uWebSockets.js alone. Arguments: daemon or bare, frames, scratch folder. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Agent, AgentEvents, Engine } from "../src/agent/agent.ts";
import { readConfig } from "../src/config.ts";
import { startDaemon } from "../src/daemon.ts";
import { Encoded } from "../src/frame/codec.ts";
import type { SessionId } from "../src/frame/frame.ts";
import { MASTER } from "../test/e2e/box.ts";

const BATCH = 10;
const body = (i: number) =>
  ({ type: "text.delta", text: `${i} `.padEnd(70, "lorem ipsum "), message: "msg_0000000001" }) as const;

const [kind = "", frames = "", folder = ""] = process.argv.slice(2);
const emit = kind === "bare" ? await bare() : await daemon();
const commands = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
await commands.next();
const before = process.cpuUsage();
let sent = 0;
(function more(): void {
  for (let n = 0; n < BATCH && sent < Number(frames); n++) emit(sent++);
  if (sent < Number(frames)) setImmediate(more);
})();
await commands.next();
const { user, system } = process.cpuUsage(before);
say({ cpuMs: (user + system) / 1000 });

function say(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Everything of the product but Claude Code. */
async function daemon(): Promise<(i: number) => void> {
  let events: AgentEvents | undefined;
  const agent: Agent = {
    terminal: true,
    version: "2.1.197",
    pid: process.pid,
    ready: Promise.resolve(),
    at: { file: "", offset: 0 },
    submit: async () => undefined,
    write: () => undefined,
    resize: () => undefined,
    interrupt: async () => true,
    claim: () => undefined,
    switch: async (_what, value) => value,
    stop: async () => undefined,
  };
  const engine: Engine & AsyncDisposable = {
    start: async (_spec, told) => {
      events = told;
      return agent;
    },
    shows: async () => false,
    [Symbol.asyncDispose]: async () => undefined,
  };
  const config = readConfig({
    CIB_AUTH_TOKEN: MASTER,
    CIB_LISTEN: "127.0.0.1:0",
    CIB_TCP_LISTEN: "off",
    CIB_MQTT_LISTEN: "off",
    CIB_MQTTS_LISTEN: "off",
    CIB_DATA: join(folder, "data"),
    CIB_WORKSPACE: join(folder, "workspace"),
    CIB_HOME: join(folder, "home"),
    ANTHROPIC_API_KEY: "none",
  });
  const box = await startDaemon(config, { engine });
  const reply = await fetch(`${box.url}/api/sessions`, {
    method: "POST",
    headers: { authorization: `Bearer ${MASTER}`, "content-type": "application/json" },
    body: "{}",
  });
  const { session } = (await reply.json()) as { session: string };
  say({ port: box.port, path: `/ws?session=${session}&types=text.delta` });
  return (i) => events?.frame(body(i));
}

/** The native addon, where src/ has one importer only: this is the baseline, not the product. */
interface Bare {
  App(): {
    ws(path: string, behaviour: object): { listen(host: string, port: number, done: (socket: unknown) => void): void };
    publish(topic: string, message: Buffer, binary: boolean): void;
  };
  us_socket_local_port(socket: unknown): number;
}

async function bare(): Promise<(i: number) => void> {
  const uWS = createRequire(import.meta.url)("uWebSockets.js") as Bare;
  const app = uWS.App();
  const session = "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId;
  const ts = Date.now();
  const ready = Array.from({ length: Number(frames) }, (_, i) =>
    Encoded.of({ session, seq: i + 1, ts, ...body(i) }).cbor(),
  );
  const behaviour = {
    maxBackpressure: 256 * 1024 * 1024,
    upgrade(res: { upgrade(...args: unknown[]): void }, req: { getHeader(name: string): string }, context: unknown) {
      const of = (name: string) => req.getHeader(`sec-websocket-${name}`);
      res.upgrade({}, of("key"), "cib.v1.cbor", of("extensions"), context);
    },
    open(ws: { subscribe(topic: string): void; send(message: string): void }) {
      ws.subscribe("frames");
      ws.send("hello"); // as the verdict does
    },
  };
  const socket = await new Promise((done) => app.ws("/*", behaviour).listen("127.0.0.1", 0, done));
  say({ port: uWS.us_socket_local_port(socket), path: "/" });
  return (i) => app.publish("frames", ready[i] as Buffer, true);
}
