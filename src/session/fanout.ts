/** Fan-out: carries the session's log and terminal lane to every sink, each at its own pace, with a cursor and never a queue. */
import type { Encoded } from "../frame/codec.ts";
import type { Seq } from "../frame/frame.ts";
import type { CloseReason, Sink } from "../frame/sink.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { Log } from "./log.ts";
import type { LaneCursor, PtyLane } from "./pty-lane.ts";
import type { Cursor } from "./reader.ts";

/** Frames that one sink gets before others have their turn: 64 × 4 KiB = 256 KiB. */
export const TURN_FRAMES = 64;
/** The same in bytes of JSON, for long frames. */
export const TURN_BYTES = 256 * 1024;
/** Frames looked at for one sink in its turn, wanted or not: 1,024 × 1 µs = 1 ms. */
const TURN_SCAN = 1024;
/** Terminal frames in one turn of a sink: 4 × 16 KiB. */
const TURN_LANE_FRAMES = 4;
/** Frames looked at in one turn of the loop for all sinks together: 4,096 × 2 µs = 8 ms. */
const LOOP_SCAN = 4096;
/** A sink that is full this long, and has got rid of nothing meanwhile, has a client that does not read. */
export const STALL_MS = 60_000;

export interface FanoutOptions {
  readonly log: Log;
  readonly lane?: PtyLane;
  readonly clock?: Clock;
  /** A sink or the disk failed under a reader: that reader is dropped, the others go on. */
  readonly fault?: (where: string, thrown: unknown) => void;
}

export interface AttachOptions {
  /** First seq to deliver: the verdict's `from`. */
  readonly from: Seq;
  /** Wanted types (select.ts). */
  readonly mask: number;
  readonly sink: Sink;
  /** Terminal bytes too, from this offset; left out: from the oldest byte held. */
  readonly lane?: { readonly from?: number | undefined };
}

/** A sink's place in the fan-out. Disposing it ends it without a word. */
export interface Reader extends Disposable {
  /** The next seq that will be looked at. */
  readonly next: Seq;
  /** The sink is empty again: go on from the cursor. */
  drained(): void;
}

export class Fanout {
  readonly #log: Log;
  readonly #lane: PtyLane | undefined;
  readonly #clock: Clock;
  readonly #fault: (where: string, thrown: unknown) => void;
  readonly #readers = new Set<Follower>();
  /** Those with something to do, in the order of their turns. */
  readonly #ready = new Set<Follower>();
  readonly #listening: Disposable[] = [];
  #turn: NodeJS.Immediate | undefined;
  #closed: CloseReason | undefined;

  constructor({ log, lane, clock = systemClock, fault = () => undefined }: FanoutOptions) {
    this.#log = log;
    this.#lane = lane;
    this.#clock = clock;
    this.#fault = fault;
    this.#listening.push(log.listen(() => this.#more(false)));
    if (lane !== undefined) this.#listening.push(lane.listen(() => this.#more(true)));
  }

  /** How many sinks follow. */
  get size(): number {
    return this.#readers.size;
  }

  /** Sets a cursor. The first frame is written in a later turn of the loop: the caller can send its verdict before. */
  attach({ from, mask, sink, lane }: AttachOptions): Reader {
    const cursor = this.#log.cursor(from);
    const laneCursor = lane === undefined ? undefined : this.#lane?.cursor(lane.from);
    const reader = new Follower(this, this.#log, this.#lane, sink, mask, cursor, laneCursor);
    this.#readers.add(reader);
    this.wake(reader);
    return reader;
  }

  /** Ends every attachment, and takes no more: later ones are closed with the same reason. */
  close(reason: CloseReason): void {
    this.#closed = reason;
    for (const listening of this.#listening.splice(0)) listening[Symbol.dispose]();
    for (const reader of [...this.#readers]) this.end(reader, reason);
  }

  /** Ends every attachment that gets terminal bytes: they are not for clients any more. */
  endLanes(): void {
    for (const reader of [...this.#readers]) if (reader.wantsLane) this.end(reader, "detached");
  }

  /** For readers only: give this one a turn. */
  wake(reader: Follower): void {
    this.#ready.add(reader);
    this.#turn ??= setImmediate(this.#pump);
  }

  /** For readers only: forget this one. */
  drop(reader: Follower): void {
    reader.calm();
    this.#readers.delete(reader);
    this.#ready.delete(reader);
    if (this.#readers.size === 0) this.#log.readOut();
  }

  /** For readers only: this one is full; if it stays so, its client does not read. */
  watch(reader: Follower): () => void {
    let before = reader.sink.taken?.() ?? 0;
    let cancel: () => void;
    const look = () => {
      const taken = reader.sink.taken?.() ?? 0;
      if (taken <= before) return this.end(reader, "too_far_behind");
      // Slow is not gone: a frame of 1 MiB takes a small client more than a minute.
      before = taken;
      cancel = this.#clock.after(STALL_MS, look);
    };
    cancel = this.#clock.after(STALL_MS, look);
    return () => cancel();
  }

  /** Ends one attachment and says why. */
  end(reader: Follower, reason: CloseReason): void {
    if (!this.#readers.has(reader)) return;
    this.drop(reader);
    try {
      reader.sink.close(reason);
    } catch (thrown) {
      this.#fault("sink.close", thrown);
    }
  }

  #more(lane: boolean): void {
    for (const reader of this.#readers) {
      // It has not read for as long as it took to fill the whole log: it will not catch up.
      if (reader.full && reader.next < this.#log.first) this.end(reader, "too_far_behind");
      else if (!reader.full && (!lane || reader.wantsLane)) this.wake(reader);
    }
  }

  readonly #pump = (): void => {
    this.#turn = undefined;
    if (this.#closed !== undefined) for (const reader of [...this.#readers]) this.end(reader, this.#closed);
    let left = LOOP_SCAN;
    let waiting = this.#ready.size; // each gets one turn; who joins meanwhile waits for the next
    for (const reader of this.#ready) {
      if (left <= 0 || waiting-- === 0) break;
      this.#ready.delete(reader);
      left -= this.#turnOf(reader);
    }
    if (this.#ready.size > 0) this.#turn ??= setImmediate(this.#pump);
    else this.#log.readOut();
  };

  /** One turn; returns what it cost in frames looked at. */
  #turnOf(reader: Follower): number {
    try {
      const answer = reader.turn();
      if (answer === "more" && this.#readers.has(reader)) this.#ready.add(reader);
      if (answer === "gone") this.drop(reader);
      return reader.looked;
    } catch (thrown) {
      this.#fault("fanout", thrown);
      // "detached" sends the client back to attach again from its last frame.
      this.end(reader, "detached");
      return 1;
    }
  }
}

/** What a turn came to: nothing more for now, more at once, or a sink that takes no more, for now or for good. */
type Answer = "idle" | "more" | "full" | "gone";

/** One sink and how far it has got. */
class Follower implements Reader {
  readonly sink: Sink;
  full = false;
  /** Frames that its last turn looked at. */
  looked = 0;
  readonly #fanout: Fanout;
  readonly #log: Log;
  readonly #lane: PtyLane | undefined;
  readonly #mask: number;
  readonly #cursor: Cursor;
  readonly #laneCursor: LaneCursor | undefined;
  /** The seq after the last one looked at; the cursor runs ahead of it where frames are gone. */
  #want: Seq;
  #laneFirst = false;
  /** drained() came while the sink was still saying "full". */
  #drainedEarly = false;
  #unwatch: (() => void) | undefined;
  #ended = false;

  constructor(
    fanout: Fanout,
    log: Log,
    lane: PtyLane | undefined,
    sink: Sink,
    mask: number,
    cursor: Cursor,
    laneCursor: LaneCursor | undefined,
  ) {
    this.#fanout = fanout;
    this.#log = log;
    this.#lane = lane;
    this.sink = sink;
    this.#mask = mask;
    this.#cursor = cursor;
    this.#want = cursor.next;
    this.#laneCursor = laneCursor;
  }

  get next(): Seq {
    return this.#want;
  }

  get wantsLane(): boolean {
    return this.#laneCursor !== undefined;
  }

  drained(): void {
    this.#drainedEarly = true;
    if (this.#ended || !this.full) return;
    this.full = false;
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#fanout.wake(this);
  }

  [Symbol.dispose](): void {
    if (!this.#ended) this.#fanout.drop(this);
  }

  /** No more turns, no timer. */
  calm(): void {
    this.#ended = true;
    this.#unwatch?.();
    this.#unwatch = undefined;
  }

  /** Frames and terminal bytes, first the one and then the other by turns: neither waits for the end of a replay of the other. */
  turn(): Answer {
    this.looked = 0;
    this.#laneFirst = !this.#laneFirst && this.#laneCursor !== undefined;
    const one = this.#laneFirst ? this.#bytes() : this.#frames();
    if (one === "gone" || one === "full") return one;
    const two = this.#laneFirst ? this.#frames() : this.#bytes();
    return two === "idle" ? one : two;
  }

  #frames(): Answer {
    let bytes = 0;
    let written = 0;
    while (this.looked < TURN_SCAN && written < TURN_FRAMES && bytes < TURN_BYTES) {
      const frame = this.#log.take(this.#cursor);
      if (frame === undefined) return "idle";
      this.looked++;
      const want = this.#want;
      this.#want = frame.seq + 1;
      if (frame.seq > want) this.sink.gap(want, frame.seq);
      if (this.#ended) return "gone";
      if ((frame.bit & this.#mask) === 0) continue;
      written++;
      bytes += frame.json().length;
      const answer = this.#write(frame);
      if (answer !== "ok") return answer;
    }
    return "more";
  }

  #bytes(): Answer {
    const cursor = this.#laneCursor;
    if (cursor === undefined || this.#lane === undefined) return "idle";
    for (let left = TURN_LANE_FRAMES; left > 0; left--) {
      const frame = this.#lane.take(cursor);
      if (frame === undefined) return "idle";
      const answer = this.#write(frame);
      if (answer !== "ok") return answer;
    }
    return "more";
  }

  #write(frame: Encoded): "ok" | "full" | "gone" {
    this.#drainedEarly = false;
    const answer = this.sink.write(frame);
    // The sink may have let go of us while it wrote.
    if (this.#ended) return "gone";
    if (answer !== "full" || this.#drainedEarly) return answer === "full" ? "ok" : answer;
    this.full = true;
    this.#unwatch ??= this.#fanout.watch(this);
    return "full";
  }
}
