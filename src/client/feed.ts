/** Feed: one session followed across lost connections, every frame once and in order. */
import { CibError } from "../errors.ts";
import type { Frame, FrameTypeName, PtyFrame, SessionId } from "../frame/frame.ts";
import type { Command, Message } from "./connection.ts";

/** Items that wait for a slow reader before the feed detaches; it comes back for the rest when they are read. */
const MAX_WAITING = 4096;
/** And the bytes of text and terminal among them, roughly. */
const MAX_WAITING_CHARS = 8 * 1024 * 1024;

/** A box that is full is asked again after so long, doubled each time up to the longest. */
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;

export interface FeedOptions {
  /** First frame wanted; left out: from now on. */
  readonly from?: number;
  /** The epoch that `from` was learned in, from the last verdict. */
  readonly epoch?: number;
  readonly types?: readonly FrameTypeName[];
  /** Longest message wanted; pieces are joined again here. */
  readonly max_bytes?: number;
  /** Terminal bytes too. Where a rule that hides them comes later, the feed goes on without: the verdict says so. */
  readonly pty?: boolean;
  /** First terminal byte wanted; left out: what the box still has. */
  readonly pty_from?: number;
}

/** Where the stream begins, after each (re)connection. `ahead`: forget every frame from `from` on, it did not survive. */
export interface VerdictMark {
  readonly type: "verdict";
  readonly session: SessionId;
  readonly epoch: number;
  readonly first: number;
  readonly last: number;
  readonly from: number;
  readonly verdict: "ok" | "gap" | "ahead";
  /** Set where terminal bytes were wanted and are refused from here on: a hook of the box hides them. */
  readonly pty?: false;
}

/** Frames from `from` up to `to` (not included) were pruned before they were read. */
export interface GapMark {
  readonly type: "gap";
  readonly from: number;
  readonly to: number;
}

export type Item = Frame | PtyFrame | VerdictMark | GapMark;

export interface FeedPort {
  open(): boolean;
  /** `atOnce`: called with the reply as it arrives, before what stands behind it in the same chunk of bytes. */
  run(command: Command, atOnce: (reply: Message) => void): Promise<Message>;
  detach(): void;
  /** As Timers has it. */
  after(ms: number, then: () => void): () => void;
  ended(): void;
}

export class Feed implements AsyncIterable<Item> {
  readonly #session: SessionId;
  readonly #options: FeedOptions;
  readonly #port: FeedPort;
  #items: Item[] = [];
  #chars = 0;
  #wake: (() => void) | undefined;
  #next: number | undefined;
  #epoch: number | undefined;
  #ptyNext: number | undefined;
  #pieces: string[] = [];
  /** "off": no attachment; "asked": attach is under way; "on": frames come; "paused": detached until the reader catches up. */
  #state: "off" | "asked" | "on" | "paused" = "off";
  #wait = FIRST_WAIT_MS;
  #cancelWait: () => void = () => {};
  /** The box has ended the attachment alone, and it was made anew: once. */
  #again = false;
  /** Terminal bytes are refused. */
  #blind = false;
  #over = false;
  #why: Error | undefined;

  constructor(session: SessionId, options: FeedOptions, port: FeedPort) {
    this.#session = session;
    this.#options = options;
    this.#port = port;
    this.#next = options.from;
    this.#epoch = options.epoch;
    this.#ptyNext = options.pty_from;
  }

  /** Where to go on another time: the first frame not handed out, and its epoch. */
  get position(): { readonly from: number | undefined; readonly epoch: number | undefined } {
    const waiting = this.#items.find((item) => "seq" in item);
    return { from: waiting !== undefined && "seq" in waiting ? waiting.seq : this.#next, epoch: this.#epoch };
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Item, void, undefined> {
    try {
      for (;;) {
        const item = this.#items.shift();
        if (item !== undefined) {
          this.#chars -= charsOf(item);
          yield item;
        } else if (this.#why !== undefined) {
          throw this.#why;
        } else if (this.#over) {
          return;
        } else {
          if (this.#state === "paused") this.#resume();
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      this.end();
    }
  }

  /** A connection is open: attach, from where the feed is. */
  opened(): void {
    if (this.#over) return;
    this.#cancelWait();
    this.#state = "asked";
    this.#pieces = [];
    const { types, max_bytes } = this.#options;
    const pty = this.#options.pty === true && !this.#blind;
    const command = {
      cmd: "attach",
      session: this.#session,
      ...(this.#next !== undefined && { from: this.#next }),
      ...(this.#epoch !== undefined && { epoch: this.#epoch }),
      ...(types && { types }),
      ...(max_bytes !== undefined && { max_bytes }),
      ...(pty && { pty }),
      ...(pty && this.#ptyNext !== undefined && { pty_from: this.#ptyNext }),
    };
    const asked = this.#port.run(command, (reply) => this.#verdict(reply as unknown as VerdictMark));
    asked.catch((thrown: unknown) => {
      // A lost connection attaches again when it is back.
      if (thrown instanceof CibError) this.#refused(thrown, pty);
    });
  }

  /** The reply to our own attach: another feed of this session may have begun since. */
  #verdict(mark: Omit<VerdictMark, "type">): void {
    if (this.#over) return;
    this.#state = "on";
    this.#wait = FIRST_WAIT_MS;
    this.#epoch = mark.epoch;
    this.#next = mark.from;
    this.#put({
      type: "verdict",
      session: mark.session,
      epoch: mark.epoch,
      first: mark.first,
      last: mark.last,
      from: mark.from,
      verdict: mark.verdict,
      ...(this.#blind && { pty: false as const }),
    });
  }

  frame(frame: Frame | PtyFrame): void {
    // Before the verdict a frame can only be left over from the attachment before.
    if (this.#over || this.#state !== "on") return;
    if (frame.type === "pty.raw") {
      if (this.#ptyNext !== undefined && frame.offset < this.#ptyNext) return;
      this.#ptyNext = frame.offset + frame.data.length;
      this.#put(frame);
      return;
    }
    if (this.#next !== undefined && frame.seq < this.#next) return;
    const whole = this.#joined(frame);
    if (whole === undefined) return;
    this.#next = frame.seq + 1;
    this.#put(whole);
  }

  gap(from: number, to: number): void {
    this.#next = Math.max(this.#next ?? to, to);
    this.#put({ type: "gap", from, to });
  }

  /** The box ended this attachment alone (PROTOCOL, what a client does). */
  detached(reason: string): void {
    this.#state = "off";
    if (reason === "too_far_behind") this.opened();
    else if (reason !== "detached") this.end();
    else if (this.#again)
      this.fail(new CibError("internal", "session: the box has ended this attachment twice; its log says why"));
    else {
      this.#again = true;
      this.opened();
    }
  }

  /** The connection is gone; the next one attaches again. */
  lost(): void {
    this.#cancelWait();
    if (this.#state !== "paused") this.#state = "off";
    this.#pieces = [];
  }

  /** Ends the iteration after what is waiting, with an error. */
  fail(why: Error): void {
    this.#why ??= why;
    this.end();
  }

  /** Ends the iteration after what is waiting. */
  end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#cancelWait();
    // Now, not when the reader comes to know of it: another feed of this session may begin at once.
    if ((this.#state === "asked" || this.#state === "on") && this.#port.open()) this.#port.detach();
    this.#state = "off";
    this.#port.ended();
    this.#wake?.();
  }

  /** Final, unless the box says otherwise; and after a `detached` it may be the terminal alone: a rule has come that hides it. */
  #refused(why: CibError, pty: boolean): void {
    if (this.#over) return;
    if (why.row.retryable) {
      this.#cancelWait = this.#port.after(this.#wait, () => this.#port.open() && this.opened());
      this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT_MS);
      return;
    }
    if (!pty || !this.#again || why.code !== "forbidden") {
      this.#state = "off";
      this.fail(why);
      return;
    }
    this.#blind = true;
    this.opened();
  }

  /** The reader has caught up: attach again, now or when there is a connection. */
  #resume(): void {
    this.#state = "off";
    if (this.#port.open()) this.opened();
  }

  /** The pieces of a split text make one frame again, at the last one. */
  #joined(frame: Frame): Frame | undefined {
    const { part, ...rest } = frame;
    if (part === undefined || !("text" in rest)) return frame;
    const [i, n] = part;
    if (i === 0) this.#pieces = [];
    this.#pieces.push(rest.text ?? "");
    if (i < n - 1) return undefined;
    const text = this.#pieces.join("");
    this.#pieces = [];
    return { ...rest, text } as Frame;
  }

  #put(item: Item): void {
    if (this.#over) return;
    this.#items.push(item);
    this.#chars += charsOf(item);
    if (this.#state === "on" && (this.#items.length > MAX_WAITING || this.#chars > MAX_WAITING_CHARS)) {
      this.#state = "paused";
      this.#port.detach();
    }
    this.#wake?.();
    this.#wake = undefined;
  }
}

function charsOf(item: Item): number {
  if (item.type === "pty.raw") return item.data.length;
  return "text" in item ? (item.text?.length ?? 0) : 0;
}
