/** Log: how fast frames are written and read, how much is written for them, and what a large log costs to open and to search. */
import { spawnSync } from "node:child_process";
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import type { SessionId } from "../src/frame/frame.ts";
import { type Disk, nodeDisk } from "../src/session/disk.ts";
import { Log } from "../src/session/log.ts";
import type { FsyncPolicy } from "../src/session/syncer.ts";
import { io } from "./proc.ts";
import type { Answer, Question } from "./question.ts";
import { median, num } from "./stats.ts";

const SESSION = "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId;
const ROUNDS = 5;
/** Frames appended in one turn of the loop: what one read of a transcript or a burst of hooks brings. */
const BATCH = 10;
const SIZES_MB = [1, 64, 1024];
const SEEKS = 50;
const MB = 1024 * 1024;

type Row = readonly string[];

export const log: Question = {
  name: "log",
  asks: "What does the log cost: to write, to read, to open and to search?",
  async run() {
    const folder = mkdtempSync(join(tmpdir(), "cib-bench-log-"));
    try {
      const writing = await writes(folder);
      const reading = await reads(folder);
      return {
        columns: ["what", "value", "beside it"],
        rows: [...writing.rows, ...reading.rows],
        notes: [
          `Frames are text.delta of about 200 bytes of JSON, ${BATCH} a turn of the loop; medians of ${ROUNDS}. The frames' own bytes are their JSON lines. "To the disk" is write_bytes of /proc/self/io: whole 4 KiB pages as they become dirty, before the disk's own multiplication. A log is opened in a fresh object, with the operating system's page cache warm; "not clean" is the first open after a crash, which also reads the end of the file. Seeks are to random frames; "reads" are the log's own calls.`,
        ],
        figures: { ...writing.figures, ...reading.figures },
      } satisfies Answer;
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

const body = (i: number) =>
  ({ type: "text.delta", text: `${i} `.padEnd(70, "lorem ipsum "), message: "msg_0000000001" }) as const;

/** Counts calls on their way to the real disk. */
function counting(): { disk: Disk; calls: { write: number; read: number; datasync: number } } {
  const calls = { write: 0, read: 0, datasync: 0 };
  const disk: Disk = {
    ...nodeDisk,
    write: (fd, bytes, from) => {
      calls.write++;
      return nodeDisk.write(fd, bytes, from);
    },
    read: (fd, into, position) => {
      calls.read++;
      return nodeDisk.read(fd, into, position);
    },
    datasync: (fd) => {
      calls.datasync++;
      return nodeDisk.datasync(fd);
    },
  };
  return { disk, calls };
}

async function writes(folder: string): Promise<{ rows: Row[]; figures: Record<string, number> }> {
  const rows: Row[] = [];
  const figures: Record<string, number> = {};
  let line = 0;
  for (const [policy, frames] of [
    ["off", 20_000],
    ["turn", 20_000],
    ["always", 2_000],
  ] as const) {
    const speeds: number[] = [];
    const bares: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const path = join(folder, `${policy}-${round}`);
      const run = await append(path, policy, frames);
      speeds.push(run.perSecond);
      line = run.bytes / frames;
      bares.push(bareAppend(join(folder, "bare"), line, frames, policy === "always"));
      if (round === 0) {
        const per = 1000 / frames;
        const name = `${policy}: for 1,000 frames`;
        rows.push([
          `${name}, bytes written`,
          num(run.wchar * per, 0),
          `their own ${num(run.bytes * per, 0)}: ×${num(run.wchar / run.bytes)}`,
        ]);
        rows.push([`${name}, bytes to the disk`, num(run.toDisk * per, 0), `×${num(run.toDisk / run.bytes)}`]);
        rows.push([`${name}, write calls and fdatasyncs`, num(run.writes * per), num(run.syncs * per)]);
        figures[`${policy}_amplification`] = run.wchar / run.bytes;
        figures[`${policy}_disk_amplification`] = run.toDisk / run.bytes;
      }
      rmSync(path, { recursive: true, force: true });
    }
    const bare = policy === "always" ? "write and fdatasync alone" : "write alone";
    rows.push([`${policy}: append, frames/s`, num(median(speeds), 0), `${bare}: ${num(median(bares), 0)}`]);
    figures[`${policy}_frames_per_s`] = median(speeds);
  }
  return { rows, figures };
}

interface Appended {
  readonly perSecond: number;
  readonly bytes: number;
  readonly wchar: number;
  readonly toDisk: number;
  readonly writes: number;
  readonly syncs: number;
}

async function append(path: string, policy: FsyncPolicy, frames: number): Promise<Appended> {
  const { disk, calls } = counting();
  const log = Log.open({ session: SESSION, folder: path, policy, disk });
  log.append(body(0));
  await log.sync(); // the state file and the first write are not what is asked
  const before = { ...io(process.pid), ...calls };
  let bytes = 0;
  const from = performance.now();
  for (let i = 0; i < frames; i += BATCH) {
    for (let n = 0; n < BATCH; n++) log.append(body(i + n));
    // With "always" a frame counts when it may be read.
    if (policy === "always") while (log.last < log.numbered) await turn();
    else await turn();
  }
  const seconds = (performance.now() - from) / 1000;
  const after = io(process.pid);
  for (let seq = 2; seq <= frames + 1; seq += 1000)
    for (const frame of log.page(seq, 1000)) bytes += frame.json().length + 1;
  await log.close();
  return {
    perSecond: frames / seconds,
    bytes,
    wchar: after.wchar - before.wchar,
    toDisk: after.write_bytes - before.write_bytes,
    writes: calls.write - before.write,
    syncs: calls.datasync - before.datasync,
  };
}

function bareAppend(path: string, line: number, frames: number, sync: boolean): number {
  const bytes = Buffer.alloc(Math.round(line) * BATCH, 120);
  const fd = openSync(path, "a");
  const from = performance.now();
  for (let i = 0; i < frames; i += BATCH) {
    writeSync(fd, bytes);
    if (sync) fdatasyncSync(fd);
  }
  const seconds = (performance.now() - from) / 1000;
  closeSync(fd);
  rmSync(path);
  return frames / seconds;
}

async function reads(folder: string): Promise<{ rows: Row[]; figures: Record<string, number> }> {
  const rows: Row[] = [];
  const figures: Record<string, number> = {};
  for (const size of SIZES_MB) {
    const path = join(folder, `read-${size}`);
    const last = await fill(path, size * MB);
    if (size === 64) {
      const { own, cat } = replay(path);
      rows.push([`replay of ${size} MB, MB/s`, num(own, 0), `cat to /dev/null: ${num(cat, 0)}`]);
      figures["replay_mb_per_s"] = own;
    }
    const clean: number[] = [];
    const opened = counting();
    for (let i = 0; i < ROUNDS; i++) clean.push(timed(() => void open(path, opened.disk)));
    rows.push([`${size} MB: open, ms`, num(median(clean)), `${num(opened.calls.read / ROUNDS)} reads`]);

    const { disk, calls } = counting();
    const seeking = open(path, disk);
    const seeks: number[] = [];
    for (let i = 0; i < SEEKS; i++) {
      // A stride that visits the whole file in no order.
      const seq = 1 + ((i * 7_919_317) % last);
      seeks.push(
        timed(() => {
          const frame = seeking.take(seeking.cursor(seq));
          if (frame?.seq !== seq) throw new Error(`log: asked for ${seq}, got ${frame?.seq}`);
        }),
      );
      seeking.readOut();
    }
    rows.push([
      `${size} MB: seek, ms`,
      num(median(seeks)),
      `${num(calls.read / SEEKS, 1)} reads of ${num(last)} frames`,
    ]);
    rmSync(join(path, "log.json"));
    const dirty = counting();
    let unclean: Log | undefined;
    const ms = timed(() => {
      unclean = open(path, dirty.disk);
    });
    rows.push([`${size} MB: open, not clean, ms`, num(ms), `${dirty.calls.read} reads`]);
    await unclean?.close();
    figures[`open_${size}_ms`] = median(clean);
    figures[`seek_${size}_ms`] = median(seeks);
    figures[`seek_${size}_reads`] = calls.read / SEEKS;
    rmSync(path, { recursive: true, force: true });
  }
  return { rows, figures };
}

/** Never pruned. */
function open(folder: string, disk: Disk): Log {
  return Log.open({ session: SESSION, folder, maxBytes: 4096 * MB, policy: "off", disk });
}

/** A log of this many bytes, closed clean; returns its last seq. */
async function fill(folder: string, bytes: number): Promise<number> {
  const log = open(folder, nodeDisk);
  // Larger frames than when writing: a gigabyte is to come about in seconds.
  const text = "lorem ipsum ".repeat(80);
  const line = 1100;
  log.append({ type: "text.delta", text });
  await log.sync();
  for (let written = 0; written < bytes; written += 500 * line) {
    for (let n = 0; n < 500; n++) log.append({ type: "text.delta", text });
    log.flush();
    await turn();
  }
  await log.close();
  return log.last;
}

function replay(folder: string): { own: number; cat: number } {
  const own: number[] = [];
  const cat: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    const log = open(folder, nodeDisk);
    const cursor = log.cursor(1);
    let bytes = 0;
    const ms = timed(() => {
      for (let frame = log.take(cursor); frame !== undefined; frame = log.take(cursor))
        bytes += frame.json().length + 1;
    });
    log.readOut();
    own.push(bytes / MB / (ms / 1000));
    const catMs = timed(() => spawnSync("sh", ["-c", `cat "${folder}"/transcript*.jsonl > /dev/null`]));
    cat.push(bytes / MB / (catMs / 1000));
  }
  return { own: median(own), cat: median(cat) };
}

function timed(work: () => void): number {
  const from = performance.now();
  work();
  return performance.now() - from;
}
