/** Hook call: what one call of Claude's own hooks says, as frames. */
import type { FrameBody } from "../frame/frame.ts";
import { askFrames, permissionFrame } from "./asks.ts";
import { meta, say, showStatus } from "./frames.ts";
import { count, type Json, text } from "./json.ts";
import type { State } from "./state.ts";
import { displayed } from "./texts.ts";
import { emit, ensureTool, onBatch, result, showTasks, start } from "./tools.ts";
import { begin, end, goesOn, SETTLE_MS } from "./turns.ts";

/** Events that only a working main thread sends. */
const ACTIVE = new Set([
  "MessageDisplay",
  "PreToolUse",
  "PermissionRequest",
  "PostToolUse",
  "PostToolUseFailure",
  "Stop",
  "StopFailure",
]);

/** `now`: when it came, ms since 1970. */
export function onHook(state: State, event: string, body: Json, now: number, out: FrameBody[]): void {
  const agent = text(body["agent_id"]);
  const mode = text(body["permission_mode"]);
  if (mode !== undefined && agent === undefined) meta(state, { permission_mode: mode }, out);
  if (event === "SessionStart" || event === "UserPromptSubmit") {
    if (event === "SessionStart") onSessionStart(state, body, out);
    else if (agent === undefined) begin(state, now, out);
    return;
  }
  if (agent === undefined && ACTIVE.has(event)) goesOn(state, now, out);
  if (event === "MessageDisplay") onDisplay(state, body, out);
  else if (event === "PreToolUse") onPreTool(state, body, agent, now, out);
  else if (event === "PermissionRequest") onPermission(state, body, agent, now, out);
  else if (event === "PostToolUse") {
    ensureTool(state, body, agent, now);
    result(
      state,
      text(body["tool_use_id"]),
      { output: body["tool_response"], duration: count(body["duration_ms"]), input: body["tool_input"] },
      now,
      out,
    );
  } else if (event === "PostToolUseFailure") {
    ensureTool(state, body, agent, now);
    const error = body["is_interrupt"] === true ? "interrupted" : (text(body["error"]) ?? "failed");
    result(state, text(body["tool_use_id"]), { error, duration: count(body["duration_ms"]) }, now, out);
  } else if (event === "PostToolBatch") onBatch(state, body, agent, now);
  else if (event === "SubagentStart" && agent !== undefined) state.agents.add(agent);
  else if (event === "PreCompact" || event === "PostCompact") state.compacting = event === "PreCompact";
  else if (event === "Stop" && agent === undefined) onStop(state, body, now);
  else if (event === "StopFailure" && agent === undefined) onFailure(state, body, now, out);
}

function onSessionStart(state: State, body: Json, out: FrameBody[]): void {
  const change: Record<string, string> = {};
  const conversation = text(body["session_id"]);
  const model = text(body["model"]);
  if (conversation !== undefined) change["claude_session"] = conversation;
  if (model !== undefined) change["model"] = model;
  meta(state, change, out);
  if (body["source"] !== "clear") return;
  state.tasks.clear();
  showTasks(state, out);
}

function onDisplay(state: State, body: Json, out: FrameBody[]): void {
  const id = text(body["message_id"]);
  if (id === undefined) return;
  say(displayed(state.texts, id, count(body["index"]) ?? 0, text(body["delta"]) ?? ""), undefined, out);
}

function onPreTool(state: State, body: Json, agent: string | undefined, now: number, out: FrameBody[]): void {
  const id = text(body["tool_use_id"]);
  if (id === undefined) return;
  ensureTool(state, body, agent, now);
  if (state.announced.delete(id)) start(state, id, now, out);
  const tool = state.tools.get(id);
  if (tool?.tool === "AskUserQuestion") ask(state, id, askFrames(state.asks, id, body["tool_input"]), now, out);
}

/** The hook does not name the tool use: it is the youngest open one of that tool that nobody was asked about. */
function onPermission(state: State, body: Json, agent: string | undefined, now: number, out: FrameBody[]): void {
  const name = text(body["tool_name"]) ?? "";
  const input = body["tool_input"];
  const same = JSON.stringify(input);
  const candidates = [...state.tools].filter(
    ([id, t]) => t.tool === name && !t.done && t.agent === agent && !state.asks.has(id),
  );
  const match = candidates.find(([, t]) => JSON.stringify(t.input) === same) ?? candidates.at(-1);
  if (name === "AskUserQuestion") {
    if (match !== undefined) ask(state, match[0], askFrames(state.asks, match[0], input), now, out);
    return;
  }
  const id = match?.[0] ?? `${name}-${now}`;
  ask(state, id, [permissionFrame(state.asks, id, name, input)], now, out);
}

/** Questions follow the start of their tool; the state follows the questions. */
function ask(state: State, id: string, frames: readonly FrameBody[], now: number, out: FrameBody[]): void {
  emit(state, id, (to) => to.push(...frames), out);
  showStatus(state, now, out);
}

function onStop(state: State, body: Json, now: number): void {
  end(state, "end_turn", now, SETTLE_MS, true);
  const last = text(body["last_assistant_message"])?.trim();
  if (state.turn !== undefined && last) state.turn.owed = last;
}

function onFailure(state: State, body: Json, now: number, out: FrameBody[]): void {
  const code = text(body["error"]) ?? "unknown";
  out.push({
    type: "error",
    code,
    message: text(body["last_assistant_message"]) ?? text(body["error_details"]) ?? code,
  });
  end(state, `error:${code}`, now, SETTLE_MS, true);
}
