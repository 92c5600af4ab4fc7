/** The AES envelope: commands in order, replies sealed, and an attach that goes on as a stream. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CibError } from "../../../src/errors.ts";
import { decodeValue, encodeValue } from "../../../src/frame/codec.ts";
import { open } from "../../conformance/aes-client.ts";
import { AesHouse } from "./aes-house.ts";
import { call } from "./call.ts";
import { SESSION } from "./fake.ts";

type Fields = Record<string, unknown>;

const said = (reply: Fields | undefined) => {
  const { code, message } = (reply?.["error"] ?? {}) as { code?: string; message?: string };
  return [reply?.["re"], code, message];
};

test("several commands run one after the other, and are answered in that order", async () => {
  await using house = await AesHouse.open();
  let finish: (() => void) | undefined;
  const order: string[] = [];
  house.box.control.answers.set("sessions.list", async () => {
    order.push("list begins");
    await new Promise<void>((resolve) => {
      finish = resolve;
      setImmediate(resolve);
    });
    order.push("list ends");
    return { body: { sessions: [] } };
  });
  house.box.control.answers.set("tokens.list", () => {
    order.push("tokens");
    return { body: { tokens: [] } };
  });
  const replies = await house
    .client()
    .ask([{ cmd: "sessions.list", id: 1 }, { cmd: "tokens.list", id: "two" }, { cmd: "health" }]);
  assert.ok(finish !== undefined);
  assert.deepEqual(order, ["list begins", "list ends", "tokens"]);
  assert.deepEqual(replies, [
    { re: 1, ok: true, sessions: [] },
    { re: "two", ok: true, tokens: [] },
    { re: null, ok: true, done: "health" },
  ]);
});

test("the answer begins with the token for the next request, in records no longer than the client takes", async () => {
  await using house = await AesHouse.open();
  house.box.control.answers.set("sessions.list", () => ({ body: { sessions: "x".repeat(200) } }));
  const client = house.client();
  const token = await client.freshToken();
  for (const [max_bytes, most] of [
    [undefined, 4096],
    [300, 300],
  ] as const) {
    const list = encodeValue({ cmd: "sessions.list", ...(max_bytes && { max_bytes }) });
    const sealed = client.seal([Buffer.concat(Array.from({ length: 30 }, () => list))], token);
    const { records, items, end } = open(sealed, new Uint8Array(await (await client.post(sealed.body)).arrayBuffer()));
    assert.deepEqual([end, items.length], ["clean", 31]);
    assert.deepEqual(Object.keys(decodeValue(items[0] as Buffer) as Fields), ["next"]);
    const sizes = records.map(({ length }) => length);
    assert.ok(Math.max(...sizes) <= most && Math.max(...sizes) > most / 2, sizes.join());
    assert.equal(records.length > 1, true);
  }
});

test("a reply that the client cannot take is told so, and a refusal is cut to what it takes", async () => {
  await using house = await AesHouse.open();
  house.box.control.answers.set("sessions.list", () => ({ body: { sessions: "x".repeat(500) } }));
  house.box.control.answers.set("tokens.list", () => {
    throw new CibError("conflict", "y".repeat(500));
  });
  const [list, tokens] = await house.client().ask([
    { cmd: "sessions.list", id: 1, max_bytes: 128 },
    { cmd: "tokens.list", id: 2 },
  ]);
  assert.deepEqual(said(list).slice(0, 2), [1, "too_large"]);
  assert.deepEqual(said(tokens).slice(0, 2), [2, "conflict"]);
});

test("what changes something needs an id, what reads needs none", async () => {
  await using house = await AesHouse.open();
  const replies = await house.client().ask([
    { cmd: "input", session: SESSION, text: "x" },
    { cmd: "interrupt", session: SESSION },
    { cmd: "interrupt", session: SESSION, id: 7 },
    { cmd: "sessions.get", session: SESSION },
  ]);
  assert.deepEqual(
    replies.map((reply) => said(reply)[1]),
    ["bad_request", "bad_request", undefined, undefined],
  );
  assert.match(String(said(replies[0])[2]), /^id: input needs one here/);
  assert.deepEqual(house.ran, ["interrupt", "sessions.get"]);
});

test("a command that nobody can read keeps all of its request from running", async () => {
  await using house = await AesHouse.open();
  const client = house.client();
  const stop = encodeValue({ cmd: "sessions.stop", session: SESSION, id: "a" });
  const bad: readonly (readonly [Buffer, RegExp])[] = [
    [Buffer.concat([stop, Buffer.from([0xa1])]), /command: cbor/],
    [Buffer.concat([stop, encodeValue(7)]), /expected a map with cmd/],
    [Buffer.concat(Array.from({ length: 33 }, () => stop)), /at most 32 in one request/],
  ];
  for (const [plaintext, message] of bad) {
    const sealed = client.seal([plaintext], await client.freshToken());
    const { items } = open(sealed, new Uint8Array(await (await client.post(sealed.body)).arrayBuffer()));
    assert.equal(items.length, 2);
    const [re, code, text] = said(decodeValue(items[1] as Buffer) as Fields);
    assert.deepEqual([re, code], [null, "bad_request"]);
    assert.match(String(text), message);
  }
  assert.deepEqual(house.ran, []);
  assert.deepEqual(
    await client
      .ask([
        { cmd: "nonsense", id: 1 },
        { max_bytes: "x", cmd: "health" },
      ])
      .then((all) => all.map((each) => said(each)[1])),
    ["bad_request", "bad_request"],
  );
});

test("an attach that is not the last is refused, and the others run", async () => {
  await using house = await AesHouse.open();
  const [attach, health] = await house.client().ask([{ cmd: "attach", id: 1, session: SESSION }, { cmd: "health" }]);
  assert.deepEqual(said(attach).slice(0, 2), [1, "bad_request"]);
  assert.equal(health?.["ok"], true);
});

test("a stream ends after max_frames, with a last record that says so, and the next one goes on behind it", async () => {
  await using house = await AesHouse.open();
  for (let i = 1; i <= 10; i++) house.box.control.say({ type: "text.delta", text: `word ${i}` });
  const client = house.client();
  const seen: number[] = [];
  for (let from = 1; from <= 10; from = (seen.at(-1) ?? 0) + 1) {
    const stream = await client.follow({ session: SESSION, from, max_frames: 4, ...(from > 8 && { wait_ms: 50 }) });
    assert.equal(await stream.ended, from > 8 ? "wait_ms" : "max_frames");
    for (;;) {
      const next = await stream.frames.take().catch(() => undefined);
      if (next === undefined) break;
      seen.push(next.frame.seq);
    }
  }
  assert.deepEqual(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.equal(house.box.control.readers.size, 0);
  assert.equal(house.box.http.connections, 0);
});

test("a frame in pieces counts once, and no record is longer than max_bytes", async () => {
  await using house = await AesHouse.open();
  house.box.control.say({ type: "text.delta", text: "z".repeat(2000) });
  house.box.control.say({ type: "text.delta", text: "end" });
  const stream = await house.client().follow({ session: SESSION, from: 1, max_bytes: 128, max_frames: 2 });
  assert.equal(await stream.ended, "max_frames");
  assert.ok(Math.max(...stream.sizes) <= 128, stream.sizes.join());
  assert.ok(stream.sizes.length > 15);
});

test("ends that make no sense are refused in words", async () => {
  await using house = await AesHouse.open();
  for (const [field, value] of [
    ["max_frames", 0],
    ["wait_ms", 0],
    ["wait_ms", 3_600_001],
    ["max_frames", "many"],
    ["max_bytes", 64],
  ] as const)
    await assert.rejects(house.client().follow({ session: SESSION, [field]: value }), {
      code: "bad_request",
      message: new RegExp(`^${field}: `),
    });
});

test("max_frames and wait_ms are the envelope's: elsewhere an attach knows no such field", async () => {
  await using house = await AesHouse.open();
  const answer = await call(house.box, "GET", `/api/sessions/${SESSION}/events?max_frames=1`);
  assert.equal(answer.error().code, "bad_request");
});

test("an idle stream is kept alive by empty records, and nothing beats without one", async () => {
  await using house = await AesHouse.open();
  const stream = await house.client().follow({ session: SESSION, max_frames: 1 });
  house.beat();
  house.beat();
  house.box.control.say({ type: "text.delta", text: "now" });
  assert.equal(await stream.ended, "max_frames");
  assert.equal(stream.sizes.filter((size) => size === 0).length >= 2, true);
  house.beat();
});

test("a revoked token cuts a live stream with a sealed goodbye; so do the box's end and the session's", async () => {
  await using house = await AesHouse.open();
  const key = house.device();
  const stream = await house.client(key).follow({ session: SESSION });
  house.revoke(key.token);
  assert.equal(await stream.ended, "revoked");
  const detached = await house.client().follow({ session: SESSION });
  house.box.control.cut("detached");
  assert.equal(await detached.ended, "detached");
  const stopped = await house.client().follow({ session: SESSION });
  house.box.stop();
  assert.equal(await stopped.ended, "stopping");
  assert.deepEqual(house.box.faults, []);
});

test("a client that leaves takes its command and its stream with it", async () => {
  await using house = await AesHouse.open();
  const aborted = new Promise<void>((resolve) =>
    house.box.control.answers.set("send", async (_, signal) => {
      leaving.abort();
      await new Promise<void>((over) => signal.addEventListener("abort", () => over()));
      resolve();
      throw signal.reason;
    }),
  );
  const leaving = new AbortController();
  await assert.rejects(
    house.client().exchange([{ cmd: "send", id: "s", session: SESSION, text: "x" }], leaving.signal),
  );
  await aborted;
  const stream = await house.client().follow({ session: SESSION });
  const [reader] = house.box.control.readers;
  const gone = new Promise<void>((resolve) => {
    const dispose = reader?.[Symbol.dispose].bind(reader);
    if (reader === undefined) return;
    reader[Symbol.dispose] = () => {
      dispose?.();
      resolve();
    };
  });
  stream.cut();
  await gone;
  assert.equal(await stream.ended, "cut");
  assert.equal(house.box.http.connections, 0);
  assert.deepEqual(house.box.faults, []);
});

test("when all connections are in use a stream is refused and a command is not", async () => {
  await using house = await AesHouse.open({ limits: { connections: 1 } });
  const client = house.client();
  const first = await client.follow({ session: SESSION });
  await assert.rejects(client.follow({ session: SESSION }), { code: "overloaded" });
  assert.equal((await client.ask([{ cmd: "health" }]))[0]?.["ok"], true);
  first.cut();
});
