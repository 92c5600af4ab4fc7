/** The log by behaviour: numbering, batches, sync, rest and reopening, damage, retention, a disk that refuses. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { CibError } from "../../src/errors.ts";
import type { Frame, FrameBody, SessionId } from "../../src/frame/frame.ts";
import { maskOf } from "../../src/frame/select.ts";
import { Log, MAX_PENDING_BYTES } from "../../src/session/log.ts";
import type { LogOptions } from "../../src/session/log-options.ts";
import { MAX_FRAME_BYTES } from "../../src/session/segment.ts";
import { RETRY_MS } from "../../src/session/trouble.ts";
import { FakeClock, turn, until } from "./fake-clock.ts";
import { MemoryDisk } from "./memory-disk.ts";

const SESSION = "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId;
const FOLDER = "/log";
const OPEN = `${FOLDER}/transcript.jsonl`;

const text = (word: string): FrameBody => ({ type: "text.delta", text: word });

function open(disk: MemoryDisk, more: Partial<LogOptions> = {}): Log {
  return Log.open({ session: SESSION, folder: FOLDER, disk, clock: new FakeClock(), ...more });
}

function words(log: Log, from = log.first): string[] {
  return [...log.frames(from)].map((frame) => (frame.type === "text.delta" ? frame.text : frame.type));
}

/** A log with `count` frames, written and at rest. */
async function filled(count: number, more: Partial<LogOptions> = {}): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  const log = open(disk, more);
  for (let i = 1; i <= count; i++) log.append(text(`w${i}`));
  await log.close();
  return disk;
}

describe("log", () => {
  it("numbers frames from 1 and writes one flat JSON line each", async () => {
    const disk = new MemoryDisk();
    const log = open(disk);
    assert.equal(log.append(text("a")), 1);
    assert.equal(log.append({ type: "stop", reason: "end_turn" }), 2);
    await log.sync();
    const ts = new FakeClock().now();
    assert.equal(
      disk.text(OPEN),
      `{"session":"${SESSION}","seq":1,"ts":${ts},"type":"text.delta","text":"a"}\n{"session":"${SESSION}","seq":2,"ts":${ts},"type":"stop","reason":"end_turn"}\n`,
    );
  });

  it("writes what one turn of the loop appends with one write, and only then tells listeners", async () => {
    const disk = new MemoryDisk();
    const log = open(disk);
    log.append(text("first"));
    await log.sync();
    const writes = disk.counts.get("write") ?? 0;
    let told = 0;
    log.listen(() => {
      told++;
      assert.equal(log.last, 101);
    });
    for (let i = 0; i < 100; i++) log.append(text("x"));
    assert.equal(log.last, 1, "nothing may be read before it is written");
    assert.equal(log.numbered, 101);
    await turn();
    assert.equal(told, 1);
    assert.equal((disk.counts.get("write") ?? 0) - writes, 1);
  });

  it("never lets time run backwards, also across a restart", async () => {
    const disk = new MemoryDisk();
    const clock = new FakeClock(5000);
    const log = open(disk, { clock });
    log.append(text("a"));
    clock.pass(-3000);
    log.append(text("b"));
    await log.close();
    const again = open(disk, { clock: new FakeClock(1000) });
    again.append(text("c"));
    await again.sync();
    assert.deepEqual(
      [...again.frames(1)].map((frame) => frame.ts),
      [5000, 5000, 5000],
    );
    await again.close();
  });

  it("shares one sync among callers, and none is released by a sync that began before its frames were written", async () => {
    const disk = new MemoryDisk();
    const log = open(disk);
    log.append(text("a"));
    await log.sync();
    const before = disk.counts.get("datasync") ?? 0;
    let release = (): void => undefined;
    disk.duringSync = () =>
      new Promise((resolve) => {
        release = resolve;
      });
    log.append(text("b"));
    const first = log.sync();
    await turn();
    log.append(text("c"));
    const released: number[] = [];
    const second = [0, 1, 2].map((i) => log.sync().then(() => released.push(i)));
    await turn();
    disk.duringSync = () => new Promise((resolve) => setImmediate(resolve));
    assert.equal((disk.counts.get("datasync") ?? 0) - before, 1);
    release();
    await first;
    assert.deepEqual(released, []);
    await Promise.all(second);
    assert.equal((disk.counts.get("datasync") ?? 0) - before, 2);
    assert.equal(disk.unsynced(OPEN), 0);
  });

  it("syncs after a stop frame under the policy turn, and not under off", async () => {
    for (const [policy, synced] of [
      ["turn", true],
      ["off", false],
    ] as const) {
      const disk = new MemoryDisk();
      const log = open(disk, { policy });
      log.append(text("a"));
      await until(() => log.last === 1, "the frame");
      assert.ok(disk.unsynced(OPEN) > 0);
      log.append({ type: "stop", reason: "end_turn" });
      await until(() => log.last === 2, "the frame");
      await turn();
      assert.equal(disk.unsynced(OPEN) === 0, synced, policy);
    }
  });

  it("shows a frame only after it was synced under the policy always", async () => {
    const disk = new MemoryDisk();
    const log = open(disk, { policy: "always" });
    log.append(text("a"));
    await log.sync();
    let release = (): void => undefined;
    disk.duringSync = () =>
      new Promise((resolve) => {
        release = resolve;
      });
    let told = 0;
    log.listen(() => told++);
    log.append(text("b"));
    await turn();
    assert.ok(disk.unsynced(OPEN) > 0);
    assert.equal(log.last, 1);
    assert.deepEqual(words(log), ["a"]);
    release();
    await until(() => told === 1, "the sync");
    assert.deepEqual(words(log), ["a", "b"]);
  });

  it("keeps its epoch over a clean stop, and writes nothing when opened only to be read", async () => {
    const disk = await filled(3);
    const writes = (): number[] =>
      ["openAppend", "write", "replace", "truncate"].map((name) => disk.counts.get(name) ?? 0);
    const before = writes();
    const log = open(disk);
    assert.deepEqual(words(log), ["w1", "w2", "w3"]);
    assert.deepEqual(log.judge({ from: 4, epoch: 1 }), { epoch: 1, first: 1, last: 3, from: 4, verdict: "ok" });
    await log.close();
    assert.deepEqual(writes(), before);
    assert.equal(disk.openFiles, 0);
  });

  it("goes on after a clean stop with the next number", async () => {
    const disk = await filled(3);
    const log = open(disk);
    assert.equal(log.append(text("w4")), 4);
    await log.close();
    assert.deepEqual(words(open(disk)), ["w1", "w2", "w3", "w4"]);
    assert.equal(open(disk).epoch, 1);
  });

  it("takes its clean mark away durably before the first new frame is written", async () => {
    const disk = await filled(3);
    const log = open(disk);
    log.append(text("w4"));
    await until(() => log.last === 4, "the frame");
    // The frame is lost, so the file is as the mark said: the mark must not be believed.
    const after = disk.powerLoss(() => 0);
    const again = open(after);
    assert.equal(again.last, 3);
    assert.equal(again.epoch, 2);
    assert.deepEqual(again.judge({ from: 5, epoch: 1 }), { epoch: 2, first: 1, last: 3, from: 4, verdict: "ahead" });
  });

  it("raises its epoch after a kill, and those who saw everything are not ahead", async () => {
    const disk = new MemoryDisk();
    const log = open(disk);
    for (const word of ["a", "b"]) log.append(text(word));
    await log.sync();
    const again = open(disk.kill());
    assert.deepEqual(again.judge({ from: 3, epoch: 1 }), { epoch: 2, first: 1, last: 2, from: 3, verdict: "ok" });
    assert.equal(again.append(text("c")), 3);
    await again.close();
  });

  it("does not give one epoch two ends when it is killed again before anything was appended", async () => {
    const disk = new MemoryDisk();
    const log = open(disk);
    for (const word of ["a", "b", "c"]) log.append(text(word));
    await log.sync();
    log.append(text("d"));
    await until(() => log.last === 4, "the frame");
    const killed = disk.kill();
    const second = open(killed);
    await second.rest();
    const third = open(killed.powerLoss(() => 0));
    assert.equal(third.epoch, 2, "it was at rest");
    assert.equal(third.last, 4);
  });

  for (const [what, tail] of [
    ["a torn last line", `{"session":"${SESSION}","seq":4,"ts":1,"type":"text.del`],
    ["NULs", "\0".repeat(100_000)],
    ["NULs and a line end", `${"\0".repeat(5000)}\n`],
    ["half a line after NULs", `${"\0".repeat(5000)}lta","text":"x"}\n`],
    ["a line that is no JSON", `{"session":"${SESSION}","seq":4,"ts":1,"type":"text.delta","text":"\n`],
    [
      "a line of another session",
      `{"session":"${SESSION.replace("0", "1")}","seq":4,"ts":1,"type":"stop","reason":"x"}\n`,
    ],
    ["a line out of order", `{"session":"${SESSION}","seq":2,"ts":1,"type":"stop","reason":"x"}\n`],
    ["600 KB of line ends", "\n".repeat(600_000)],
  ] as const) {
    it(`repairs ${what} at its end`, async () => {
      const disk = await filled(3);
      const good = disk.text(OPEN);
      disk.put(OPEN, good + tail);
      const log = open(disk);
      assert.deepEqual(words(log), ["w1", "w2", "w3"]);
      assert.equal(log.epoch, 2);
      assert.equal(log.append(text("w4")), 4);
      await log.close();
      assert.ok(disk.text(OPEN).startsWith(good));
      assert.equal(disk.text(OPEN).trimEnd().split("\n").length, 4);
    });
  }

  it("begins with nothing when nothing in its files is sound after an unclean stop, and everyone is ahead", async () => {
    const disk = await filled(3);
    disk.put(`${FOLDER}/log.json`, '{"epoch":1,"epochs":[]}');
    disk.put(OPEN, "\0".repeat(1000));
    const log = open(disk);
    assert.deepEqual(log.judge({ from: 4, epoch: 1 }), { epoch: 2, first: 1, last: 0, from: 1, verdict: "ahead" });
    assert.equal(log.append(text("a")), 1);
    await log.close();
  });

  /** Files at rest, 14 frames, then damaged; which frames are lost, and whether it is seen without reading them. */
  const lineOf = (file: string, n: number): number => file.split("\n").slice(0, n).join("\n").length + 1;
  const damages: readonly [string, (file: string) => string | Buffer | undefined, readonly number[], boolean][] = [
    ["bytes overwritten in place", (file) => `${file.slice(0, 300)}${"#".repeat(20)}${file.slice(320)}`, [3], false],
    [
      "a byte that is no UTF-8",
      (file) => Buffer.from(file).fill(0xff, file.indexOf("w3"), file.indexOf("w3") + 1),
      [3],
      false,
    ],
    ["its first line overwritten", (file) => `${"#".repeat(60)}${file.slice(60)}`, [1], true],
    ["a line removed", (file) => file.slice(0, lineOf(file, 4)) + file.slice(lineOf(file, 5)), [5], true],
    ["a byte removed", (file) => file.slice(0, 300) + file.slice(301), [3], true],
    ["a stretch of NULs put in", (file) => `${file.slice(0, 300)}${"\0".repeat(999)}${file.slice(300)}`, [3], true],
    ["a number changed in place", (file) => file.replace('"seq":5,', '"seq":8,'), [5, 6, 7], false],
    ["its end cut off", (file) => file.slice(0, lineOf(file, 3) + 20), [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], true],
    ["all of it NULs", (file) => "\0".repeat(file.length), Array.from({ length: 14 }, (_, i) => i + 1), true],
    ["nothing in it", () => "", Array.from({ length: 14 }, (_, i) => i + 1), true],
    ["no file at all", () => undefined, Array.from({ length: 14 }, (_, i) => i + 1), true],
  ];
  for (const [what, damage, lost, seen] of damages) {
    it(`loses only what was hit and gives no number out again after a clean stop and ${what}`, async () => {
      const disk = await filled(14);
      const damaged = damage(disk.text(OPEN));
      if (damaged === undefined) disk.unlink(OPEN);
      else disk.put(OPEN, damaged);
      const told: string[] = [];
      const events = { damaged: (message: string) => void told.push(message) };
      const kept = Array.from({ length: 14 }, (_, i) => i + 1).filter((seq) => !lost.includes(seq));
      const seqs = (log: Log): number[] => [...log.frames(1)].map((frame) => frame.seq);
      const log = open(disk, { events });
      // A number that was changed hides those between, not those after.
      assert.deepEqual(seqs(log), kept);
      assert.equal(log.epoch, seen ? 2 : 1);
      // A line whose number alone is wrong looks sound.
      assert.equal(told.length > 0, what !== "a number changed in place", told.join("; "));
      if (seen) assert.match(told[0] ?? "", /transcript\.jsonl is not as it was left.* go on at 15/);
      assert.equal(log.judge({ from: 15, epoch: 1 }).verdict, "ok");
      assert.equal(log.append(text("w15")), 15);
      await log.sync();
      // A kill, and a stop in good order: both find what there is.
      const killed = open(disk.kill(), { events });
      assert.equal(killed.last, 15);
      assert.deepEqual(seqs(killed), [...kept, 15]);
      await log.close();
      const again = open(disk);
      assert.deepEqual(seqs(again), [...kept, 15]);
      assert.equal(again.epoch, log.epoch);
    });
  }

  it("sets aside what it cuts off after a clean stop", async () => {
    const disk = await filled(3);
    disk.put(OPEN, `${disk.text(OPEN)}half a line`);
    open(disk);
    assert.equal(disk.text(`${OPEN}.damaged`), "half a line");
  });

  it("keeps what follows damage after a kill, and tells the gap", async () => {
    const disk = new MemoryDisk();
    const log = open(disk);
    for (let i = 1; i <= 14; i++) log.append(text(`w${i}`));
    await log.sync();
    const killed = disk.kill();
    const file = killed.text(OPEN);
    killed.put(OPEN, `${file.slice(0, 300)}${"\0".repeat(20)}${file.slice(320)}{"session":`);
    const told: string[] = [];
    const again = open(killed, { events: { damaged: (message) => void told.push(message) } });
    assert.equal(again.last, 14);
    assert.equal(words(again).length, 13);
    assert.match(told.join(), /is damaged, some frames in it are lost/);
    assert.equal(again.append(text("w15")), 15);
    await again.close();
  });

  it("gives no number out again when a file is lost that an earlier repair had counted", async () => {
    const disk = new MemoryDisk();
    const log = open(disk);
    for (let i = 1; i <= 14; i++) log.append(text(`w${i}`));
    await log.sync();
    const killed = disk.kill();
    const second = open(killed);
    second.append(text("w15"));
    await second.sync();
    const worse = killed.kill();
    worse.unlink(OPEN);
    const third = open(worse);
    assert.equal(third.last, 14, "the last number log.json knows");
    assert.equal(third.judge({ from: 16, epoch: 2 }).from, 15);
    await third.close();
  });

  it("keeps a file that begins behind a gap over a later kill", async () => {
    const disk = new MemoryDisk();
    const small = { maxBytes: 100_000, segmentBytes: 1000 };
    const log = open(disk, small);
    for (let i = 1; i <= 14; i++) {
      log.append(text(`w${i}`));
      await log.sync();
    }
    await log.close();
    disk.unlink(OPEN);
    const second = open(disk, small);
    assert.equal(second.append(text("w15")), 15);
    await second.sync();
    const third = open(disk.kill(), small);
    assert.equal(third.last, 15);
    assert.equal(words(third).at(-1), "w15");
    await third.close();
  });

  it("starts an epoch above any counted one when log.json is lost", async () => {
    const disk = await filled(3);
    disk.unlink(`${FOLDER}/log.json`);
    const log = open(disk);
    assert.ok(log.epoch > 1_000_000_000);
    assert.equal(log.judge({ from: 4, epoch: 1 }).verdict, "ok");
    assert.equal(log.judge({ from: 5, epoch: 1 }).verdict, "ahead");
    await log.close();
  });

  it("rolls its file and unlinks whole old ones beyond its bound", async () => {
    const disk = new MemoryDisk();
    const log = open(disk, { maxBytes: 8000, segmentBytes: 1000, tailBytes: 100 });
    for (let i = 1; i <= 300; i++) {
      log.append(text(`w${i}`));
      if (i % 3 === 0) await log.sync();
    }
    const bytes = disk
      .list(FOLDER)
      .filter((name) => name.startsWith("transcript"))
      .reduce((sum, name) => sum + (disk.size(`${FOLDER}/${name}`) ?? 0), 0);
    assert.ok(bytes <= 8000 + 400, `${bytes} bytes`);
    assert.ok(log.first > 1);
    assert.deepEqual(
      words(log),
      Array.from({ length: 300 - log.first + 1 }, (_, i) => `w${log.first + i}`),
    );
    assert.deepEqual(log.judge({ from: 1, epoch: 1 }), {
      epoch: 1,
      first: log.first,
      last: 300,
      from: log.first,
      verdict: "gap",
    });
    await log.close();
    const again = open(disk);
    assert.equal(again.first, log.first);
    assert.equal(again.last, 300);
    assert.equal(again.epoch, 1);
    assert.equal(disk.openFiles, 0);
  });

  it("lets go of what follows a hole between two files", async () => {
    const disk = await filled(30, { maxBytes: 100_000, segmentBytes: 1000 });
    const names = disk.list(FOLDER).filter((name) => /transcript\.\d/.test(name));
    assert.equal(names.length, 0, "one write, one file");
    const log = open(disk, { maxBytes: 100_000, segmentBytes: 1000 });
    log.append(text("w31"));
    await log.sync();
    log.append(text("w32"));
    await log.sync();
    const closed = disk.list(FOLDER).find((name) => /transcript\.\d/.test(name));
    const path = `${FOLDER}/${closed}`;
    const killed = disk.kill();
    killed.put(path, killed.text(path).slice(0, -10));
    const again = open(killed);
    assert.deepEqual(
      words(again),
      Array.from({ length: 29 }, (_, i) => `w${i + 1}`),
    );
    assert.equal(again.judge({ from: 33, epoch: 1 }).from, 30);
    await again.close();
    // The older file lost altogether: what follows is no beginning.
    const worse = disk.kill();
    worse.put(path, "\0".repeat(100));
    const fresh = open(worse);
    assert.deepEqual(fresh.judge({ from: 33, epoch: 1 }), { epoch: 2, first: 1, last: 0, from: 1, verdict: "ahead" });
    await fresh.close();
  });

  it("splits a text that is too long for one line without cutting a character", async () => {
    const disk = new MemoryDisk();
    const log = open(disk);
    const long = `a${"😀".repeat(400_000)}`;
    const last = log.append({ type: "text.delta", text: long, message: "m" });
    await log.sync();
    assert.ok(last > 1);
    const frames = [...log.frames(1)] as (Frame & { type: "text.delta" })[];
    assert.equal(frames.map((frame) => frame.text).join(""), long);
    for (const frame of frames) {
      assert.equal(frame.message, "m");
      assert.ok(frame.text.isWellFormed());
    }
    for (const line of disk.text(OPEN).split("\n")) assert.ok(Buffer.byteLength(line) <= MAX_FRAME_BYTES);
    await log.close();
  });

  it("shortens any other body that is too long and says how long it was", async () => {
    const wide = Object.fromEntries(Array.from({ length: 60_000 }, (_, i) => [`key${i}`, "x".repeat(40)]));
    let deep: unknown = "x".repeat(1000);
    for (let i = 0; i < 40; i++) deep = { a: deep, b: Array.from({ length: 40 }, () => "y".repeat(1000)) };
    for (const output of [
      "x".repeat(3_000_000),
      Array.from({ length: 500_000 }, () => "yy"),
      wide,
      deep,
      "\u0001".repeat(400_000),
    ]) {
      const disk = new MemoryDisk();
      const log = open(disk);
      log.append({ type: "tool.use.result", id: "t1", tool: "Bash", output, duration_ms: 3 });
      log.append(text("after"));
      await log.sync();
      const [frame, after] = [...log.frames(1)];
      assert.ok(frame?.type === "tool.use.result" && after?.type === "text.delta");
      assert.equal(frame.id, "t1");
      assert.equal(frame.duration_ms, 3);
      assert.ok((frame.truncated ?? 0) > MAX_FRAME_BYTES);
      assert.ok(Buffer.byteLength(disk.text(OPEN).split("\n")[0] ?? "") <= MAX_FRAME_BYTES);
      await log.close();
    }
  });

  it("selects a page of wanted types and says where the next one begins", async () => {
    const disk = new MemoryDisk();
    const log = open(disk, { tailBytes: 100 });
    for (let i = 1; i <= 50; i++) log.append(i % 10 === 0 ? { type: "stop", reason: `${i}` } : text("x"));
    await log.sync();
    const page = log.select(5, 3, maskOf(["stop"]));
    assert.deepEqual(
      page.frames.map((frame) => frame.seq),
      [10, 20, 30],
    );
    assert.deepEqual(
      log.select(page.next, 3, maskOf(["stop"])).frames.map((frame) => frame.seq),
      [40, 50],
    );
    assert.deepEqual(
      log.page(49, 10).map((frame) => frame.seq),
      [49, 50],
    );
    await log.close();
  });

  it("reads on over a damaged line and shows by the numbers that it is missing", async () => {
    const disk = await filled(100, { tailBytes: 1 });
    const lines = disk.text(OPEN).split("\n");
    lines[49] = "\0".repeat(lines[49]?.length ?? 0);
    disk.put(OPEN, lines.join("\n"));
    const log = open(disk);
    assert.deepEqual(
      [...log.frames(49)].slice(0, 2).map((frame) => frame.seq),
      [49, 51],
    );
    assert.deepEqual(
      log.page(50, 1).map((frame) => frame.seq),
      [51],
    );
  });

  it("reads on with the next frame when the last line of its file is damaged", async () => {
    const disk = await filled(10);
    const lines = disk.text(OPEN).split("\n");
    lines[9] = "\0".repeat(lines[9]?.length ?? 0);
    disk.put(OPEN, lines.join("\n"));
    const log = open(disk);
    const cursor = log.cursor(9);
    assert.equal(log.take(cursor)?.seq, 9);
    for (let i = 0; i < 3; i++) assert.equal(log.take(cursor), undefined);
    log.append(text("next"));
    await log.sync();
    assert.equal(log.take(cursor)?.seq, 11);
    await log.close();
  });

  it("does not take a sync for one of frames that were still waiting for the disk", async () => {
    const disk = new MemoryDisk();
    const log = open(disk);
    log.append(text("a"));
    await log.sync();
    let times = 0;
    disk.fault = (operation) =>
      operation !== "write" ? undefined : times++ === 0 ? { take: 150 } : { code: "ENOSPC" };
    log.append({ type: "stop", reason: "x".repeat(20) });
    log.append(text("y".repeat(100)));
    await turn();
    assert.equal(log.last, 2, "the stop frame fits, half of the next one too");
    await turn();
    disk.fault = () => undefined;
    await log.sync();
    assert.equal(disk.unsynced(OPEN), 0);
    await log.close();
  });

  it("opens and seeks a log of 24 MB with a few small reads", async () => {
    const disk = new MemoryDisk();
    const log = open(disk, { maxBytes: 512 << 20, segmentBytes: 512 << 20 });
    for (let i = 1; i <= 100_000; i++) {
      log.append(text(`w${i} `.padEnd(i % 1000 === 0 ? 20_000 : 120, "x")));
      if (i % 1000 === 0) await log.sync();
    }
    await log.close();
    assert.ok((disk.size(OPEN) ?? 0) > 20 << 20);
    disk.counts.clear();
    const again = open(disk, { maxBytes: 512 << 20, segmentBytes: 512 << 20 });
    assert.ok((disk.counts.get("read") ?? 0) <= 1, `open: ${disk.counts.get("read")} reads`);
    for (const seq of [1, 2, 777, 50_000, 99_999, 100_000]) {
      disk.counts.clear();
      assert.equal(again.page(seq, 1)[0]?.seq, seq);
      // log2(24 MB / 64 KiB) = 9 steps of a probe, a longer one and a head, and two chunks at the end.
      assert.ok((disk.counts.get("read") ?? 0) <= 9 * 3 + 2, `seq ${seq}: ${disk.counts.get("read")} reads`);
    }
    // Unclean: the end is checked, not the whole.
    const killed = disk.kill();
    killed.unlink(`${FOLDER}/log.json`);
    killed.counts.clear();
    assert.equal(open(killed).last, 100_000);
    assert.ok((killed.counts.get("read") ?? 0) <= 3);
  });

  it("finds every frame among lines of very different lengths", async () => {
    const disk = new MemoryDisk();
    const log = open(disk, { maxBytes: 512 << 20, segmentBytes: 512 << 20 });
    for (let i = 1; i <= 60; i++)
      log.append({
        type: "hook",
        name: "h",
        event: "e",
        payload: "x".repeat(i % 7 === 0 ? 900_000 : i % 3 === 0 ? 70_000 : 10),
      });
    await log.sync();
    await log.close();
    const again = open(disk);
    for (let seq = 1; seq <= 60; seq++) assert.equal(again.page(seq, 1)[0]?.seq, seq);
  });

  it("keeps frames while the disk is full, shows none, and loses and doubles none when there is room again", async () => {
    const disk = new MemoryDisk();
    const clock = new FakeClock();
    const told: (string | undefined)[] = [];
    const log = open(disk, { clock, events: { trouble: (error) => told.push(error?.message) } });
    log.append(text("a"));
    await log.sync();
    disk.fault = (operation) => (operation === "write" ? { code: "ENOSPC" } : undefined);
    log.append(text("b"));
    await turn();
    assert.equal(log.last, 1);
    assert.deepEqual(told, ["ENOSPC"]);
    await assert.rejects(log.sync(), (error) => error instanceof CibError && error.code === "disk_full");
    log.append(text("c"));
    await turn();
    assert.equal(clock.timers, 1);
    clock.pass(RETRY_MS);
    assert.equal(log.last, 1);
    // Room for half a line, then for none, then for all.
    let times = 0;
    disk.fault = (operation) =>
      operation === "write" && times++ < 2 ? (times === 1 ? { take: 40 } : { code: "EDQUOT" }) : undefined;
    clock.pass(RETRY_MS);
    assert.equal(log.last, 1);
    clock.pass(RETRY_MS);
    assert.equal(log.last, 3);
    assert.deepEqual(told, ["ENOSPC", undefined]);
    assert.equal(clock.timers, 0);
    await log.close();
    assert.deepEqual(words(open(disk)), ["a", "b", "c"]);
  });

  it("tells its owner once that too much waits for the disk, and refuses what comes after", async () => {
    const disk = new MemoryDisk();
    disk.fault = (operation) => (operation === "write" ? { code: "ENOSPC" } : undefined);
    let overflows = 0;
    const log = open(disk, { events: { overflow: () => overflows++ } });
    const big: FrameBody = { type: "hook", name: "h", event: "e", payload: "x".repeat(500_000) };
    let appended = 0;
    assert.throws(
      () => {
        for (;;) {
          log.append(big);
          appended++;
        }
      },
      (error) => error instanceof CibError && error.code === "disk_full",
    );
    assert.equal(overflows, 1);
    assert.ok(appended * 500_000 > MAX_PENDING_BYTES && appended * 500_000 < 2 * MAX_PENDING_BYTES);
    disk.fault = () => undefined;
    await log.sync();
    assert.equal(log.last, appended);
    await log.close();
  });

  it("promises nothing after a failed sync, and does not call its end clean", async () => {
    const disk = new MemoryDisk();
    const log = open(disk);
    log.append(text("a"));
    await log.sync();
    disk.fault = (operation) => (operation === "datasync" ? { code: "EIO" } : undefined);
    log.append(text("b"));
    await assert.rejects(log.sync(), (error) => error instanceof CibError && error.code === "internal");
    disk.fault = () => undefined;
    await assert.rejects(log.sync());
    log.append(text("c"));
    await turn();
    assert.equal(log.last, 3, "reading goes on");
    await assert.rejects(log.close());
    assert.equal(disk.openFiles, 0);
    assert.equal(open(disk).epoch, 2);
  });

  it("holds one file open while it is written to, none at rest, and opens again for the next frame", async () => {
    const disk = new MemoryDisk();
    const log = open(disk, { tailBytes: 1, maxBytes: 100_000, segmentBytes: 500 });
    for (let i = 0; i < 50; i++) {
      log.append(text("x"));
      await log.sync();
    }
    assert.equal(words(log, 1).length, 50);
    assert.equal(disk.openFiles, 1);
    await log.rest();
    assert.equal(disk.openFiles, 0);
    log.append(text("y"));
    await log.close();
    assert.equal(disk.openFiles, 0);
    assert.equal(open(disk).epoch, 1);
    assert.equal(open(disk).last, 51);
  });

  it("refuses a frame after it was closed", async () => {
    const log = open(new MemoryDisk());
    await log.close();
    assert.throws(() => log.append(text("a")), /closed/);
  });

  it("keeps its files to its owner on a real disk", async () => {
    const folder = join(mkdtempSync(join(tmpdir(), "cib-log-")), "session");
    try {
      const log = Log.open({ session: SESSION, folder });
      log.append(text("héllo"));
      await log.close();
      assert.equal(statSync(folder).mode & 0o777, 0o700);
      for (const name of ["transcript.jsonl", "log.json"])
        assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600, name);
      const again = Log.open({ session: SESSION, folder });
      assert.deepEqual(words(again), ["héllo"]);
      assert.equal(again.epoch, 1);
      await again.close();
      assert.equal(readFileSync(join(folder, "transcript.jsonl"), "utf8").split("\n").length, 2);
    } finally {
      rmSync(join(folder, ".."), { recursive: true });
    }
  });
});
