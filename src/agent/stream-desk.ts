/**
 * Stream desk: what Claude asks us over its own lines, its hooks and its permissions, and how each is answered. Nobody but
 * Claude can ask here, so a call at the hook inbox means nothing to this engine.
 */
import type { AgentEvents, AgentSpec, Call, Claim, Judgement } from "./agent.ts";
import { at, type Json, object, text, words } from "./json.ts";
import { answerOf, callOf, judgedBody } from "./judging.ts";
import { textsOf } from "./overheard.ts";
import { isPrompt } from "./prompts.ts";
import { Questions } from "./questions.ts";
import type { State } from "./state.ts";
import type { StreamControl } from "./stream-control.ts";
import type { StreamFeed } from "./stream-feed.ts";
import { isTold } from "./texts.ts";

/** Hooks that come as requests. What they do not tell, the messages do. */
const HOOKS = ["PreToolUse", "PostToolUse", "UserPromptSubmit", "SubagentStart"] as const;
/** Claude waits this long for the answer to one. The session's own deadlines are shorter; without an answer Claude goes on. */
const HOOK_TIMEOUT_S = 600;
/** The transcript's batches are 100 ms apart, and more on a loaded machine. */
const OWED_MS = 1_000;
const PASS: Judgement = { do: "pass" };

export interface DeskOptions {
  readonly spec: AgentSpec;
  readonly events: AgentEvents;
  readonly state: State;
  readonly feed: StreamFeed;
  readonly control: StreamControl;
  readonly now: () => number;
  readonly fault: (fault: unknown) => void;
}

/** `initialize`'s wish for these hooks: the event is the callback's name. */
export function hookWishes(): object {
  return Object.fromEntries(HOOKS.map((event) => [event, [{ hookCallbackIds: [event], timeout: HOOK_TIMEOUT_S }]]));
}

export class StreamDesk {
  readonly #o: DeskOptions;
  readonly #questions: Questions;
  /** Requests that Claude may still take back. */
  readonly #open = new Map<string, AbortController>();

  constructor(options: DeskOptions) {
    this.#o = options;
    const { state, feed, now } = options;
    this.#questions = new Questions({ asks: state.asks, feed: (source) => feed.feed(source), now });
  }

  /** One `control_request` of Claude's. */
  request(message: Json): void {
    const id = text(message["request_id"]) ?? "";
    const request = object(message["request"]) ?? {};
    const { subtype } = request;
    if (subtype === "hook_callback") this.#hook(id, text(request["callback_id"]) ?? "", object(request["input"]) ?? {});
    else if (subtype === "can_use_tool") this.#ask(id, message, request);
    else this.#o.control.refuse(id, `${String(subtype)}: this client does not know it`);
  }

  /** Claude does not wait for that answer any more. */
  cancel(id: string): void {
    this.#open.get(id)?.abort();
    this.#open.delete(id);
  }

  claim(group: string): Claim | undefined {
    return this.#questions.claim(group);
  }

  /** What was settled elsewhere meanwhile need not wait any longer. */
  sweep(): void {
    this.#questions.sweep();
  }

  /** Claude has ended. */
  end(): void {
    this.#questions.end();
    this.#open.clear();
  }

  #hook(id: string, event: string, body: Json): void {
    const { feed, control, state } = this.#o;
    const prompt = text(body["prompt"]);
    const submission = feed.submission;
    const ours = event === "UserPromptSubmit" && submission !== undefined && isPrompt(prompt ?? "", submission.text);
    const call = callOf(event, body, ours);
    const go = (judgement: Judgement): void => {
      this.#tell(event, judgedBody(body, judgement), judgement);
      control.answer(id, answerOf(event, judgement, state.row));
    };
    const judgement = call === undefined ? PASS : this.#judge(call);
    if (judgement instanceof Promise) judgement.then(go).catch(this.#o.fault);
    else go(judgement);
  }

  #judge(call: Call): Judgement | Promise<Judgement> {
    const failed = (thrown: unknown): Judgement => this.#unjudged(call, thrown);
    try {
      const owed = this.#lastWords(call);
      const judgement = owed === undefined ? this.#o.events.judge(call) : owed.then(() => this.#o.events.judge(call));
      return judgement instanceof Promise ? judgement.catch(failed) : judgement;
    } catch (thrown) {
      return failed(thrown);
    }
  }

  /** A subagent's last words come before the result that they are: where only its file has them, Claude waits for that. */
  #lastWords(call: Call): Promise<unknown> | undefined {
    const { feed, state } = this.#o;
    if (call.on !== "result" || state.row.tellsSubagents) return undefined;
    const [agent, said] = [text(at(call.output, "agentId")), words(at(call.output, "content")).trim()];
    if (agent === undefined || said === "") return undefined;
    return feed.until(() => isTold(textsOf(state, agent), said), OWED_MS);
  }

  /** Nothing that a person shall see runs because we failed. */
  #unjudged(call: Call, thrown: unknown): Judgement {
    this.#o.fault(thrown);
    return call.on === "tool" && this.#o.spec.gated !== undefined ? { do: "ask" } : { do: "pass" };
  }

  #tell(event: string, body: Json, judgement: Judgement): void {
    const { feed, now } = this.#o;
    const agent = text(body["agent_id"]);
    if (event === "SubagentStart" && agent !== undefined) feed.agent(agent);
    if (event === "UserPromptSubmit" && agent === undefined) feed.submission?.said(text(body["prompt"]) ?? "", false);
    const blocked = event === "UserPromptSubmit" && judgement.do === "deny";
    if (event === "PreToolUse") feed.feed({ src: "runs", at: now(), body });
    else feed.feed({ src: "hook", at: now(), event, body, ...(blocked ? { blocked } : {}) });
  }

  #ask(id: string, message: Json, request: Json): void {
    const { feed, control, fault } = this.#o;
    const gone = new AbortController();
    this.#open.set(id, gone);
    const input = object(request["input"]) ?? {};
    const body = { tool_name: request["tool_name"], tool_input: input };
    const decided = this.#questions.hold(body, gone.signal, (held) => feed.message(message, held));
    Promise.resolve(decided)
      .then((answer) => {
        this.#open.delete(id);
        if (!gone.signal.aborted) control.answer(id, permissionOf(answer, input));
      })
      .catch(fault);
  }
}

/** A decision in the words of this protocol. Every end but an explicit allow is a deny. */
function permissionOf(answer: object, input: Json): object {
  const decision = object(at(at(answer, "hookSpecificOutput"), "decision"));
  if (decision?.["behavior"] === "allow") return { behavior: "allow", updatedInput: decision["updatedInput"] ?? input };
  return { behavior: "deny", message: text(decision?.["message"]) ?? "nobody can be asked about this now" };
}
