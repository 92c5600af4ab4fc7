/** Links over WebSocket and those who attack them: silence for whoever holds no key, bounded memory, and nobody else harmed. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { DeviceKeys } from "../../../src/auth/device-keys.ts";
import { Gate } from "../../../src/auth/gate.ts";
import { Links, MAX_HALF_OPEN_A_KEY } from "../../../src/auth/links.ts";
import { SCOPES } from "../../../src/auth/scopes.ts";
import { Tokens } from "../../../src/auth/tokens.ts";
import { Vault } from "../../../src/auth/vault.ts";
import { NodeSocket } from "../../../src/client/node-socket.ts";
import { nodeProvider } from "../../../src/crypto/aead-node.ts";
import { ClientLink } from "../../../src/crypto/link-client.ts";
import { LinkKey } from "../../../src/crypto/schedule.ts";
import { encodeValue } from "../../../src/frame/codec.ts";
import type { CallerLimits } from "../../../src/transport/callers.ts";
import { MAX_LINK_MESSAGE_BYTES } from "../../../src/transport/http/ws-link.ts";
import { HANDSHAKE_DEADLINE_MS, KEEP_ALIVE_MS, SILENCE_MS } from "../../../src/transport/link-caller.ts";
import type { DeviceKey } from "../../conformance/link-client.ts";
import { WsLinkClient } from "../../conformance/ws-link-client.ts";
import { Hands } from "../hands.ts";
import { type Box, openBox, TOKEN } from "./fake.ts";

const folder = mkdtempSync(join(tmpdir(), "cib-ws-link-"));
after(() => rmSync(folder, { recursive: true }));
const vault = new Vault("m".repeat(40), Buffer.alloc(16));
let files = 0;

class World implements AsyncDisposable {
  readonly hands = new Hands();
  readonly refused: string[] = [];
  readonly box: Box;
  readonly #changed: (() => void)[];
  readonly #tokens = new Tokens(join(folder, `tokens-${files++}.json`), () => this.hands.now);
  readonly #keys = new DeviceKeys({
    file: join(folder, `devices-${files}.json`),
    vault,
    provider: nodeProvider,
    now: () => 0,
  });

  private constructor(box: Box, hands: Hands, refused: string[], changed: (() => void)[]) {
    this.box = box;
    this.hands = hands;
    this.refused = refused;
    this.#changed = changed;
    const gate = new Gate({
      masterToken: "m".repeat(40),
      tokens: this.#tokens,
      plain: "loopback",
      now: () => hands.now,
    });
    const links = new Links({ keys: this.#keys, gate, provider: nodeProvider, random: randomBytes });
    box.control.link = (wish) => links.greet(wish);
  }

  static async open(limits?: CallerLimits): Promise<World> {
    const hands = new Hands();
    const refused: string[] = [];
    const changed: (() => void)[] = [];
    const box = await openBox({
      links: {
        now: () => hands.now,
        timers: hands,
        limits,
        refused: (_, why) => {
          refused.push(why);
          for (const wake of changed.splice(0)) wake();
        },
      },
    });
    return new World(box, hands, refused, changed);
  }

  get counts() {
    return this.box.http.links;
  }

  /** A device's key, and the token it belongs to. */
  device(requireX25519 = false): DeviceKey & { readonly token: string } {
    const token = Tokens.newId();
    this.#tokens.issue(token, { label: "lamp", scopes: [...SCOPES] });
    return { ...this.#keys.create(token, requireX25519), token };
  }

  revoke(token: string): void {
    this.#tokens.revoke(token);
  }

  async until(count: number): Promise<void> {
    while (this.refused.length < count) await new Promise<void>((resolve) => this.#changed.push(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.box[Symbol.asyncDispose]();
    this.#tokens[Symbol.dispose]();
    assert.deepEqual(this.box.faults, []);
  }
}

/** A bare WebSocket: its messages, and its end. */
class Bare {
  readonly socket: NodeSocket;
  readonly got: Uint8Array[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly #wakes: (() => void)[] = [];

  private constructor(world: World, opened: () => void, protocols: string[], query: string) {
    this.socket = new NodeSocket(`${world.box.url}/ws${query}`, protocols);
    this.socket.onopen = opened;
    this.socket.onmessage = ({ data }) => {
      this.got.push(data as Uint8Array);
      for (const wake of this.#wakes.splice(0)) wake();
    };
    this.closed = new Promise((resolve) => {
      this.socket.onclose = (event) => {
        resolve(event);
        opened();
      };
    });
  }

  static open(world: World, protocols = ["cib.v1.link"], query = ""): Promise<Bare> {
    return new Promise((resolve) => {
      const bare: Bare = new Bare(world, () => resolve(bare), protocols, query);
    });
  }

  async message(index: number): Promise<Uint8Array> {
    for (;;) {
      const message = this.got[index];
      if (message !== undefined) return message;
      await new Promise<void>((resolve) => this.#wakes.push(resolve));
    }
  }
}

function clientLink(key: DeviceKey, carrier: "socket" | "mqtt" = "socket"): ClientLink {
  return new ClientLink({
    provider: nodeProvider,
    carrier,
    accepts: 4096,
    key: new LinkKey(nodeProvider, Buffer.from(key.secret, "hex")),
    keyId: Buffer.from(key.id, "hex"),
    fresh: { boot: 1, counter: 0, random: randomBytes(16) },
    random: (size) => randomBytes(size),
  });
}

/** Greeted and answered, with nothing sent after it. */
async function halfOpen(world: World, key: DeviceKey): Promise<{ bare: Bare; link: ClientLink }> {
  const bare = await Bare.open(world);
  const link = clientLink(key);
  bare.socket.send(link.hello);
  link.take(await bare.message(0));
  return { bare, link };
}

test("whoever holds no key is closed without a byte, whatever was wrong", async () => {
  await using world = await World.open();
  const key = world.device();
  const { hello } = clientLink(key);
  const strangers: readonly (readonly [string, Uint8Array | string])[] = [
    ["magic", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
    ["mac", hello.map((byte, i) => (i === 47 ? byte ^ 1 : byte))],
    ["mac", clientLink({ ...key, id: "00".repeat(8) }).hello],
    ["mac", clientLink({ ...key, secret: "00".repeat(32) }).hello],
    ["x25519", clientLink(world.device(true)).hello],
    ["size", hello.subarray(0, 47)],
    ["size", Buffer.concat([hello, Buffer.alloc(1)])],
    ["carrier", clientLink(key, "mqtt").hello],
    ["order", "hello"],
  ];
  for (const [i, [why, bytes]] of strangers.entries()) {
    const bare = await Bare.open(world);
    bare.socket.send(bytes);
    // 1006: not even a close frame.
    assert.deepEqual(await bare.closed, { code: 1006, reason: "" });
    assert.equal(bare.got.length, 0);
    assert.equal(world.refused[i], why);
  }
  assert.deepEqual(world.counts, { live: 0, halfOpen: 0, refused: strangers.length });
});

test("a foreign origin, a token beside it, and a query are refused before there is a link", async () => {
  await using world = await World.open();
  for (const [protocols, query] of [
    [["cib.v1.link", `bearer.${TOKEN}`], ""],
    [["cib.v1.link", "cib.v1.json"], "?session=x"],
  ] as const)
    assert.equal((await (await Bare.open(world, [...protocols], query)).closed).code, 4400);
  const foreign = await fetch(`${world.box.url}/ws`, {
    headers: { origin: "http://evil.example", "sec-websocket-protocol": "cib.v1.link" },
  });
  assert.ok(foreign.status >= 400);
  assert.deepEqual(world.counts, { live: 0, halfOpen: 0, refused: 0 });
});

test("a caller has five seconds to prove itself, with a hello or without", async () => {
  await using world = await World.open();
  const silent = await Bare.open(world);
  const { bare: half } = await halfOpen(world, world.device());
  world.hands.advance(HANDSHAKE_DEADLINE_MS - 1);
  assert.equal(world.counts.halfOpen, 2);
  world.hands.advance(1);
  await Promise.all([silent.closed, half.closed]);
  assert.deepEqual(world.refused, ["deadline", "deadline"]);
  assert.equal(world.hands.waiting, 0);
});

test("callers who prove nothing push each other out, the oldest first, and a device still gets in", async () => {
  await using world = await World.open({ halfOpen: 20, halfOpenAnAddress: 8 });
  const flood: Bare[] = [];
  for (let i = 0; i < 60; i++) flood.push(await Bare.open(world));
  const client = await WsLinkClient.open(world.box.url, world.device());
  assert.ok((await client.ask({ cmd: "health" })) !== undefined);
  await world.until(52);
  assert.ok(world.counts.halfOpen <= 8);
  await Promise.all(flood.slice(0, 52).map(({ closed }) => closed));
  for (const { socket } of flood) socket.terminate();
  client.socket.terminate();
});

test("of one key two links may be half-open; a third pushes out the oldest", async () => {
  await using world = await World.open();
  const key = world.device();
  const links: Bare[] = [];
  for (let i = 0; i <= MAX_HALF_OPEN_A_KEY; i++) links.push((await halfOpen(world, key)).bare);
  await links[0]?.closed;
  assert.equal(world.counts.halfOpen, MAX_HALF_OPEN_A_KEY);
  for (const { socket } of links) socket.terminate();
});

test("a replayed hello earns a reply, and neither closes the living link nor lives", async () => {
  await using world = await World.open();
  const { bare, link } = await halfOpen(world, world.device());
  const first = link.seal(encodeValue({ cmd: "health", id: "a" }));
  bare.socket.send(first);
  await bare.message(1);
  const replay = await Bare.open(world);
  replay.socket.send(link.hello);
  await replay.message(0);
  replay.socket.send(first);
  await replay.closed;
  assert.deepEqual(world.refused, ["tag"]);
  assert.equal(world.counts.live, 1);
  bare.socket.terminate();
});

test("a first record withheld and sent late evicts nobody newer; the newest link tells the older", async () => {
  await using world = await World.open();
  const key = world.device();
  const { bare: old, link } = await halfOpen(world, key);
  const withheld = link.seal(new Uint8Array());
  const one = await WsLinkClient.open(world.box.url, key);
  await one.ask({ cmd: "health" });
  await old.closed;
  old.socket.send(withheld);
  const two = await WsLinkClient.open(world.box.url, key);
  assert.ok((await two.ask({ cmd: "health" })) !== undefined);
  assert.equal(await one.ended, "superseded");
  assert.equal(world.counts.live, 1);
  two.socket.terminate();
});

test("a record altered, cut, repeated, skipped, reflected or too long closes the link, and what it said does not happen", async () => {
  await using world = await World.open();
  const stop = (client: WsLinkClient) => client.link.seal(encodeValue({ cmd: "sessions.stop" }));
  const attacks: readonly (readonly [string, (client: WsLinkClient) => readonly Uint8Array[]])[] = [
    ["tag", (client) => [stop(client).map((byte, i) => (i === 20 ? byte ^ 1 : byte))]],
    ["size", (client) => [stop(client).subarray(0, -1)]],
    [
      "tag",
      (client) => {
        const record = client.link.seal(encodeValue({ cmd: "tokens.list" }));
        return [record, record];
      },
    ],
    ["tag", (client) => [stop(client), stop(client)].slice(1)],
    ["tag", (client) => [client.raw.at(-1) as Uint8Array]],
    ["too_large", () => [Buffer.alloc(MAX_LINK_MESSAGE_BYTES)]],
  ];
  for (const [i, [why, attack]] of attacks.entries()) {
    const client = await WsLinkClient.open(world.box.url, world.device());
    await client.ask({ cmd: "health" });
    for (const record of attack(client)) client.socket.send(record);
    assert.equal(await client.ended, "cut");
    assert.equal(world.refused[i], why);
  }
  const run = world.box.control.commands.map(({ cmd }) => cmd);
  assert.deepEqual([run.includes("sessions.stop"), run.filter((cmd) => cmd === "tokens.list").length], [false, 1]);
});

test("a message past every limit is cut off by the listener before anybody reads it", async () => {
  await using world = await World.open();
  const bare = await Bare.open(world);
  bare.socket.send(Buffer.alloc(MAX_LINK_MESSAGE_BYTES + 1));
  assert.equal((await bare.closed).code, 1006);
  assert.deepEqual(world.counts, { live: 0, halfOpen: 0, refused: 0 });
});

test("a revoked token ends its link at once, and its key opens no other", async () => {
  await using world = await World.open();
  const key = world.device();
  const client = await WsLinkClient.open(world.box.url, key);
  await client.ask({ cmd: "health" });
  world.revoke(key.token);
  assert.equal(await client.ended, "revoked");
  await assert.rejects(WsLinkClient.open(world.box.url, key), { code: "unauthorized" });
});

test("an idle link is kept alive by empty records, and a silent one is found dead", async () => {
  await using world = await World.open();
  const { bare, link } = await halfOpen(world, world.device());
  bare.socket.send(link.seal(encodeValue({ cmd: "health", id: "a" })));
  link.take(await bare.message(1));
  assert.equal(world.hands.running, 1);
  world.hands.advance(KEEP_ALIVE_MS);
  const beat = link.take(await bare.message(2));
  assert.ok(beat.kind === "record" && beat.plaintext.length === 0);
  world.hands.advance(SILENCE_MS);
  await bare.closed;
  assert.deepEqual([world.counts.live, world.hands.waiting], [0, 0]);
});

test("when the box stops, links are told and callers are not", async () => {
  await using world = await World.open();
  const client = await WsLinkClient.open(world.box.url, world.device());
  await client.ask({ cmd: "health" });
  const bare = await Bare.open(world);
  world.box.stop();
  assert.equal(await client.ended, "stopping");
  assert.deepEqual([(await bare.closed).code, bare.got.length], [1006, 0]);
});
