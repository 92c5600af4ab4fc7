import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Client, type ClientOptions, ConnectionLost, connect } from "../../src/client/client.ts";
import type { Feed, Item } from "../../src/client/feed.ts";
import { NodeSocket } from "../../src/client/node-socket.ts";
import type { SocketLike, Timers } from "../../src/client/socket.ts";
import { CibError } from "../../src/errors.ts";
import { type Box, OTHER, openBox, READER, SESSION, TOKEN } from "../transport/http/fake.ts";

/** Waits that end when the test says so. */
class HandTimers implements Timers {
  readonly waits: { ms: number; then: () => void }[] = [];
  #told: (() => void) | undefined;
  after(ms: number, then: () => void): () => void {
    const wait = { ms, then };
    this.waits.push(wait);
    this.#told?.();
    return () => {
      const at = this.waits.indexOf(wait);
      if (at >= 0) this.waits.splice(at, 1);
    };
  }
  random(): number {
    return 0;
  }
  async next(): Promise<number> {
    while (this.waits.length === 0) {
      await new Promise<void>((resolve) => {
        this.#told = resolve;
      });
    }
    const wait = this.waits.shift();
    wait?.then();
    return wait?.ms ?? 0;
  }
}

interface Rig extends AsyncDisposable {
  readonly box: Box;
  readonly client: Client;
  readonly timers: HandTimers;
  readonly sockets: NodeSocket[];
}

async function rig(options: Partial<ClientOptions> = {}): Promise<Rig> {
  const box = await openBox();
  const timers = new HandTimers();
  const sockets: NodeSocket[] = [];
  class Kept extends NodeSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols);
      sockets.push(this);
    }
  }
  const client = connect({ url: box.url, token: TOKEN, WebSocket: Kept, timers, ...options });
  return {
    box,
    client,
    timers,
    sockets,
    async [Symbol.asyncDispose]() {
      client.close();
      await box[Symbol.asyncDispose]();
    },
  };
}

const text = (value: string) => ({ type: "text.delta", text: value }) as const;

/** Reads items until one satisfies. */
async function until(items: AsyncIterator<Item>, done: (item: Item) => boolean): Promise<Item[]> {
  const got: Item[] = [];
  for (;;) {
    const { value, done: over } = await items.next();
    if (over) throw new Error(`the feed ended after ${got.length} items`);
    got.push(value);
    if (done(value)) return got;
  }
}

const isSeq = (seq: number) => (item: Item) => "seq" in item && item.seq === seq;
const seqs = (items: readonly Item[]) => items.flatMap((item) => ("seq" in item ? [item.seq] : []));

function begin(feed: Feed): AsyncIterator<Item> {
  return feed[Symbol.asyncIterator]();
}

for (const format of ["json", "cbor"] as const) {
  describe(`the client in ${format}`, () => {
    test("a command gets its own reply, whatever overtakes it", async () => {
      await using r = await rig({ format });
      let release = () => {};
      r.box.control.answers.set(
        "sessions.get",
        () =>
          new Promise((resolve) => {
            release = () => resolve({ body: { slow: true } });
          }),
      );
      const slow = r.client.run({ cmd: "sessions.get", session: SESSION });
      const fast = await r.client.run({ cmd: "sessions.list" });
      assert.equal(fast["done"], "sessions.list");
      release();
      assert.equal((await slow)["slow"], true);
    });

    test("a refusal is the box's own error", async () => {
      await using r = await rig({ format });
      await assert.rejects(
        r.client.run({ cmd: "nonsense" }),
        (thrown: CibError) => thrown.code === "bad_request" && /cmd: expected/.test(thrown.message),
      );
    });

    test("a feed gives the verdict, then every frame from its place, old and new", async () => {
      await using r = await rig({ format });
      for (const word of ["a", "b", "c"]) r.box.control.say(text(word));
      const items = begin(r.client.attach(SESSION, { from: 2 }));
      const before = await until(items, isSeq(3));
      assert.deepEqual([before[0]?.type, ...seqs(before)], ["verdict", 2, 3]);
      r.box.control.say(text("d"));
      assert.deepEqual(seqs(await until(items, isSeq(4))), [4]);
    });

    test("after a lost connection the feed goes on at the next frame, none twice", async () => {
      await using r = await rig({ format });
      r.box.control.say(text("a"));
      const items = begin(r.client.attach(SESSION, { from: 1 }));
      await until(items, isSeq(1));
      r.sockets[0]?.terminate();
      r.box.control.say(text("b"));
      r.box.control.say(text("c"));
      assert.equal(await r.timers.next(), 125);
      const after = await until(items, isSeq(3));
      assert.deepEqual([after[0]?.type, ...seqs(after)], ["verdict", 2, 3]);
      assert.equal(after[0]?.type === "verdict" && after[0].from, 2);
    });

    test("a text split for a small reader arrives whole", async () => {
      await using r = await rig({ format });
      const long = '語🙂"x'.repeat(500);
      r.box.control.say(text(long));
      const items = begin(r.client.attach(SESSION, { from: 1, max_bytes: 512 }));
      const got = await until(items, isSeq(1));
      const frame = got.at(-1);
      assert.ok(frame?.type === "text.delta");
      assert.equal(frame.text, long);
      assert.equal("part" in frame, false);
    });

    test("types filter, and two sessions over one socket stay apart", async () => {
      await using r = await rig({ format });
      const mine = begin(r.client.attach(SESSION, { from: 1, types: ["stop"] }));
      const theirs = begin(r.client.attach(OTHER, { from: 1 }));
      r.box.control.say(text("not wanted"));
      r.box.control.say({ type: "stop", reason: "end_turn" });
      r.box.control.say(text("other"), OTHER);
      assert.deepEqual(seqs(await until(mine, isSeq(2))), [2]);
      assert.deepEqual(seqs(await until(theirs, isSeq(1))), [1]);
      assert.equal(r.sockets.length, 1);
    });
  });
}

test("an input whose reply was lost is sent again with the same id; another command is not", async () => {
  await using r = await rig();
  const { answers, commands } = r.box.control;
  await r.client.run({ cmd: "health" });
  const cut = () => {
    r.sockets[0]?.terminate();
    return new Promise<never>(() => {});
  };
  answers.set("input", cut);
  answers.set("interrupt", () => new Promise<never>(() => {}));
  const interrupt = r.client.run({ cmd: "interrupt", session: SESSION });
  const input = r.client.run({ cmd: "input", session: SESSION, text: "hello" });
  await assert.rejects(interrupt, ConnectionLost);
  answers.set("input", () => ({ body: { state: "accepted" } }));
  await r.timers.next();
  assert.equal((await input)["state"], "accepted");
  const ids = commands.flatMap((command) => (command.cmd === "input" ? [command.id] : []));
  assert.equal(ids.length, 2);
  assert.equal(ids[0], ids[1]);
  assert.equal(commands.filter((command) => command.cmd === "interrupt").length, 1);
});

test("waits double while the box is away, and start over once it speaks", async () => {
  await using r = await rig();
  await r.client.run({ cmd: "health" });
  await r.box[Symbol.asyncDispose]();
  const waits = [await r.timers.next(), await r.timers.next(), await r.timers.next()];
  assert.deepEqual(waits, [125, 250, 500]);
});

test("ahead is told in the stream, with the place from which to forget", async () => {
  await using r = await rig();
  r.box.control.say(text("a"));
  const items = begin(r.client.attach(SESSION, { from: 9, epoch: 1 }));
  const [mark] = await until(items, (item) => item.type === "verdict");
  assert.deepEqual(mark, { type: "verdict", session: SESSION, epoch: 3, first: 1, last: 1, from: 2, verdict: "ahead" });
});

test("a gap in the middle of the stream is told in its place", async () => {
  await using r = await rig();
  const items = begin(r.client.attach(SESSION));
  await until(items, (item) => item.type === "verdict");
  for (const reader of r.box.control.readers) reader.sink.gap(1, 5);
  assert.deepEqual(await until(items, (item) => item.type === "gap"), [{ type: "gap", from: 1, to: 5 }]);
});

test("a revoked token ends feeds and commands with unauthorized, and no new try is made", async () => {
  await using r = await rig({ token: READER });
  const items = begin(r.client.attach(SESSION));
  await until(items, (item) => item.type === "verdict");
  r.box.control.principals.get(READER)?.abort.abort("revoked");
  await assert.rejects(
    until(items, () => false),
    (thrown: CibError) => thrown.code === "unauthorized",
  );
  await assert.rejects(r.client.run({ cmd: "health" }), (thrown: CibError) => thrown.code === "unauthorized");
  assert.equal(r.timers.waits.length, 0);
});

test("a wrong token is told as such, not retried for ever", async () => {
  await using r = await rig({ token: "wrong" });
  await assert.rejects(
    r.client.run({ cmd: "health" }),
    (thrown: CibError) => thrown.code === "unauthorized" && /no such token/.test(thrown.message),
  );
});

test("a feed cut off for falling behind comes back by itself", async () => {
  await using r = await rig();
  const items = begin(r.client.attach(SESSION, { from: 1 }));
  r.box.control.say(text("a"));
  await until(items, isSeq(1));
  r.box.control.cut("too_far_behind");
  r.box.control.say(text("b"));
  await r.timers.next();
  assert.deepEqual(seqs(await until(items, isSeq(2))), [2]);
});

test("a feed that the box ends alone comes back once, from where it was; the second time it says so", async () => {
  await using r = await rig();
  const items = begin(r.client.attach(SESSION, { from: 1 }));
  r.box.control.say(text("a"));
  await until(items, isSeq(1));
  r.box.control.cut("detached");
  r.box.control.say(text("b"));
  const after = await until(items, isSeq(2));
  assert.deepEqual([after[0]?.type, ...seqs(after)], ["verdict", 2]);
  // The socket is the same: it was this attachment alone.
  assert.equal(r.sockets.length, 1);
  r.box.control.cut("detached");
  await assert.rejects(
    until(items, () => false),
    /ended this attachment twice/,
  );
  assert.ok(await r.client.run({ cmd: "health" }));
});

test("a feed whose terminal is hidden from it goes on without, and says so", async () => {
  await using r = await rig();
  const { control } = r.box;
  const attach = control.attach.bind(control);
  const wanted: unknown[] = [];
  let hidden = false;
  control.attach = (who, want, sink) => {
    wanted.push(want["pty"]);
    if (hidden && want["pty"] === true) throw new CibError("forbidden", "pty: a hook hides it");
    return attach(who, want, sink);
  };
  const items = begin(r.client.attach(SESSION, { from: 1, pty: true }));
  const [first] = await until(items, (item) => item.type === "verdict");
  assert.ok(first !== undefined && !("pty" in first));
  hidden = true;
  control.cut("detached");
  control.say(text("a"));
  const after = await until(items, isSeq(1));
  assert.equal(after[0]?.type === "verdict" && after[0].pty, false);
  // And so it stays, over lost connections.
  r.sockets[0]?.terminate();
  control.say(text("b"));
  await r.timers.next();
  await until(items, isSeq(2));
  assert.deepEqual(wanted, [true, true, undefined, undefined]);
});

test("a box that is full is asked again, each time later, on the same socket", async () => {
  await using r = await rig();
  const { control } = r.box;
  const attach = control.attach.bind(control);
  let refusals = 2;
  control.attach = (who, want, sink) => {
    if (refusals-- > 0) throw new CibError("overloaded", "session: too many readers");
    return attach(who, want, sink);
  };
  const items = begin(r.client.attach(SESSION, { from: 1 }));
  control.say(text("a"));
  // The generator begins with its first next.
  const arrived = until(items, isSeq(1));
  assert.deepEqual([await r.timers.next(), await r.timers.next()], [1_000, 2_000]);
  assert.deepEqual(seqs(await arrived), [1]);
  assert.equal(r.sockets.length, 1);
});

test("a feed that is left while the box is full asks no more", async () => {
  await using r = await rig();
  r.box.control.attach = () => {
    throw new CibError("overloaded", "session: too many readers");
  };
  const feed = r.client.attach(SESSION);
  const items = begin(feed);
  const first = items.next();
  await r.client.run({ cmd: "health" });
  while (r.timers.waits.length === 0) await new Promise((resolve) => setImmediate(resolve));
  feed.end();
  assert.deepEqual(await first, { done: true, value: undefined });
  assert.equal(r.timers.waits.length, 0);
});

/** A connection whose other end the test is. */
class Handset implements SocketLike {
  static last: Handset | undefined;
  binaryType = "";
  onopen: SocketLike["onopen"] = null;
  onmessage: SocketLike["onmessage"] = null;
  onclose: SocketLike["onclose"] = null;
  onerror: SocketLike["onerror"] = null;
  readonly sent: Record<string, unknown>[] = [];
  constructor() {
    Handset.last = this;
  }
  send(data: string | Uint8Array): void {
    this.sent.push(JSON.parse(String(data)) as Record<string, unknown>);
  }
  close(): void {}
  say(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}

function byHand() {
  const timers = new HandTimers();
  const client = connect({ url: "http://box", token: TOKEN, WebSocket: Handset, timers });
  const socket = Handset.last as Handset;
  socket.onopen?.(undefined as never);
  return { client, socket, timers };
}

test("a feed that was left before the box refused it for now asks no more", async () => {
  const { client, socket, timers } = byHand();
  const items = begin(client.attach(SESSION));
  const first = items.next();
  client.attach(OTHER);
  const [attach] = socket.sent;
  for (const message of [
    { detached: "deleted", session: SESSION },
    { re: attach?.["id"], ok: false, error: { code: "overloaded", message: "" } },
  ])
    socket.say(message);
  assert.equal((await first).done, true);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(timers.waits.length, 0);
  client.close();
});

test("a feed takes no verdict and no frame of the one before it", async () => {
  const { client, socket } = byHand();
  const mark = { ok: true, session: SESSION, epoch: 1, first: 1, last: 60, verdict: "ok" };
  const frame = { session: SESSION, ts: 1, ...text("words") };
  client.attach(SESSION, { from: 1 }).end();
  const items = begin(client.attach(SESSION, { from: 50 }));
  const arrived = until(items, isSeq(50));
  const [old, own] = socket.sent.filter(({ cmd }) => cmd === "attach");
  socket.say({ ...mark, re: old?.["id"], from: 1 });
  socket.say({ ...frame, seq: 1 });
  socket.say({ ...mark, re: own?.["id"], from: 50 });
  socket.say({ ...frame, seq: 50 });
  const got = await arrived;
  assert.deepEqual([got[0]?.type === "verdict" && got[0].from, ...seqs(got)], [50, 50]);
  client.close();
});

test("a terminal that is refused from the start is refused", async () => {
  await using r = await rig();
  r.box.control.attach = () => {
    throw new CibError("forbidden", "pty: a hook hides it");
  };
  await assert.rejects(
    until(begin(r.client.attach(SESSION, { pty: true })), () => false),
    { code: "forbidden" },
  );
});

for (const [what, format, junk] of [
  ["text that is no JSON", "json", "{"],
  ["a JSON value that is no message", "json", "7"],
  ["a terminal frame without bytes", "json", '{"type":"pty.raw","data":"%"}'],
  ["bytes that are no CBOR", "cbor", Uint8Array.of(0xff)],
  ["a CBOR value that is no message", "cbor", Uint8Array.of(0xf6)],
  ["an array that is no frame", "cbor", Uint8Array.of(0x80)],
] as const) {
  test(`${what} ends the connection, and the feed goes on from before it`, async () => {
    let connections = 0;
    class Odd extends NodeSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols);
        if (++connections > 1) return;
        let handler: SocketLike["onmessage"] = null;
        // The verdict, a frame, and then this instead of the next.
        let messages = 0;
        Object.defineProperty(this, "onmessage", {
          get: () => (event: { data: unknown }) => handler?.(++messages === 3 ? { data: junk } : event),
          set: (given: SocketLike["onmessage"]) => {
            handler = given;
          },
        });
      }
    }
    await using r = await rig({ format, WebSocket: Odd });
    for (const word of ["a", "b", "c", "d"]) r.box.control.say(text(word));
    const items = begin(r.client.attach(SESSION, { from: 1 }));
    await until(items, isSeq(1));
    await r.timers.next();
    const rest = await until(items, isSeq(4));
    assert.deepEqual([rest[0]?.type, ...seqs(rest)], ["verdict", 2, 3, 4]);
    assert.equal(connections, 2);
  });
}

test("a box whose words cannot be read is asked less and less often, though others can", async () => {
  const { client, timers } = byHand();
  const waits: number[] = [];
  for (let i = 0; i < 4; i++) {
    const socket = Handset.last as Handset;
    socket.onopen?.(undefined as never);
    socket.say({ gap: [1, 2], session: SESSION });
    socket.onmessage?.({ data: "{" });
    socket.onclose?.({ code: 1000, reason: "" });
    waits.push(await timers.next());
  }
  // Half of each is chance, which is 0 here.
  assert.deepEqual(waits, [125, 250, 500, 1_000]);
  client.close();
});

test("a reader that does not read holds a bounded number of frames, and gets them all in the end", async () => {
  await using r = await rig();
  const total = 10_000;
  for (let i = 0; i < total; i++) r.box.control.say(text("x"));
  const items = begin(r.client.attach(SESSION, { from: 1 }));
  await until(items, isSeq(1));
  // The client lets go while nobody reads: its attachment at the box ends.
  while (r.box.control.readers.size > 0) await new Promise((resolve) => setImmediate(resolve));
  const rest = await until(items, isSeq(total));
  assert.deepEqual(
    seqs(rest),
    Array.from({ length: total - 1 }, (_, i) => i + 2),
  );
  assert.ok(rest.filter((item) => item.type === "verdict").length >= 1, "it had let go and come back");
});

test("a feed that was ended makes room for another of its session at once, read or not", async () => {
  await using r = await rig();
  r.box.control.say(text("a"));
  await r.client.run({ cmd: "health" });
  const unread = r.client.attach(SESSION, { from: 1 });
  await r.client.run({ cmd: "health" });
  unread.end();
  const left = r.client.attach(SESSION, { from: 1 });
  const items = begin(left);
  await until(items, isSeq(1));
  left.end();
  await until(begin(r.client.attach(SESSION, { from: 1 })), isSeq(1));
  assert.equal((await items.next()).done, true);
  await r.client.run({ cmd: "health" });
  assert.equal(r.box.control.readers.size, 1);
});

test("leaving the iteration detaches at the box", async () => {
  await using r = await rig();
  const feed = r.client.attach(SESSION);
  for await (const item of feed) if (item.type === "verdict") break;
  await r.client.run({ cmd: "health" });
  assert.equal(r.box.control.readers.size, 0);
});

test("without any WebSocket the client says what to pass", () => {
  const global = globalThis as { WebSocket?: unknown };
  const kept = global.WebSocket;
  delete global.WebSocket;
  try {
    assert.throws(() => connect({ url: "http://127.0.0.1:1", token: TOKEN }), /pass NodeSocket/);
  } finally {
    if (kept !== undefined) global.WebSocket = kept;
  }
});

test("an aborted command is forgotten", async () => {
  await using r = await rig();
  r.box.control.answers.set("sessions.get", () => new Promise<never>(() => {}));
  const abort = new AbortController();
  const running = r.client.run({ cmd: "sessions.get", session: SESSION }, abort.signal);
  abort.abort(new Error("enough"));
  await assert.rejects(running, /enough/);
});
