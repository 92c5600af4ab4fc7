/** Porter: each call of Claude's hooks as it comes in: judged, held or let through, and then shown. */
import { deadline } from "../deadline.ts";
import type { AgentEvents, AgentSpec, Call, Judgement } from "./agent.ts";
import { type Json, text } from "./json.ts";
import { answerOf, callOf, judgedBody } from "./judging.ts";
import { ALLOWED, type Questions } from "./questions.ts";
import type { Source } from "./source.ts";
import { Verdicts } from "./verdicts.ts";
import type { VersionRow } from "./versions.ts";

/** Seconds that Claude waits for the answer of a hook that nobody judges: it comes at once, so this only bounds a stalled daemon. */
const HOOK_TIMEOUT_S = 30;
/**
 * Seconds that it waits for a judgement: ten user hooks of 60 s in a row. After it Claude would go on as if nobody
 * cared, so the judgement has to be there `SPARE_MS` earlier, or it is a no.
 */
const JUDGE_TIMEOUT_S = 600;
const SPARE_MS = 2_000;
/** A held question is denied by the session first; Claude's own patience ends this much later. */
const ASK_SPARE_S = 60;

/** How long Claude waits for the answer to this event, in seconds. */
export function timeoutOf(event: string, { askTimeoutS }: Pick<AgentSpec, "askTimeoutS">): number {
  if (event === "PermissionRequest") return askTimeoutS + ASK_SPARE_S;
  return callOf(event, {}, false) === undefined ? HOOK_TIMEOUT_S : JUDGE_TIMEOUT_S;
}

/** Claude's own "allow" would answer the question that these ask, where it does not ask all the same. */
const ASKING: ReadonlySet<string> = new Set(["AskUserQuestion", "ExitPlanMode", "EnterPlanMode"]);

/** Events after which nothing of a call is open, and those after which nothing of the turn is. */
const CALL_OVER: ReadonlySet<string> = new Set(["PostToolUse", "PostToolUseFailure"]);
const TURN_OVER: ReadonlySet<string> = new Set(["Stop", "StopFailure", "SessionEnd"]);

export interface PorterOptions {
  readonly spec: Pick<AgentSpec, "gated">;
  readonly row: VersionRow;
  readonly judge: AgentEvents["judge"];
  readonly questions: Questions;
  readonly senses: {
    hook(event: string, body: Json, how?: { readonly held?: number; readonly blocked?: string }): void;
    isSubmission(prompt: string): boolean;
    feed(source: Source): void;
  };
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly fault: (fault: unknown) => void;
}

export class Porter {
  readonly #o: PorterOptions;
  readonly #verdicts: Verdicts;

  constructor(options: PorterOptions) {
    this.#o = options;
    this.#verdicts = new Verdicts(options.spec.gated);
  }

  /** The answer to one call, at once or when it is decided. `gone`: Claude has closed the connection. */
  take(event: string, body: Json, gone: AbortSignal): object | Promise<object> {
    const { questions, senses } = this.#o;
    if (event === "PermissionRequest") {
      if (this.#verdicts.allows(body)) return ALLOWED;
      return questions.hold(body, gone, (held) => senses.hook(event, body, { held }));
    }
    if (CALL_OVER.has(event)) this.#verdicts.over(body);
    else if (TURN_OVER.has(event) && body["agent_id"] === undefined) this.#verdicts.clear();
    const ours = event === "UserPromptSubmit" && senses.isSubmission(text(body["prompt"]) ?? "");
    const call = callOf(event, body, ours);
    if (call === undefined) {
      senses.hook(event, body);
      return {};
    }
    const judged = this.#judge(call);
    if (!(judged instanceof Promise)) return this.#answer(event, body, judged);
    if (call.on === "tool")
      senses.feed({ src: "judging", at: this.#o.now(), id: call.id, until: this.#o.now() + JUDGE_TIMEOUT_S * 1000 });
    return this.#inTime(judged, call).then((judgement) => this.#answer(event, body, judgement));
  }

  #judge(call: Call): Judgement | Promise<Judgement> {
    try {
      return this.#o.judge(call);
    } catch (fault) {
      return this.#failed(fault);
    }
  }

  async #inTime(judged: Promise<Judgement>, call: Call): Promise<Judgement> {
    using over = deadline(JUDGE_TIMEOUT_S * 1000 - SPARE_MS);
    const late = new Promise<never>((_, fail) => {
      const why = new Error(`${call.on}: not judged within ${JUDGE_TIMEOUT_S} s`);
      over.signal.addEventListener("abort", () => fail(why));
    });
    try {
      return await Promise.race([judged, late]);
    } catch (fault) {
      return this.#failed(fault);
    }
  }

  /** Our fault, and still: what was not judged does not run. */
  #failed(fault: unknown): Judgement {
    this.#o.fault(fault);
    return { do: "deny", reason: "this call could not be judged" };
  }

  #answer(event: string, body: Json, judged: Judgement): object {
    const judgement = event === "PreToolUse" ? asking(body, judged) : judged;
    const shown = judgedBody(body, judgement);
    if (event === "PreToolUse" && judgement.do !== "deny") this.#verdicts.note(shown, judgement.do === "allow");
    const blocked = event === "UserPromptSubmit" && judgement.do === "deny" ? { blocked: judgement.reason } : {};
    this.#o.senses.hook(event, shown, blocked);
    return answerOf(event, judgement, this.#o.row);
  }
}

/** What asks a person by its nature goes on asking, unless the judgement brings the answers. */
function asking(body: Json, judgement: Judgement): Judgement {
  if (judgement.do !== "allow" || !ASKING.has(text(body["tool_name"]) ?? "")) return judgement;
  const { input } = judgement;
  if (input === undefined) return { do: "pass" };
  const answered = typeof input === "object" && input !== null && "answers" in input;
  return answered ? judgement : { do: "ask", input };
}
