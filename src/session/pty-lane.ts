/** The terminal lane: a session's terminal bytes in a ring of their own, so that repaints never push a frame out of the log. */
import { Encoded } from "../frame/codec.ts";
import type { SessionId } from "../frame/frame.ts";
import { type Clock, systemClock } from "./clock.ts";
import { type Disk, nodeDisk } from "./disk.ts";

/** CIB_PTY_LOG_BYTES where nothing else is configured. */
export const PTY_LOG_BYTES = 1024 * 1024;
/** A ring begins this small and doubles up to its bound: an idle session costs nothing. */
const FIRST_BYTES = 4 * 1024;
/** Terminal bytes in one frame: what a pty read gives at most, and a fraction of any socket buffer. */
export const LANE_CHUNK_BYTES = 16 * 1024;
/**
 * Offsets of one epoch of the log: 64 GiB, a terminal printing 1 MB/s for 19 hours. An unclean stop loses the ring, so
 * the stream goes on in the next epoch's range: an offset never stands for two different bytes. 2^53 / 2^36 = 131,072 epochs.
 */
const EPOCH_BYTES = 2 ** 36;

export interface LaneOptions {
  readonly session: SessionId;
  /** The log's epoch: raised by every unclean stop. */
  readonly epoch: number;
  /** Where a clean stop leaves the ring: output.log. Undefined: nowhere. */
  readonly file?: string;
  readonly maxBytes?: number;
  readonly clock?: Clock;
  readonly disk?: Disk;
}

/** One reader's place in the lane. */
export interface LaneCursor {
  /** Offset of the next byte it wants. */
  next: number;
}

export class PtyLane {
  readonly #session: SessionId;
  readonly #maxBytes: number;
  readonly #clock: Clock;
  readonly #disk: Disk;
  readonly #file: string | undefined;
  readonly #listeners = new Set<() => void>();
  #ring: Buffer = Buffer.alloc(0);
  #end: number;
  #size = 0;
  #written = false;
  /** The frame made last: readers in step share it. */
  #made: { readonly from: number; readonly to: number; readonly frame: Encoded } | undefined;

  private constructor(options: LaneOptions) {
    this.#session = options.session;
    this.#maxBytes = options.maxBytes ?? PTY_LOG_BYTES;
    this.#clock = options.clock ?? systemClock;
    this.#disk = options.disk ?? nodeDisk;
    this.#file = options.file;
    this.#end = (options.epoch - 1) * EPOCH_BYTES;
  }

  /** Opens the lane, with what a clean stop left. A spilled ring that cannot be read is left aside. */
  static open(options: LaneOptions): PtyLane {
    const lane = new PtyLane(options);
    const spilled = options.file === undefined ? undefined : lane.#disk.load(options.file);
    if (spilled !== undefined) lane.#restore(spilled);
    return lane;
  }

  /** Offset of the oldest byte held. */
  get start(): number {
    return this.#end - this.#size;
  }

  /** Offset of the next byte to come; grows for ever. */
  get end(): number {
    return this.#end;
  }

  /** Takes bytes from the terminal; they are copied. */
  write(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#written = true;
    this.#store(bytes);
    for (const listener of this.#listeners) listener();
  }

  /** Called (synchronously) whenever there is more to read. */
  listen(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /**
   * A cursor at `from`. Without `from`, or with one that the ring never reached, it begins with the oldest byte held:
   * a terminal that comes late sees the screen. A byte that is gone is skipped: the frame's offset tells.
   */
  cursor(from?: number): LaneCursor {
    return { next: from === undefined || from > this.#end ? this.start : from };
  }

  /** The next bytes as a frame, LANE_CHUNK_BYTES at most; the cursor moves behind them. Undefined: no more for now. */
  take(cursor: LaneCursor): Encoded | undefined {
    const from = Math.max(cursor.next, this.start);
    if (from >= this.#end) return undefined;
    let made = this.#made;
    if (made === undefined || made.from !== from) {
      const to = Math.min(this.#end, from + LANE_CHUNK_BYTES);
      const frame = Encoded.pty({
        session: this.#session,
        offset: from,
        ts: this.#clock.now(),
        type: "pty.raw",
        data: this.#copy(from, to),
      });
      made = { from, to, frame };
      this.#made = made;
    }
    cursor.next = made.to;
    return made.frame;
  }

  /** Leaves the ring on disk, for the next start. Nothing is written when nothing came. */
  async spill(): Promise<void> {
    if (this.#file === undefined || !this.#written) return;
    const head = Buffer.from(`${JSON.stringify({ end: this.#end })}\n`);
    await this.#disk.replace(this.#file, Buffer.concat([head, this.#copy(this.start, this.#end)]));
    this.#written = false;
  }

  /** The file is one line with the end offset, then the bytes. */
  #restore(file: Buffer): void {
    const newline = file.indexOf(10);
    let end: unknown;
    try {
      end = (JSON.parse(file.toString("utf8", 0, newline)) as { end?: unknown }).end;
    } catch {
      return;
    }
    if (!Number.isSafeInteger(end) || (end as number) < file.length - newline - 1) return;
    const bytes = file.subarray(newline + 1).subarray(-this.#maxBytes);
    // From an earlier epoch: the same bytes, just below this epoch's range, where no other offset lies.
    this.#end = Math.max(this.#end, end as number) - bytes.length;
    this.#store(bytes);
  }

  #store(bytes: Uint8Array): void {
    const kept = bytes.subarray(Math.max(0, bytes.length - this.#maxBytes));
    this.#grow(Math.min(this.#maxBytes, this.#size + kept.length));
    const end = this.#end + bytes.length;
    const at = (end - kept.length) % this.#ring.length;
    const first = kept.subarray(0, this.#ring.length - at);
    this.#ring.set(first, at);
    this.#ring.set(kept.subarray(first.length), 0);
    this.#size = Math.min(this.#maxBytes, this.#size + bytes.length);
    this.#end = end;
  }

  #grow(need: number): void {
    if (need <= this.#ring.length) return;
    let length = Math.max(FIRST_BYTES, this.#ring.length);
    while (length < need) length *= 2;
    const ring = Buffer.allocUnsafeSlow(Math.min(length, Math.max(need, this.#maxBytes)));
    const held = this.#copy(this.start, this.#end);
    const at = this.start % ring.length;
    const first = held.subarray(0, ring.length - at);
    ring.set(first, at);
    ring.set(held.subarray(first.length), 0);
    this.#ring = ring;
  }

  /** The bytes at offsets [from, to), copied out of the ring. */
  #copy(from: number, to: number): Buffer {
    const out = Buffer.allocUnsafe(to - from);
    if (out.length === 0) return out;
    const at = from % this.#ring.length;
    const first = this.#ring.copy(out, 0, at, Math.min(this.#ring.length, at + out.length));
    this.#ring.copy(out, first, 0, out.length - first);
    return out;
  }
}
