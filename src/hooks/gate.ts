/** Gate: a session's rules at work: what is told passes through it, what Claude is about to do is asked of it. */
import { CibError } from "../errors.ts";
import type { Body, FrameBody } from "../frame/frame.ts";
import { TYPES } from "../frame/registry.ts";
import { maskOf } from "../frame/select.ts";
import { Armed, type Occasion } from "./armed.ts";
import type { Place } from "./child.ts";
import { type Firing, hookFrames } from "./firing.ts";
import { isAbout } from "./match.ts";
import { EVENTS, isFilter, type Rule, type RunRule } from "./rules.ts";
import type { Subject } from "./subject.ts";

/** How long a session's end waits for those who observe it. */
export const LAST_LOOK_MS = 5_000;

export interface GateOptions {
  readonly place: Place;
  /** Takes the hook frames that come later than what they are about, or before anything is told of it. */
  readonly emit: (frame: Body<"hook">) => void;
  /** Milliseconds that only grow. */
  readonly now?: () => number;
}

/** What came through. */
export interface Passed<S extends Subject = Subject> {
  /** Undefined: blocked. */
  readonly subject: S | undefined;
  /** One a rule that fired: to be told right after the subject, or in its place. */
  readonly hooks: readonly Body<"hook">[];
  /** The rule that blocked it, and why. */
  readonly blocked?: { readonly name: string; readonly reason: string };
}

/** What a terminal would show although a rule hides it. */
const CONTENT: readonly Rule["on"][number][] = ["*", "text.delta", "thinking", "tool.use.start", "tool.use.result"];

export class HookGate {
  readonly #o: GateOptions;
  readonly #now: () => number;
  #armed = new Map<string, Armed>();
  #filters: readonly Armed[] = [];
  #filterMask = 0;
  #observerMask = 0;
  #hidesTerminal = false;

  constructor(options: GateOptions, rules: readonly Rule[] = []) {
    this.#o = options;
    this.#now = options.now ?? (() => performance.now());
    this.arm(rules);
  }

  /** These rules from now on; a rule that stays as it is keeps its process. Webhooks are not the gate's. */
  arm(rules: readonly Rule[]): void {
    const before = this.#armed;
    const running = rules.filter((rule): rule is RunRule => rule.run !== undefined);
    this.#armed = new Map(
      running.map((rule) => {
        const key = JSON.stringify(rule);
        return [key, before.get(key) ?? new Armed(rule, this.#o.place, this.#now)];
      }),
    );
    for (const [key, armed] of before) if (!this.#armed.has(key)) armed.retire();
    const all = [...this.#armed.values()];
    this.#filters = all.filter(({ rule }) => isFilter(rule));
    this.#filterMask = maskOfRules(running.filter(isFilter));
    this.#observerMask = maskOfRules(running.filter((rule) => !isFilter(rule)));
    this.#hidesTerminal = running.some(
      (rule) => isFilter(rule) && !rule.terminal && rule.on.some((event) => CONTENT.includes(event)),
    );
  }

  /** A rule may hide what the terminal shows: its bytes are not for clients. */
  get hidesTerminal(): boolean {
    return this.#hidesTerminal;
  }

  /** Whether a rule may change or hold back frames of this type. */
  cares(type: FrameBody["type"]): boolean {
    return (this.#filterMask & (1 << TYPES[type].number)) !== 0;
  }

  /** Through every rule that is about it, one after the other; at once where none is. Never rejects. */
  filter<S extends Subject>(subject: S, occasion: Occasion = {}): Passed<S> | Promise<Passed<S>> {
    if (!this.cares(subject.type) || !this.#filters.some(({ rule }) => isAbout(rule, subject)))
      return { subject, hooks: [] };
    return this.#through(subject, occasion);
  }

  /**
   * A text that a client sends, before it is accepted: as it is to be accepted. Throws `hook_blocked`. Who fires is
   * told before the input's own frame.
   */
  async input(text: string, by: string): Promise<{ readonly text: string }> {
    const asked: Body<"input"> = { type: "input", by, text, state: "accepted" };
    const { subject, hooks, blocked } = await this.filter(asked, { call: true });
    for (const hook of hooks) this.#o.emit(hook);
    if (subject === undefined)
      throw new CibError("hook_blocked", `hook ${blocked?.name}: ${blocked?.reason ?? "no reason given"}`);
    return { text: subject.text ?? text };
  }

  /** It is logged: shows it to those who observe. `own`: the box said it, filters too can only look at it. */
  told(frame: FrameBody, own: boolean): void {
    if (frame.type === "hook") return;
    const bit = 1 << TYPES[frame.type].number;
    // An input has been judged before it was accepted.
    const filters = own && frame.type !== "input" ? this.#filterMask : 0;
    if (((this.#observerMask | filters) & bit) === 0) return;
    for (const armed of this.#armed.values()) {
      const looks = !isFilter(armed.rule) || (filters & bit) !== 0;
      if (!looks || !isAbout(armed.rule, frame)) continue;
      armed.observe(frame, (firing) => {
        for (const hook of hookFrames(frame, frame, [firing])) this.#o.emit(hook);
      });
    }
  }

  /** Ends all processes at once; who waits is answered by its rule's `fail`. The next event starts them again. */
  stop(): void {
    for (const armed of this.#armed.values()) armed.stop();
  }

  /** Resolves when those who observe have seen everything, after LAST_LOOK_MS at the latest. */
  async looked(): Promise<void> {
    const looked = Promise.all([...this.#armed.values()].map((armed) => armed.observed()));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((done) => {
      timer = setTimeout(done, LAST_LOOK_MS);
    });
    await Promise.race([looked, late]);
    clearTimeout(timer);
  }

  async #through<S extends Subject>(before: S, occasion: Occasion): Promise<Passed<S>> {
    const firings: Firing[] = [];
    let subject: Subject | undefined = before;
    for (const armed of this.#filters) {
      if (!isAbout(armed.rule, subject)) continue;
      const outcome: Awaited<ReturnType<Armed["fire"]>> = await armed.fire(subject, occasion);
      firings.push(outcome.firing);
      subject = outcome.subject;
      if (subject === undefined) break;
    }
    const last = firings.at(-1);
    const hooks = hookFrames(before, subject, firings);
    if (subject !== undefined || last === undefined) return { subject: subject as S, hooks };
    return { subject: undefined, hooks, blocked: { name: last.name, reason: last.reason ?? last.error ?? "blocked" } };
  }
}

function maskOfRules(rules: readonly Rule[]): number {
  return rules.reduce((mask, { on }) => mask | maskOf(on.flatMap((event) => (event === "*" ? EVENTS : [event]))), 0);
}
