/** Floods: 10,000 callers who prove nothing, drop by drop, and records without end: memory stays bounded, and nobody else notices. */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { nobleProvider } from "../../src/crypto/aead-noble.ts";
import { ClientLink } from "../../src/crypto/link-client.ts";
import { LinkKey } from "../../src/crypto/schedule.ts";
import { encodeValue } from "../../src/frame/codec.ts";
import type { SessionId } from "../../src/frame/frame.ts";
import { WAYS } from "./every-way.ts";
import type { Order, Report } from "./flood-box.ts";
import { deviceKey } from "./keys.ts";
import type { DeviceKey } from "./link-client.ts";
import { TcpLinkClient } from "./tcp-link-client.ts";
import type { Caller, Stream } from "./way.ts";
import { MASTER, type World } from "./world.ts";

/** Descriptors for all that is no caller, on either side. */
const SPARE_FILES = 200;
const CALLERS = Math.min(10_000, openFiles() - SPARE_FILES);
/** The HTTP port leaves half of the descriptors alone. */
const HTTP_CALLERS = Math.min(10_000, Math.floor(openFiles() / 2) - SPARE_FILES);
/** Of a box that is short of them; its own take about a hundred. */
const FEW_FILES = 512;
/** What it may work meanwhile; one that turned in a circle until idle connections end would work for 10 s. */
const MAX_WORK_MS = 5_000;
/** Connected at once: less than the 511 that the kernel holds for the box. */
const BATCH = 250;
/** Each address of loopback is a caller of its own. */
const ADDRESSES = 100;
/** What a flood may cost. Half-open links: 256 × 20 KiB = 5 MiB; idle HTTP connections: 10,000 × 2 KiB; the rest is the collector's leave. */
const MAX_GROWTH = 128 * 1024 * 1024;

function openFiles(): number {
  const told = execFileSync("sh", ["-c", "ulimit -Hn"]).toString().trim();
  return told === "unlimited" ? Number.POSITIVE_INFINITY : Number(told);
}

/** A box in another process, with a client of every transport that follows its one session. */
class Box implements AsyncDisposable {
  readonly world: World;
  readonly #child: ChildProcess;
  readonly #session: SessionId;
  readonly #callers: Caller[];
  readonly #streams: readonly Stream[];
  #said = 0;

  private constructor(child: ChildProcess, world: World, session: SessionId, callers: Caller[], streams: Stream[]) {
    this.#child = child;
    this.world = world;
    this.#session = session;
    this.#callers = callers;
    this.#streams = streams;
  }

  /** `files`: descriptors that it may have. */
  static async open(files?: number): Promise<Box> {
    const program = ["--import", "tsx", "--expose-gc", fileURLToPath(new URL("flood-box.ts", import.meta.url))];
    const limit = files === undefined ? "" : `ulimit -n ${files};`;
    const child = spawn("sh", ["-c", `${limit} exec "$0" "$@"`, process.execPath, ...program], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    const [report] = (await once(child, "message")) as [Report];
    // As much of a world as a way in needs.
    const world = { ...report, master: MASTER } as unknown as World;
    const callers = await Promise.all(WAYS.map((way) => way.connect(world, MASTER)));
    const session = (await callers[0]?.run({ cmd: "sessions.create" }))?.["session"] as SessionId;
    const streams: Stream[] = [];
    for (const caller of callers) streams.push(await caller.follow({ session, types: ["text.delta"] }));
    return new Box(child, world, session, callers, streams);
  }

  get port(): number {
    return Number(new URL(this.world.url).port);
  }

  /** Every client is told of something that is said now. */
  async unharmed(): Promise<void> {
    const text = `word ${this.#said++}`;
    this.#order({ do: "say", session: this.#session, text });
    for (const [i, stream] of this.#streams.entries()) {
      const { frame } = await stream.next();
      assert.equal((frame as { text?: string }).text, text, WAYS[i]?.name);
    }
  }

  /** Newcomers are let in by every way. */
  async welcomes(): Promise<void> {
    for (const way of WAYS) {
      const caller = await way.connect(this.world, MASTER);
      assert.equal((await caller.run({ cmd: "health" }))["status"], "ok", way.name);
      caller.close();
    }
  }

  /** Resident bytes and time worked so far, and nothing that was our fault. */
  async measure(): Promise<{ rss: number; cpuMs: number }> {
    this.#order({ do: "measure" });
    const [{ rss = 0, cpuMs = 0, faults }] = (await once(this.#child, "message")) as [Report];
    assert.deepEqual(faults, []);
    return { rss, cpuMs };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const caller of this.#callers) caller.close();
    const gone = once(this.#child, "exit");
    this.#child.disconnect();
    await gone;
  }

  #order(order: Order): void {
    this.#child.send(order);
  }
}

/** Connects as many callers in batches and says to each what is its own; `between` runs after each batch. */
async function flood(
  port: number,
  count: number,
  words: (i: number) => Uint8Array | undefined,
  between: () => Promise<void>,
) {
  const open = new Set<Socket>();
  let met = 0;
  for (let at = 0; at < count; at += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, count - at) }, (_, i) => {
      const localAddress = `127.0.1.${1 + ((at + i) % ADDRESSES)}`;
      const socket = connect({ port, host: "127.0.0.1", localAddress });
      open.add(socket);
      const first = words(at + i);
      return new Promise<void>((resolve) => {
        socket.on("connect", () => {
          met++;
          if (first !== undefined) socket.write(first);
          resolve();
        });
        socket.on("error", () => undefined);
        socket.on("close", () => {
          open.delete(socket);
          resolve();
        });
        socket.resume();
      });
    });
    await Promise.all(batch);
    await between();
  }
  return { open, met };
}

/** What the box holds ready for callers it has ready after this; what grows from here on grows with their number. */
async function warm(box: Box, port: number, words: (i: number) => Uint8Array | undefined): Promise<void> {
  const { open } = await flood(port, 4 * BATCH, words, () => box.unharmed());
  const gone = closed(open);
  cut(open);
  await gone;
}

/** Resolves when all of them are closed, by whatever. */
async function closed(sockets: Iterable<Socket>): Promise<void> {
  // Not `once`: that rejects where the connection was reset.
  await Promise.all([...sockets].map((socket) => new Promise((resolve) => socket.on("close", resolve))));
}

function cut(open: ReadonlySet<Socket>): void {
  for (const socket of open) socket.destroy();
}

/** What a stranger says first: nothing, a piece, a hello without a key, or one that was overheard. */
function strangers(key: DeviceKey): (i: number) => Uint8Array | undefined {
  const hello = (secret: string) =>
    new ClientLink({
      provider: nobleProvider,
      carrier: "stream",
      accepts: 4096,
      key: new LinkKey(nobleProvider, Buffer.from(secret, "hex")),
      keyId: Buffer.from(key.id, "hex"),
      fresh: { boot: 1, counter: 0, random: randomBytes(16) },
      random: (size) => randomBytes(size),
    }).hello;
  const wrong = hello("00".repeat(32));
  const kinds = [undefined, wrong.subarray(0, 20), wrong, hello(key.secret)];
  return (i) => kinds[i % kinds.length];
}

test(`${CALLERS} callers of the raw TCP port who prove nothing cost little, and harm nobody`, async (t) => {
  await using box = await Box.open();
  const key = await deviceKey(box.world);
  await warm(box, box.world.tcpPort, strangers(key));
  const before = await box.measure();
  const { open, met } = await flood(box.world.tcpPort, CALLERS, strangers(key), () => box.unharmed());
  t.after(() => cut(open));
  assert.equal(met, CALLERS);
  const grown = (await box.measure()).rss - before.rss;
  t.diagnostic(`${Math.round(grown / 1024)} KiB more, ${open.size} still open`);
  assert.ok(grown < MAX_GROWTH, `${grown} bytes`);
  await box.welcomes();
  // Whoever was overheard gets in all the same.
  const device = await TcpLinkClient.open(box.world.tcpPort, key);
  await device.ask({ cmd: "health" });
  device.socket.destroy();
});

test(`${CALLERS} callers of the MQTT port who never say who they are cost little, and harm nobody`, async (t) => {
  await using box = await Box.open();
  // CONNECT with a remaining length that never comes; one that is cut short; an HTTP client that is lost.
  const kinds = [
    undefined,
    Buffer.from("10ffffff7f", "hex"),
    Buffer.from("10100004", "hex"),
    Buffer.from("GET / HTTP/1.1\r\n"),
  ];
  const words = (i: number) => kinds[i % kinds.length];
  await warm(box, box.world.mqttPort, words);
  const before = await box.measure();
  const { open, met } = await flood(box.world.mqttPort, CALLERS, words, () => box.unharmed());
  t.after(() => cut(open));
  assert.equal(met, CALLERS);
  const grown = (await box.measure()).rss - before.rss;
  t.diagnostic(`${Math.round(grown / 1024)} KiB more, ${open.size} still open`);
  assert.ok(grown < MAX_GROWTH, `${grown} bytes`);
  await box.welcomes();
});

test(`${HTTP_CALLERS} connections to the HTTP port that ask nothing, or drop by drop, cost little, harm nobody and are cut`, async (t) => {
  await using box = await Box.open();
  const before = await box.measure();
  const half = Buffer.from("GET /api/sessions HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
  const { open, met } = await flood(
    box.port,
    HTTP_CALLERS,
    (i) => (i % 2 === 0 ? undefined : half),
    () => box.unharmed(),
  );
  t.after(() => cut(open));
  assert.equal(met, HTTP_CALLERS);
  const grown = (await box.measure()).rss - before.rss;
  t.diagnostic(`${Math.round(grown / 1024)} KiB more, ${open.size} open`);
  assert.ok(grown < MAX_GROWTH, `${grown} bytes`);
  await box.welcomes();
  // The slow ones go on until they are cut; so do as many at the other door.
  const slow = [...open].slice(0, 200);
  const links = await flood(
    box.world.tcpPort,
    30,
    strangers({ id: "00".repeat(8), secret: "00".repeat(32) }),
    async () => {},
  );
  const drops = setInterval(() => {
    for (const socket of [...slow, ...links.open]) if (!socket.destroyed) socket.write("x");
  }, 500);
  t.after(() => clearInterval(drops));
  await closed([...open, ...links.open]);
  await box.unharmed();
  await box.welcomes();
});

test("a box that is short of file descriptors refuses connections, and serves those that it has", async () => {
  await using box = await Box.open(FEW_FILES);
  const before = await box.measure();
  const { open } = await flood(
    box.port,
    2 * FEW_FILES,
    () => undefined,
    () => box.unharmed(),
  );
  await box.unharmed();
  const worked = (await box.measure()).cpuMs - before.cpuMs;
  assert.ok(worked < MAX_WORK_MS, `${worked} ms`);
  const gone = closed(open);
  cut(open);
  await gone;
  await box.unharmed();
  await box.welcomes();
});

test("a device that floods records is answered or cut, costs little, and harms nobody", async (t) => {
  await using box = await Box.open();
  const before = await box.measure();
  const flooding = await TcpLinkClient.open(box.world.tcpPort, await deviceKey(box.world));
  const health = encodeValue({ cmd: "health" });
  const many = Buffer.concat(Array.from({ length: 1000 }, () => health));
  const empty = new Uint8Array();
  // Some read, and some never do.
  for (const reads of [true, false]) {
    const client = reads ? flooding : await TcpLinkClient.open(box.world.tcpPort, await deviceKey(box.world));
    if (!reads) client.socket.pause();
    let ended = false;
    void client.ended.then(() => {
      ended = true;
    });
    for (let i = 0; i < 200 && !ended; i++) {
      const records = Buffer.concat([
        client.link.seal(many),
        ...Array.from({ length: 50 }, () => client.link.seal(empty)),
      ]);
      if (!client.socket.write(records)) await Promise.race([once(client.socket, "drain"), client.ended]);
      if (i % 20 === 0) await box.unharmed();
    }
    client.socket.destroy();
  }
  const grown = (await box.measure()).rss - before.rss;
  t.diagnostic(`${Math.round(grown / 1024)} KiB more`);
  assert.ok(grown < MAX_GROWTH, `${grown} bytes`);
  await box.unharmed();
  await box.welcomes();
});
