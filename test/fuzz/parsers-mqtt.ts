/** Parsers of MQTT: packets, what a TLS client says first, commands as payloads of both brokers, and links over topics. */
import assert from "node:assert/strict";
import { parseCommand } from "../../src/control/commands.ts";
import { encodeValue } from "../../src/frame/codec.ts";
import { Commands } from "../../src/transport/mqtt/bridge-commands.ts";
import type { Memory } from "../../src/transport/mqtt/bridge-memory.ts";
import type { Client } from "../../src/transport/mqtt/client.ts";
import { MAX_HELLO_BYTES, wishOf } from "../../src/transport/mqtt/client-hello.ts";
import { Desk } from "../../src/transport/mqtt/desk.ts";
import { bytesOf, type Packet, Packets } from "../../src/transport/mqtt/packets.ts";
import { MAX_CONNECT_BYTES, Meter } from "../../src/transport/mqtt/wire.ts";
import { FakeControl } from "../transport/http/fake.ts";
import { TopicWorld } from "../transport/mqtt/topic-world.ts";
import { bytes, only, type Parser, SESSION } from "./parser.ts";

const control = new FakeControl();
const who = control.allow("fuzz", "fuzz", ["sessions:read", "sessions:write"]);
/** What went wrong after `run` had returned. */
const late: unknown[] = [];
const fault = (thrown: unknown) => void late.push(thrown);
function tellLate(): void {
  const [thrown] = late.splice(0);
  if (thrown !== undefined) throw thrown;
}

/** What stock clients send: CONNECT with a will, a subscription, a command, a ping, the end. */
const STOCK: readonly Packet[] = [
  {
    cmd: "connect",
    protocolId: "MQTT",
    protocolVersion: 4,
    clean: true,
    clientId: "0123456789abcdef-a",
    keepalive: 60,
    username: "cib",
    password: Buffer.from("0123456789abcdef"),
    will: { topic: "cib/cmd", payload: Buffer.from("{}"), qos: 1, retain: false },
  },
  { cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "cib/+/status", qos: 1 }] },
  { cmd: "publish", topic: "cib/cmd", payload: '{"cmd":"health"}', qos: 1, dup: false, retain: false, messageId: 2 },
  { cmd: "pingreq" },
  { cmd: "disconnect" },
];
/** Smaller than ours, so that what is too large is within reach. */
const MOST_BYTES = 300;

/** What came of a stream, cut at these places. */
function streamed(input: Buffer, cuts: readonly number[]): string {
  const [meter, packets, arrived] = [new Meter(), new Packets(MOST_BYTES), [] as unknown[]];
  let end = "";
  for (const [i, from] of cuts.entries()) {
    const chunk = input.subarray(from, cuts[i + 1]);
    if (end === "" && !meter.take(chunk)) end = "too large";
  }
  only([SyntaxError], () => {
    for (const [i, from] of cuts.entries()) arrived.push(...packets.take(input.subarray(from, cuts[i + 1])));
  });
  return `${end} ${JSON.stringify(arrived)}`;
}

let world: TopicWorld | undefined;

/** One that came in for links: the first byte says how far it gets before it sends the rest. */
function topicLink(input: Uint8Array): void {
  if (world === undefined) {
    const made = new TopicWorld();
    process.once("exit", () => made[Symbol.dispose]());
    world = made;
  }
  KEY ??= world.key();
  const device = world.device(KEY);
  const [stage = 0, rest] = [(input[0] ?? 0) & 3, input.subarray(1)];
  if (stage > 0) {
    device.up(device.link.hello);
    const reply = device.outlet.sent.at(-1);
    assert.ok(reply !== undefined, "link: a good hello without a reply");
    device.link.take(reply.payload);
  }
  if (stage > 1) device.up(device.link.seal(new Uint8Array()));
  device.up(stage === 3 ? device.link.seal(rest.subarray(0, 4096)) : rest);
  if (stage > 1) device.up(device.link.seal(encodeValue({ bye: "done" })));
  device.end.closed();
  world.refused.length = 0;
  late.push(...world.faults.splice(0));
}
let KEY: ReturnType<TopicWorld["key"]> | undefined;

const commands = (format: (value: object) => Uint8Array, more: object): Uint8Array[] =>
  [
    { cmd: "health", id: "1" },
    { cmd: "input", session: SESSION, text: "hi", id: "2" },
    { cmd: "attach", session: SESSION, from: 1, types: ["stop"] },
    { cmd: "sessions.create", id: "3", env: { A: "b" } },
  ].map((command) => format({ ...command, ...more }));
const json = (value: object) => bytes(JSON.stringify(value));

export const MQTT_PARSERS: readonly Parser[] = [
  {
    name: "mqtt-stream",
    seeds: [Buffer.concat(STOCK.map(bytesOf)), ...STOCK.map(bytesOf)],
    run: (input) => {
      const all = Buffer.from(input);
      const at = (all[0] ?? 0) % (all.length + 1);
      // What a stream brings is the same in any cut; but where it ends in a fault, what came before that is told or not.
      const [whole, cut] = [streamed(all, [0]), streamed(all, [0, at, Math.min(all.length, at + 1)])];
      if (whole.startsWith(" ") !== cut.startsWith(" ")) throw new Error(`mqtt: ${whole} whole, ${cut} in pieces`);
      if (all.length > MAX_CONNECT_BYTES + 5 && whole === " []") throw new Error("mqtt: collected, and nothing said");
    },
  },
  {
    name: "client-hello",
    seeds: [
      Buffer.from(`1603010030010000${"2c0303"}${"00".repeat(32)}00${"0004c02fc0350100"}`, "hex"),
      Buffer.from(`1603010050010000${"4c0303"}${"00".repeat(32)}20${"11".repeat(32)}${"0002d0010100"}`, "hex"),
    ],
    run: (input) => {
      const wish = wishOf(input);
      for (let size = 0; size < Math.min(input.length, 512); size++) {
        const sooner = wishOf(input.subarray(0, size));
        if (sooner !== undefined && sooner !== wish) throw new Error(`hello: ${sooner} after ${size}, then ${wish}`);
      }
      const full = new Uint8Array(MAX_HELLO_BYTES);
      full.set(input.subarray(0, MAX_HELLO_BYTES));
      if (wishOf(full) === undefined) throw new Error("hello: it never tells");
    },
  },
  {
    name: "mqtt-command",
    seeds: [...commands(json, {}), ...commands(encodeValue, {})],
    run: (input) => {
      const told: Buffer[] = [];
      const client: Pick<Client, "id" | "granted" | "publish" | "close"> = {
        id: "fuzz",
        granted: () => 1,
        publish: (_topic, payload) => told.push(Buffer.from(payload)) > 0,
        close: () => undefined,
      };
      const desk = new Desk({ client: client as Client, who, control, fault });
      desk.message(Buffer.from(input), undefined);
      desk.message(Buffer.from(input), SESSION as Parameters<Desk["message"]>[1]);
      desk.closed();
    },
    settled: tellLate,
  },
  {
    name: "bridge-command",
    seeds: [...commands(json, { reply: "cib/box/reply/me" }), ...commands(encodeValue, { reply: "cib/box/reply/me" })],
    run: (input) => {
      const memory: Pick<Memory, "find" | "begin" | "end"> = {
        find: () => undefined,
        begin: async () => undefined,
        end: () => undefined,
      };
      const bridge = new Commands({
        control: { run: async (_, raw) => ({ body: { done: parseCommand(raw).cmd } }) },
        root: "cib/box",
        who: () => who,
        memory: memory as Memory,
        reply: async (topic) => assert.match(topic, /^cib\/box\/reply\/[^+#\0]+$/),
        dropped: () => undefined,
        fault,
        signal: new AbortController().signal,
      });
      for (const topic of ["cib/box/cmd", `cib/box/${SESSION}/cmd`]) {
        bridge.take({ topic, payload: Buffer.from(input), retain: false }).catch(fault);
      }
    },
    settled: tellLate,
  },
  {
    name: "topic-link",
    seeds: [
      Buffer.concat([Uint8Array.of(0), bytes("CIB1\u{1}\u{1}\u{0}\u{0}01234567")]),
      Buffer.concat([Uint8Array.of(1), Buffer.alloc(40)]),
      Buffer.concat([Uint8Array.of(2), Buffer.alloc(40)]),
      ...commands(encodeValue, {}).map((each) => Buffer.concat([Uint8Array.of(3), each, each])),
    ],
    run: topicLink,
    settled: tellLate,
  },
];
