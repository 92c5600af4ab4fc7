/** TCP server: the daemon with an engine that says frames on command, or bare sockets that seal. Arguments, as JSON: Order. */
import { createCipheriv, randomBytes } from "node:crypto";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { readConfig } from "../src/config.ts";
import { startDaemon } from "../src/daemon.ts";
import type { FrameBody, SessionId } from "../src/frame/frame.ts";
import { ScriptEngine } from "../test/conformance/engine.ts";
import { MASTER } from "../test/e2e/box.ts";

/** What is measured. */
export interface Order {
  readonly devices: number;
  /** To each device. */
  readonly frames: number;
  /** The first of them, which are not measured: the daemon is more code than a bare loop, and takes longer to be compiled. */
  readonly warm: number;
  /** Frames that are due in one turn of the loop. */
  readonly due: number;
  readonly folder: string;
  /** For the bare server: plaintext bytes of a record, and how many records it seals for each device in a turn and in all. */
  readonly bare?: { readonly bytes: number; readonly aTurn: number; readonly records: number };
}

const { devices, frames, warm, due, folder, bare: like } = JSON.parse(process.argv[2] ?? "{}") as Order;
const [emit, turns] = like === undefined ? await daemon() : await bare(like);
const commands = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
await commands.next();
const warmTurns = Math.round(turns * (warm / frames));
let before: NodeJS.CpuUsage | undefined;
let turn = 0;
(function more(): void {
  if (turn === warmTurns) before = process.cpuUsage();
  emit(turn++);
  if (turn < turns) setImmediate(more);
})();
await commands.next();
const { user, system } = process.cpuUsage(before);
say({ cpuMs: (user + system) / 1000 });

function say(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

async function daemon(): Promise<[(turn: number) => void, number]> {
  const engine = new ScriptEngine();
  const config = readConfig({
    CIB_AUTH_TOKEN: MASTER,
    CIB_LISTEN: "127.0.0.1:0",
    CIB_TCP_LISTEN: "127.0.0.1:0",
    CIB_MQTT_LISTEN: "off",
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
  const { session } = await post("/api/sessions", {});
  const keys: unknown[] = [];
  while (keys.length < devices) {
    const made = await post("/api/tokens", { label: "lamp", scopes: ["sessions:read"], device: true });
    keys.push(made["key"]);
  }
  say({ port: box.tcpPort, session, keys, frames, warm });
  const said = (i: number): FrameBody => ({
    type: "text.delta",
    text: `${i} `.padEnd(70, "lorem ipsum "),
    message: "msg_0000000001",
  });
  const emit = (turn: number) =>
    engine.say(session as SessionId, ...Array.from({ length: due }, (_, n) => said(turn * due + n)));
  return [emit, frames / due];
}

async function bare({ bytes, aTurn, records }: NonNullable<Order["bare"]>): Promise<[(turn: number) => void, number]> {
  const open: Socket[] = [];
  const server = createServer((socket) => {
    socket.setNoDelay(true);
    socket.on("error", () => undefined);
    open.push(socket);
    socket.write("hello"); // as the handshake does
  }).listen(0, "127.0.0.1");
  await new Promise((done) => server.once("listening", done));
  const [key, plain, nonce] = [randomBytes(32), randomBytes(bytes), Buffer.alloc(12)];
  const aad = Buffer.alloc(2);
  aad.writeUInt16BE(plain.length);
  say({
    port: (server.address() as AddressInfo).port,
    bytes: bytes * records,
    warmBytes: Math.round(bytes * records * (warm / frames)),
  });
  const emit = (turn: number) => {
    for (let i = 0; i < aTurn; i++) {
      nonce.writeUInt32BE(turn * aTurn + i, 8);
      for (const socket of open) {
        const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(aad);
        const sealed = cipher.update(plain);
        cipher.final();
        socket.write(Buffer.concat([aad, sealed, cipher.getAuthTag()]));
      }
    }
  };
  return [emit, records / aTurn];
}
