/** The fan-out by behaviour: every sink at its own pace, none at another's cost. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { FrameBody, SessionId } from "../../src/frame/frame.ts";
import { EVERY, maskOf } from "../../src/frame/select.ts";
import { Fanout, type Reader, STALL_MS, TURN_FRAMES } from "../../src/session/fanout.ts";
import { Log } from "../../src/session/log.ts";
import { LANE_CHUNK_BYTES, PtyLane } from "../../src/session/pty-lane.ts";
import { FakeClock, turn, until } from "./fake-clock.ts";
import { MemoryDisk } from "./memory-disk.ts";
import { Recorder } from "./recorder.ts";

const SESSION = "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId;
const text = (word: string): FrameBody => ({ type: "text.delta", text: word });
const upTo = (last: number, first = 1): number[] => Array.from({ length: last - first + 1 }, (_, i) => first + i);

interface Bench {
  readonly log: Log;
  readonly lane: PtyLane;
  readonly fanout: Fanout;
  readonly clock: FakeClock;
  readonly disk: MemoryDisk;
  readonly faults: string[];
}

async function bench(
  frames: number,
  options: { maxBytes?: number; segmentBytes?: number; tailBytes?: number } = {},
): Promise<Bench> {
  const clock = new FakeClock();
  const disk = new MemoryDisk();
  const faults: string[] = [];
  const log = Log.open({ session: SESSION, folder: "/log", disk, clock, ...options });
  const lane = PtyLane.open({ session: SESSION, epoch: 1, clock, disk });
  for (let i = 1; i <= frames; i++) log.append(text(`w${i}`));
  await log.sync();
  return {
    log,
    lane,
    clock,
    disk,
    faults,
    fanout: new Fanout({ log, lane, clock, fault: (where) => faults.push(where) }),
  };
}

function attach({ fanout }: Bench, sink: Recorder, from = 1, mask = EVERY): Reader {
  return fanout.attach({ from, mask, sink });
}

describe("fan-out", () => {
  it("writes nothing before attach has returned", async () => {
    const b = await bench(3);
    const sink = new Recorder();
    attach(b, sink);
    b.log.append(text("w4"));
    b.log.flush();
    assert.deepEqual(sink.got, []);
    await until(() => sink.got.length === 4, "the frames");
    assert.deepEqual(sink.words, ["w1", "w2", "w3", "w4"]);
  });

  it("replays from the cursor and follows without a seam", async () => {
    const b = await bench(500, { tailBytes: 2000 });
    const sink = new Recorder();
    attach(b, sink, 100);
    for (let i = 501; i <= 900; i++) {
      b.log.append(text(`w${i}`));
      if (i % 7 === 0) await turn();
    }
    await until(() => sink.got.length === 801, "the frames");
    assert.deepEqual(sink.got, upTo(900, 100));
  });

  it("gives every sink the same encoded frame", async () => {
    const b = await bench(1);
    const sinks = [new Recorder(), new Recorder()];
    for (const sink of sinks) attach(b, sink);
    await until(() => sinks.every((sink) => sink.got.length === 1), "the frame");
    assert.equal(sinks[0]?.frames[0], sinks[1]?.frames[0]);
  });

  it("resumes a full sink at the next frame, and holds nothing for it meanwhile", async () => {
    const b = await bench(10);
    const sink = new Recorder();
    sink.answer = () => (sink.got.length === 4 ? "full" : "ok");
    const reader = attach(b, sink);
    await until(() => sink.got.length === 5, "the frames");
    for (let i = 0; i < 5; i++) await turn();
    assert.deepEqual(sink.got, upTo(5));
    reader.drained();
    await until(() => sink.got.length === 10, "the rest");
    assert.deepEqual(sink.got, upTo(10));
  });

  it("loses no wake-up when a sink drains while it says full", async () => {
    const b = await bench(10);
    const sink = new Recorder();
    const reader = attach(b, sink);
    sink.answer = () => {
      reader.drained();
      return "full";
    };
    await until(() => sink.got.length === 10, "all frames");
  });

  it("skips unwanted types, also beyond one turn's worth of them", async () => {
    const b = await bench(5000, { tailBytes: 1000 });
    b.log.append({ type: "stop", reason: "end_turn" });
    const sink = new Recorder();
    attach(b, sink, 1, maskOf(["stop"]));
    await until(() => sink.got.length === 1, "the stop frame");
    assert.deepEqual(sink.got, [5001]);
  });

  it("gives others a turn while one replays", async () => {
    const b = await bench(TURN_FRAMES * 20);
    const slow = new Recorder();
    const quick = new Recorder();
    let before = -1;
    attach(b, slow);
    attach(b, quick, TURN_FRAMES * 20);
    quick.answer = () => {
      before = slow.got.length;
      return "ok";
    };
    await until(() => slow.got.length === TURN_FRAMES * 20, "the replay");
    assert.ok(before >= 0 && before <= TURN_FRAMES, `after ${before} frames of the other`);
  });

  it("tells a gap exactly and goes on at the first frame there is", async () => {
    const b = await bench(0, { maxBytes: 4000, segmentBytes: 500, tailBytes: 200 });
    for (let i = 1; i <= 100; i++) {
      b.log.append(text(`w${i}`));
      await b.log.sync();
    }
    const first = b.log.first;
    assert.ok(first > 10);
    const sink = new Recorder();
    attach(b, sink, 5);
    await until(() => sink.got.includes(100), "the frames");
    assert.deepEqual(sink.got, [`5-${first}`, ...upTo(100, first)]);
  });

  it("closes a client that does not drain with its own reason, and arms a timer only while one is full", async () => {
    const b = await bench(10);
    const sink = new Recorder();
    sink.answer = () => "full";
    const reader = attach(b, sink);
    assert.equal(b.clock.timers, 0);
    await until(() => sink.got.length === 1, "a frame");
    assert.equal(b.clock.timers, 1);
    b.clock.pass(STALL_MS - 1);
    reader.drained();
    assert.equal(b.clock.timers, 0);
    await until(() => sink.got.length === 2, "a frame");
    b.clock.pass(STALL_MS - 1);
    assert.equal(sink.closed, undefined);
    b.clock.pass(1);
    assert.equal(sink.closed, "too_far_behind");
    assert.equal(b.fanout.size, 0);
    assert.equal(b.clock.timers, 0);
  });

  it("lets a full client that still reads go on, however slowly, and closes it a minute after its last byte", async () => {
    const b = await bench(10);
    const sink = new Recorder();
    let taken = 1000;
    attach(b, Object.assign(sink, { answer: () => "full" as const, taken: () => taken }));
    await until(() => sink.got.length === 1, "a frame");
    for (let minute = 0; minute < 10; minute++) {
      taken++;
      b.clock.pass(STALL_MS);
      assert.equal(sink.closed, undefined, `minute ${minute}`);
      assert.equal(b.clock.timers, 1);
    }
    b.clock.pass(STALL_MS);
    assert.equal(sink.closed, "too_far_behind");
    assert.equal(b.clock.timers, 0);
  });

  it("closes a full client when retention has passed its place", async () => {
    const b = await bench(1, { maxBytes: 4000, segmentBytes: 500 });
    const sink = new Recorder();
    sink.answer = () => "full";
    attach(b, sink);
    for (let i = 2; i <= 100; i++) {
      b.log.append(text(`w${i}`));
      await b.log.sync();
      await turn();
    }
    assert.deepEqual(sink.got, [1]);
    assert.equal(sink.closed, "too_far_behind");
  });

  it("drops a sink that throws, counts it and harms no other", async () => {
    const b = await bench(5);
    const good = new Recorder();
    const bad = new Recorder();
    bad.answer = (frame) => {
      if (frame.seq === 3) throw new Error("broken");
      return "ok";
    };
    attach(b, bad);
    attach(b, good);
    await until(() => good.got.length === 5, "the frames");
    assert.deepEqual(bad.got, [1, 2]);
    assert.deepEqual(b.faults, ["fanout"]);
    assert.equal(b.fanout.size, 1);
  });

  it("drops one reader and not the daemon when the disk cannot be read", async () => {
    const b = await bench(500, { tailBytes: 1000 });
    b.disk.fault = (operation) => (operation === "read" ? { code: "EIO" } : undefined);
    const old = new Recorder();
    const live = new Recorder();
    attach(b, old, 1);
    attach(b, live, 500);
    await until(() => live.got.length === 1 && old.closed !== undefined, "both");
    assert.equal(old.closed, "detached");
    assert.deepEqual(old.got, []);
    assert.equal(b.disk.openFiles, 1);
  });

  it("forgets a sink that is gone without closing it", async () => {
    const b = await bench(5);
    const sink = new Recorder();
    sink.answer = (frame) => (frame.seq === 3 ? "gone" : "ok");
    attach(b, sink);
    await until(() => b.fanout.size === 0, "the end");
    assert.deepEqual(sink.got, [1, 2]);
    assert.equal(sink.closed, undefined);
  });

  it("may be disposed of inside write, and writes nothing after", async () => {
    const b = await bench(5);
    const sink = new Recorder();
    const other = new Recorder();
    const reader = attach(b, sink);
    const second = attach(b, other);
    sink.answer = (frame) => {
      if (frame.seq === 2) {
        reader[Symbol.dispose]();
        second[Symbol.dispose]();
        reader.drained();
      }
      return "full";
    };
    await turn();
    reader.drained();
    for (let i = 0; i < 5; i++) await turn();
    assert.deepEqual(sink.got, [1, 2]);
    assert.deepEqual(other.got, upTo(5).slice(0, other.got.length));
    assert.equal(b.fanout.size, 0);
    assert.equal(b.clock.timers, 0);
  });

  it("ends every attachment with the reason it is closed with, also later ones", async () => {
    const b = await bench(5);
    const sinks = [new Recorder(), new Recorder()];
    for (const sink of sinks) attach(b, sink);
    b.fanout.close("stopping");
    const late = new Recorder();
    attach(b, late);
    await until(() => late.closed !== undefined, "the end");
    assert.deepEqual(
      [...sinks, late].map((sink) => sink.closed),
      ["stopping", "stopping", "stopping"],
    );
    assert.deepEqual(late.got, []);
  });

  it("does nothing while nothing happens", async () => {
    const b = await bench(5);
    const sink = new Recorder();
    attach(b, sink);
    await until(() => sink.got.length === 5, "the frames");
    await turn();
    b.disk.counts.clear();
    for (let i = 0; i < 20; i++) await turn();
    assert.equal(b.clock.timers, 0);
    assert.equal(b.disk.counts.size, 0);
  });

  it("carries terminal bytes only to those who asked, and frames beside them", async () => {
    const b = await bench(3);
    const terminal = new Recorder();
    const plain = new Recorder();
    b.lane.write(Buffer.from("hello "));
    b.fanout.attach({ from: 1, mask: EVERY, sink: terminal, lane: {} });
    attach(b, plain);
    b.lane.write(Buffer.from("world"));
    await until(() => terminal.screen === "hello world" && plain.got.length === 3, "both");
    assert.deepEqual(terminal.got, upTo(3));
    assert.equal(plain.lane.length, 0);
  });

  it("joins what the terminal says in one turn into one frame that all share", async () => {
    const b = await bench(0);
    const sinks = [new Recorder(), new Recorder()];
    for (const sink of sinks) b.fanout.attach({ from: 1, mask: EVERY, sink, lane: {} });
    await turn();
    for (const key of "typed") b.lane.write(Buffer.from(key));
    await until(() => sinks.every((sink) => sink.screen === "typed"), "the keys");
    assert.deepEqual(
      sinks.map((sink) => sink.lane.length),
      [1, 1],
    );
    assert.equal(sinks[0]?.lane[0], sinks[1]?.lane[0]);
  });

  it("lets neither a long replay of frames nor of the terminal starve the other on a slow sink", async () => {
    const b = await bench(2000);
    b.lane.write(Buffer.alloc(20 * LANE_CHUNK_BYTES, "x"));
    const sink = new Recorder();
    let taken = 0;
    sink.answer = () => (++taken % 10 === 0 ? "full" : "ok");
    const reader = b.fanout.attach({ from: 1, mask: EVERY, sink, lane: {} });
    await until(() => {
      reader.drained();
      return sink.lane.length === 20;
    }, "the terminal");
    assert.ok(sink.got.length > 20 && sink.got.length < 2000, `${sink.got.length} frames meanwhile`);
    await until(() => {
      reader.drained();
      return sink.got.length === 2000;
    }, "the frames");
    assert.deepEqual(sink.got, upTo(2000));
  });
});
