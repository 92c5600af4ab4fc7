/**
 * Questions: PermissionRequest calls held open until someone decides. A decision leaves on the connection whose body was
 * shown, and on no other: what another process posts under the same id can let nothing run but itself.
 */
import type { Claim, Settlement } from "./agent.ts";
import type { Asks } from "./asks.ts";
import { at, type Json, object } from "./json.ts";
import type { Source } from "./source.ts";

/** A turn's parallel calls, ten times over. Further ones are asked at the terminal alone. */
export const MAX_HELD = 64;

/** Claude lets these run only where the decision brings the input again, being a person's own words. */
const INTERACTIVE: ReadonlySet<string> = new Set(["AskUserQuestion", "ExitPlanMode", "EnterPlanMode"]);

interface Held {
  readonly tool: string;
  /** Kept for the decision of an interactive tool alone. */
  readonly input: Json | undefined;
  /** It has been among the asks: once it is not any more, someone else has settled it. */
  shown: boolean;
  answer(body: object): void;
}

export interface QuestionsOptions {
  /** The translation's open asks; read here, changed by what is fed. */
  readonly asks: Asks;
  readonly feed: (source: Source) => void;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

export class Questions {
  readonly #o: QuestionsOptions;
  readonly #held = new Map<number, Held>();
  #last = 0;

  constructor(options: QuestionsOptions) {
    this.#o = options;
  }

  /** Holds a call; the answer comes with the decision, or empty when it was made elsewhere. `show` feeds the call. */
  hold(body: Json, gone: AbortSignal, show: (held: number) => void): object | Promise<object> {
    if (this.#held.size >= MAX_HELD || gone.aborted) return {};
    const held = ++this.#last;
    const tool = typeof body["tool_name"] === "string" ? body["tool_name"] : "";
    const input = INTERACTIVE.has(tool) ? (object(body["tool_input"]) ?? {}) : undefined;
    return new Promise<object>((answer) => {
      this.#held.set(held, { tool, input, shown: false, answer });
      gone.addEventListener("abort", () => this.#closed(held), { once: true });
      show(held);
      this.sweep();
    });
  }

  /** Takes hold of what is asked in this group. Undefined where Claude does not wait for us any more. */
  claim(group: string): Claim | undefined {
    const ask = this.#o.asks.get(group);
    if (ask?.held === undefined || ask.claimed || ask.passed || !this.#held.has(ask.held)) return undefined;
    const { held } = ask;
    this.#o.feed({ src: "claim", at: this.#o.now(), group });
    let over = false;
    return {
      release: (decision) => {
        if (over) return false;
        over = true;
        return this.#release(group, held, decision);
      },
    };
  }

  /** What was settled elsewhere need not be held any longer. */
  sweep(): void {
    const open = new Set([...this.#o.asks.values()].map((ask) => ask.held));
    for (const [held, call] of this.#held) {
      if (open.has(held)) call.shown = true;
      else if (call.shown) this.#let(held, {});
    }
  }

  /** Claude has ended: nothing is decided any more. */
  end(): void {
    for (const held of [...this.#held.keys()]) this.#let(held, {});
  }

  #release(group: string, held: number, decision: Settlement): boolean {
    const call = this.#held.get(held);
    const ask = this.#o.asks.get(group);
    const taken = call !== undefined && ask?.held === held && ask.owed === undefined && !ask.passed;
    if (taken) this.#let(held, answerOf(decision, call));
    const told = (): void => this.#o.feed({ src: "release", at: this.#o.now(), group, taken });
    // Whoever decided tells so first: the state follows.
    if (taken) queueMicrotask(told);
    else if (ask !== undefined) told();
    return taken;
  }

  #let(held: number, body: object): void {
    const call = this.#held.get(held);
    this.#held.delete(held);
    call?.answer(body);
  }

  #closed(held: number): void {
    if (!this.#held.has(held)) return;
    this.#let(held, {});
    this.#o.feed({ src: "let-go", at: this.#o.now(), held });
  }
}

function answerOf(decision: Settlement, { tool, input }: Pick<Held, "tool" | "input">): object {
  if (decision.behavior === "deny") return decided({ behavior: "deny", message: decision.message });
  if (input === undefined) return ALLOWED;
  const answers = tool === "AskUserQuestion" && { answers: decision.answers ?? at(input, "answers") ?? {} };
  return decided({ behavior: "allow", updatedInput: { ...input, ...answers } });
}

function decided(decision: object): object {
  return { hookSpecificOutput: { hookEventName: "PermissionRequest", decision } };
}

/** Lets an ordinary tool run as it was asked for. */
export const ALLOWED: object = decided({ behavior: "allow" });
