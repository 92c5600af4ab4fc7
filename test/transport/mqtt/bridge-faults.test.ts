/** Bridge, against a broker that does what a test wants: withholds acknowledgements, repeats, vanishes, lies. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { generate, type IPublishPacket, type Packet, parser } from "mqtt-packet";
import type { Control, Principal } from "../../../src/control/control.ts";
import {
  type BridgeOptions,
  createBridge,
  FIRST_WAIT_MS,
  LONGEST_WAIT_MS,
} from "../../../src/transport/mqtt/bridge.ts";
import { CONNECT_DEADLINE_MS, MAX_UNACKED } from "../../../src/transport/mqtt/bridge-line.ts";
import { TIMERS } from "../../../src/transport/timers.ts";
import { MASTER, openWorld } from "../../conformance/world.ts";
import { until } from "./mosquitto.ts";

/** A broker of a few lines: one client at a time. */
class Scripted implements AsyncDisposable {
  readonly #server: Server;
  #socket: Socket | undefined;
  readonly published: IPublishPacket[] = [];
  readonly acked = new Set<number>();
  readonly connects: Packet[] = [];
  /** Which messages it acknowledges. */
  acknowledges: (packet: IPublishPacket) => boolean = () => true;
  returnCode = 0;

  private constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket) => {
      this.#socket = socket;
      const parse = parser({ protocolVersion: 4 });
      parse.on("packet", (packet) => this.#take(packet));
      socket.on("data", (chunk) => parse.parse(chunk));
      socket.on("error", () => undefined);
    });
  }

  static async open(): Promise<Scripted> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Scripted(server);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  send(packet: Packet): void {
    this.#socket?.write(generate(packet));
  }

  raw(bytes: Buffer): void {
    this.#socket?.write(bytes);
  }

  cut(): void {
    this.#socket?.destroy();
  }

  command(messageId: number, message: object, dup = false): void {
    const payload = JSON.stringify({ reply: "cib/box/reply/me", ...message });
    this.send({ cmd: "publish", topic: "cib/box/cmd", payload, qos: 1, dup, retain: false, messageId });
  }

  on(topic: string): readonly Record<string, unknown>[] {
    const found = this.published.filter((each) => each.topic === topic);
    return found.map(({ payload }) => JSON.parse(payload.toString()) as Record<string, unknown>);
  }

  #take(packet: Packet): void {
    if (packet.cmd === "connect") {
      this.connects.push(packet);
      this.send({ cmd: "connack", returnCode: this.returnCode, sessionPresent: false });
    } else if (packet.cmd === "subscribe")
      this.send({ cmd: "suback", messageId: packet.messageId ?? 0, granted: packet.subscriptions.map(() => 1) });
    else if (packet.cmd === "puback") this.acked.add(packet.messageId ?? 0);
    else if (packet.cmd === "publish") {
      this.published.push(packet);
      if (packet.qos > 0 && this.acknowledges(packet)) this.send({ cmd: "puback", messageId: packet.messageId ?? 0 });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket?.destroy();
    this.#server.close();
  }
}

const WHO: Principal = { name: "t1", label: "t1", scopes: new Set(), ended: new AbortController().signal };

/** Control, as far as commands need it: what it was asked to run. */
function controlOf(run: (raw: Readonly<Record<string, unknown>>) => Promise<object> | object) {
  const ran: Readonly<Record<string, unknown>>[] = [];
  const control = {
    enter: () => WHO,
    watch: () => ({ [Symbol.dispose]: () => undefined }),
    run: async (_who: Principal, raw: Readonly<Record<string, unknown>>) => {
      ran.push(raw);
      return { body: await run(raw) };
    },
  } as unknown as Control;
  return { control, ran };
}

interface Rig {
  readonly options: BridgeOptions;
  readonly said: string[];
}

function rig(t: TestContext, port: number, more: Partial<BridgeOptions> = {}): Rig {
  const folder = mkdtempSync(join(tmpdir(), "cib-bridge-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const said: string[] = [];
  const options: BridgeOptions = {
    address: { host: "127.0.0.1", port, tls: false },
    token: "any",
    name: "box",
    id: "",
    frames: "both",
    version: "0",
    folder,
    now: Date.now,
    say: (line) => void said.push(line),
    onFault: (where, thrown) => assert.fail(`${where}: ${String(thrown)}`),
    ...more,
  };
  return { options, said };
}

test("a command that the broker repeats, on this line and on the next, runs once and has the same answer", async (t) => {
  await using broker = await Scripted.open();
  const { options } = rig(t, broker.port, { random: () => 0 });
  const { control, ran } = controlOf(async () => ({ model: "opus", ran: ran.length }));
  await using bridge = createBridge(options);
  await bridge.start(control, new AbortController().signal);
  await until("connected", () => bridge.counts["connected"]);
  const model = { cmd: "model", session: "s", model: "opus", id: "m" };
  broker.command(1, model);
  broker.command(2, model);
  await until("both are acknowledged, one is answered", () => broker.acked.has(2) && broker.on("cib/box/reply/me")[0]);
  broker.command(3, model, true);
  await until("a repeat is answered", () => broker.on("cib/box/reply/me").length >= 2);
  broker.cut();
  await until("the next line", () => broker.connects.length === 2 && bridge.counts["connected"]);
  const before = broker.on("cib/box/reply/me").length;
  broker.command(4, model, true);
  await until("it is answered there, too", () => broker.on("cib/box/reply/me").length > before);
  assert.equal(ran.length, 1);
  assert.ok(broker.on("cib/box/reply/me").every((reply) => reply["ran"] === 1));
  assert.equal(broker.on("cib/box/reply/me").at(-1)?.["duplicate"], true);
});

test("after a kill in the middle of a command: one with an id of control's runs again, one without is told to look", async (t) => {
  await using broker = await Scripted.open();
  const { options } = rig(t, broker.port, { random: () => 0 });
  const first = controlOf(() => new Promise<object>(() => undefined));
  const killed = createBridge(options);
  await killed.start(first.control, new AbortController().signal);
  await until("connected", () => killed.counts["connected"]);
  const session = "0b9c1d9e-7f0e-4c7c-9d38-000000000001";
  broker.command(1, { cmd: "input", session, text: "hi", id: "safe" });
  broker.command(2, { cmd: "interrupt", session, id: "unsafe" });
  await until("both run, and are acknowledged", () => first.ran.length === 2 && broker.acked.has(2));
  // Killed: nothing of it is closed, and nothing was answered; a second one finds its files.
  assert.deepEqual(broker.on("cib/box/reply/me"), []);
  const second = controlOf(() => ({ state: "accepted" }));
  await using bridge = createBridge(options);
  await bridge.start(second.control, new AbortController().signal);
  await until("both are answered", () => broker.on("cib/box/reply/me").length === 2);
  assert.deepEqual(
    second.ran.map(({ cmd, id }) => [cmd, id]),
    [["input", "safe"]],
  );
  const by = (re: string) => broker.on("cib/box/reply/me").find((reply) => reply["re"] === re);
  assert.equal(by("safe")?.["ok"], true);
  assert.match(JSON.stringify(by("unsafe")), /may have happened or not/);
  broker.cut();
  await killed[Symbol.asyncDispose]();
});

test("a reply that was not acknowledged is sent again over the next line, also by the next daemon", async (t) => {
  await using broker = await Scripted.open();
  const { options } = rig(t, broker.port, { random: () => 0 });
  const { control } = controlOf(() => ({ status: "ok" }));
  broker.acknowledges = ({ topic }) => topic !== "cib/box/reply/me";
  const first = createBridge(options);
  await first.start(control, new AbortController().signal);
  await until("connected", () => first.counts["connected"]);
  broker.command(1, { cmd: "health", id: "h" });
  await until("the reply", () => broker.on("cib/box/reply/me").length === 1);
  broker.cut();
  await until("the reply again", () => broker.on("cib/box/reply/me").length === 2);
  await first[Symbol.asyncDispose]();
  broker.acknowledges = () => true;
  await using second = createBridge(options);
  await second.start(control, new AbortController().signal);
  await until("and again", () => broker.on("cib/box/reply/me").length === 3);
  await until("it is done with", () => second.counts["queued"] === 0);
});

test("a broker that is away is tried again and again, each time later, and the operator is told once", async (t) => {
  const broker = await Scripted.open();
  const { port } = broker;
  await broker[Symbol.asyncDispose]();
  const waits: number[] = [];
  const due: (() => void)[] = [];
  const timers = {
    ...TIMERS,
    after: (ms: number, act: () => void) => {
      if (ms === CONNECT_DEADLINE_MS) return () => undefined;
      waits.push(ms);
      due.push(act);
      return () => undefined;
    },
  };
  const { options, said } = rig(t, port, { timers, random: () => 0 });
  const { control } = controlOf(() => ({}));
  await using bridge = createBridge(options);
  await bridge.start(control, new AbortController().signal);
  for (let tries = 1; tries <= 9; tries++) {
    await until("a wait", () => waits.length === tries);
    due.shift()?.();
  }
  const half = FIRST_WAIT_MS / 2;
  assert.deepEqual(
    waits.slice(0, 6),
    [1, 2, 4, 8, 16, 32].map((n) => Math.min(n * half, LONGEST_WAIT_MS / 2)),
  );
  assert.equal(waits.at(-1), LONGEST_WAIT_MS / 2);
  assert.equal(said.length, 1);
  assert.match(said[0] ?? "", /ECONNREFUSED.*trying again/);
});
test("no more frames are under way than the window holds, and what was not acknowledged comes again: no hole, at any cut", async () => {
  await using broker = await Scripted.open();
  await using world = await openWorld({
    CIB_MQTT_LISTEN: "off",
    CIB_MQTT_BRIDGE: `mqtt://127.0.0.1:${broker.port}`,
    CIB_MQTT_BRIDGE_NAME: "box",
    CIB_MQTT_BRIDGE_TOKEN: MASTER,
    CIB_MQTT_BRIDGE_FRAMES: "json",
  });
  await until("connected", () => broker.published.some(({ topic }) => topic === "cib/box/online"));
  const isFrame = ({ topic }: IPublishPacket) => topic.includes("/json/");
  const seqOf = ({ payload }: IPublishPacket) => (JSON.parse(payload.toString()) as { seq: number }).seq;
  /** What the broker has answered for, across every line. */
  const safe = new Set<number>();
  let left = 40;
  broker.acknowledges = (packet) => {
    if (!isFrame(packet)) return true;
    if (left-- <= 0) return false;
    safe.add(seqOf(packet));
    return true;
  };
  const response = await fetch(`${world.url}/api/sessions`, {
    method: "POST",
    headers: { authorization: `Bearer ${MASTER}`, "content-type": "application/json" },
    body: JSON.stringify({ engine: "stream", auth: { mode: "api_key" } }),
  });
  const { session } = (await response.json()) as { session: Parameters<typeof world.say>[0] };
  for (let i = 0; i < 400; i++) world.say(session, { type: "text.delta", text: String(i) });
  for (let cuts = 0; cuts < 2; cuts++) {
    const frames = () => broker.published.filter(isFrame).length;
    await until("the window is full", () => frames() >= safe.size + MAX_UNACKED || safe.size > 400);
    const unacked = broker.published.filter(isFrame).length - safe.size;
    assert.ok(unacked <= MAX_UNACKED * (cuts + 1) + cuts + 1, `${unacked} under way`);
    const lines = broker.connects.length;
    broker.cut();
    left = 40 + 30 * cuts;
    await until("the next line", () => broker.connects.length > lines);
  }
  left = Number.POSITIVE_INFINITY;
  broker.cut();
  await until("everything", () => safe.size >= 400 && broker.published.filter(isFrame).some((p) => seqOf(p) > 400));
  const last = Math.max(...safe);
  assert.deepEqual(
    [...safe].sort((a, b) => a - b),
    Array.from({ length: last }, (_, i) => i + 1),
  );
});

test("a broker that speaks no MQTT, or too much of it, loses its line and nothing more", async (t) => {
  await using broker = await Scripted.open();
  const { options, said } = rig(t, broker.port, { random: () => 0 });
  const { control } = controlOf(() => ({}));
  await using bridge = createBridge(options);
  await bridge.start(control, new AbortController().signal);
  for (const bytes of ["20ffffff7f", "ffffffffff", "3003"]) {
    await until("connected", () => bridge.counts["connected"]);
    const lines = broker.connects.length;
    broker.raw(Buffer.from(bytes, "hex"));
    if (bytes === "3003") broker.raw(Buffer.from([0, 99, 1]));
    await until("another line", () => broker.connects.length > lines);
  }
  assert.match(said.join("\n"), /does not speak MQTT/);
});
