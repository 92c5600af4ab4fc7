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
/** Half a line goes on after this long without a word of its agent. */
export const LINE_HOLD_MS = 5_000;
/** A session that stops lets its hooks finish for so long. */
export const STOP_WAIT_MS = 5_000;
/** Calls judged whose frame has not come: Claude runs a handful of tools at once. */
const MAX_JUDGED = 256;

export interface IntakeOptions {
  readonly gate: Pick<HookGate, "cares" | "filter">;
  /** Logs a frame that has passed, or a hook frame. */
  readonly append: (body: FrameBody) => void;
  /** A frame was blocked: what the session itself must know of it all the same. */
  readonly blocked: (body: FrameBody) => void;
  readonly fault: (thrown: unknown) => void;
  /** It has just become calm. */
  readonly calmed?: () => void;
  readonly clock?: Clock;
}

type Subject = Exclude<FrameBody, Body<"hook">>;

interface Waiting {
  readonly body: FrameBody;
  /** When it came. */
  readonly since: number;
  readonly chars: number;
}

export class Intake {
  readonly #o: IntakeOptions;
  readonly #clock: Clock;
  readonly #lines = new Lines();
  readonly #waiting: (Waiting | (() => void))[] = [];
  #chars = 0;
  /** Somebody is at work on what waits, perhaps further up the stack. */
  #busy = false;
  /** A hook is being waited for. */
  #asking: Promise<void> | undefined;
  /** Aborted: nobody waits for hooks until all that waits has gone. */
  #hurry = new AbortController();
  #unhold: (() => void) | undefined;
  /** By frame type and tool use: what rules said when the call was judged. */
  readonly #judged = new Map<string, readonly Body<"hook">[]>();

  constructor(options: IntakeOptions) {
    this.#o = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** All that the agent has told is logged, or blocked: the log is not behind it. */
  get calm(): boolean {
    return !this.#busy && this.#waiting.length === 0 && this.#lines.empty;
  }

  /** One frame of the agent: logged at once where no rule cares and nothing waits. */
  frame(body: FrameBody): void {
    const streams = body.type === "text.delta" || body.type === "thinking";
    if (streams && this.#o.gate.cares(body.type)) this.#all(this.#lines.take(body));
    else if (this.#lines.empty) this.#enter(body);
    else this.#all([...this.#lines.before(body), body]);
    this.#hold();
  }

  /** Something that must not overtake the frames before it. */
  after(run: () => void): void {
    if (!this.#lines.empty) this.#all(this.#lines.flush());
    this.#hold();
    this.#waiting.push(run);
    if (!this.#busy) this.#pump();
  }

  /** The rules have judged this tool's call, or its result: its frame is not judged again, `hooks` follow it. */
  judged(type: "tool.use.start" | "tool.use.result", id: string, hooks: readonly Body<"hook">[]): void {
    this.#judged.set(`${type} ${id}`, hooks);
    if (this.#judged.size <= MAX_JUDGED) return;
    const [oldest = ""] = this.#judged.keys();
    const late = this.#judged.get(oldest) ?? [];
    this.#judged.delete(oldest);
    this.after(() => this.#tell(late));
  }

  /** Resolves when nothing waits: after STOP_WAIT_MS the rules' `fail` decides. The session stops. */
  async settled(): Promise<void> {
    if (!this.#lines.empty) this.#all(this.#lines.flush());
    this.#hold();
    const calm = this.#clock.after(STOP_WAIT_MS, () => this.#hurry.abort());
    while (this.#asking !== undefined) await this.#asking;
    calm();
    const left = [...this.#judged.values()].flat();
    this.#judged.clear();
    this.#tell(left);
  }

  /** Nothing is calm between them. */
  #all(bodies: readonly FrameBody[]): void {
    for (const body of bodies) this.#wait(body);
    if (!this.#busy) this.#pump();
  }

  #enter(body: FrameBody): void {
    if (!this.#busy && !this.#o.gate.cares(body.type)) {
      this.#append(body);
      return;
    }
    this.#wait(body);
    if (!this.#busy) this.#pump();
  }

  #wait(body: FrameBody): void {
    const chars = JSON.stringify(body).length;
    this.#chars += chars;
    this.#waiting.push({ body, since: this.#clock.now(), chars });
    if (this.#waiting.length > MAX_WAITING || this.#chars > MAX_WAITING_CHARS) this.#hurry.abort();
  }

  /** Works on what waits until a hook must be waited for. */
  #pump(): void {
    this.#busy = true;
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      const asking = typeof next === "function" ? this.#run(next) : this.#one(next);
      if (asking === undefined) continue;
      this.#asking = asking.catch(this.#o.fault).then(() => {
        this.#asking = undefined;
        this.#pump();
      });
      return;
    }
    this.#busy = false;
    if (this.#hurry.signal.aborted) this.#hurry = new AbortController();
    const { calmed } = this.#o;
    if (calmed !== undefined && this.calm) this.#run(calmed);
  }

  #run(run: () => void): undefined {
    try {
      run();
    } catch (failure) {
      this.#o.fault(failure);
    }
  }

  #one({ body, since, chars }: Waiting): Promise<void> | undefined {
    this.#chars -= chars;
    const known = this.#known(body);
    if (known !== undefined || body.type === "hook") {
      this.#append(body);
      this.#tell(known ?? []);
      return undefined;
    }
    const late = this.#clock.now() - since > MAX_WAIT_MS;
    const passing = this.#o.gate.filter<Subject>(body, { hurry: late ? AbortSignal.abort() : this.#hurry.signal });
    if (!(passing instanceof Promise)) return this.#passed(body, passing);
    return passing.then(
      (passed) => this.#passed(body, passed),
      (failure: unknown) => {
        // A fault of ours is no reason to lose a frame.
        this.#o.fault(failure);
        this.#append(body);
      },
    );
  }

  /** What the rules said of it when its call was judged. */
  #known(body: FrameBody): readonly Body<"hook">[] | undefined {
    if (this.#judged.size === 0 || (body.type !== "tool.use.start" && body.type !== "tool.use.result"))
      return undefined;
    const key = `${body.type} ${body.id}`;
    const known = this.#judged.get(key);
    this.#judged.delete(key);
    return known;
  }

  #passed(body: FrameBody, { subject, hooks }: Passed): undefined {
    if (subject !== undefined) this.#append(subject);
    else this.#run(() => this.#o.blocked(body));
    this.#tell(hooks);
  }

  #tell(hooks: readonly Body<"hook">[]): void {
    for (const hook of hooks) this.#append(hook);
  }

  #append(body: FrameBody): void {
    this.#run(() => this.#o.append(body));
  }

  /** Nothing hangs: half a line waits for its end only so long. */
  #hold(): void {
    this.#unhold?.();
    this.#unhold = this.#lines.empty
      ? undefined
      : this.#clock.after(LINE_HOLD_MS, () => {
          this.#unhold = undefined;
          this.#all(this.#lines.flush());
        });
  }
}
