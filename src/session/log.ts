/** Log: what happened in one session, in order, for good. It alone numbers frames; everyone else reads. */
import { CibError } from "../errors.ts";
import { Encoded } from "../frame/codec.ts";
import type { Frame, FrameBody, Seq, SessionId } from "../frame/frame.ts";
import { type Clock, systemClock } from "./clock.ts";
import { type Disk, nodeDisk } from "./disk.ts";
import { type Judgement, judge, type Wanted } from "./epochs.ts";
import { fit } from "./fit.ts";
import { boundsOf, type LogEvents, type LogOptions } from "./log-options.ts";
import { MemoryTail } from "./memory-tail.ts";
import { framesFrom, type Page, pageFrom, selectFrom } from "./pages.ts";
import { Pending } from "./pending.ts";
import { Cursor, Reader } from "./reader.ts";
import { MAX_FRAME_BYTES } from "./segment.ts";
import { Segments } from "./segments.ts";
import { StateFile } from "./state-file.ts";
import { type FsyncPolicy, refusal, Syncer } from "./syncer.ts";
import { Trouble } from "./trouble.ts";

/** Written by one call at most; more than this in one turn of the loop is written before its end. */
const WRITE_BYTES = 1024 * 1024;
/** Frames that wait for a full disk; beyond this the owner is told to stop the session. */
export const MAX_PENDING_BYTES = 8 * 1024 * 1024;
/** What the owner may still append while it stops: closing frames, a few KiB each. */
const STOPPING_BYTES = 1024 * 1024;

export class Log {
  readonly session: SessionId;
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #policy: FsyncPolicy;
  readonly #events: Partial<LogEvents>;
  readonly #bounds: ReturnType<typeof boundsOf>;
  readonly #state: StateFile;
  readonly #segments: Segments;
  readonly #reader: Reader;
  readonly #syncer: Syncer;
  readonly #trouble: Trouble;
  readonly #pending = new Pending();
  /** The last frames written, up to #written. */
  readonly #tail: MemoryTail;
  readonly #listeners = new Set<() => void>();

  #last: Seq;
  #written: Seq;
  #ts: number;
  #turnEnd: NodeJS.Immediate | undefined;
  #overflowed = false;
  #closed = false;

  private constructor(options: LogOptions) {
    this.session = options.session;
    this.#disk = options.disk ?? nodeDisk;
    this.#clock = options.clock ?? systemClock;
    this.#policy = options.policy ?? "turn";
    this.#events = options.events ?? {};
    this.#bounds = boundsOf(options);
    this.#tail = new MemoryTail(this.#bounds.tailBytes);
    this.#trouble = new Trouble(
      this.#clock,
      // After a failed sync nothing is well, whatever can be written.
      (error) => (error !== undefined || !this.#syncer.spoilt) && this.#events.trouble?.(error),
      () => this.flush(),
    );

    this.#disk.folder(options.folder);
    this.#state = new StateFile(this.#disk, options.folder);
    const { before } = this.#state;
    const ends = before?.epochs.map(([, end]) => end);
    const found = Segments.open(this.#disk, options.folder, options.session, before?.clean, ends);
    this.#segments = found.segments;
    this.#reader = new Reader(this.#disk, options.session, found.segments.list, (path) =>
      this.#events.damaged?.(`log: ${path} has damaged lines; readers are told the gap where frames are lost`),
    );
    this.#last = this.#written = found.last;
    this.#ts = found.ts;
    this.#syncer = new Syncer({
      policy: this.#policy,
      found: found.last,
      written: () => this.#written,
      sync: () => this.#segments.sync(),
      trouble: (error) => this.#events.trouble?.(error),
      done: () => this.#policy === "always" && this.#tell(),
    });
    // A raised epoch is told to clients from now on, so it must not be forgotten: a second stop would give the same epoch another end.
    if (!this.#state.begin(found, this.#clock.now()))
      void this.#writeState("clean").catch((error: unknown) => this.#troubled(error));
    if (found.damage !== undefined) this.#events.damaged?.(found.damage);
  }

  /**
   * Opens a session's log, or begins one. After an unclean stop the end is repaired and the epoch raised. Damage costs
   * the frames it hit and no others: they become a gap, and no number that was known is given out again.
   * A log left clean is not written to before the first append. Throws what the disk throws.
   */
  static open(options: LogOptions): Log {
    return new Log(options);
  }

  get epoch(): number {
    return this.#state.epoch;
  }

  /** The oldest frame there is. */
  get first(): Seq {
    return this.#segments.first;
  }

  /** The newest frame that may be read; `first - 1` when there is none. */
  get last(): Seq {
    return this.#policy === "always" ? this.#syncer.synced : this.#written;
  }

  /** The newest frame that has a number, written or not. */
  get numbered(): Seq {
    return this.#last;
  }

  /** Where a reader may begin: the log's part of a verdict. */
  judge(want: Wanted): Judgement {
    return judge(this.#state.lives, this.epoch, this.first, this.last, want);
  }

  /**
   * Numbers a frame and has it written at the end of this turn of the loop; then it may be read. Returns its seq
   * (of the last one, where a long text becomes several frames). Throws `disk_full` when too much waits for the disk.
   */
  append(body: FrameBody): Seq {
    if (this.#closed) throw new CibError("stopping", "log: closed");
    if (this.#pending.bytes > MAX_PENDING_BYTES + STOPPING_BYTES) {
      throw new CibError("disk_full", `log: ${this.#pending.bytes} bytes wait for the disk; free space in CIB_DATA`);
    }
    this.#ts = Math.max(this.#ts, this.#clock.now());
    const frame = this.#encode(body);
    const bytes = frame.json().length;
    if (bytes <= MAX_FRAME_BYTES) this.#add(frame);
    else {
      const head = { session: this.session, seq: this.#last + 1, ts: this.#ts };
      for (const piece of fit(body, bytes, MAX_FRAME_BYTES, head)) this.#add(this.#encode(piece));
    }
    if (body.type === "stop") this.#syncer.turn();
    if (this.#pending.bytes >= WRITE_BYTES && this.#trouble.error === undefined) this.flush();
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
    const tailFirst = this.#written - this.#tail.size + 1;
    if (cursor.next < tailFirst) {
      const frame = this.#reader.take(cursor, this.#written);
      if (frame !== undefined) return frame;
      cursor.next = tailFirst; // damage up to here
      if (tailFirst > last) return undefined;
    }
    cursor.segment = undefined;
    return this.#tail.at(cursor.next++ - tailFirst);
  }

  /** Nobody reads old frames now: frees the buffer for them. */
  readOut(): void {
    this.#reader.rest();
  }

  /** The frames from `from` on, `limit` at most, all in memory at once: for small stretches. */
  page(from: Seq, limit: number): readonly Encoded[] {
    const frames = pageFrom(this.#take, from, limit);
    this.#reader.rest();
    return frames;
  }

  /** A page for a client: bounded in frames, bytes and work. It may be empty though more follows from `next`. */
  select(from: Seq, limit: number, mask: number): Page {
    const page = selectFrom(this.#take, from, limit, mask);
    this.#reader.rest();
    return page;
  }

  /** Every frame from `from` on that may be read now; for what a session does at its start. */
  *frames(from: Seq): Generator<Frame> {
    yield* framesFrom(this.#take, from);
    this.#reader.rest();
  }

  /** Writes what waits, now. Trouble with the disk is told to the owner, not thrown. */
  flush(): void {
    if (this.#turnEnd !== undefined) clearImmediate(this.#turnEnd);
    this.#turnEnd = undefined;
    if (this.#pending.empty) return;
    if (this.#state.writing !== undefined) return; // it flushes when it is done
    if (this.#state.says !== "open") {
      void this.#writeState("open").then(
        () => this.flush(),
        (error: unknown) => this.#troubled(error),
      );
      return;
    }
    const before = this.#written;
    try {
      while (!this.#pending.empty) this.#writeSome();
      this.#overflowed = false;
      this.#trouble.over();
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
    await this.#syncer.upTo(upTo);
  }

  /**
   * Everything on disk, files closed, and log.json says so: the next open keeps the epoch. Reading goes on,
   * and an append opens the log again. Rejects when the disk refuses.
   */
  async rest(): Promise<void> {
    while (true) {
      if (this.#state.writing !== undefined) await this.#state.writing.catch(() => undefined);
      await this.sync();
      if (this.#state.says !== "open") {
        if (this.#pending.empty && this.#state.writing === undefined) return;
      } else if (this.#pending.empty) {
        if (this.#syncer.synced < this.#written) continue;
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
      this.#trouble.rest();
      if (this.#turnEnd !== undefined) clearImmediate(this.#turnEnd);
      this.#reader.rest();
      this.#segments.close();
    }
  }

  readonly #take = (cursor: Cursor): Encoded | undefined => this.take(cursor);

  readonly #onTurnEnd = (): void => {
    this.#turnEnd = undefined;
    if (this.#trouble.error === undefined) this.flush(); // else the timer does
  };

  #encode(body: FrameBody): Encoded {
    return Encoded.of({ session: this.session, seq: this.#last + 1, ts: this.#ts, ...body } as Frame);
  }

  #add(frame: Encoded): void {
    this.#last = frame.seq;
    this.#pending.add(frame);
    if (this.#pending.bytes > MAX_PENDING_BYTES && !this.#overflowed) {
      this.#overflowed = true;
      this.#events.overflow?.();
    }
  }

  /** One write of what waits, WRITE_BYTES and a frame at most. */
  #writeSome(): void {
    const { open, mayRoll } = this.#segments;
    const { torn } = this.#pending;
    if (torn === 0 && mayRoll && open.bytes >= this.#bounds.segmentBytes) {
      this.#segments.roll(this.#written + 1);
      this.#segments.prune(this.#bounds.maxBytes - this.#bounds.segmentBytes);
      this.#syncer.want();
    }
    const taken = this.#segments.write(this.#pending.lines(WRITE_BYTES), torn);
    if (taken <= 0) throw new CibError("disk_full", "log: the disk took nothing");
    const whole = this.#pending.wrote(torn + taken);
    for (const frame of whole) {
      this.#segments.open.bytes += frame.json().length + 1;
      this.#written = frame.seq;
    }
    this.#tail.add(whole);
  }

  /** New frames are in the file. */
  #wrote(): void {
    if (this.#policy !== "always") this.#tell(); // else when they are synced
    this.#syncer.wrote();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  async #writtenUpTo(seq: Seq): Promise<void> {
    while (this.#written < seq) {
      this.flush();
      if (this.#written >= seq) return;
      if (this.#state.writing !== undefined) await this.#state.writing.catch(() => undefined);
      // A turn of the loop for flush, which follows the state write.
      await Promise.resolve();
      const { error } = this.#trouble;
      if (error !== undefined && this.#written < seq && this.#state.writing === undefined) throw refusal(error);
    }
  }

  /** Rewrites log.json: `open` before the files change, `clean` once they will not. */
  #writeState(to: "open" | "clean"): Promise<void> {
    const { open } = this.#segments;
    const clean = { seq: this.#written, ts: this.#ts, segment: open.first, bytes: open.bytes };
    const writing = this.#state.write(to === "open" ? to : clean);
    void writing.then(
      () => this.flush(), // what was appended meanwhile
      () => undefined, // told by whoever asked for the write
    );
    return writing;
  }

  #troubled(error: unknown): void {
    this.#trouble.met(error, !this.#pending.empty && !this.#closed);
  }
}
