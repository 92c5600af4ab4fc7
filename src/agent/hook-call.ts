/** Hook call: what one call of Claude's own hooks says, as frames. */
import type { FrameBody } from "../frame/frame.ts";
import { askFrames } from "./asks.ts";
import { failed } from "./failures.ts";
import { meta, say, showStatus } from "./frames.ts";
import { count, type Json, text } from "./json.ts";
import type { Source } from "./source.ts";
import type { State } from "./state.ts";
import { displayed } from "./texts.ts";
import { emit, ensureTool, onBatch, ready, result, showTasks } from "./tools.ts";
import { begin, claimsWork, end, MARK_MS, SETTLE_MS } from "./turns.ts";

type HookSource = Extract<Source, { src: "hook" }>;

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

export function onHook(state: State, source: HookSource, out: FrameBody[]): void {
  const { event, body, at: now } = source;
  const agent = text(body["agent_id"]);
  const mode = text(body["permission_mode"]);
  if (mode !== undefined && agent === undefined) meta(state, { permission_mode: mode }, out);
  if (event === "SessionStart" || event === "UserPromptSubmit") {
    if (event === "SessionStart") onSessionStart(state, body, out);
    else if (agent === undefined) onPrompt(state, source.blocked === true, now, out);
    return;
  }
  if (agent === undefined && ACTIVE.has(event)) claimsWork(state, now, out);
  if (event === "MessageDisplay") onDisplay(state, body, out);
  else if (event === "PreToolUse") ready(state, body, agent, now, out);
  else if (event === "PermissionRequest") onPermission(state, body, agent, source.held, now, out);
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

/** A prompt that is not sent is over at once, and Claude says no word about that. */
function onPrompt(state: State, blocked: boolean, now: number, out: FrameBody[]): void {
  const within = state.turn !== undefined && state.turn.ending === undefined;
  begin(state, now, out);
  if (blocked && !within) end(state, "blocked", now, MARK_MS, true);
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

/** The hook does not name the tool use: it is the one of that tool and input that nobody was asked about, else the youngest. */
function onPermission(
  state: State,
  body: Json,
  agent: string | undefined,
  held: number | undefined,
  now: number,
  out: FrameBody[],
): void {
  const name = text(body["tool_name"]) ?? "";
  const input = body["tool_input"] ?? {};
  const open = [...state.tools].filter(([, t]) => t.tool === name && !t.done && t.agent === agent);
  const same = open.filter(([, t]) => JSON.stringify(t.input) === JSON.stringify(input));
  const asked = new Set([...state.asks.values()].map((ask) => ask.tool));
  const free = (calls: typeof open): string | undefined => calls.find(([id]) => !asked.has(id))?.[0];
  // A second request for one call may be another process's: it is shown, and its result settles both.
  const tool = free(same) ?? same.at(-1)?.[0] ?? free(open.toReversed());
  const named = tool !== undefined && !state.asks.has(tool);
  const group = named ? tool : `ask-${now}-${++state.asked}`;
  const frames = askFrames(state.asks, { group, name, input, tool, held });
  // Questions follow the start of their tool; the state follows the questions.
  if (tool === undefined) out.push(...frames);
  else emit(state, tool, (to) => to.push(...frames), out);
  showStatus(state, now, out);
}

function onStop(state: State, body: Json, now: number): void {
  end(state, "end_turn", now, SETTLE_MS, true);
  const last = text(body["last_assistant_message"])?.trim();
  if (state.turn !== undefined && last) state.turn.owed = last;
}

function onFailure(state: State, body: Json, now: number, out: FrameBody[]): void {
  const code = text(body["error"]) ?? "unknown";
  failed(state, code, text(body["last_assistant_message"]) ?? text(body["error_details"]) ?? code, now, out);
}
