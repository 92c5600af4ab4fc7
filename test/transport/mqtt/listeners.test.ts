/** Where MQTT comes in: TCP, TLS by certificate and by key on one port; and who never gets as far as MQTT. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";
import fc from "fast-check";
import { MAX_HELLO_BYTES, wishOf } from "../../../src/transport/mqtt/client-hello.ts";
import { Listeners, type ListenersOptions } from "../../../src/transport/mqtt/listeners.ts";
import type { Arrival } from "../../../src/transport/mqtt/ports.ts";
import { HANDSHAKE_DEADLINE_MS } from "../../../src/transport/mqtt/tls-door.ts";
import { Inbox } from "../../conformance/way.ts";
import { needs } from "../../skip.ts";
import { Hands } from "../hands.ts";
import { type Certificate, makeCertificate } from "./certificate.ts";

const LOOPBACK = { host: "127.0.0.1", port: 0 };
const ID = "0123456789abcdef";
const KEY = randomBytes(32);
const NOBODYS = randomBytes(32);
const PSK_CIPHERS = "ECDHE-PSK-AES128-CBC-SHA256:ECDHE-PSK-CHACHA20-POLY1305";

class World implements AsyncDisposable {
  readonly hands = new Hands();
  readonly arrivals = new Inbox<Arrival>();
  readonly refused = new Inbox<string>();
  readonly faults: unknown[] = [];
  readonly listeners: Listeners;
  readonly #open: Socket[] = [];
  readonly #arrived: Arrival[] = [];

  constructor(options: Partial<ListenersOptions>) {
    this.listeners = new Listeners({
      listen: LOOPBACK,
      tlsListen: LOOPBACK,
      psk: (identity) => (identity === ID ? KEY : NOBODYS),
      arrived: (arrival) => {
        this.#arrived.push(arrival);
        arrival.stream.on("error", () => undefined);
        this.arrivals.put(arrival);
      },
      refused: (_, why) => this.refused.put(why),
      fault: (thrown) => this.faults.push(thrown),
      timers: this.hands,
      ...options,
    });
  }

  static async open(options: Partial<ListenersOptions> = {}): Promise<World> {
    const world = new World(options);
    await world.listeners.start();
    return world;
  }

  get tlsPort(): number {
    return this.listeners.tlsPort ?? 0;
  }

  async dial(port = this.tlsPort): Promise<Socket> {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => undefined);
    this.#open.push(socket);
    await once(socket, "connect");
    return socket;
  }

  /** A TLS client whose handshake is done. Rejects where it fails. */
  async shake(options: ConnectionOptions): Promise<TLSSocket> {
    const socket = connectTls({ host: "127.0.0.1", port: this.tlsPort, ...options });
    this.#open.push(socket);
    await once(socket, "secureConnect");
    socket.on("error", () => undefined);
    return socket;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    for (const { stream } of this.#arrived) stream.destroy();
    await this.listeners.close();
    assert.deepEqual(this.faults, []);
  }
}

/** However it ended. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.on("close", () => resolve());
  });
}

const byKey = (identity = ID, psk: Buffer = KEY, more: ConnectionOptions = {}): ConnectionOptions => ({
  ciphers: PSK_CIPHERS,
  maxVersion: "TLSv1.2",
  pskCallback: () => ({ identity, psk }),
  checkServerIdentity: () => undefined,
  ...more,
});

test("a plain connection arrives with its address, unencrypted and as nobody", async () => {
  await using world = await World.open();
  const socket = await world.dial(world.listeners.port);
  const arrival = await world.arrivals.take();
  assert.deepEqual([arrival.address, arrival.encrypted, arrival.keyId], ["127.0.0.1", false, undefined]);
  socket.write("up");
  const [up] = await once(arrival.stream, "data");
  arrival.stream.write("down");
  const [down] = await once(socket, "data");
  assert.deepEqual([String(up), String(down)], ["up", "down"]);
});

test("by key it arrives as who it proved to be, with ephemeral keys under TLS 1.2", async () => {
  using certificate = makeCertificate();
  for (const tls of [undefined, certificate]) {
    await using world = await World.open({ tls });
    const socket = await world.shake(byKey());
    const arrival = await world.arrivals.take();
    assert.deepEqual([arrival.encrypted, arrival.keyId, arrival.address], [true, ID, "127.0.0.1"]);
    assert.match(socket.getCipher().name, /^ECDHE-PSK-/);
    assert.equal(socket.getProtocol(), "TLSv1.2");
    arrival.stream.write("sealed");
    const [down] = await once(socket, "data");
    assert.equal(String(down), "sealed");
    assert.equal(world.listeners.shaking, 0);
  }
});

test("by certificate it arrives as nobody, with TLS 1.3 and with 1.2", async () => {
  using certificate = makeCertificate();
  await using world = await World.open({ tls: certificate });
  for (const version of ["TLSv1.3", "TLSv1.2"] as const) {
    const socket = await world.shake({ ca: readFileSync(certificate.cert), minVersion: version, maxVersion: version });
    const arrival = await world.arrivals.take();
    assert.deepEqual([arrival.encrypted, arrival.keyId, socket.getProtocol()], [true, undefined, version]);
  }
});

test("a wrong key and an unknown identity fail in the same way", async () => {
  await using world = await World.open();
  const failures: unknown[] = [];
  for (const options of [byKey(ID, Buffer.from(NOBODYS).reverse()), byKey("f".repeat(16), KEY), byKey("", KEY)]) {
    await assert.rejects(world.shake(options), (thrown: Error & { code: string }) => {
      failures.push(thrown.code);
      return true;
    });
    assert.equal(await world.refused.take(), "handshake");
  }
  assert.equal(new Set(failures).size, 1, String(failures));
});

test("a key without ephemeral keys, a certificate where there is none, and what is no TLS are refused", async () => {
  await using world = await World.open();
  const clients: ConnectionOptions[] = [
    byKey(ID, KEY, { ciphers: "PSK-AES128-CBC-SHA256" }),
    { rejectUnauthorized: false },
  ];
  for (const options of clients) {
    await assert.rejects(world.shake(options));
    assert.equal(await world.refused.take(), "handshake");
  }
  const socket = await world.dial();
  socket.write("\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0");
  await closed(socket);
  assert.equal(await world.refused.take(), "handshake");
});

test("a handshake has its deadline, however slowly it goes on", async () => {
  using certificate = makeCertificate();
  await using world = await World.open({ tls: certificate });
  const sockets = [await world.dial(), await world.dial()];
  while (world.listeners.shaking < 2) await new Promise((resolve) => setImmediate(resolve));
  sockets[0]?.write(Uint8Array.of(22, 3, 1));
  const ends = sockets.map(closed);
  world.hands.advance(HANDSHAKE_DEADLINE_MS);
  await Promise.all(ends);
  assert.deepEqual([await world.refused.take(), await world.refused.take()], ["deadline", "deadline"]);
  assert.deepEqual([world.listeners.shaking, world.hands.waiting], [0, 0]);
});

test("handshakes that nobody finishes push each other out, and a device still gets in", async () => {
  await using world = await World.open({ limits: { halfOpen: 20, halfOpenAnAddress: 8 } });
  for (let i = 0; i < 40; i++) await world.dial();
  await world.shake(byKey());
  assert.equal((await world.arrivals.take()).keyId, ID);
  assert.equal(await world.refused.take(), "evicted");
  assert.ok(world.listeners.shaking <= 8);
});

test("a peer that does not read is destroyed at the limit, and is never reported full", async () => {
  await using world = await World.open({ limits: { waitingBytes: 256 * 1024 } });
  const socket = await world.dial(world.listeners.port);
  socket.pause();
  const { stream, waiting } = await world.arrivals.take();
  const block = Buffer.alloc(64 * 1024);
  let most = 0;
  for (let i = 0; i < 1000 && !stream.destroyed; i++) {
    assert.equal(stream.write(block), true);
    most = Math.max(most, waiting());
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(stream.destroyed, true);
  assert.ok(most <= 256 * 1024 + block.length);
  assert.equal(await world.refused.take(), "it does not read");
});

test("closing ends handshakes, and waits for those who have arrived", async () => {
  const world = await World.open();
  const socket = await world.dial();
  while (world.listeners.shaking < 1) await new Promise((resolve) => setImmediate(resolve));
  await world.listeners.close();
  await closed(socket);
  await assert.rejects(world.dial());
});

test("an address that is taken is told at the start", async () => {
  await using world = await World.open();
  const port = world.listeners.port ?? 0;
  await assert.rejects(World.open({ listen: { host: "127.0.0.1", port } }), { code: "EADDRINUSE" });
});

test("stock clients: openssl and mosquitto_sub come in by key", {
  ...needs("mosquitto-clients", "mosquitto_sub"),
}, async () => {
  using certificate: Certificate = makeCertificate();
  await using world = await World.open({ tls: certificate });
  const [port, psk] = [String(world.tlsPort), KEY.toString("hex")];
  const commands: readonly (readonly [string, readonly string[]])[] = [
    ["openssl", ["s_client", "-connect", `127.0.0.1:${port}`, "-psk_identity", ID, "-psk", psk, "-quiet"]],
    ["mosquitto_sub", ["-h", "127.0.0.1", "-p", port, "--psk", psk, "--psk-identity", ID, "-t", "x"]],
  ];
  for (const [command, args] of commands) {
    const child = execFile(command, args, () => undefined);
    const arrival = await world.arrivals.take();
    assert.deepEqual([command, arrival.keyId], [command, ID]);
    const ended = once(child, "close");
    child.kill();
    arrival.stream.destroy();
    await ended;
  }
});

/** A ClientHello up to its suites (RFC 5246 §7.4.1.2). */
function hello(sessionId: Uint8Array, suites: readonly number[]): Buffer {
  const head = Buffer.from([22, 3, 1, 0, 0, 1, 0, 0, 0, 3, 3]);
  const list = suites.flatMap((suite) => [suite >> 8, suite & 255]);
  const size = suites.length * 2;
  return Buffer.concat([
    head,
    Buffer.alloc(32),
    Buffer.from([sessionId.length, ...sessionId, size >> 8, size & 255, ...list]),
  ]);
}

test("a client hello is told apart by its suites, from as many bytes as it takes and whatever follows", () => {
  const suite = fc
    .integer({ min: 0, max: 0xffff })
    .filter((n) => !(n >= 0xc033 && n <= 0xc03b) && n !== 0xccac && n >> 4 !== 0xd00);
  const made = fc.record({
    sessionId: fc.uint8Array({ maxLength: 32 }),
    suites: fc.array(suite, { maxLength: 60 }),
    psk: fc.option(fc.constantFrom(0xc035, 0xc037, 0xccac, 0xd001), { nil: undefined }),
    rest: fc.uint8Array({ maxLength: 40 }),
  });
  fc.assert(
    fc.property(made, ({ sessionId, suites, psk, rest }) => {
      const whole = hello(sessionId, psk === undefined ? suites : [...suites, psk]);
      const wish = psk === undefined ? "certificate" : "psk";
      for (let size = 0; size < whole.length; size++) assert.equal(wishOf(whole.subarray(0, size)), undefined);
      assert.equal(wishOf(Buffer.concat([whole, rest])), wish);
    }),
  );
});

test("any beginning is told apart within the limit", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const whole = new Uint8Array(MAX_HELLO_BYTES);
      whole.set([22, 3, 1, 0, 0, 1]);
      whole.set(bytes, 6);
      assert.notEqual(wishOf(whole), undefined);
      if (bytes[0] !== undefined && bytes[0] !== 22) assert.equal(wishOf(bytes), "certificate");
    }),
  );
});
