import assert from "node:assert/strict";
import { test } from "node:test";
import { HEARTBEAT_MS } from "../../../src/transport/http/sse.ts";
import { call, EventStream } from "./call.ts";
import { BEARER, type Box, EPOCH, openBox, READER, SESSION, TOKEN } from "./fake.ts";

const EVENTS = `/api/sessions/${SESSION}/events`;
const text = (value: string) => ({ type: "text.delta", text: value }) as const;

function say(box: Box, ...words: string[]): void {
  for (const word of words) box.control.say(text(word));
}

test("the verdict comes first, then every frame with an id to come back with", async () => {
  await using box = await openBox();
  say(box, "a", "b");
  const stream = new EventStream(box, `${EVENTS}?from=1`);
  const [verdict, first, second] = await stream.next(3);
  assert.deepEqual([verdict?.event, verdict?.id], ["verdict", `${EPOCH}:0`]);
  assert.deepEqual(JSON.parse(verdict?.data ?? ""), {
    session: SESSION,
    epoch: EPOCH,
    first: 1,
    last: 2,
    from: 1,
    verdict: "ok",
  });
  assert.deepEqual([first?.event, first?.id, JSON.parse(first?.data ?? "").text], ["message", `${EPOCH}:1`, "a"]);
  assert.equal(second?.id, `${EPOCH}:2`);
  say(box, "hällo");
  const [live] = await stream.next();
  assert.equal(JSON.parse(live?.data ?? "").text, "hällo");
  assert.match(stream.raw.text, /content-type: text\/event-stream/);
  stream.end();
});

test("Last-Event-ID beats from, so a page that reloads its stream goes on", async () => {
  await using box = await openBox();
  say(box, "a", "b", "c");
  const stream = new EventStream(box, `${EVENTS}?from=1`, { ...BEARER, "Last-Event-ID": `${EPOCH}:2` });
  const [verdict, frame] = await stream.next(2);
  assert.deepEqual([verdict?.id, frame?.id], [`${EPOCH}:2`, `${EPOCH}:3`]);
  stream.end();
  const ahead = new EventStream(box, EVENTS, { ...BEARER, "Last-Event-ID": `${EPOCH - 1}:7` });
  assert.equal(JSON.parse((await ahead.next())[0]?.data ?? "").verdict, "ahead");
  ahead.end();
  const bad = await call(box, "GET", EVENTS, { headers: { "last-event-id": "nonsense" } });
  assert.match(bad.error().message, /last-event-id: expected <epoch>:<seq>/);
});

test("a client cut off in the middle of a split frame gets the frame again: only its last piece has the id", async () => {
  await using box = await openBox();
  say(box, "語".repeat(1000));
  const stream = new EventStream(box, `${EVENTS}?from=1&max_bytes=512`);
  await stream.next();
  const pieces = [];
  for (let n = 1; pieces.length < n; ) {
    const [piece] = await stream.next();
    pieces.push(piece);
    n = JSON.parse(piece?.data ?? "").part[1];
  }
  assert.ok(pieces.length > 5);
  assert.deepEqual(
    pieces.map((piece) => piece?.id),
    [...pieces.slice(1).map(() => undefined), `${EPOCH}:1`],
  );
  assert.equal(pieces.map((piece) => JSON.parse(piece?.data ?? "").text).join(""), "語".repeat(1000));
  stream.end();
});

test("types are a comma-separated filter, and a bad one is refused before the stream begins", async () => {
  await using box = await openBox();
  say(box, "a");
  box.control.say({ type: "stop", reason: "end_turn" });
  const stream = new EventStream(box, `${EVENTS}?from=1&types=stop,usage`);
  const [, frame] = await stream.next(2);
  assert.equal(frame?.id, `${EPOCH}:2`);
  stream.end();
  assert.equal((await call(box, "GET", `${EVENTS}?types=nonsense`)).error().code, "bad_request");
  assert.match((await call(box, "GET", `${EVENTS}?max_bytes=200`)).error().message, /max_bytes: expected at least 512/);
  assert.equal((await call(box, "GET", EVENTS, { headers: { authorization: "Bearer no" } })).status, 401);
  assert.equal((await call(box, "GET", EVENTS.replace("1234", "9999"))).status, 404);
});

test("one heartbeat serves all streams, and none beats when nobody listens", async () => {
  let tick: (() => void) | undefined;
  let started = 0;
  await using box = await openBox({
    every: (ms, beat) => {
      assert.equal(ms, HEARTBEAT_MS);
      started++;
      tick = beat;
      return () => {
        tick = undefined;
      };
    },
  });
  assert.equal(started, 0);
  const streams = [new EventStream(box, EVENTS), new EventStream(box, EVENTS)];
  for (const stream of streams) await stream.next();
  assert.equal(started, 1);
  tick?.();
  for (const stream of streams) await stream.raw.until(() => stream.heartbeats === 1);
  for (const stream of streams) stream.end();
  while (box.http.connections > 0) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(tick, undefined);
  assert.equal(box.control.readers.size, 0);
});

test("a gap, a revoked token and a stop are told by name before the end", async () => {
  await using box = await openBox();
  const reader = new EventStream(box, EVENTS, { authorization: `Bearer ${READER}` });
  const master = new EventStream(box, EVENTS);
  await reader.next();
  await master.next();
  for (const each of box.control.readers) each.sink.gap(1, 4);
  assert.deepEqual(
    (await master.next()).map((event) => [event.event, JSON.parse(event.data)]),
    [["gap", { gap: [1, 4], session: SESSION }]],
  );
  await reader.next();
  box.control.principals.get(READER)?.abort.abort("revoked");
  assert.deepEqual(
    (await reader.next()).map((event) => [event.event, event.data]),
    [["bye", '{"bye":"revoked"}']],
  );
  await reader.raw.until();
  box.stop();
  assert.deepEqual(
    (await master.next()).map((event) => [event.event, event.data]),
    [["bye", '{"bye":"stopping"}']],
  );
  await master.raw.until();
});

test("a slow reader is waited for: it gets every frame once, while its cursor stands still", async () => {
  await using box = await openBox();
  const stream = new EventStream(box, EVENTS);
  await stream.next();
  const [reader] = box.control.readers;
  stream.raw.socket.pause();
  // 40 MiB: more than any socket buffer of this machine takes.
  const total = 640;
  const word = "x".repeat(64 * 1024);
  for (let i = 0; i < total; i++) box.control.say(text(word));
  while (reader?.full !== true) await new Promise((resolve) => setImmediate(resolve));
  assert.ok((reader?.next ?? 0) < total, "the cursor stopped");
  let next = 1;
  let rest = "";
  stream.raw.socket.removeAllListeners("data");
  await new Promise<void>((resolve) => {
    stream.raw.socket.on("data", (chunk) => {
      rest += chunk.toString("latin1");
      for (let at = rest.indexOf(`id: ${EPOCH}:${next}\n`); at >= 0; at = rest.indexOf(`id: ${EPOCH}:${next}\n`)) {
        rest = rest.slice(at + 4);
        next++;
      }
      rest = rest.slice(-64);
      if (next > total) resolve();
    });
    stream.raw.socket.resume();
  });
  stream.end();
});

test("HEAD tells whether a stream would begin, and begins none", async () => {
  await using box = await openBox();
  const answer = await call(box, "HEAD", EVENTS, { headers: { authorization: `Bearer ${TOKEN}` } });
  assert.deepEqual([answer.status, answer.headers["content-type"]], [200, "text/event-stream"]);
  assert.equal(box.control.readers.size, 0);
});
