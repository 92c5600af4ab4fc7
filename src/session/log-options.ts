/** Log options: what a session's log is opened with, and what it tells its owner. */
import type { SessionId } from "../frame/frame.ts";
import type { Clock } from "./clock.ts";
import type { Disk } from "./disk.ts";
import type { FsyncPolicy } from "./syncer.ts";

/** CIB_LOG_MAX_BYTES where nothing else is configured. */
const LOG_MAX_BYTES = 64 * 1024 * 1024;
/** A segment is an eighth of the log, so that retention takes away an eighth at a time, and at least this much. */
const MIN_SEGMENT_BYTES = 256 * 1024;
const SEGMENTS = 8;
/** Latest frames kept in memory for live readers: 1,300 frames of 200 bytes; the latest one is kept whatever its size. */
const TAIL_BYTES = 256 * 1024;

/** What the log tells its owner. */
export interface LogEvents {
  /**
   * The disk refuses to write: nothing new is shown, everything is kept and tried again. Undefined: it works again.
   * After a failed sync it never does: sync() rejects until the log is closed and opened anew.
   */
  trouble(error: Error | undefined): void;
  /** More than MAX_PENDING_BYTES wait: stop the session. Told once until the disk works again. */
  overflow(): void;
  /** Told once, while opening or when it is read: its files are damaged. `message` names them and what was lost. */
  damaged(message: string): void;
}

export interface LogOptions {
  readonly session: SessionId;
  /** The session's own folder. */
  readonly folder: string;
  readonly maxBytes?: number;
  /** For tests; derived from `maxBytes`. */
  readonly segmentBytes?: number;
  readonly tailBytes?: number;
  readonly policy?: FsyncPolicy;
  readonly events?: Partial<LogEvents>;
  readonly clock?: Clock;
  readonly disk?: Disk;
}

/** Bytes of the whole log, of a segment, and of what is kept in memory. */
export function boundsOf({ maxBytes = LOG_MAX_BYTES, segmentBytes, tailBytes = TAIL_BYTES }: LogOptions): {
  readonly maxBytes: number;
  readonly segmentBytes: number;
  readonly tailBytes: number;
} {
  const derived = Math.max(MIN_SEGMENT_BYTES, Math.floor(maxBytes / SEGMENTS));
  return { maxBytes, segmentBytes: segmentBytes ?? derived, tailBytes };
}
