/** Intake: what the agent tells passes the user's hooks here, in order, before it is logged. */
import type { Body, FrameBody } from "../frame/frame.ts";
import type { HookGate, Passed } from "../hooks/gate.ts";
import { Lines } from "../hooks/lines.ts";
import { type Clock, systemClock } from "./clock.ts";

/** Frames that may wait for hooks, and their size; beyond it each goes by its rules' `fail` at once. */
export const MAX_WAITING = 1024;
export const MAX_WAITING_CHARS = 8 * 1024 * 1024;
/** No frame waits longer than this for those before it: hooks that cannot keep up lose their say, not their session. */
export const MAX_WAIT_MS = 30_000;
/** Half a line goes on after this long without a word from Claude. */
export const LINE_HOLD_MS = 5_000;
/** A session that stops lets its hooks finish for so long. */
export const STOP_WAIT_MS = 5_000;
/** Calls judged whose frame has not come: Claude runs a handful of tools at once. */
const MAX_JUDGED = 256;

export interface IntakeOptions {
  readonly gate: Pick<HookGate, "cares" | "filter" | "stop">;
  /** Logs a frame that has passed. */
  readonly append: (body: FrameBody) => void;
  /** A frame was blocked: what the session itself must know of it all the same. */
  readonly blocked: (body: FrameBody) => void;
  readonly fault: (thrown: unknown) => void;
  readonly clock?: Clock;
}

type Item =
  | { readonly body: FrameBody; readonly since: number; readonly chars: number }
  | { readonly run: () => void };

export class Intake {
  readonly #o: IntakeOptions;
  readonly #clock: Clock;
  readonly #lines = new Lines();
  readonly #waiting: Item[] = [];
  #chars = 0;
  #pumping: Promise<void> | undefined;
  #stopping = false;
  #unhold: (() => void) | undefined;
  /** By frame type and tool use: what rules said when the call was judged. */
  readonly #judged = new Map<string, readonly Body<"hook">[]>();

  constructor(options: IntakeOptions) {
    this.#o = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** One frame of the agent: logged at once where no rule cares and nothing waits. */
  frame(body: FrameBody): void {
    const { gate } = this.#o;
    const streams = body.type === "text.delta" || body.type === "thinking";
    if (streams && gate.cares(body.type)) this.#all(this.#otherTypes(body), this.#lines.take(body));
    else {
      if (!this.#lines.empty) this.#all(this.#lines.before(body));
      this.#enter(body);
    }
    this.#hold();
  }

  /** Something that must not overtake the frames before it. */
  then(run: () => void): void {
    if (!this.#lines.empty) this.#all(this.#lines.flush());
    this.#hold();
    this.#push({ run });
  }

  /** The rules have judged this tool's call, or its result: its frame is not judged again, `hooks` follow it. */
  judged(type: "tool.use.start" | "tool.use.result", id: string, hooks: readonly Body<"hook">[]): void {
    this.#judged.set(`${type} ${id}`, hooks);
    if (this.#judged.size <= MAX_JUDGED) return;
    const [oldest = ""] = this.#judged.keys();
    const late = this.#judged.get(oldest) ?? [];
    this.#judged.delete(oldest);
    this.then(() => this.#append(late));
  }

  /** Resolves when nothing waits: after STOP_WAIT_MS the rules' `fail` decides. The session stops. */
  async settled(): Promise<void> {
    if (!this.#lines.empty) this.#all(this.#lines.flush());
    this.#hold();
    const calm = this.#clock.after(STOP_WAIT_MS, () => {
      this.#stopping = true;
      this.#o.gate.stop();
    });
    while (this.#pumping !== undefined) await this.#pumping;
    calm();
    this.#stopping = false;
    const left = [...this.#judged.values()].flat();
    this.#judged.clear();
    this.#append(left);
  }

  /** Text and thinking are one stream to a reader: what is held of the other goes first. */
  #otherTypes(piece: Body<"text.delta"> | Body<"thinking">): FrameBody[] {
    return this.#lines.empty ? [] : this.#lines.before(piece, piece.type);
  }

  #all(...lists: readonly (readonly FrameBody[])[]): void {
    for (const list of lists) for (const body of list) this.#enter(body);
  }

  #enter(body: FrameBody): void {
    if (this.#waiting.length === 0 && this.#pumping === undefined && !this.#o.gate.cares(body.type)) {
      this.#append([body]);
      return;
    }
    const chars = this.#o.gate.cares(body.type) ? JSON.stringify(body).length : 0;
    this.#chars += chars;
    this.#push({ body, since: this.#clock.now(), chars });
  }

  #push(item: Item): void {
    this.#waiting.push(item);
    if (this.#pumping !== undefined) return;
    // What is decided at once is done at once.
    const slow = this.#pump();
    if (slow === undefined) return;
    const pumping = this.#goOn(slow).finally(() => {
      this.#pumping = undefined;
    });
    this.#pumping = pumping;
  }
}
