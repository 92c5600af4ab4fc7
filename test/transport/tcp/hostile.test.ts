/** Raw TCP and those who attack it: silence for whoever holds no key, bounded memory, and nobody else harmed. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { DeviceKeys } from "../../../src/auth/device-keys.ts";
import { Gate } from "../../../src/auth/gate.ts";
import { Links, MAX_HALF_OPEN_A_KEY } from "../../../src/auth/links.ts";
import { SCOPES } from "../../../src/auth/scopes.ts";
import { Tokens } from "../../../src/auth/tokens.ts";
import { Vault } from "../../../src/auth/vault.ts";
import { nodeProvider } from "../../../src/crypto/aead-node.ts";
import { ClientLink } from "../../../src/crypto/link-client.ts";
import { LinkKey } from "../../../src/crypto/schedule.ts";
import { encodeValue } from "../../../src/frame/codec.ts";
import { HANDSHAKE_DEADLINE_MS, KEEP_ALIVE_MS, SILENCE_MS } from "../../../src/transport/link-caller.ts";
import { createTcp, type TcpOptions } from "../../../src/transport/tcp/server.ts";
import type { DeviceKey } from "../../conformance/link-client.ts";
import { TcpLinkClient } from "../../conformance/tcp-link-client.ts";
import { Hands } from "../hands.ts";
import { FakeControl } from "../http/fake.ts";

const folder = mkdtempSync(join(tmpdir(), "cib-tcp-"));
after(() => rmSync(folder, { recursive: true }));
const vault = new Vault("m".repeat(40), Buffer.alloc(16));
let files = 0;

class World implements AsyncDisposable {
  readonly hands = new Hands();
  readonly control = new FakeControl();
  readonly refused: string[] = [];
  readonly faults: unknown[] = [];
  readonly #stopping = new AbortController();
  readonly #changed: (() => void)[] = [];
  readonly #tokens = new Tokens(join(folder, `tokens-${files++}.json`), () => this.hands.now);
  readonly keys = new DeviceKeys({
    file: join(folder, `devices-${files}.json`),
    vault,
    provider: nodeProvider,
    now: () => 0,
  });
  readonly #tcp: ReturnType<typeof createTcp>;

  constructor(limits: TcpOptions["limits"] = {}) {
    const gate = new Gate({
      masterToken: "m".repeat(40),
      tokens: this.#tokens,
      plain: "loopback",
      now: () => this.hands.now,
    });
    const links = new Links({ keys: this.keys, gate, provider: nodeProvider, random: randomBytes });
    this.control.link = (wish) => links.greet(wish);
    this.#tcp = createTcp({
      listen: { host: "127.0.0.1", port: 0 },
      now: () => this.hands.now,
      timers: this.hands,
      limits,
      onFault: (_, thrown) => this.faults.push(thrown),
      onRefused: (_, why) => {
        this.refused.push(why);
        for (const wake of this.#changed.splice(0)) wake();
      },
    });
  }

  static async open(limits?: TcpOptions["limits"]): Promise<World> {
    const world = new World(limits);
    await world.#tcp.start(world.control, world.#stopping.signal);
    return world;
  }

  get port(): number {
    return this.#tcp.port;
  }

  get counts() {
    return this.#tcp.counts;
  }

  stop(): void {
    this.#stopping.abort();
  }

  /** A device's key, and the token it belongs to. */
  device(requireX25519 = false): DeviceKey & { readonly token: string } {
    const token = Tokens.newId();
    this.#tokens.issue(token, { label: "lamp", scopes: [...SCOPES] });
    return { ...this.keys.create(token, requireX25519), token };
  }

  revoke(token: string): void {
    this.#tokens.revoke(token);
  }

  /** Until so many have been refused. */
  async until(count: number): Promise<void> {
    while (this.refused.length < count) await new Promise<void>((resolve) => this.#changed.push(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tcp[Symbol.asyncDispose]();
    this.#tokens[Symbol.dispose]();
    assert.deepEqual(this.faults, []);
  }
}

/** A bare connection: what it reads, and its end. */
class Bare {
  readonly socket: Socket;
  readonly closed: Promise<unknown>;
  readonly #chunks: Buffer[] = [];
  readonly #wakes: (() => void)[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      this.#chunks.push(chunk);
      for (const wake of this.#wakes.splice(0)) wake();
    });
    this.closed = new Promise((resolve) => socket.on("close", resolve));
  }

  static async open(world: World): Promise<Bare> {
    const socket = connect(world.port, "127.0.0.1");
    const bare = new Bare(socket);
    await once(socket, "connect");
    return bare;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  async read(size: number): Promise<Buffer> {
    while (this.bytes.length < size) await new Promise<void>((resolve) => this.#wakes.push(resolve));
    return this.bytes.subarray(0, size);
  }
}

function clientLink(key: DeviceKey, more: { x25519?: "require" } = {}): ClientLink {
  return new ClientLink({
    provider: nodeProvider,
    carrier: "stream",
    accepts: 4096,
    key: new LinkKey(nodeProvider, Buffer.from(key.secret, "hex")),
    keyId: Buffer.from(key.id, "hex"),
    fresh: { boot: 1, counter: 0, random: randomBytes(16) },
    random: (size) => randomBytes(size),
    ...more,
  });
}

/** Greeted and answered, with nothing sent after it. */
async function halfOpen(world: World, key: DeviceKey): Promise<{ bare: Bare; link: ClientLink }> {
  const bare = await Bare.open(world);
  const link = clientLink(key);
  bare.socket.write(link.hello);
  link.take(await bare.read(40));
  return { bare, link };
}

test("whoever holds no key is closed without a byte, whatever was wrong", async () => {
  await using world = await World.open();
  const key = world.device();
  const hello = clientLink(key).hello;
  const altered = Uint8Array.from(hello);
  altered[47] = (altered[47] as number) ^ 1;
  const unknown = clientLink({ ...key, id: "00".repeat(8) }).hello;
  const wrong = clientLink({ ...key, secret: "00".repeat(32) }).hello;
  const strangers: readonly (readonly [string, Uint8Array])[] = [
    ["magic", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
    ["mac", altered],
    ["mac", unknown],
    ["mac", wrong],
    ["x25519", clientLink(world.device(true)).hello],
  ];
  for (const [i, [why, bytes]] of strangers.entries()) {
    const bare = await Bare.open(world);
    bare.socket.write(bytes);
    await bare.closed;
    assert.equal(bare.bytes.length, 0);
    assert.equal(world.refused[i], why);
  }
  assert.deepEqual(world.counts, { live: 0, halfOpen: 0, refused: strangers.length });
});

test("a link lives through its first record, also byte by byte and with X25519", async () => {
  await using world = await World.open();
  const bare = await Bare.open(world);
  const link = clientLink(world.device(true), { x25519: "require" });
  for (const byte of link.hello) bare.socket.write(Uint8Array.of(byte));
  link.take(await bare.read(72));
  assert.deepEqual(world.counts, { live: 0, halfOpen: 1, refused: 0 });
  const record = link.seal(encodeValue({ cmd: "health", id: "a" }));
  for (const byte of record) bare.socket.write(Uint8Array.of(byte));
  const head = await bare.read(74);
  const size = 18 + head.readUInt16BE(72);
  const taken = link.take((await bare.read(72 + size)).subarray(72));
  assert.ok(taken.kind === "record");
  assert.deepEqual(world.counts, { live: 1, halfOpen: 0, refused: 0 });
  bare.socket.destroy();
});

test("a caller has five seconds to prove itself, however slowly it talks", async () => {
  await using world = await World.open();
  const key = world.device();
  const silent = await Bare.open(world);
  const slow = await Bare.open(world);
  slow.socket.write(clientLink(key).hello.subarray(0, 20));
  const { bare: half } = await halfOpen(world, key);
  world.hands.advance(HANDSHAKE_DEADLINE_MS - 1);
  assert.equal(world.counts.halfOpen, 3);
  world.hands.advance(1);
  await Promise.all([silent.closed, slow.closed, half.closed]);
  assert.deepEqual(world.refused, ["deadline", "deadline", "deadline"]);
  assert.equal(world.counts.halfOpen, 0);
});

test("callers who prove nothing push each other out, the oldest first, and a device still gets in", async () => {
  await using world = await World.open({ halfOpen: 20, halfOpenAnAddress: 8 });
  const flood: Bare[] = [];
  for (let i = 0; i < 60; i++) flood.push(await Bare.open(world));
  const client = await TcpLinkClient.open(world.port, world.device());
  assert.ok((await client.ask({ cmd: "health" })) !== undefined);
  await world.until(52);
  assert.ok(world.counts.halfOpen <= 8);
  await Promise.all(flood.slice(0, 52).map(({ closed }) => closed));
  for (const { socket } of flood) socket.destroy();
  client.socket.destroy();
});

test("of one key two links may be half-open; a third pushes out the oldest", async () => {
  await using world = await World.open();
  const key = world.device();
  const links: Bare[] = [];
  for (let i = 0; i <= MAX_HALF_OPEN_A_KEY; i++) links.push((await halfOpen(world, key)).bare);
  await links[0]?.closed;
  assert.equal(world.counts.halfOpen, MAX_HALF_OPEN_A_KEY);
  for (const { socket } of links) socket.destroy();
});

test("a replayed hello earns a reply, and neither closes the living link nor lives", async () => {
  await using world = await World.open();
  const key = world.device();
  const { bare, link } = await halfOpen(world, key);
  const first = link.seal(new Uint8Array());
  bare.socket.write(first);
  bare.socket.write(link.seal(encodeValue({ cmd: "health", id: "a" })));
  await bare.read(60);
  const replay = await Bare.open(world);
  replay.socket.write(link.hello);
  await replay.read(40);
  replay.socket.write(first);
  await replay.closed;
  assert.deepEqual(world.refused, ["tag"]);
  assert.equal(world.counts.live, 1);
  bare.socket.destroy();
});

test("the newest link of a key wins, and tells the older one so", async () => {
  await using world = await World.open();
  const key = world.device();
  const one = await TcpLinkClient.open(world.port, key);
  await one.ask({ cmd: "health" });
  const two = await TcpLinkClient.open(world.port, key);
  await two.ask({ cmd: "health" });
  assert.equal(await one.ended, "superseded");
  assert.equal(world.counts.live, 1);
  two.socket.destroy();
});

test("a first record withheld and sent late evicts nobody newer", async () => {
  await using world = await World.open();
  const key = world.device();
  const { bare: old, link } = await halfOpen(world, key);
  const withheld = link.seal(new Uint8Array());
  const client = await TcpLinkClient.open(world.port, key);
  await client.ask({ cmd: "health" });
  await old.closed;
  old.socket.write(withheld);
  assert.ok((await client.ask({ cmd: "health" })) !== undefined);
  assert.equal(world.counts.live, 1);
  client.socket.destroy();
});

test("a record altered, repeated, skipped, reflected or too long closes the link, and what it said does not happen", async () => {
  await using world = await World.open();
  const stop = (client: TcpLinkClient) => client.link.seal(encodeValue({ cmd: "sessions.stop" }));
  let reflected: Uint8Array | undefined;
  const attacks: readonly ((client: TcpLinkClient) => readonly Uint8Array[])[] = [
    (client) => [stop(client).map((byte, i) => (i === 20 ? byte ^ 1 : byte))],
    (client) => {
      const record = client.link.seal(encodeValue({ cmd: "tokens.list" }));
      return [record, record];
    },
    (client) => [stop(client), stop(client)].slice(1),
    () => [reflected as Uint8Array],
    () => [Uint8Array.of(0xff, 0xff)],
  ];
  for (const [i, attack] of attacks.entries()) {
    const client = await TcpLinkClient.open(world.port, world.device());
    client.socket.once("data", (chunk) => {
      reflected = Uint8Array.from(chunk);
    });
    await client.ask({ cmd: "health" });
    for (const record of attack(client)) client.socket.write(record);
    assert.equal(await client.ended, "cut");
    assert.equal(world.refused.length, i + 1);
  }
  assert.deepEqual(world.refused, ["tag", "tag", "tag", "tag", "too_large"]);
  const run = world.control.commands.map(({ cmd }) => cmd);
  assert.deepEqual([run.includes("sessions.stop"), run.filter((cmd) => cmd === "tokens.list").length], [false, 1]);
});

test("several commands in one record are several commands, and their replies come back", async () => {
  await using world = await World.open();
  const client = await TcpLinkClient.open(world.port, world.device());
  const replies = ["a", "b", "c"].map((id) => client.ask({ cmd: "health", id }));
  assert.equal((await Promise.all(replies)).length, 3);
  client.send({ cmd: "health", id: "d" }, { cmd: "health", id: "e" }, { bye: "done" });
  assert.equal(await client.ended, "cut");
  assert.deepEqual(world.refused, [], "an authenticated bye is no fault");
});

test("what is no CBOR is refused in words, and closes the link when it goes on", async () => {
  await using world = await World.open();
  const client = await TcpLinkClient.open(world.port, world.device());
  for (let i = 0; i < 8; i++) client.socket.write(client.link.seal(Uint8Array.of(0x9b, 0x7f, 0xff)));
  assert.equal(await client.ended, "bad_request");
});

test("a command of indefinite length or with a tag is refused and does not run, alone and behind another one", async () => {
  await using world = await World.open();
  const refused = {
    "map without a length": "bf63636d646d73657373696f6e732e73746f70ff",
    "text without a length": "a163636d647f6d73657373696f6e732e73746f70ff",
    "tag of CBOR itself": "d9d9f7a163636d646d73657373696f6e732e73746f70",
    // Shared references, each to the one before, twice: 2 to the 24th arrays, if anybody followed them.
    "tags in tags": `a163636d64${"d81c82".repeat(24)}80${Array.from({ length: 24 }, (_, i) => `d81d18${(24 - i).toString(16).padStart(2, "0")}`).join("")}`,
  };
  for (const [what, hex] of Object.entries(refused)) {
    const client = await TcpLinkClient.open(world.port, world.device());
    const replies: string[] = [];
    const bytes = Buffer.from(hex, "hex");
    client.told = (re, error) =>
      replies.push(`${String(re)} ${String((error as { code?: string } | undefined)?.code)}`);
    client.socket.write(client.link.seal(bytes));
    client.socket.write(client.link.seal(Buffer.concat([encodeValue({ cmd: "health", id: "before" }), bytes])));
    await client.ask({ cmd: "health", id: "after" });
    assert.deepEqual(
      replies.sort(),
      ["after undefined", "before undefined", "null bad_request", "null bad_request"],
      what,
    );
    client.socket.destroy();
  }
  assert.equal(world.control.commands.filter(({ cmd }) => cmd === "sessions.stop").length, 0);
});

test("a client with the smallest buffer is told everything in pieces that fit", async () => {
  await using world = await World.open();
  world.control.answers.set("sessions.list", () => ({ body: { sessions: ["x".repeat(500)] } }));
  const client = await TcpLinkClient.open(world.port, world.device(), { accepts: 128 });
  await assert.rejects(client.ask({ cmd: "sessions.list" }), { code: "too_large" });
  await assert.rejects(client.ask({ cmd: "attach", session: "y".repeat(60) }), { code: "bad_request" });
  client.socket.destroy();
});

test("a revoked token ends its link at once, and its key opens no other", async () => {
  await using world = await World.open();
  const key = world.device();
  const client = await TcpLinkClient.open(world.port, key);
  await client.ask({ cmd: "health" });
  world.revoke(key.token);
  assert.equal(await client.ended, "revoked");
  await assert.rejects(TcpLinkClient.open(world.port, key), { code: "unauthorized" });
});

test("an idle link is kept alive by empty records, and a silent one is found dead", async () => {
  await using world = await World.open();
  const { bare, link } = await halfOpen(world, world.device());
  bare.socket.write(link.seal(encodeValue({ cmd: "health", id: "a" })));
  const size = 42 + 16 + (await bare.read(42)).readUInt16BE(40);
  await bare.read(size);
  assert.equal(world.hands.running, 1);
  world.hands.advance(KEEP_ALIVE_MS);
  const beat = (await bare.read(size + 18)).subarray(size);
  link.take((await bare.read(size)).subarray(40));
  assert.deepEqual(link.take(beat), { kind: "record", plaintext: Buffer.alloc(0), first: false });
  world.hands.advance(SILENCE_MS);
  await bare.closed;
  assert.equal(world.counts.live, 0);
  assert.equal(world.hands.running, 0, "without a link nothing runs");
});

test("when the daemon stops, links are told and callers are not", async () => {
  await using world = await World.open();
  const client = await TcpLinkClient.open(world.port, world.device());
  await client.ask({ cmd: "health" });
  const bare = await Bare.open(world);
  world.stop();
  assert.equal(await client.ended, "stopping");
  await bare.closed;
  assert.equal(bare.bytes.length, 0);
});
