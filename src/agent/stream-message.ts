/** Stream message: what one message on the standard output of `claude -p` says, as frames. */
import type { FrameBody } from "../frame/frame.ts";
import { askFrames } from "./asks.ts";
import { failed, learnReset } from "./failures.ts";
import { meta, say, showStatus } from "./frames.ts";
import { count, type Json, list, object, text, words } from "./json.ts";
import { onHeard, textsOf, thought } from "./overheard.ts";
import type { State } from "./state.ts";
import { agentOf, restOf, startedBy } from "./stream-talk.ts";
import { written } from "./texts.ts";
import { ensureTool, showTasks, start } from "./tools.ts";
import { NOT_SAID, onToolResult } from "./transcript-line.ts";
import { begin, countUsage, finish, goesOn } from "./turns.ts";

/**
 * A call is told when it runs, with the input that it runs with: PreToolUse brings that, after the calls before it in the
 * same message are done. Where it does not come, the result or this tells.
 */
const HOLD_MS = 60_000;

/** The transcript's batches are 100 ms apart, and more on a loaded machine. */
const OWED_MS = 1_000;

/** `held`: where the decision that it asks for waits; `now`: when it came, ms since 1970. */
export function onMessage(state: State, message: Json, held: number | undefined, now: number, out: FrameBody[]): void {
  const agent = agentOf(state.talk, message);
  const type = message["type"];
  if (type === "stream_event") onEvent(state, object(message["event"]), agent, now, out);
  else if (type === "assistant") onAssistant(state, message, agent, now, out);
  else if (type === "user") onUser(state, message, now, out);
  else if (type === "system") onSystem(state, message, out);
  else if (type === "control_request") onAsked(state, message, held, now, out);
  else if (type === "rate_limit_event") state.talk.limit = object(message["rate_limit_info"]);
  else if (type === "result") onResult(state, message, now, out);
}

/** One text has been sent. A command of Claude's own may show nothing but its end. */
export function onSent(state: State, command: boolean, now: number, out: FrameBody[]): void {
  state.talk.command = command;
  if (command) begin(state, now, out);
}

/** A switch is confirmed. Before 2.1.330 a turn goes on with the model that it began with: that is not news. */
export function onSet(state: State, set: Readonly<Record<string, string>>, out: FrameBody[]): void {
  if (set["model"] !== undefined && state.turn !== undefined) state.talk.switched = true;
  meta(state, set, out);
}

/** PreToolUse, judged: the call runs now, or is asked for, with this input. */
export function onRuns(state: State, body: Json, now: number, out: FrameBody[]): void {
  const id = text(body["tool_use_id"]);
  if (id === undefined) return;
  const agent = text(body["agent_id"]);
  if (agent === undefined) goesOn(state, now, out);
  const known = state.tools.get(id);
  if (known === undefined) ensureTool(state, body, agent, now);
  else if (!known.started) state.tools.set(id, { ...known, input: body["tool_input"] ?? {}, since: now });
  // What a subagent says before its call stands only in its file, for some versions: that comes first.
  const owed = agent !== undefined && !state.row.tellsSubagents ? state.tools.get(id) : undefined;
  if (owed === undefined) start(state, id, now, out);
  else if (!owed.started) owed.until = now + OWED_MS;
}

function onEvent(
  state: State,
  event: Json | undefined,
  agent: string | undefined,
  now: number,
  out: FrameBody[],
): void {
  const thread = agent ?? "";
  const type = event?.["type"];
  if (type === "message_start") {
    const message = object(event?.["message"]);
    const id = text(message?.["id"]);
    if (id === undefined) return;
    const usage = object(message?.["usage"]) ?? {};
    const model = text(message?.["model"]) ?? "";
    state.talk.message.set(thread, { id, usage });
    if (agent === undefined) {
      goesOn(state, now, out);
      state.talk.command = false;
      if (!state.talk.switched) meta(state, { model }, out);
    } else state.agents.add(agent);
    countUsage(state, id, usage);
    onHeard(state, { tell: "begin", message: id, model }, agent, out);
    return;
  }
  const current = state.talk.message.get(thread);
  if (event === undefined || current === undefined) return;
  const { id } = current;
  if (type === "content_block_start" || type === "content_block_delta") {
    const piece = object(event["delta"]) ?? object(event["content_block"]);
    const said = text(piece?.["text"]);
    const mused = text(piece?.["thinking"]);
    if (said) onHeard(state, { tell: "text", message: id, text: said }, agent, out);
    if (mused) onHeard(state, { tell: "thinking", message: id, text: mused }, agent, out);
  } else if (type === "message_delta") {
    countUsage(state, id, { ...current.usage, ...known(object(event["usage"])) });
  } else if (type === "message_stop") {
    onHeard(state, { tell: "end", message: id }, agent, out);
    state.talk.message.delete(thread);
  }
}

function known(usage: Json | undefined): Json {
  return Object.fromEntries(Object.entries(usage ?? {}).filter(([, value]) => typeof value === "number"));
}

function onAssistant(state: State, line: Json, agent: string | undefined, now: number, out: FrameBody[]): void {
  const message = object(line["message"]);
  const id = text(message?.["id"]);
  if (message === undefined || id === undefined) return;
  const failed = text(line["error"]);
  if (failed !== undefined) {
    if (agent === undefined) state.talk.failure = { code: failed, message: words(message["content"]) };
    return;
  }
  const synthetic = message["model"] === "<synthetic>";
  if (agent !== undefined) state.agents.add(agent);
  // A message that was not streamed; of a subagent's only the beginning is counted here, the result brings the rest.
  else if (!synthetic && !state.usage.has(id)) {
    goesOn(state, now, out);
    state.talk.command = false;
    countUsage(state, id, object(message["usage"]));
  }
  for (const block of list(message["content"])) {
    const said = text(block["text"]);
    const mused = text(block["thinking"]);
    if (block["type"] === "text" && said !== undefined && !(synthetic && NOT_SAID.has(said)))
      say(written(textsOf(state, agent), id, said), agent, out);
    else if (block["type"] === "thinking" && mused && state.thinking) thought(state, id, mused, agent, out);
    else if (block["type"] === "tool_use") {
      ensureTool(state, { tool_use_id: block["id"], tool_name: block["name"], tool_input: block["input"] }, agent, now);
      const tool = state.tools.get(text(block["id"]) ?? "");
      if (tool !== undefined && !tool.started) tool.until = now + HOLD_MS;
    }
  }
}

function onUser(state: State, line: Json, now: number, out: FrameBody[]): void {
  if (line["isReplay"] === true) return;
  for (const block of list(object(line["message"])?.["content"])) {
    if (block["type"] !== "tool_result") continue;
    const id = text(block["tool_use_id"]) ?? "";
    // Refused before it ran: no PreToolUse has told of it.
    if (state.tools.get(id)?.agent === undefined || state.row.tellsSubagents) start(state, id, now, out);
    onToolResult(state, { toolUseResult: line["tool_use_result"] }, block, now, out);
  }
}

function onSystem(state: State, line: Json, out: FrameBody[]): void {
  const subtype = line["subtype"];
  if (subtype === "init") onInit(state, line, out);
  else if (subtype === "status") {
    meta(state, { permission_mode: text(line["permissionMode"]) ?? "" }, out);
    state.compacting = line["status"] === "compacting";
  } else if (subtype === "task_started") {
    const [call, task] = [text(line["tool_use_id"]), text(line["task_id"])];
    if (call !== undefined && task !== undefined && line["task_type"] !== "local_bash")
      startedBy(state.talk, call, task);
  } else if (subtype === "api_retry") out.push({ type: "error", code: "api_retry", message: retryWords(line) });
}

/** Comes with every turn, also of a conversation that /clear has just begun. */
function onInit(state: State, line: Json, out: FrameBody[]): void {
  const before = state.meta["claude_session"];
  state.talk.switched = false;
  const conversation = text(line["session_id"]) ?? "";
  meta(
    state,
    {
      claude_session: conversation,
      model: text(line["model"]) ?? "",
      permission_mode: text(line["permissionMode"]) ?? "",
    },
    out,
  );
  if (before === undefined || before === conversation) return;
  state.tasks.clear();
  showTasks(state, out);
}

function retryWords(line: Json): string {
  const status = count(line["error_status"]);
  const why = text(line["error"]) ?? "API error";
  const when = `try ${count(line["attempt"]) ?? 1} of ${count(line["max_retries"]) ?? "?"} in ${count(line["retry_delay_ms"]) ?? 0} ms`;
  return `${status === undefined ? "" : `${status} `}${why}; ${when}`;
}

/** Claude asks before it runs a tool; the input is the one it would run with. */
function onAsked(state: State, message: Json, held: number | undefined, now: number, out: FrameBody[]): void {
  const request = object(message["request"]);
  const id = text(request?.["tool_use_id"]);
  if (request?.["subtype"] !== "can_use_tool" || id === undefined || state.asks.has(id)) return;
  const name = text(request["tool_name"]) ?? "";
  const input = request["input"];
  onRuns(state, { tool_use_id: id, tool_name: name, tool_input: input, agent_id: request["agent_id"] }, now, out);
  out.push(...askFrames(state.asks, { group: id, name, input, tool: id, held }));
  showStatus(state, now, out);
}

function onResult(state: State, line: Json, now: number, out: FrameBody[]): void {
  const rest = restOf(state.talk, line, state.usage.values());
  if (Object.values(rest).some((tokens) => tokens > 0)) state.usage.set("rest", rest);
  const reason = reasonOf(state, line, now, out);
  const said = text(line["result"]);
  // 2.1.112 says of an unknown command only here that it is one.
  if (reason === "command" && said && state.texts.entries.length === 0)
    say(written(state.texts, text(line["uuid"]) ?? "result", said), undefined, out);
  state.talk.failure = undefined;
  state.talk.command = false;
  state.talk.message.clear();
  state.compacting = false;
  finish(state, reason, now, out);
}

/** An error is told only where the turn ended with it: Claude also recovers from some. */
function reasonOf(state: State, line: Json, now: number, out: FrameBody[]): string {
  const { talk, turn } = state;
  if (turn?.ending?.firm) return turn.ending.reason;
  const subtype = text(line["subtype"]) ?? "";
  if (subtype === "success" && line["is_error"] !== true) return talk.command ? "command" : "end_turn";
  if (state.escaped && talk.failure === undefined) return "interrupted";
  const code = talk.failure?.code ?? (subtype === "success" ? "unknown" : subtype.replace(/^error_/, ""));
  if (turn === undefined) return code;
  failed(state, code, talk.failure?.message ?? (text(line["result"]) || code), now, out);
  learnReset(state, { apiErrorParams: { rate_limit_info: talk.limit } }, now);
  return turn.ending?.reason ?? `error:${code}`;
}
