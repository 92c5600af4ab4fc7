/** Armed: one rule of one session, ready to fire: its runner, its rest after a failure, its queue where it only observes. */
import type { Place } from "./child.ts";
import type { Firing } from "./firing.ts";
import { Kept } from "./kept.ts";
import { DEFAULT_TIMEOUT_MS, type RunRule } from "./rules.ts";
import { type Answer, type Runner, Spawned } from "./runner.ts";
import { mayChange, rewritten, type Subject } from "./subject.ts";
import { parseVerdict, type Verdict } from "./verdict.ts";

/** Frames go by a hook that hung or died for so long: a second, doubled with each failure after it. */
const REST_MS = 1_000;
const MAX_REST_MS = 60_000;
/** Events that wait for an observer: some seconds of a fast stream. */
export const MAX_OBSERVED = 256;
export const MAX_OBSERVED_BYTES = 4 * 1024 * 1024;

const HURRIED = "nobody could wait any longer for its verdict";

/** What a firing made of the subject; undefined: blocked. */
export interface Outcome {
  readonly firing: Firing;
  readonly subject: Subject | undefined;
}

export interface Occasion {
  /** Claude waits for the verdict: the tool has not run, the prompt is not sent. */
  readonly call?: boolean;
  /** Aborted: nobody can wait any more, the rule's `fail` is the verdict. */
  readonly hurry?: AbortSignal;
  /** It can be blocked, but not rewritten: a prompt typed at the terminal. */
  readonly fixed?: boolean;
  /** What the rule says of it changes nothing, it is told already. */
  readonly told?: boolean;
}

export class Armed {
  readonly rule: RunRule;
  readonly #place: Place;
  readonly #now: () => number;
  readonly #runner: Runner;
  #n = 0;
  #restMs = 0;
  #restUntil = 0;
  readonly #observed: { readonly subject: Subject; readonly told: (firing: Firing) => void; readonly bytes: number }[] =
    [];
  #observedBytes = 0;
  #observing: Promise<void> | undefined;
  #dropped = 0;

  /** `now`: milliseconds that only grow. */
  constructor(rule: RunRule, place: Place, now: () => number) {
    this.rule = rule;
    this.#place = place;
    this.#now = now;
    const timeoutMs = rule.timeout_ms ?? DEFAULT_TIMEOUT_MS;
    this.#runner = rule.kept ? new Kept(rule, place, timeoutMs) : new Spawned(rule, place, timeoutMs);
  }

  /** Asks the hook; never rejects. */
  async fire(subject: Subject, occasion: Occasion): Promise<Outcome> {
    const began = this.#now();
    const resting = !occasion.call && began < this.#restUntil && "resting after a failure";
    if (resting) return this.#failed(subject, occasion, { ms: 0, error: resting });
    if (occasion.hurry?.aborted) return this.#failed(subject, occasion, { ms: 0, error: HURRIED });
    const n = ++this.#n;
    const { session, workdir } = this.#place;
    const { call } = occasion;
    const event = { event: subject.type, session, workdir, n, ...(call && { call }), frame: subject };
    const asked = this.#runner.ask(subject.type, JSON.stringify(event));
    const { text, error, stderr } = await unlessHurried(asked, occasion.hurry);
    const ms = Math.round(this.#now() - began);
    if (error !== undefined && error !== HURRIED) this.#rest(error);
    else this.#restMs = 0;
    const silent = this.rule.act === "observe" && text?.trim() === "";
    const verdict = error ?? (silent ? ({ verdict: "pass" } as const) : parseVerdict(text ?? "", n));
    const outcome = typeof verdict === "string" ? verdict : this.#apply(subject, verdict, occasion);
    if (typeof outcome === "string") return this.#failed(subject, occasion, { ms, error: outcome, stderr });
    return { ...outcome, firing: { name: this.rule.name, ms, stderr, ...outcome.firing } };
  }

  /** Shows it without anyone waiting; `told` gets what came of it, if it was not too much. */
  observe(subject: Subject, told: (firing: Firing) => void): void {
    const bytes = JSON.stringify(subject).length;
    if (this.#observed.length >= MAX_OBSERVED || this.#observedBytes + bytes > MAX_OBSERVED_BYTES) {
      this.#dropped++;
      return;
    }
    this.#observed.push({ subject, told, bytes });
    this.#observedBytes += bytes;
    this.#observing ??= this.#observe();
  }

  /** Resolves when nothing waits to be observed. */
  async observed(): Promise<void> {
    await this.#observing;
  }

  /** Ends its processes at once; what waits is answered by `fail`, what was to be observed is not. */
  stop(): void {
    this.#dropped += this.#observed.splice(0).length;
    this.#observedBytes = 0;
    this.#runner.stop();
  }

  retire(): void {
    this.#runner.retire();
  }

  async #observe(): Promise<void> {
    // The frame is logged first, and those that come with it.
    await Promise.resolve();
    for (let next = this.#observed.shift(); next !== undefined; next = this.#observed.shift()) {
      this.#observedBytes -= next.bytes;
      const { firing } = await this.fire(next.subject, { told: true });
      const dropped = this.#dropped;
      this.#dropped = 0;
      next.told(dropped > 0 ? { ...firing, dropped } : firing);
    }
    this.#observing = undefined;
  }

  #apply(
    subject: Subject,
    verdict: Verdict,
    occasion: Occasion,
  ): { firing: Pick<Firing, "verdict">; subject: Subject | undefined } | string {
    if (verdict.verdict === "pass") return { firing: verdict, subject };
    if (verdict.verdict === "annotate") return { firing: verdict, subject };
    if (occasion.told) return `${verdict.verdict}: it only observes, or the box itself said it`;
    if (!mayChange(subject.type)) return `${verdict.verdict}: ${subject.type} can only be annotated`;
    if (verdict.verdict === "block") return { firing: verdict, subject: undefined };
    if (occasion.fixed) return "rewrite: a prompt typed at the terminal can only be blocked";
    const changed = rewritten(subject, verdict.fields);
    return typeof changed === "string" ? changed : { firing: { verdict: "rewrite" }, subject: changed };
  }

  /** The hook failed: an open rule lets everything go by, a closed one nothing that it could have blocked. */
  #failed(subject: Subject, { told }: Occasion, what: { ms: number; error: string; stderr?: string }): Outcome {
    const blocks = this.rule.fail === "closed" && !told && mayChange(subject.type);
    const firing = { name: this.rule.name, verdict: blocks ? "block" : "pass", ...what } as const;
    return { firing, subject: blocks ? undefined : subject };
  }

  #rest(error: string): void {
    // One that ends with a wrong status costs nobody time; one that hangs, or has to be started again, does.
    if (!this.rule.kept && !error.startsWith("no verdict within")) return;
    this.#restMs = Math.min(MAX_REST_MS, Math.max(REST_MS, this.#restMs * 2));
    this.#restUntil = this.#now() + this.#restMs;
  }
}

/** The hook goes on until its own deadline; its answer is not heard. */
async function unlessHurried(asked: Promise<Answer>, hurry: AbortSignal | undefined): Promise<Answer> {
  if (hurry === undefined) return asked;
  let leave: () => void = () => undefined;
  const hurried = new Promise<Answer>((done) => {
    leave = () => done({ error: HURRIED, stderr: "" });
    hurry.addEventListener("abort", leave, { once: true });
  });
  try {
    return await Promise.race([asked, hurried]);
  } finally {
    hurry.removeEventListener("abort", leave);
  }
}
