/** The queue: texts accepted for Claude, on disk before they are acknowledged, typed one at a time when it can take them. */
import { randomUUID } from "node:crypto";
import type { Agent, Engine } from "../agent/agent.ts";
import { asCibError, CibError } from "../errors.ts";
import type { Body, Frame, FrameBody, SessionId } from "../frame/frame.ts";
import { Turnstile } from "../turnstile.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { InputEntry, Ledger } from "./ledger.ts";
import type { Log } from "./log.ts";

/** Texts that may wait in one session. */
export const MAX_QUEUED = 64;
/** Claude confirms a prompt within a second; a loaded board may need much longer to draw a long paste. */
export const SUBMIT_DEADLINE_MS = 60_000;
/** How long a delivery that failed on our side, mostly on a full disk, is left alone. */
export const REDELIVER_MS = 1000;

export interface QueueOptions {
  readonly session: SessionId;
  readonly ledger: Ledger;
  readonly engine: Engine;
  readonly log: Log;
  /** The agent, when it can take a text now. */
  readonly free: () => Agent | undefined;
  readonly alive: () => Agent | undefined;
  readonly append: (body: FrameBody) => number;
  readonly fault: (where: string, thrown: unknown) => void;
  readonly clock?: Clock;
}

/** What the caller wants typed. */
export interface Wanted {
  readonly who: string;
  readonly id?: string;
  readonly digest?: string;
  readonly text: string;
}

/** The user's hooks, as far as they judge texts. `input` throws `hook_blocked`. */
export interface TextJudge {
  readonly judgesInput: boolean;
  input(text: string, by: string): Promise<{ readonly text: string }>;
}

/** What an accepted text is known by. `seq`: its accepted frame. */
export interface Accepted {
  readonly input: string;
  readonly seq: number;
}

export class Queue {
  readonly #options: QueueOptions;
  readonly #clock: Clock;
  #busy = false;
  /** Texts on their way into the ledger, and those of them that the hooks see first. */
  #arriving = 0;
  #judging = 0;
  /** One after the other: a text whose hooks are quicker does not overtake. */
  readonly #judges = new Turnstile();
  #retry: (() => void) | undefined;
  /** A text is being typed, or Claude is writing it down. */
  #submitting: Promise<void> | undefined;
  /** Inputs with a delivered frame that the ledger still has as accepted. */
  readonly #told = new Set<string>();

  constructor(options: QueueOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** How many texts wait. */
  get size(): number {
    return this.#waiting().length;
  }

  /** What waits, oldest first. */
  list(): {
    readonly input: string;
    readonly id?: string;
    readonly by: string;
    readonly text: string;
    readonly ts: number;
  }[] {
    return this.#waiting().map(({ input, id, by, text, ts }) => ({
      input,
      ...(id !== undefined && { id }),
      by,
      text,
      ts,
    }));
  }

  /** Resolves when the text is on disk and its accepted frame is numbered. Throws `queue_full`, `ids_full`, `disk_full`. */
  accept(want: Wanted): Promise<Accepted> {
    return this.#arrive(() => this.#accept(want));
  }

  /** The same for a text that the user's hooks see first. It has its place from the call on. Throws `hook_blocked`, too. */
  offer(want: Wanted, judge: TextJudge): Promise<Accepted> {
    // Without a rule the last that waits for one must still not be overtaken.
    if (!judge.judgesInput && this.#judging === 0) return this.accept(want);
    return this.#arrive(async () => {
      this.#judging++;
      try {
        return await this.#judges.pass(async () => {
          const { text } = await judge.input(want.text, want.who);
          return this.#accept({ ...want, text });
        });
      } finally {
        this.#judging--;
      }
    });
  }

  async #arrive(work: () => Promise<Accepted>): Promise<Accepted> {
    if (this.size + this.#arriving >= MAX_QUEUED) throw new CibError("queue_full", `${MAX_QUEUED} inputs wait already`);
    this.#arriving++;
    try {
      return await work();
    } finally {
      this.#arriving--;
    }
  }

  async #accept(want: Wanted): Promise<Accepted> {
    const { session, ledger, log } = this.#options;
    const entry = await ledger.accept({ ...want, input: randomUUID(), session, after: log.numbered });
    const seq = this.#announce(entry);
    this.wake();
    return { input: entry.input, seq };
  }

  /** Takes a waiting text back; durable when it resolves. Throws `not_found`, or `conflict` when it is being typed. */
  async cancel(input: string): Promise<void> {
    const entry = this.#waiting().find((each) => each.input === input);
    if (entry === undefined) throw new CibError("not_found", `no waiting input ${input}`);
    if (entry.typing !== undefined)
      throw new CibError("conflict", `input ${input} is already with Claude; interrupt it`);
    this.#fail(entry, "cancelled");
    await this.#options.ledger.sync();
  }

  /** Resolves when no text is on its way into Claude, at the latest when the signal aborts. */
  async settled(signal: AbortSignal): Promise<void> {
    const submitting = this.#submitting;
    if (submitting === undefined || signal.aborted) return;
    await new Promise<void>((done) => {
      const over = (): void => {
        signal.removeEventListener("abort", over);
        done();
      };
      signal.addEventListener("abort", over);
      submitting.then(over, over);
    });
  }

  /** Something changed: deliver what can be delivered. */
  wake(): void {
    if (this.#busy || this.size === 0) return;
    this.#busy = true;
    this.#retry?.();
    this.#retry = undefined;
    this.#deliver().catch((thrown: unknown) => {
      this.#options.fault("queue", thrown);
      // Nothing else may ever happen in an idle session: the text would wait for the next one.
      this.#retry ??= this.#clock.after(REDELIVER_MS, () => {
        this.#retry = undefined;
        this.wake();
      });
    });
  }

  /**
   * After a restart, before Claude runs: input frames that a crash or a power loss took are appended again.
   * The ledger is synced before a frame is written, so the ledger is right about what was accepted. `told`: inputs
   * whose delivered or failed frame is in the log from seq `from` on.
   */
  recover(told: ReadonlyMap<string, "delivered" | "failed">, from: number): void {
    const { ledger, session, append } = this.#options;
    for (const entry of ledger.inputs(session)) {
      const announced = this.#announced(entry);
      if (!announced) this.#announce(entry);
      const before = told.get(entry.input);
      if (entry.state === "delivered" || entry.state === "failed") {
        const lost = !announced || ((entry.seq ?? entry.after) >= from && before === undefined);
        if (lost) append(inputFrame(entry, entry.state));
      } else if (before === "failed") ledger.settle(entry.input, before);
      else if (before === "delivered") this.#told.add(entry.input);
    }
  }

  async #deliver(): Promise<void> {
    const { free } = this.#options;
    try {
      for (let going = true; going; ) {
        const [entry] = this.#waiting();
        const agent = free();
        if (entry === undefined || agent === undefined) break;
        const delivery = this.#deliverOne(entry, agent);
        this.#submitting = delivery.then(
          () => undefined,
          () => undefined,
        );
        going = await delivery.finally(() => {
          this.#submitting = undefined;
        });
      }
    } finally {
      // In the same breath as the last look at what waits: a wake right after it must not find it busy.
      this.#busy = false;
    }
  }

  /** False when Claude ended under it. */
  async #deliverOne(entry: InputEntry, agent: Agent): Promise<boolean> {
    const { engine, ledger, free, alive } = this.#options;
    if (entry.typing !== undefined && (await engine.shows(entry.typing, entry.text))) {
      this.#delivered(entry);
      return true;
    }
    const at = agent.at;
    await ledger.typing(entry.input, at);
    if (free() !== agent || entry.state !== "accepted") return true; // look again: it may have been cancelled
    try {
      await agent.submit(entry.text, AbortSignal.timeout(SUBMIT_DEADLINE_MS), () => this.#tell(entry));
    } catch (failure) {
      // Claude ended under it: whether it keeps the text, its transcript tells at the next start.
      if (alive() !== agent) return false;
      if (!(await engine.shows(at, entry.text))) {
        this.#fail(entry, asCibError(failure).message);
        return true;
      }
    }
    this.#delivered(entry);
    return true;
  }

  /** Claude has it. Told once, also where Claude was killed before it wrote it down and gets it again. */
  #tell(entry: InputEntry): void {
    if (this.#told.has(entry.input)) return;
    this.#told.add(entry.input);
    this.#options.append(inputFrame(entry, "delivered"));
  }

  /** Claude's transcript has it: it will not be typed again. */
  #delivered(entry: InputEntry): void {
    this.#tell(entry);
    this.#told.delete(entry.input);
    this.#options.ledger.settle(entry.input, "delivered");
  }

  #fail(entry: InputEntry, reason: string): void {
    this.#told.delete(entry.input);
    this.#options.append({ ...inputFrame(entry, "failed"), reason });
    this.#options.ledger.settle(entry.input, "failed");
  }

  #waiting(): readonly InputEntry[] {
    return this.#options.ledger.pending(this.#options.session);
  }

  #announce(entry: InputEntry): number {
    const seq = this.#options.append({ ...inputFrame(entry, "accepted"), text: entry.text });
    this.#options.ledger.announce(entry.input, seq);
    return seq;
  }

  /** Whether the log holds the entry's accepted frame: where the mark says, or, without a mark, soon after it was accepted. */
  #announced(entry: InputEntry): boolean {
    const { log } = this.#options;
    const [from, count] = entry.seq === undefined ? [entry.after + 1, 256] : [entry.seq, 1];
    if (from > log.numbered) return false;
    if (from < log.first) return true; // pruned since: it was there
    return log.page(from, count).some((encoded) => {
      const frame = encoded.frame() as Frame;
      return frame.type === "input" && frame.input === entry.input;
    });
  }
}

function inputFrame(entry: InputEntry, state: Body<"input">["state"]): Body<"input"> {
  return { type: "input", ...(entry.id !== undefined && { id: entry.id }), by: entry.by, input: entry.input, state };
}
