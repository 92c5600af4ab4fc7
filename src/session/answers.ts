/** Answers: a session's open questions, settled once, by whoever is first: a client, a person at the terminal, or the deadline. */
import type { Agent, Claim, Settlement } from "../agent/agent.ts";
import { CibError } from "../errors.ts";
import type { Body, FrameBody } from "../frame/frame.ts";
import { Turnstile } from "../turnstile.ts";
import type { Clock } from "./clock.ts";
import { type Reading, read, type Said } from "./reading.ts";
import type { Settled } from "./tail.ts";

/** A person needs a moment; a week is the longest that Claude's own timer is trusted with. */
export const MIN_ASK_TIMEOUT_S = 5;
export const MAX_ASK_TIMEOUT_S = 604_800;

/** Questions remembered whose answer came too late: as many as a session remembers settled ones. */
const MAX_LOST = 256;

type Question = Body<"ask.question">;

/** `kept`: the other questions of the call (`open`) wait for an answer, too; nothing has been handed to Claude yet. */
export interface Answered {
  readonly ask: string;
  readonly state: "settled" | "kept";
  readonly answer: string;
  readonly by: string;
  readonly open?: readonly string[];
  /** It had been said before, by the same principal. */
  readonly repeated?: true;
}

export interface AnswersOptions {
  /** Questions that wait, by id. */
  readonly open: ReadonlyMap<string, Question>;
  /** The latest that have been settled, by id. */
  readonly settled: ReadonlyMap<string, Settled>;
  readonly agent: () => Pick<Agent, "claim" | "interrupt"> | undefined;
  readonly append: (body: FrameBody) => unknown;
  /** Resolves when everything appended so far is on disk. */
  readonly sync: () => Promise<void>;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly fault: (thrown: unknown) => void;
}

interface Kept extends Reading {
  readonly by: string;
}

/** All questions of one call of Claude: they are handed over together. */
class Call {
  /** Answers that wait for the rest. */
  readonly kept = new Map<string, Kept>();
  cancel: () => void = () => undefined;
}

/** What has been decided for a call of Claude. */
interface Owed {
  readonly claim: Claim;
  readonly decision: Settlement;
  readonly answers: readonly Body<"ask.answer">[];
}

export class Answers {
  readonly #o: AnswersOptions;
  readonly #calls = new Map<string, Call>();
  /** Told, at least in part, and not handed over: the disk did not take it. */
  readonly #owed = new Map<string, Owed>();
  /** Claimed from Claude for a decision of which nothing could be told: the next decision's. */
  readonly #claims = new Map<string, Claim>();
  /** Told, but someone at the terminal was first: what the log says of these is not what Claude has. */
  readonly #lost = new Set<string>();
  /** By call, those who settle it: one after the other, from their first look to the word of Claude. */
  readonly #desks = new Map<string, { readonly turnstile: Turnstile; users: number }>();

  constructor(options: AnswersOptions) {
    this.#o = options;
  }

  /** The question as it is told: with the time at which it is denied. Its deadline runs from now on. */
  opened(question: Question): Question {
    const group = groupOf(question.id);
    if (!this.#calls.has(group)) {
      const call = new Call();
      call.cancel = this.#o.clock.after(this.#o.timeoutMs, () => void this.#expire(group).catch(this.#o.fault));
      this.#calls.set(group, call);
    }
    return { ...question, expires_at: this.#o.clock.now() + this.#o.timeoutMs };
  }

  /** A question was settled, whoever did it. */
  closed(id: string): void {
    const group = groupOf(id);
    if (this.#members(group).length > 0) return;
    this.#calls.get(group)?.cancel();
    this.#calls.delete(group);
    this.#claims.delete(group);
  }

  /** Resolves when it is on disk and with Claude. Throws `not_found`, `bad_request`, `ask_settled`, `conflict`, `disk_full`. */
  answer(who: string, said: Said): Promise<Answered> {
    const group = groupOf(said.ask);
    // Whoever came first is let finish: then it is clear what there is left to say.
    return this.#inTurn(group, () => this.#answer(group, who, said));
  }

  async #answer(group: string, who: string, said: Said): Promise<Answered> {
    await this.#payUp(group);
    const call = this.#calls.get(group);
    const question = this.#o.open.get(said.ask);
    if (question === undefined || call === undefined) return this.#late(who, said);
    const reading = read(question, said);
    const before = call.kept.get(said.ask);
    if (before !== undefined && before.by !== who) throw settledError(said.ask, before);
    call.kept.set(said.ask, { ...reading, by: who });
    const open = this.#members(group).filter((id) => !call.kept.has(id));
    const reply = { ask: said.ask, answer: reading.answer, by: who };
    if (open.length > 0 && reading.denied === undefined) return { ...reply, state: "kept", open };
    await this.#settle(group, call, said.ask);
    return { ...reply, state: "settled" };
  }

  /** Hands a call over, recorded first: nothing runs that is not on disk. `last`: the answer that completed it, or refused it. */
  async #settle(group: string, call: Call, last: string): Promise<void> {
    try {
      await this.#handOver(group, call, last);
    } catch (failure) {
      call.kept.delete(last);
      throw failure;
    }
  }

  async #handOver(group: string, call: Call, last: string): Promise<void> {
    const { agent, open } = this.#o;
    const claim = this.#claims.get(group) ?? agent()?.claim(group);
    if (claim === undefined)
      throw new CibError("conflict", `ask: ${last} can only be answered in Claude's own terminal any more`);
    const members = this.#members(group);
    const final = call.kept.get(last);
    const denied = final?.denied;
    const words: Record<string, string> = {};
    for (const id of members) words[open.get(id)?.prompt ?? ""] = call.kept.get(id)?.answer ?? "";
    const kinds = new Set(members.map((id) => open.get(id)?.kind));
    const decision: Settlement =
      denied !== undefined
        ? { behavior: "deny", message: denied }
        : { behavior: "allow", ...(kinds.has("question") && { answers: words }) };
    const answers = members.flatMap((id): Body<"ask.answer">[] => {
      const kept = denied === undefined ? call.kept.get(id) : final;
      return kept === undefined ? [] : [{ type: "ask.answer", id, answer: kept.answer, by: kept.by }];
    });
    this.#owed.set(group, { claim, decision, answers });
    this.#claims.delete(group);
    try {
      await this.#payUp(group);
    } catch (failure) {
      // Nothing of it is told: it was never said, and Claude still waits for whoever is next.
      if (members.every((id) => open.has(id))) {
        this.#owed.delete(group);
        this.#claims.set(group, claim);
      }
      throw failure;
    }
    if (this.#lost.has(last)) throw lostError(last);
  }

  /** What is decided is told, and goes to Claude once it is on disk; what was told before a failure is not told again. */
  async #payUp(group: string): Promise<void> {
    const owed = this.#owed.get(group);
    if (owed === undefined) return;
    const { append, open, sync } = this.#o;
    for (const answer of owed.answers) if (open.has(answer.id)) append(answer);
    await sync();
    this.#owed.delete(group);
    if (!owed.claim.release(owed.decision)) for (const { id } of owed.answers) this.#lose(id);
  }

  #lose(id: string): void {
    this.#lost.add(id);
    if (this.#lost.size <= MAX_LOST) return;
    const [oldest = ""] = this.#lost;
    this.#lost.delete(oldest);
  }

  /** Nobody answered in time: that is a no. */
  async #expire(group: string): Promise<void> {
    try {
      await this.#inTurn(group, () => this.#deny(group));
    } catch (failure) {
      // A person there was a moment faster: Claude is at work with that answer.
      if (failure instanceof CibError && failure.code === "ask_settled") return;
      // It stands at the terminal alone: Esc is how a person there says no.
      await this.#o.agent()?.interrupt(AbortSignal.timeout(this.#o.timeoutMs));
      if (!(failure instanceof CibError)) throw failure;
    }
  }

  async #deny(group: string): Promise<void> {
    await this.#payUp(group);
    const call = this.#calls.get(group);
    const [first] = this.#members(group);
    if (call === undefined || first === undefined) return;
    const denied = `nobody answered within ${Math.round(this.#o.timeoutMs / 1000)} s`;
    call.kept.clear();
    call.kept.set(first, { answer: "deny", denied, by: "deadline" });
    await this.#settle(group, call, first);
  }

  async #inTurn<T>(group: string, work: () => Promise<T>): Promise<T> {
    const desk = this.#desks.get(group) ?? { turnstile: new Turnstile(), users: 0 };
    this.#desks.set(group, desk);
    desk.users++;
    try {
      return await desk.turnstile.pass(work);
    } finally {
      desk.users--;
      if (desk.users === 0) this.#desks.delete(group);
    }
  }

  /** The question does not wait any more: the same answer by the same principal has its reply again, others learn who was first. */
  #late(who: string, said: Said): Answered {
    const settled = this.#o.settled.get(said.ask);
    if (settled === undefined) throw new CibError("not_found", `ask: no open question ${JSON.stringify(said.ask)}`);
    if (this.#lost.has(said.ask)) throw lostError(said.ask);
    const { question, answer, by } = settled;
    const same = by === who && question !== undefined && read(question, said).answer === answer;
    if (!same) throw settledError(said.ask, { answer: String(answer), by });
    return { ask: said.ask, state: "settled", answer: String(answer), by, repeated: true };
  }

  #members(group: string): string[] {
    return [...this.#o.open.keys()].filter((id) => groupOf(id) === group);
  }
}

function lostError(ask: string): CibError {
  return new CibError("ask_settled", `ask: ${ask} was settled in the terminal meanwhile`);
}

function settledError(ask: string, { answer, by }: { readonly answer: string; readonly by: string }): CibError {
  const what = by === "lost" ? "was lost when Claude ended" : `is answered already: ${answer.slice(0, 80)}, by ${by}`;
  return new CibError("ask_settled", `ask: ${ask} ${what}`);
}

/** The part of a question's id that all questions of one call share. */
export function groupOf(id: string): string {
  const slash = id.lastIndexOf("/");
  return slash < 0 ? id : id.slice(0, slash);
}
