/** The terminal lane by behaviour: offsets, its bound, late readers, restarts. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { PtyFrame, SessionId } from "../../src/frame/frame.ts";
import { LANE_CHUNK_BYTES, type LaneCursor, type LaneOptions, PtyLane } from "../../src/session/pty-lane.ts";
import { FakeClock } from "./fake-clock.ts";
import { MemoryDisk } from "./memory-disk.ts";

const SESSION = "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId;
const FILE = "/s/output.log";

function open(more: Partial<LaneOptions> = {}): PtyLane {
  return PtyLane.open({ session: SESSION, epoch: 1, clock: new FakeClock(), disk: new MemoryDisk(), ...more });
}

/** Everything from the cursor on: [offset, bytes]. */
function read(lane: PtyLane, cursor: LaneCursor = lane.cursor()): [number, string][] {
  const out: [number, string][] = [];
  for (let frame = lane.take(cursor); frame !== undefined; frame = lane.take(cursor)) {
    const { offset, data } = frame.frame() as PtyFrame;
    out.push([offset, Buffer.from(data).toString("latin1")]);
  }
  return out;
}

describe("terminal lane", () => {
  it("counts bytes for ever and holds the last ones", () => {
    const lane = open({ maxBytes: 10 });
    lane.write(Buffer.from("abcdefgh"));
    assert.deepEqual([lane.start, lane.end], [0, 8]);
    lane.write(Buffer.from("ijklmno"));
    assert.deepEqual([lane.start, lane.end], [5, 15]);
    assert.deepEqual(read(lane), [[5, "fghijklmno"]]);
  });

  it("begins where it is asked to, and with the oldest byte for a reader without a place or with one it never reached", () => {
    const lane = open({ maxBytes: 10 });
    lane.write(Buffer.from("abcdefghijkl"));
    assert.deepEqual(read(lane, lane.cursor(9)), [[9, "jkl"]]);
    assert.deepEqual(read(lane, lane.cursor(12)), []);
    assert.deepEqual(read(lane, lane.cursor()), [[2, "cdefghijkl"]]);
    assert.deepEqual(read(lane, lane.cursor(0)), [[2, "cdefghijkl"]]);
    assert.deepEqual(read(lane, lane.cursor(13)), [[2, "cdefghijkl"]]);
  });

  it("skips a slow reader ahead, and the offset tells", () => {
    const lane = open({ maxBytes: 10 });
    const cursor = lane.cursor();
    lane.write(Buffer.from("abc"));
    assert.deepEqual(read(lane, cursor), [[0, "abc"]]);
    lane.write(Buffer.from("defghijklmnopq"));
    assert.deepEqual(read(lane, cursor), [[7, "hijklmnopq"]]);
  });

  it("cuts long output into frames of a bounded size", () => {
    const lane = open();
    lane.write(Buffer.alloc(LANE_CHUNK_BYTES * 2 + 1, "x"));
    assert.deepEqual(
      read(lane).map(([offset, data]) => [offset, data.length]),
      [
        [0, LANE_CHUNK_BYTES],
        [LANE_CHUNK_BYTES, LANE_CHUNK_BYTES],
        [LANE_CHUNK_BYTES * 2, 1],
      ],
    );
  });

  it("keeps its bytes when the writer reuses its buffer", () => {
    const lane = open();
    const buffer = Buffer.from("first");
    lane.write(buffer);
    const frame = lane.take(lane.cursor())?.frame() as PtyFrame | undefined;
    buffer.write("XXXXX");
    lane.write(Buffer.from("more"));
    assert.equal(Buffer.from(frame?.data ?? []).toString(), "first");
    assert.equal(
      read(lane)
        .map(([, data]) => data)
        .join(""),
      "firstmore",
    );
  });

  it("goes on with its offsets after a clean stop", async () => {
    const disk = new MemoryDisk();
    const lane = open({ disk, file: FILE, maxBytes: 10 });
    lane.write(Buffer.from("abcdefghijklm"));
    await lane.spill();
    const again = open({ disk, file: FILE, maxBytes: 10 });
    again.write(Buffer.from("no"));
    assert.deepEqual(read(again), [[5, "fghijklmno"]]);
  });

  it("writes nothing at a stop when nothing came", async () => {
    const disk = new MemoryDisk();
    await open({ disk, file: FILE }).spill();
    assert.equal(disk.size(FILE), undefined);
  });

  it("never gives an offset to two different bytes, whatever an unclean stop has lost", async () => {
    const disk = new MemoryDisk();
    const lane = open({ disk, file: FILE });
    lane.write(Buffer.from("spilled"));
    await lane.spill();
    lane.write(Buffer.from(" and lost"));
    const again = open({ disk, file: FILE, epoch: 2 });
    assert.ok(again.start > lane.end);
    assert.deepEqual(
      read(again).map(([, data]) => data),
      ["spilled"],
    );
    again.write(Buffer.from("!"));
    const seen = read(again, again.cursor(lane.end));
    assert.equal(seen[0]?.[0], again.start);
    assert.equal(seen.map(([, data]) => data).join(""), "spilled!");
    await again.spill();
    const third = open({ disk, file: FILE, epoch: 2 });
    assert.deepEqual([third.start, third.end], [again.start, again.end]);
  });

  it("leaves a spilled ring aside that it does not understand", () => {
    for (const bytes of ["", "garbage", "{}\nabc", '{"end":1}\nabc', '{"end":-3}\n', "\n\n"]) {
      const disk = new MemoryDisk();
      disk.put(FILE, bytes);
      const lane = open({ disk, file: FILE });
      assert.deepEqual([lane.start, lane.end], [0, 0], bytes);
    }
  });

  it("gives every reader the stream's own bytes at every offset, in order, whatever the writes and reads", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9000 }),
        fc.array(
          fc.oneof(
            fc.record({ write: fc.integer({ min: 0, max: 20_000 }) }),
            fc.record({ read: fc.nat(2), times: fc.nat(4) }),
          ),
          { maxLength: 60, size: "max" },
        ),
        (maxBytes, steps) => {
          const lane = open({ maxBytes });
          const cursors = [lane.cursor(), lane.cursor(), lane.cursor()];
          let sent = 0;
          for (const step of steps) {
            if ("write" in step) {
              lane.write(Buffer.from(Array.from({ length: step.write }, (_, i) => (sent + i) % 251)));
              sent += step.write;
              assert.deepEqual([lane.start, lane.end], [Math.max(0, sent - maxBytes), sent]);
              continue;
            }
            const cursor = cursors[step.read] as LaneCursor;
            for (let i = 0; i < step.times; i++) {
              const before = cursor.next;
              const frame = lane.take(cursor)?.frame() as PtyFrame | undefined;
              if (frame === undefined) {
                assert.equal(cursor.next, sent);
                continue;
              }
              assert.equal(frame.offset, Math.max(before, lane.start));
              assert.equal(cursor.next, frame.offset + frame.data.length);
              assert.ok(frame.data.every((byte, at) => byte === (frame.offset + at) % 251));
            }
          }
        },
      ),
    );
  });
});
