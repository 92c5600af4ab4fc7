/** Segment: one file of the log. Its lines begin with a fixed head, so any place in it is found by a few reads. */
import { SEQ_AT } from "../frame/codec.ts";
import type { Seq } from "../frame/frame.ts";
import type { Disk } from "./disk.ts";

/** Longest line of a log without its newline, in bytes: what a scan for the next line may cost at most. */
export const MAX_FRAME_BYTES = 1024 * 1024;
/** Read at once when following a file; also where a search stops halving. */
export const CHUNK_BYTES = 64 * 1024;
/** First read of a search step: with the usual lines of 200 bytes it holds 20. */
const PROBE_BYTES = 4 * 1024;
/** Bytes of a head up to the end of its seq: 56 + 16 digits (2^53) + the comma. */
const HEAD_BYTES = SEQ_AT + 17;
/**
 * End of a segment that is checked line by line after an unclean stop. The kernel writes dirty pages back
 * within 30 s or so; 256 KiB is 1,300 lines in that time, and where no sound line is found more is checked.
 */
const VERIFY_BYTES = 256 * 1024;

const NEWLINE = 10;
const probe = Buffer.allocUnsafeSlow(CHUNK_BYTES);

/** A file of the log as memory knows it. `bytes` counts whole frames only. */
export interface Segment {
  readonly first: Seq;
  path: string;
  bytes: number;
  /** Retention has unlinked it. */
  gone: boolean;
}

/** The seq of the line that begins at `at`; 0 when no line of ours begins there. */
export function seqAt(bytes: Buffer, at: number): Seq {
  if (bytes[at] !== 0x7b || bytes[at + SEQ_AT - 1] !== 0x3a) return 0; // { and :
  let seq = 0;
  let i = at + SEQ_AT;
  for (let c = bytes[i]; c !== undefined && c >= 48 && c <= 57; c = bytes[++i]) seq = seq * 10 + (c - 48);
  return bytes[i] === 0x2c ? seq : 0; // a comma follows
}

/**
 * A byte offset in the segment at which a line begins, at most CHUNK_BYTES and one line before the line of `seq`.
 * Halves the file: log2(bytes / CHUNK_BYTES) steps of a read or two.
 */
export function seek(disk: Disk, segment: Segment, seq: Seq): number {
  if (segment.bytes <= CHUNK_BYTES) return 0;
  const fd = disk.openRead(segment.path);
  try {
    let low = 0;
    let high = segment.bytes;
    while (high - low > CHUNK_BYTES) {
      const middle = low + Math.floor((high - low) / 2);
      const line = nextLine(disk, fd, middle, high);
      if (line === undefined || line.seq > seq) high = middle;
      else low = line.at;
    }
    return low;
  } finally {
    disk.close(fd);
  }
}

/** The first line of ours that begins in [from, end); from > 0. */
function nextLine(disk: Disk, fd: number, from: number, end: number): { at: number; seq: Seq } | undefined {
  let size = PROBE_BYTES;
  // The byte before `from` tells whether a line begins exactly there.
  for (let position = from - 1; position < end; ) {
    const got = disk.read(fd, probe.subarray(0, Math.min(size, end - position)), position);
    const newline = probe.subarray(0, got).indexOf(NEWLINE);
    if (got === 0) return undefined;
    size = Math.min(size * 4, CHUNK_BYTES);
    if (newline < 0) {
      position += got;
      continue;
    }
    const at = position + newline + 1;
    if (at >= end) return undefined;
    const head = disk.read(fd, probe.subarray(0, Math.min(HEAD_BYTES, end - at)), at);
    const seq = seqAt(probe.subarray(0, head), 0);
    if (seq > 0) return { at, seq };
    position = at; // damaged: try the line after it
  }
  return undefined;
}

/** The seq of the first line of ours in a file, 0 when it has none: one read unless its beginning is damaged. */
export function firstSeq(disk: Disk, path: string): Seq {
  const fd = disk.openRead(path);
  try {
    const seq = seqAt(probe.subarray(0, disk.read(fd, probe.subarray(0, HEAD_BYTES), 0)), 0);
    return seq > 0 ? seq : (nextLine(disk, fd, 1, disk.sizeOf(fd))?.seq ?? 0);
  } finally {
    disk.close(fd);
  }
}

/** What is left of a file: `bytes` up to the end of its last sound line, and the highest seq and ts near it. */
export interface Sound {
  readonly bytes: number;
  readonly seq: Seq;
  readonly ts: number;
  /** Lines before that end are damaged or missing: as far as was looked. */
  readonly holes: boolean;
}

/**
 * Finds the last sound line: whole, JSON, of this session and after the one before it. A half line, a run of NULs or a
 * page that was never written is no end as long as a sound line follows: its number has been given out.
 * Undefined: nothing is sound.
 */
export function soundEnd(disk: Disk, path: string, session: string): Sound | undefined {
  const fd = disk.openRead(path);
  try {
    const size = disk.sizeOf(fd);
    for (let window = VERIFY_BYTES; ; window *= 2) {
      const from = Math.max(0, size - window);
      const bytes = Buffer.allocUnsafeSlow(size - from);
      const found = soundLines(bytes.subarray(0, disk.read(fd, bytes, from)), from, session);
      if (found !== undefined || from === 0) return found;
    }
  } finally {
    disk.close(fd);
  }
}

function soundLines(bytes: Buffer, offset: number, session: string): Sound | undefined {
  let found: Sound | undefined;
  let [before, most, ts] = [0, 0, 0];
  let [hole, holes] = [false, false];
  // Not at the file's start: what precedes the first newline is the rest of a line.
  let at = offset === 0 ? 0 : bytes.indexOf(NEWLINE) + 1;
  if (offset > 0 && at === 0) return undefined;
  for (let end = bytes.indexOf(NEWLINE, at); end >= 0; end = bytes.indexOf(NEWLINE, at)) {
    const seq = seqAt(bytes, at);
    const line = seq === 0 ? undefined : parsed(bytes.toString("utf8", at, end));
    at = end + 1;
    if (line === undefined || line.session !== session || line.seq !== seq) {
      hole = true;
      continue;
    }
    hole ||= before > 0 && seq !== before + 1;
    if (seq > before) {
      holes = hole;
      most = Math.max(most, seq);
      ts = Math.max(ts, line.ts);
      found = { bytes: offset + at, seq: most, ts, holes };
    }
    before = seq;
  }
  return found;
}

function parsed(line: string): { session: unknown; seq: number; ts: number } | undefined {
  try {
    const { session, seq, ts } = JSON.parse(line) as Record<string, unknown>;
    return Number.isSafeInteger(seq) && Number.isSafeInteger(ts)
      ? { session, seq: seq as number, ts: ts as number }
      : undefined;
  } catch {
    return undefined;
  }
}
