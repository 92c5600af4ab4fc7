/** Bridge feed: where a session's frames begin, how far they have arrived, and what is told of those that are missing. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { SessionInfo, Verdict } from "../../../src/control/control.ts";
import { Encoded } from "../../../src/frame/codec.ts";
import type { SessionId } from "../../../src/frame/frame.ts";
import type { BridgeFrames } from "../../../src/transport/mqtt/bridge-address.ts";
import { Cursors } from "../../../src/transport/mqtt/bridge-cursors.ts";
import { BridgeFeed, MAX_FRAME_BYTES } from "../../../src/transport/mqtt/bridge-feed.ts";

const SESSION = "0b9c1d9e-7f0e-4c7c-9d38-000000000001" as SessionId;
const SINCE = 1000;
const info = (created: number): SessionInfo => ({ session: SESSION, created_at: created });
const frame = (seq: number, text = "x") => Encoded.of({ session: SESSION, seq, ts: 1, type: "text.delta", text });

async function rig(t: TestContext, verdict: Partial<Verdict>, frames: BridgeFrames = "json") {
  const folder = mkdtempSync(join(tmpdir(), "cib-feed-"));
  const timers = { after: () => () => undefined, every: () => () => undefined };
  const fault = (thrown: unknown) => assert.fail(String(thrown));
  const cursors = await Cursors.open({ file: join(folder, "cursors"), now: () => SINCE, timers, fault });
  t.after(async () => {
    await cursors.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const sent: { topic: string; payload: Buffer; done: () => void }[] = [];
  const wishes: unknown[] = [];
  const stalls: string[] = [];
  const faults: unknown[] = [];
  /** Waits for another try, in ms, and what follows them. */
  const waits: { ms: number; act: () => void; off?: true }[] = [];
  /** What attaching throws. */
  const broken: { by?: Error } = {};
  const open = (created: number) =>
    new BridgeFeed(
      {
        control: {
          attach: (_who, wish) => {
            wishes.push(wish);
            if (broken.by !== undefined) throw broken.by;
            const full = { session: SESSION, epoch: 1, first: 1, last: 9, from: 1, verdict: "ok" as const, ...verdict };
            return { verdict: full, drained: () => undefined, [Symbol.dispose]: () => undefined };
          },
        },
        who: { name: "x", label: "x", scopes: new Set(), ended: new AbortController().signal },
        root: "cib/box",
        frames,
        cursors,
        publish: (topic, payload, done) => sent.push({ topic, payload, done }) > 0,
        full: () => sent.length >= 4,
        taken: () => 0,
        timers: {
          ...timers,
          after: (ms, act) => {
            const wait: (typeof waits)[number] = { ms, act };
            waits.push(wait);
            return () => {
              wait.off = true;
            };
          },
        },
        stalled: (why) => void stalls.push(why),
        fault: (thrown) => void faults.push(thrown),
      },
      info(created),
    );
  return { cursors, sent, wishes, stalls, faults, waits, broken, open };
}

test("a session older than the bridge begins now, a younger one at its first frame, a known one behind its cursor", async (t) => {
  const { cursors, wishes, open } = await rig(t, { from: 5 });
  open(SINCE - 1);
  assert.deepEqual(wishes.pop(), { session: SESSION });
  assert.deepEqual(cursors.get(SESSION), { epoch: 1, seq: 4 }, "remembered before a frame has come");
  open(SINCE - 1);
  assert.deepEqual(wishes.pop(), { session: SESSION, from: 5, epoch: 1 });
  cursors.delete(SESSION);
  open(SINCE);
  assert.deepEqual(wishes.pop(), { session: SESSION, from: 1 });
});

test("the cursor moves to what has arrived with all before it, in whatever order the acknowledgements come", async (t) => {
  const { cursors, sent, open } = await rig(t, {}, "both");
  const feed = open(SINCE);
  assert.deepEqual([feed.write(frame(1)), feed.write(frame(2))], ["ok", "full"]);
  assert.deepEqual(
    sent.map(({ topic }) => topic.slice(`cib/box/${SESSION}/`.length)),
    ["frames/text.delta", "json/text.delta", "frames/text.delta", "json/text.delta"],
  );
  const at = () => cursors.get(SESSION)?.seq;
  for (const i of [3, 2, 0]) sent[i]?.done();
  assert.equal(at(), 0);
  sent[1]?.done();
  assert.equal(at(), 2);
  feed.write(frame(3));
  feed[Symbol.dispose]();
  for (const { done } of sent) done();
  assert.equal(at(), 2, "an acknowledgement after the end of the line counts for nothing");
});

test("a long frame goes in pieces, and has arrived when all of them have", async (t) => {
  const { cursors, sent, open } = await rig(t, {});
  open(SINCE).write(frame(1, "y".repeat(3 * MAX_FRAME_BYTES)));
  assert.ok(sent.length > 3 && sent.every(({ payload }) => payload.length <= MAX_FRAME_BYTES));
  for (const { done } of sent.slice(1)) done();
  assert.equal(cursors.get(SESSION)?.seq, 0);
  sent[0]?.done();
  assert.equal(cursors.get(SESSION)?.seq, 1);
});

test("what retention has pruned is told in its place, at the start and on the way, and a log that lost frames, too", async (t) => {
  const { cursors, sent, open } = await rig(t, { verdict: "gap", from: 7 });
  const feed = open(SINCE);
  feed.gap(8, 12);
  assert.deepEqual(
    sent.map(({ topic, payload }) => [topic, JSON.parse(payload.toString()) as unknown]),
    [
      [`cib/box/${SESSION}/gap`, { session: SESSION, epoch: 1, first: 1, last: 9, from: 7, verdict: "gap" }],
      [`cib/box/${SESSION}/gap`, { session: SESSION, epoch: 1, gap: [8, 12] }],
    ],
  );
  for (const { done } of sent) done();
  assert.equal(cursors.get(SESSION)?.seq, 11);
  const lost = await rig(t, { verdict: "ahead", from: 3, epoch: 2 });
  lost.cursors.set(SESSION, { epoch: 1, seq: 8 });
  lost.open(SINCE);
  assert.deepEqual(lost.wishes, [{ session: SESSION, from: 9, epoch: 1 }]);
  assert.match(lost.sent[0]?.payload.toString() ?? "", /"ahead"/);
  lost.sent[0]?.done();
  assert.deepEqual(lost.cursors.get(SESSION), { epoch: 2, seq: 2 });
});

test("what is missing at the start is told again until the broker has it, and the place does not move before", async (t) => {
  for (const [verdict, place] of [
    [
      { verdict: "gap", from: 7 },
      { epoch: 1, seq: 2 },
    ],
    [
      { verdict: "ahead", from: 3, epoch: 2 },
      { epoch: 1, seq: 8 },
    ],
    [{ verdict: "gap", from: 7 }, undefined],
  ] as const) {
    const { cursors, sent, wishes, open } = await rig(t, verdict);
    if (place !== undefined) cursors.set(SESSION, place);
    // This line broke before it had acknowledged anything.
    open(SINCE)[Symbol.dispose]();
    assert.deepEqual(cursors.get(SESSION), place ?? { epoch: 1, seq: 0 });
    open(SINCE);
    assert.deepEqual(wishes[1], { epoch: 1, ...(wishes[0] as object) });
    assert.deepEqual(sent[1]?.payload, sent[0]?.payload);
    sent[1]?.done();
    assert.deepEqual(cursors.get(SESSION), { epoch: verdict.verdict === "ahead" ? 2 : 1, seq: verdict.from - 1 });
  }
});

test("after a kill of the box nobody knows how far it had come: what is behind the place is told to come again", async (t) => {
  for (const [verdict, told] of [
    [{ from: 9, epoch: 2 }, [{ verdict: "ahead", from: 9 }]],
    [
      { from: 12, epoch: 2, verdict: "gap" },
      [
        { verdict: "ahead", from: 9 },
        { verdict: "gap", from: 12 },
      ],
    ],
    [{ from: 7, epoch: 2, verdict: "ahead" }, [{ verdict: "ahead", from: 7 }]],
  ] as const) {
    const { cursors, sent, open } = await rig(t, verdict);
    cursors.set(SESSION, { epoch: 1, seq: 8 });
    open(SINCE)[Symbol.dispose]();
    assert.deepEqual(cursors.get(SESSION), { epoch: 1, seq: 8 }, "until the broker has it");
    open(SINCE);
    const said = sent.splice(0).slice(told.length);
    assert.deepEqual(
      said.map(({ payload }) => {
        const { verdict: word, from } = JSON.parse(payload.toString()) as { verdict: string; from: number };
        return { verdict: word, from };
      }),
      told,
    );
    for (const { done } of said) done();
    assert.deepEqual(cursors.get(SESSION), { epoch: 2, seq: verdict.from - 1 });
  }
  const { sent, cursors, open } = await rig(t, { from: 9 });
  cursors.set(SESSION, { epoch: 1, seq: 8 });
  open(SINCE);
  assert.deepEqual(sent, [], "after a stop there is nothing to tell");
});

test("a log that cannot be read costs its session a wait, again and again, and the line nothing", async (t) => {
  const { cursors, sent, wishes, stalls, faults, waits, broken, open } = await rig(t, {});
  const feed = open(SINCE);
  feed.write(frame(1));
  feed.close("detached");
  assert.deepEqual([stalls, waits.length], [[], 1]);
  broken.by = new Error("EIO");
  waits[0]?.act();
  waits[1]?.act();
  assert.equal(faults.length, 2);
  assert.ok((waits[2]?.ms ?? 0) > (waits[1]?.ms ?? 0) && (waits[1]?.ms ?? 0) > (waits[0]?.ms ?? 0), "each time later");
  delete broken.by;
  waits[2]?.act();
  assert.deepEqual(wishes, [{ session: SESSION, from: 1 }, ...Array.from({ length: 3 }, () => wishes[1])]);
  assert.deepEqual(wishes[1], { session: SESSION, from: 2, epoch: 1 }, "behind what was sent, acknowledged or not");
  // What was sent before the fault still counts when it is acknowledged.
  for (const { done } of sent) done();
  assert.equal(cursors.get(SESSION)?.seq, 1);
  feed.close("detached");
  feed[Symbol.dispose]();
  assert.equal(waits[3]?.off, true, "nobody waits for one that is over");
});

test("a broker that acknowledges nothing costs the line", async (t) => {
  const { stalls, open } = await rig(t, {});
  const feed = open(SINCE);
  feed.close("stopping");
  assert.deepEqual(stalls, []);
  feed.close("too_far_behind");
  assert.match(stalls[0] ?? "", /not acknowledged/);
});
