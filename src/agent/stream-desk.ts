/**
 * Stream desk: what Claude asks us over its own lines, its hooks and its permissions, and how each is answered. Nobody but
 * Claude can ask here, so a call at the hook inbox means nothing to this engine.
 */
import type { AgentEvents, AgentSpec, Claim } from "./agent.ts";
import { at, type Json, object, text, words } from "./json.ts";
import { textsOf } from "./overheard.ts";
import { Porter, timeoutOf } from "./porter.ts";
import { Questions } from "./questions.ts";
import type { State } from "./state.ts";
import type { StreamControl } from "./stream-control.ts";
import type { StreamFeed } from "./stream-feed.ts";
import { isTold } from "./texts.ts";

/** Hooks that come as requests. What they do not tell, the messages do. */
const HOOKS = ["PreToolUse", "PostToolUse", "UserPromptSubmit", "SubagentStart"] as const;
/** The transcript's batches are 100 ms apart, and more on a loaded machine. */
const OWED_MS = 1_000;

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
export function hookWishes(spec: AgentSpec): object {
  return Object.fromEntries(
    HOOKS.map((event) => [event, [{ hookCallbackIds: [event], timeout: timeoutOf(event, spec) }]]),
  );
}

export class StreamDesk {
  readonly #o: DeskOptions;
  readonly #questions: Questions;
  readonly #porter: Porter;
  /** Requests that Claude may still take back. */
  readonly #open = new Map<string, { readonly gone: AbortController; readonly message: Json }>();

  constructor(options: DeskOptions) {
    this.#o = options;
    const { spec, state, events, feed, now, fault } = options;
    this.#questions = new Questions({ asks: state.asks, feed: (source) => feed.feed(source), now });
    this.#porter = new Porter({
      spec,
      row: state.row,
      judge: (call) => events.judge(call),
      questions: this.#questions,
      senses: {
        hook: (event, body, how = {}) => this.#tell(event, body, how),
        isSubmission: (prompt) => feed.submission?.is(prompt) ?? false,
        // That a call is being judged changes nothing: it is told when it runs.
        feed: () => undefined,
      },
      now,
      fault,
    });
  }

  /** One `control_request` of Claude's. */
  request(message: Json): void {
    const id = text(message["request_id"]) ?? "";
    const request = object(message["request"]) ?? {};
    const { subtype } = request;
    if (subtype !== "hook_callback" && subtype !== "can_use_tool") {
      this.#o.control.refuse(id, `${String(subtype)}: this client does not know it`);
      return;
    }
    const gone = new AbortController();
    this.#open.set(id, { gone, message });
    const answer = subtype === "can_use_tool" ? this.#ask(id, request, gone) : this.#hook(request, gone);
    if (answer instanceof Promise) answer.then((late) => this.#reply(id, gone, late)).catch(this.#o.fault);
    else this.#reply(id, gone, answer);
  }

  /** Claude does not wait for that answer any more. */
  cancel(id: string): void {
    this.#open.get(id)?.gone.abort();
    this.#open.delete(id);
  }

  claim(group: string): Claim | undefined {
    return this.#questions.claim(group);
  }

  /** A message was told: what was settled by it need not wait any longer. */
  told(message: Json): void {
    if (message["type"] === "result") void this.#porter.take("Stop", {}, new AbortController().signal);
    this.#questions.sweep();
  }

  /** Claude has ended. */
  end(): void {
    this.#questions.end();
    this.#open.clear();
  }

  #reply(id: string, gone: AbortController, answer: object): void {
    this.#open.delete(id);
    if (!gone.signal.aborted) this.#o.control.answer(id, answer);
  }

  #hook(request: Json, gone: AbortController): object | Promise<object> {
    const event = text(request["callback_id"]) ?? "";
    const body = object(request["input"]) ?? {};
    const take = (): object | Promise<object> => this.#porter.take(event, body, gone.signal);
    const owed = event === "PostToolUse" ? this.#lastWords(body["tool_response"]) : undefined;
    return owed === undefined ? take() : owed.then(take);
  }

  /** A subagent's last words come before the result that they are: where only its file has them, Claude waits for that. */
  #lastWords(response: unknown): Promise<unknown> | undefined {
    const { feed, state } = this.#o;
    const [agent, said] = [text(at(response, "agentId")), words(at(response, "content")).trim()];
    if (state.row.tellsSubagents || agent === undefined || said === "") return undefined;
    return feed.until(() => isTold(textsOf(state, agent), said), OWED_MS);
  }

  #ask(id: string, request: Json, gone: AbortController): object | Promise<object> {
    const input = object(request["input"]) ?? {};
    const body = {
      tool_name: request["tool_name"],
      tool_input: input,
      agent_id: request["agent_id"],
      cwd: this.#o.spec.workdir,
      request_id: id,
    };
    const answer = this.#porter.take("PermissionRequest", body, gone.signal);
    return answer instanceof Promise ? answer.then((late) => permissionOf(late, input)) : permissionOf(answer, input);
  }

  #tell(event: string, body: Json, { held, blocked }: { readonly held?: number; readonly blocked?: string }): void {
    const { feed, now } = this.#o;
    const agent = text(body["agent_id"]);
    if (event === "Stop") return;
    if (event === "PermissionRequest") {
      const asked = this.#open.get(text(body["request_id"]) ?? "");
      if (asked !== undefined) feed.message(asked.message, held);
    } else if (event === "PreToolUse") feed.feed({ src: "runs", at: now(), body });
    else {
      if (event === "SubagentStart" && agent !== undefined) feed.agent(agent);
      if (event === "UserPromptSubmit" && agent === undefined) this.#prompt(text(body["prompt"]) ?? "", blocked);
      feed.feed({ src: "hook", at: now(), event, body, ...(blocked !== undefined && { blocked: true as const }) });
    }
  }

  #prompt(said: string, blocked: string | undefined): void {
    const { submission } = this.#o.feed;
    if (blocked === undefined) submission?.said(said, false);
    else if (submission?.is(said)) submission.refuse(blocked);
  }
}

/** A decision in the words of this protocol. Every end but an explicit allow is a deny. */
function permissionOf(answer: object, input: Json): object {
  const decision = object(at(at(answer, "hookSpecificOutput"), "decision"));
  if (decision?.["behavior"] === "allow") return { behavior: "allow", updatedInput: decision["updatedInput"] ?? input };
  return { behavior: "deny", message: text(decision?.["message"]) ?? "nobody can be asked about this now" };
}
