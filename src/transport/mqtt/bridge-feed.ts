/** Bridge feed: one session's frames on their way to a foreign broker, at the pace of its acknowledgements, from the place where the last line broke. */
import type { Attachment, Control, Principal, SessionInfo, Verdict } from "../../control/control.ts";
import { asCibError } from "../../errors.ts";
import type { Encoded } from "../../frame/codec.ts";
import { fit } from "../../frame/fit.ts";
import type { SessionId } from "../../frame/frame.ts";
import type { CloseReason, Sink } from "../../frame/sink.ts";
import type { Timers } from "../timers.ts";
import type { BridgeFrames } from "./bridge-address.ts";
import type { Cursors, Place } from "./bridge-cursors.ts";
import { FIRST_WAIT_MS, LONGEST_WAIT_MS } from "./publisher.ts";
import { formatTopic, type TopicType } from "./topics.ts";

/** Largest payload of a frame: brokers that serve fleets take 128 KiB a message; longer frames are split as for a small client. */
export const MAX_FRAME_BYTES = 120 * 1024;

export interface FeedOptions {
  readonly control: Pick<Control, "attach">;
  readonly who: Principal;
  readonly root: string;
  readonly frames: BridgeFrames;
  readonly cursors: Cursors;
  /** QoS 1; false: the line is gone. */
  publish(topic: string, payload: Buffer, done: () => void): boolean;
  full(): boolean;
  /** Acknowledgements of the broker so far, whatever they were for. */
  taken(): number;
  readonly timers: Timers;
  /** It cannot go on over this line. */
  stalled(why: string): void;
  fault(thrown: unknown): void;
}

export class BridgeFeed implements Sink, Disposable {
  readonly #o: FeedOptions;
  readonly #session: SessionId;
  /** Messages without acknowledgement by seq, in order. */
  readonly #unacked = new Map<number, number>();
  #attachment: Attachment | undefined;
  #epoch = 0;
  /** The last that was sent, or told to be missing: where it goes on after a fault. */
  #sent = 0;
  #full = false;
  /** Until the next try, once a fault has ended it. */
  #wait = FIRST_WAIT_MS;
  #cancelTry: (() => void) | undefined;

  /** Goes on where the last one stopped; `info` tells a new session from an old one. */
  constructor(options: FeedOptions, info: SessionInfo) {
    this.#o = options;
    this.#session = info.session;
    const place = options.cursors.get(info.session);
    const young = Number(info["created_at"]) >= options.cursors.since;
    this.#begin(place ?? (young ? { epoch: 0, seq: 0 } : undefined));
  }

  /** Undefined: from now on. */
  #begin(place: Place | undefined): void {
    const verdict = this.#attach(place);
    if (verdict === undefined) return;
    this.#epoch = verdict.epoch;
    this.#sent = verdict.from - 1;
    // Where something is missing, its place moves when that has been told: were the line to break before, nobody would be.
    const missing = verdict.verdict !== "ok";
    // A place of its own, also before its first frame has gone: it must not begin later at what is then now.
    if (this.#o.cursors.get(this.#session) === undefined)
      this.#o.cursors.set(this.#session, { epoch: verdict.epoch, seq: missing ? 0 : verdict.from - 1 });
    // The log has begun another life since: what went out behind our place in the one before may not have survived, and we
    // do not know how far that was, for the place is written but once a second.
    else if (place && place.epoch > 0 && place.epoch !== verdict.epoch && verdict.verdict !== "ahead")
      this.#tell(place.seq, { ...verdict, verdict: "ahead", from: place.seq + 1 });
    if (missing) this.#tell(verdict.from - 1, { ...verdict });
  }

  #attach(place: Place | undefined): Verdict | undefined {
    const { control, who, fault } = this.#o;
    const wish = {
      session: this.#session,
      ...(place !== undefined && { from: place.seq + 1 }),
      ...(place !== undefined && place.epoch > 0 && { epoch: place.epoch }),
    };
    try {
      this.#attachment = control.attach(who, wish, this);
      return this.#attachment.verdict;
    } catch (thrown) {
      // It went in this very turn, or the token did: that is told elsewhere.
      if (asCibError(thrown).code !== "internal") return undefined;
      fault(thrown);
      this.#tryAgain(place);
      return undefined;
    }
  }

  /** A log that cannot be read is its session's trouble: the line and the others go on. */
  #tryAgain(place: Place | undefined): void {
    this.#cancelTry = this.#o.timers.after(this.#wait, () => this.#begin(place));
    this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT_MS);
  }

  write(frame: Encoded): "ok" | "full" | "gone" {
    const { frames, root } = this.#o;
    const place = { session: this.#session, type: frame.type as TopicType };
    let sent = true;
    if (frames !== "json")
      for (const piece of fit(frame, MAX_FRAME_BYTES, "cbor"))
        sent = this.#send(frame.seq, formatTopic({ kind: "frames", ...place }, root), piece) && sent;
    if (frames !== "cbor")
      for (const piece of fit(frame, MAX_FRAME_BYTES, "json"))
        sent = this.#send(frame.seq, formatTopic({ kind: "json", ...place }, root), piece) && sent;
    if (!sent) return "gone";
    this.#sent = frame.seq;
    this.#wait = FIRST_WAIT_MS;
    this.#full = this.#o.full();
    return this.#full ? "full" : "ok";
  }

  gap(from: number, to: number): void {
    this.#sent = to - 1;
    this.#tell(to - 1, { session: this.#session, epoch: this.#epoch, gap: [from, to] });
  }

  close(reason: CloseReason): void {
    this.#attachment = undefined;
    if (reason === "too_far_behind") this.#o.stalled("it has not acknowledged anything for a minute");
    else if (reason === "detached") this.#tryAgain({ epoch: this.#epoch, seq: this.#sent });
  }

  taken(): number {
    return this.#o.taken();
  }

  drained(): void {
    if (!this.#full) return;
    this.#full = false;
    this.#attachment?.drained();
  }

  [Symbol.dispose](): void {
    this.#attachment?.[Symbol.dispose]();
    this.#attachment = undefined;
    this.#cancelTry?.();
    this.#unacked.clear();
  }

  /** That frames are missing, and from where it goes on; with the frames, in their order. */
  #tell(seq: number, gap: object): void {
    this.#send(seq, `${this.#o.root}/${this.#session}/gap`, Buffer.from(JSON.stringify(gap)));
  }

  #send(seq: number, topic: string, payload: Buffer): boolean {
    this.#unacked.set(seq, (this.#unacked.get(seq) ?? 0) + 1);
    return this.#o.publish(topic, payload, () => this.#acknowledged(seq));
  }

  #acknowledged(seq: number): void {
    const left = (this.#unacked.get(seq) ?? 0) - 1;
    // Of a line that is no more.
    if (left < 0) return;
    this.#unacked.set(seq, left);
    let arrived: number | undefined;
    for (const [oldest, open] of this.#unacked) {
      if (open > 0) break;
      this.#unacked.delete(oldest);
      arrived = oldest;
    }
    if (arrived !== undefined) this.#o.cursors.set(this.#session, { epoch: this.#epoch, seq: arrived });
  }
}
