/** One session's frames to one client, paced by its acknowledgements. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeValue } from "../../../src/frame/codec.ts";
import type { Frame, FrameBody } from "../../../src/frame/frame.ts";
import { frameOf } from "../../../src/frame/item.ts";
import { Delivery, type DeliveryOptions } from "../../../src/transport/mqtt/delivery.ts";
import { MAX_UNACKNOWLEDGED, MAX_UNACKNOWLEDGED_BYTES, Window } from "../../../src/transport/mqtt/window.ts";
import { FakeControl, SESSION, TOKEN } from "../http/fake.ts";
import { FakeOutlet } from "./topic-world.ts";

const TOPIC = `cib/client/master-x/${SESSION}`;
const text = (words: string): FrameBody => ({ type: "text.delta", text: words }) as FrameBody;
const turns = async (count = 3) => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

function begin(control: FakeControl, more: Partial<DeliveryOptions> = {}, from = 1) {
  const outlet = new FakeOutlet();
  let ends = 0;
  const ended = () => ends++;
  const delivery = new Delivery({ outlet, topic: TOPIC, format: "cbor", maxBytes: undefined, ended, ...more });
  const who = control.enter({ bearer: TOKEN, address: "", encrypted: true });
  delivery.attachment = control.attach(who, { session: SESSION, from }, delivery);
  return { outlet, delivery, ends: () => ends };
}

const frames = (outlet: FakeOutlet) =>
  outlet.sent
    .map(({ payload }) => decodeValue(Buffer.from(payload)))
    .filter(Array.isArray)
    .map(frameOf) as Frame[];

test("a client that does not acknowledge is sent one window, and its cursor stops", async () => {
  const control = new FakeControl();
  for (let i = 0; i < 100; i++) control.say(text(`${i}`));
  const { outlet, delivery } = begin(control);
  await turns();
  assert.equal(outlet.sent.length, MAX_UNACKNOWLEDGED);
  assert.deepEqual(new Set(outlet.sent.map(({ id }) => id)).size, MAX_UNACKNOWLEDGED);
  const [reader] = control.readers;
  assert.deepEqual([reader?.full, reader?.next], [true, MAX_UNACKNOWLEDGED + 1]);
  for (const { id } of [...outlet.sent]) assert.equal(delivery.acknowledged(id as number), true);
  assert.equal(delivery.acknowledged(9999), false);
  await turns();
  assert.equal(outlet.sent.length, 2 * MAX_UNACKNOWLEDGED);
});

test("a window is full by bytes too, and one frame longer than it goes alone", async () => {
  const control = new FakeControl();
  for (let i = 0; i < 4; i++) control.say(text("x".repeat(MAX_UNACKNOWLEDGED_BYTES)));
  const { outlet, delivery } = begin(control);
  for (let i = 1; i <= 4; i++) {
    await turns();
    assert.equal(outlet.sent.length, i);
    delivery.acknowledged(outlet.sent.at(-1)?.id as number);
  }
});

test("whatever the order of acknowledgements and of frames, each frame comes once, in order, and never too many at once", async () => {
  const plan = fc.record({
    sizes: fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 60 }),
    maxBytes: fc.option(fc.integer({ min: 128, max: 900 }), { nil: undefined }),
    picks: fc.array(fc.nat(1000), { minLength: 1, maxLength: 30 }),
    messages: fc.integer({ min: 1, max: 8 }),
    bytes: fc.integer({ min: 1, max: 4000 }),
  });
  await fc.assert(
    fc.asyncProperty(plan, async ({ sizes, maxBytes, picks, messages, bytes }) => {
      const control = new FakeControl();
      for (const [i, size] of sizes.entries()) control.say(text(`${i}:${"x".repeat(size)}`));
      const { outlet, delivery } = begin(control, { maxBytes, limits: { messages, bytes } });
      await turns(1);
      const owed = () => outlet.sent.flatMap(({ id }) => (id !== undefined && !done.has(id) ? [id] : []));
      const done = new Set<number>();
      for (let i = 0; owed().length > 0; i++) {
        assert.ok(owed().length <= messages, `${owed().length} unacknowledged`);
        const open = owed();
        const id = open[(picks[i % picks.length] as number) % open.length] as number;
        done.add(id);
        delivery.acknowledged(id);
        await turns(1);
      }
      const told = frames(outlet);
      if (maxBytes !== undefined) assert.ok(outlet.sent.every(({ payload }) => payload.length <= maxBytes));
      const texts = new Map<number, string>();
      let last = 0;
      for (const frame of told) {
        assert.ok(frame.seq === last || frame.seq === last + 1);
        last = frame.seq;
        texts.set(frame.seq, (texts.get(frame.seq) ?? "") + (frame as Frame & { text: string }).text);
      }
      assert.deepEqual(
        [...texts.values()],
        sizes.map((size, i) => `${i}:${"x".repeat(size)}`),
      );
    }),
    { numRuns: 60 },
  );
});

test("a gap is told in its place among the frames", async () => {
  const control = new FakeControl();
  const { outlet, delivery } = begin(control, { limits: { messages: 1 } });
  const [one, two] = [control.say(text("one")), control.say(text("two"))];
  delivery.write(one);
  delivery.gap(2, 5);
  delivery.write(two);
  delivery.acknowledged(outlet.sent[0]?.id as number);
  delivery.acknowledged(outlet.sent[1]?.id as number);
  const told = outlet.sent.map(({ payload }) => decodeValue(Buffer.from(payload)));
  assert.deepEqual(told[1], { gap: [2, 5], session: SESSION });
  assert.equal(told.length, 3);
});

test("who reads on is getting on; who has read it all and does not acknowledge is not, whatever else it reads", () => {
  const outlet = new FakeOutlet();
  let read = 0;
  const window = new Window(Object.assign(outlet, { taken: () => read }), TOPIC);
  outlet.bytesWaiting = 1000;
  window.push(new Uint8Array(1000));
  /** What a minute was worth to somebody who looks at both its ends. */
  const minute = (bytes: number, waiting: number) => {
    const before = window.taken();
    read += bytes;
    outlet.bytesWaiting = waiting;
    return window.taken() - before;
  };
  assert.equal(minute(400, 600), 400);
  assert.equal(minute(600, 0), 600, "read to its end within the minute");
  assert.equal(minute(4, 0), 0, "answers to its pings");
  window.acknowledged(outlet.sent[0]?.id as number);
  assert.equal(window.taken(), 2000);
});

test("the last word goes out though nothing is acknowledged, and nothing after it", async () => {
  for (const [reason, word] of [
    ["revoked", { bye: "revoked" }],
    ["stopping", { bye: "stopping" }],
    ["too_far_behind", { detached: "too_far_behind", session: SESSION }],
  ] as const) {
    const control = new FakeControl();
    for (let i = 0; i < 40; i++) control.say(text("x".repeat(600)));
    const { outlet, delivery, ends } = begin(control, { maxBytes: 128, format: "cbor" });
    await turns();
    control.cut(reason);
    assert.deepEqual(decodeValue(Buffer.from(outlet.sent.at(-1)?.payload ?? [])), word);
    assert.equal(ends(), 1);
    const count = outlet.sent.length;
    for (const { id } of [...outlet.sent]) delivery.acknowledged(id as number);
    delivery.gap(1, 2);
    assert.equal(delivery.write(control.say(text("late"))), "gone");
    assert.equal(outlet.sent.length, count);
  }
});

test("a delivery that is disposed of ends without a word, and one whose connection is gone says so", async () => {
  const control = new FakeControl();
  const one = begin(control);
  one.delivery[Symbol.dispose]();
  control.say(text("late"));
  await turns();
  assert.deepEqual([one.outlet.sent.length, control.readers.size, one.ends()], [0, 0, 0]);
  const two = begin(control);
  two.outlet.gone = true;
  assert.equal(two.delivery.write(control.say(text("x"))), "gone");
});

test("a connection that is full of other things holds frames back until it has drained", async () => {
  const control = new FakeControl();
  const { outlet, delivery } = begin(control);
  outlet.bytesWaiting = 64 * 1024 * 1024;
  for (let i = 0; i < 10; i++) control.say(text(`${i}`));
  await turns();
  assert.equal(outlet.sent.length, 1);
  outlet.bytesWaiting = 0;
  delivery.drained();
  await turns();
  assert.equal(outlet.sent.length, 10);
});

test("a window that is paused sends nothing, and everything in order when it goes on", () => {
  const outlet = new FakeOutlet();
  const window = new Window(outlet, TOPIC);
  window.paused = true;
  for (let i = 0; i < 5; i++) window.push(Uint8Array.of(i));
  assert.deepEqual([outlet.sent.length, window.bytes, window.full], [0, 5, true]);
  window.paused = false;
  assert.deepEqual(
    outlet.sent.map(({ payload }) => payload[0]),
    [0, 1, 2, 3, 4],
  );
});
