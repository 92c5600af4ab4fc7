/** Log: what happened in one session, in order, for good. It alone numbers frames; everyone else reads. */
import { CibError, isDiskFull } from "../errors.ts";
import { Encoded } from "../frame/codec.ts";
import type { Frame, FrameBody, Seq, SessionId } from "../frame/frame.ts";
import { type Clock, systemClock } from "./clock.ts";
import { type Disk, nodeDisk } from "./disk.ts";
import { endLife, type Judgement, judge, type Lives, type Wanted } from "./epochs.ts";
import { fit } from "./fit.ts";
import { parseState, STATE_NAME, stateBytes } from "./log-state.ts";
import { Cursor, Reader } from "./reader.ts";
import { MAX_FRAME_BYTES } from "./segment.ts";
import { Segments } from "./segments.ts";

/** CIB_LOG_MAX_BYTES where nothing else is configured. */
export const LOG_MAX_BYTES = 64 * 1024 * 1024;
/** A segment is an eighth of the log, so that retention takes away an eighth at a time, and at least this much. */
export const MIN_SEGMENT_BYTES = 256 * 1024;
const SEGMENTS = 8;
/** Latest frames kept in memory for live readers: 1,300 frames of 200 bytes; the latest one is kept whatever its size. */
export const TAIL_BYTES = 256 * 1024;
/** Written by one call at most; more than this in one turn of the loop is written before its end. */
const WRITE_BYTES = 1024 * 1024;
/** Frames that wait for a full disk; beyond this the owner is told to stop the session. */
export const MAX_PENDING_BYTES = 8 * 1024 * 1024;
/** What the owner may still append while it stops: closing frames, a few KiB each. */
const STOPPING_BYTES = 1024 * 1024;
/** How long a disk that refused is left alone. */
export const RETRY_MS = 1000;
/** Frames that one page looks at, wanted or not: 20,000 × 1 µs = 20 ms of the loop. */
const PAGE_SCAN_FRAMES = 20_000;
/** JSON bytes after which a page ends. */
const PAGE_BYTES = 1024 * 1024;

/** When written frames are synced: after every turn, after every batch (and before anyone sees them), or only when asked. */
export type FsyncPolicy = "turn" | "always" | "off";

/** What the log tells its owner. */
export interface LogEvents {
  /**
   * The disk refuses to write: nothing new is shown, everything is kept and tried again. Undefined: it works again.
   * After a failed sync it never does: sync() rejects until the log is closed and opened anew.
   */
  trouble(error: Error | undefined): void;
  /** More than MAX_PENDING_BYTES wait: stop the session. Told once until the disk works again. */
  overflow(): void;
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

/** A page of frames; `next` is where the following page begins. */
export interface Page {
  readonly frames: readonly Encoded[];
  readonly next: Seq;
}

export class Log {
  readonly session: SessionId;
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #policy: FsyncPolicy;
  readonly #events: Partial<LogEvents>;
  readonly #maxBytes: number;
  readonly #segmentBytes: number;
  readonly #tailBytes: number;
  readonly #statePath: string;
  readonly #segments: Segments;
  readonly #reader: Reader;
  readonly #listeners = new Set<() => void>();

  #epoch: number;
  #lives: Lives;
  /** What log.json says of the files: how they are; something outdated; nothing (only then may they change). */
  #state: "clean" | "stale" | "open";
  #stateWrite: Promise<void> | undefined;
  #foundSynced = true;

  #last: Seq;
  #written: Seq;
  #synced: Seq;
  #ts: number;

  #pending: Encoded[] = [];
  #pendingBytes = 0;
  /** Bytes of the first pending line that are on disk already. */
  #torn = 0;
  #turnEnd: NodeJS.Immediate | undefined;
  #syncWanted = false;
  #syncing: Promise<void> | undefined;
  /** A failed fdatasync may have lost pages that later calls no longer know of: nothing is promised after it. */
  #spoilt: Error | undefined;
  #trouble: Error | undefined;
  #overflowed = false;
  #retry: (() => void) | undefined;
  #closed = false;

  /** The last frames written, contiguous up to #written; those before #tailStart are let go. */
  #tail: Encoded[] = [];
  #tailStart = 0;
  #tailHeld = 0;

  private constructor(options: LogOptions) {
    this.session = options.session;
    this.#disk = options.disk ?? nodeDisk;
    this.#clock = options.clock ?? systemClock;
    this.#policy = options.policy ?? "turn";
    this.#events = options.events ?? {};
    this.#maxBytes = options.maxBytes ?? LOG_MAX_BYTES;
    this.#segmentBytes = options.segmentBytes ?? Math.max(MIN_SEGMENT_BYTES, Math.floor(this.#maxBytes / SEGMENTS));
    this.#tailBytes = options.tailBytes ?? TAIL_BYTES;
    this.#statePath = `${options.folder}/${STATE_NAME}`;

    this.#disk.folder(options.folder);
    const bytes = this.#disk.load(this.#statePath);
    const state = bytes && parseState(bytes);
    const found = Segments.open(this.#disk, options.folder, options.session, state?.clean);
    this.#segments = found.segments;
    this.#reader = new Reader(this.#disk, found.segments.list);
    this.#last = this.#written = this.#synced = found.last;
    this.#ts = found.ts;
    if (found.clean && state !== undefined) {
      [this.#epoch, this.#lives, this.#state] = [state.epoch, state.epochs, "clean"];
    } else if (bytes === undefined && !found.any) {
      [this.#epoch, this.#lives, this.#state] = [1, [], "stale"];
    } else {
      // Without a state the epochs that were are unknown: seconds since 1970 are above any that was counted.
      const ended = state?.epoch ?? Math.max(1, Math.floor(this.#clock.now() / 1000));
      this.#lives = endLife(state?.epochs ?? [], ended, found.last);
      this.#epoch = ended + 1;
      this.#state = "stale";
      this.#foundSynced = false;
      // Told to clients from now on, so it must not be forgotten: a second stop would give the same epoch another end.
      void this.#writeState("clean").catch((error: unknown) => this.#troubled(error));
    }
  }

  /**
   * Opens a session's log, or begins one. After an unclean stop the end is repaired and the epoch raised.
   * A log left clean is not written to before the first append. Throws what the disk throws.
   */
  static open(options: LogOptions): Log {
    return new Log(options);
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** The oldest frame there is. */
  get first(): Seq {
    return this.#segments.first;
  }

  /** The newest frame that may be read; `first - 1` when there is none. */
  get last(): Seq {
    return this.#policy === "always" ? this.#synced : this.#written;
  }

  /** The newest frame that has a number, written or not. */
  get numbered(): Seq {
    return this.#last;
  }

  /** Where a reader may begin: the log's part of a verdict. */
  judge(want: Wanted): Judgement {
    return judge(this.#lives, this.#epoch, this.first, this.last, want);
  }

  /**
   * Numbers a frame and has it written at the end of this turn of the loop; then it may be read. Returns its seq
   * (of the last one, where a long text becomes several frames). Throws `disk_full` when too much waits for the disk.
   */
  append(body: FrameBody): Seq {
    if (this.#closed) throw new CibError("stopping", "log: closed");
    if (this.#pendingBytes > MAX_PENDING_BYTES + STOPPING_BYTES) {
      throw new CibError("disk_full", `log: ${this.#pendingBytes} bytes wait for the disk; free space in CIB_DATA`);
    }
    this.#ts = Math.max(this.#ts, this.#clock.now());
    const frame = this.#encode(body);
    const bytes = frame.json().length;
    if (bytes <= MAX_FRAME_BYTES) this.#add(frame, bytes);
    else {
      for (const piece of fit(body, bytes, MAX_FRAME_BYTES, {
        session: this.session,
        seq: this.#last + 1,
        ts: this.#ts,
      })) {
        const part = this.#encode(piece);
        this.#add(part, part.json().length);
      }
    }
    if (body.type === "stop" && this.#policy === "turn") this.#syncWanted = true;
    if (this.#pendingBytes >= WRITE_BYTES && this.#trouble === undefined) this.flush();
    else this.#turnEnd ??= setImmediate(this.#onTurnEnd);
    return this.#last;
  }

  /** Called (synchronously) whenever there is more to read. */
  listen(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  cursor(from: Seq): Cursor {
    return new Cursor(from);
  }

  /**
   * The first frame at or after the cursor, which moves behind it; undefined when the log is read out for now.
   * A seq above the one wanted means that those between are gone. Throws what the disk throws.
   */
  take(cursor: Cursor): Encoded | undefined {
    const last = this.last;
    if (cursor.next > last) return undefined;
    const tailFirst = this.#written - (this.#tail.length - this.#tailStart) + 1;
    if (cursor.next < tailFirst) {
      const frame = this.#reader.take(cursor);
      if (frame !== undefined) return frame;
      cursor.next = tailFirst; // damage up to here
      if (tailFirst > last) return undefined;
    }
    cursor.segment = undefined;
    return this.#tail[this.#tailStart + cursor.next++ - tailFirst];
  }

  /** Nobody reads old frames now: frees the buffer for them. */
  readOut(): void {
    this.#reader.rest();
  }

  /** The frames from `from` on, `limit` at most, all in memory at once: for small stretches. */
  page(from: Seq, limit: number): readonly Encoded[] {
    const cursor = new Cursor(from);
    const frames: Encoded[] = [];
    while (frames.length < limit) {
      const frame = this.take(cursor);
      if (frame === undefined) break;
      frames.push(frame);
    }
    this.#reader.rest();
    return frames;
  }

  /** A page for a client: bounded in frames, bytes and work. It may be empty though more follows from `next`. */
  select(from: Seq, limit: number, mask: number): Page {
    const cursor = new Cursor(from);
    const frames: Encoded[] = [];
    let bytes = 0;
    for (let left = PAGE_SCAN_FRAMES; left > 0 && frames.length < limit && bytes < PAGE_BYTES; left--) {
      const frame = this.take(cursor);
      if (frame === undefined) break;
      if ((frame.bit & mask) === 0) continue;
      frames.push(frame);
      bytes += frame.json().length;
    }
    this.#reader.rest();
    return { frames, next: cursor.next };
  }

  /** Every frame from `from` on that may be read now; for what a session does at its start. */
  *frames(from: Seq): Generator<Frame> {
    const cursor = new Cursor(from);
    for (let frame = this.take(cursor); frame !== undefined; frame = this.take(cursor)) yield frame.frame() as Frame;
    this.#reader.rest();
  }

  /** Writes what waits, now. Trouble with the disk is told to the owner, not thrown. */
  flush(): void {
    if (this.#turnEnd !== undefined) clearImmediate(this.#turnEnd);
    this.#turnEnd = undefined;
    if (this.#pending.length === 0) return;
    if (this.#stateWrite !== undefined) return; // it flushes when it is done
    if (this.#state !== "open") {
      void this.#writeState("open").then(
        () => this.flush(),
        (error: unknown) => this.#troubled(error),
      );
      return;
    }
    const before = this.#written;
    try {
      while (this.#pending.length > 0) this.#writeSome();
      this.#well();
    } catch (error) {
      this.#troubled(error);
    }
    if (this.#written > before) this.#wrote();
  }

  /**
   * Resolves when every frame appended before the call is on disk: by an fdatasync that began after they were written.
   * Callers at the same time share one. Rejects when the disk refuses; the frames are kept and tried again.
   */
  async sync(): Promise<void> {
    const upTo = this.#last;
    await this.#writtenUpTo(upTo);
    await this.#syncedUpTo(upTo);
  }

  /**
   * Everything on disk, files closed, and log.json says so: the next open keeps the epoch. Reading goes on,
   * and an append opens the log again. Rejects when the disk refuses.
   */
  async rest(): Promise<void> {
    while (true) {
      if (this.#stateWrite !== undefined) await this.#stateWrite.catch(() => undefined);
      await this.sync();
      if (this.#state !== "open") {
        if (this.#pending.length === 0 && this.#stateWrite === undefined) return;
      } else if (this.#pending.length === 0) {
        if (this.#synced < this.#written) continue;
        this.#segments.close();
        await this.#writeState("clean");
      }
    }
  }

  /** `rest`, and no appends and no listeners any more. Files and timers are given up even when it rejects. */
  async close(): Promise<void> {
    this.#closed = true;
    try {
      await this.rest();
    } finally {
      this.#listeners.clear();
      this.#retry?.();
      this.#retry = undefined;
      if (this.#turnEnd !== undefined) clearImmediate(this.#turnEnd);
      this.#reader.rest();
      this.#segments.close();
    }
  }

  readonly #onTurnEnd = (): void => {
    this.#turnEnd = undefined;
    if (this.#trouble === undefined) this.flush(); // else the timer does
  };

  #encode(body: FrameBody): Encoded {
    return Encoded.of({ session: this.session, seq: this.#last + 1, ts: this.#ts, ...body } as Frame);
  }

  #add(frame: Encoded, bytes: number): void {
    this.#last = frame.seq;
    this.#pending.push(frame);
    this.#pendingBytes += bytes + 1;
    if (this.#pendingBytes > MAX_PENDING_BYTES && !this.#overflowed) {
      this.#overflowed = true;
      this.#events.overflow?.();
    }
  }

  /** One write of what waits, WRITE_BYTES and a frame at most. */
  #writeSome(): void {
    const { open, mayRoll } = this.#segments;
    if (this.#torn === 0 && mayRoll && open.bytes >= this.#segmentBytes) {
      this.#segments.roll(this.#written + 1);
      this.#segments.prune(this.#maxBytes - this.#segmentBytes);
      this.#syncWanted = true;
    }
    let count = 0;
    let total = 0;
    while (count < this.#pending.length && total < WRITE_BYTES)
      total += (this.#pending[count++] as Encoded).json().length + 1;
    const bytes = Buffer.allocUnsafe(total);
    let at = 0;
    for (let i = 0; i < count; i++) {
      at += (this.#pending[i] as Encoded).json().copy(bytes, at);
      bytes[at++] = 10;
    }
    const taken = this.#segments.write(bytes, this.#torn);
    if (taken <= 0) throw new CibError("disk_full", "log: the disk took nothing");
    this.#settle(this.#torn + taken);
  }

  /** `taken` bytes of the pending lines are on disk: whole ones may be read, the rest of a half one is written next. */
  #settle(taken: number): void {
    const open = this.#segments.open;
    let count = 0;
    for (
      let frame = this.#pending[count];
      frame !== undefined && frame.json().length < taken;
      frame = this.#pending[++count]
    ) {
      const line = frame.json().length + 1;
      taken -= line;
      open.bytes += line;
      this.#pendingBytes -= line;
      this.#tailHeld += line;
      this.#tail.push(frame);
      this.#written = frame.seq;
    }
    this.#torn = taken;
    if (count === this.#pending.length) this.#pending = [];
    else this.#pending.splice(0, count);
    while (this.#tailHeld > this.#tailBytes && this.#tailStart < this.#tail.length - 1) {
      this.#tailHeld -= (this.#tail[this.#tailStart++] as Encoded).json().length + 1;
    }
    // Moving the rest down costs no more than what was let go.
    if (this.#tailStart > this.#tail.length / 2) {
      this.#tail = this.#tail.slice(this.#tailStart);
      this.#tailStart = 0;
    }
  }

  /** New frames are in the file. */
  #wrote(): void {
    if (this.#policy === "always") this.#syncWanted = true;
    else this.#tell();
    if (!this.#syncWanted || this.#spoilt !== undefined) return;
    this.#syncWanted = false;
    void this.#syncedUpTo(this.#written).catch(() => undefined); // told as trouble
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  async #writtenUpTo(seq: Seq): Promise<void> {
    while (this.#written < seq) {
      this.flush();
      if (this.#written >= seq) return;
      if (this.#stateWrite !== undefined) await this.#stateWrite.catch(() => undefined);
      // A turn of the loop for flush, which follows the state write.
      await Promise.resolve();
      if (this.#trouble !== undefined && this.#written < seq && this.#stateWrite === undefined)
        throw refusal(this.#trouble);
    }
  }

  async #syncedUpTo(seq: Seq): Promise<void> {
    while (this.#synced < seq) {
      // One that is under way may have begun before our frames were written: then one more.
      this.#syncing ??= this.#syncNow();
      await this.#syncing;
    }
  }

  async #syncNow(): Promise<void> {
    const upTo = this.#written;
    try {
      if (this.#spoilt !== undefined) throw this.#spoilt;
      await this.#segments.sync();
      this.#synced = upTo;
    } catch (error) {
      if (this.#spoilt === undefined) this.#events.trouble?.(error as Error);
      this.#spoilt ??= error as Error;
      throw refusal(error);
    } finally {
      this.#syncing = undefined;
    }
    if (this.#policy === "always") this.#tell();
  }

  /** Rewrites log.json: `open` before the files change, `clean` once they will not. One at a time. */
  #writeState(to: "open" | "clean"): Promise<void> {
    const write = async (): Promise<void> => {
      const { open } = this.#segments;
      const clean = { seq: this.#written, ts: this.#ts, segment: open.first, bytes: open.bytes };
      try {
        if (!this.#foundSynced) await this.#segments.syncFound();
        this.#foundSynced = true;
        this.#state = "stale"; // whether a failed rename took place is unknown
        await this.#disk.replace(
          this.#statePath,
          stateBytes({ epoch: this.#epoch, epochs: this.#lives, clean: to === "clean" ? clean : undefined }),
        );
        this.#state = to;
      } finally {
        this.#stateWrite = undefined;
      }
    };
    this.#stateWrite = write();
    void this.#stateWrite.then(
      () => this.flush(), // what was appended meanwhile
      () => undefined, // told by whoever asked for the write
    );
    return this.#stateWrite;
  }

  #troubled(error: unknown): void {
    const first = this.#trouble === undefined;
    this.#trouble = error as Error;
    if (first) this.#events.trouble?.(this.#trouble);
    if (this.#pending.length === 0 || this.#closed) return;
    this.#retry ??= this.#clock.after(RETRY_MS, () => {
      this.#retry = undefined;
      this.flush();
    });
  }

  #well(): void {
    this.#retry?.();
    this.#retry = undefined;
    this.#overflowed = false;
    if (this.#trouble === undefined) return;
    this.#trouble = undefined;
    if (this.#spoilt === undefined) this.#events.trouble?.(undefined);
  }
}

function refusal(error: unknown): CibError {
  if (error instanceof CibError) return error;
  if (isDiskFull(error)) return new CibError("disk_full", "the disk under CIB_DATA is full", { cause: error });
  return new CibError("internal", "the disk under CIB_DATA failed", { cause: error });
}
