/** Transcript line: what one line of Claude's own record says, as frames. */
import type { FrameBody } from "../frame/frame.ts";
import { commandSaid } from "./confirmed.ts";
import { failed, learnReset } from "./failures.ts";
import { meta, say } from "./frames.ts";
import { at, count, type Json, list, object, text, words } from "./json.ts";
import { textsOf, thought } from "./overheard.ts";
import { promptOf } from "./prompts.ts";
import type { State } from "./state.ts";
import { written } from "./texts.ts";
import { ensureTool, listed, result, unwrapped } from "./tools.ts";
import { countUsage, end, finish, MARK_MS } from "./turns.ts";

/** `fileAgent`: the subagent whose file it stands in; `now`: when it was read, ms since 1970. */
export function onLine(state: State, line: Json, fileAgent: string | undefined, now: number, out: FrameBody[]): void {
  const agent = fileAgent ?? (line["isSidechain"] === true ? (text(line["agentId"]) ?? "sidechain") : undefined);
  const type = line["type"];
  if (type === "assistant") onAssistant(state, line, agent, now, out);
  else if (type === "user") onUser(state, line, agent, now, out);
  else if (agent !== undefined) return;
  else if (type === "system") onSystem(state, line, now, out);
  else if (type === "ai-title") meta(state, { title: text(line["aiTitle"]) ?? "" }, out);
  else if (type === "permission-mode") meta(state, { permission_mode: text(line["permissionMode"]) ?? "" }, out);
}

/** Claude writes these itself: not words of the model. */
export const NOT_SAID: ReadonlySet<string> = new Set(["No response requested.", "(no content)"]);

function onAssistant(state: State, line: Json, agent: string | undefined, now: number, out: FrameBody[]): void {
  const message = object(line["message"]);
  const id = text(message?.["id"]);
  if (message === undefined || id === undefined) return;
  if (line["isApiErrorMessage"] === true) {
    if (agent === undefined) onApiErrorLine(state, line, now, out);
    return;
  }
  if (state.catchingUp && state.turn === undefined && agent === undefined) state.turn = { since: now };
  const synthetic = message["model"] === "<synthetic>";
  if (!synthetic) {
    const model = text(message["model"]);
    if (agent === undefined && model !== undefined) meta(state, { model }, out);
    if (!state.seen.usage.has(id)) countUsage(state, id, object(message["usage"]));
  }
  for (const block of list(message["content"])) {
    const said = text(block["text"]);
    const mused = text(block["thinking"]);
    if (block["type"] === "text" && said !== undefined && !(synthetic && NOT_SAID.has(said))) {
      say(written(textsOf(state, agent), id, said), agent, out);
    } else if (block["type"] === "thinking" && mused && state.thinking && !state.seen.thinking.has(id)) {
      thought(state, id, mused, agent, out);
    } else if (block["type"] === "tool_use") {
      ensureTool(state, { tool_use_id: block["id"], tool_name: block["name"], tool_input: block["input"] }, agent, now);
      listed(state, text(block["id"]) ?? "", now, out);
    }
  }
}

function onApiErrorLine(state: State, line: Json, now: number, out: FrameBody[]): void {
  const ending = state.turn?.ending;
  learnReset(state, line, now);
  if (ending?.firm) finish(state, ending.reason, now, out);
  else if (state.turn !== undefined) {
    if (state.catchingUp)
      failed(state, text(line["error"]) ?? "unknown", words(at(line["message"], "content")), now, out);
    else end(state, "error:unknown", now, MARK_MS, false);
  }
}

function onUser(state: State, line: Json, agent: string | undefined, now: number, out: FrameBody[]): void {
  const content = at(line["message"], "content");
  for (const block of list(content)) {
    if (block["type"] === "tool_result") onToolResult(state, line, block, now, out);
  }
  if (agent !== undefined) return;
  const command = promptOf(line);
  if (command?.startsWith("/")) state.command = command;
  const said = words(content);
  if (said.startsWith("[Request interrupted by user") && state.turn !== undefined) {
    if (!isOlder(state, line)) finish(state, "interrupted", now, out);
  } else if (said.startsWith("<local-command-stdout>")) {
    commandSaid(state, said, out);
    commandDone(state, out);
  } else if (said.startsWith("<bash-stdout>") && !state.row.bangAnswers) commandDone(state, out);
}

/** Both versions of the words for a tool that a person turned down begin like this. */
const REJECTED = "The user doesn't want to proceed with this tool use";
/** 2.1.112 without a terminal says these of a call that was waiting for a person, or about to begin, when the turn was interrupted. */
const ABORTED = ["Tool permission request failed: AbortError", "The user doesn't want to take this action right now"];

/** One result of a tool, as the model reads it; `line` may hold it as a program does. */
export function onToolResult(state: State, line: Json, block: Json, now: number, out: FrameBody[]): void {
  const id = text(block["tool_use_id"]);
  const said = words(block["content"]);
  if (block["is_error"] === true) {
    const rejected = said.startsWith(REJECTED);
    const asked = [...state.asks.values()].some((ask) => ask.tool === id);
    const aborted = state.escaped && ABORTED.some((words) => said.includes(words));
    const cut = said.includes("[Request interrupted by user") || aborted || (rejected && (state.escaped || !asked));
    result(state, id, { error: cut ? "interrupted" : unwrapped(said), rejected }, now, out);
  } else result(state, id, { output: line["toolUseResult"] ?? block["content"] ?? null }, now, out);
}

function onSystem(state: State, line: Json, now: number, out: FrameBody[]): void {
  const subtype = line["subtype"];
  const ending = state.turn?.ending;
  if (subtype === "stop_hook_summary" || subtype === "turn_duration") {
    if (state.turn === undefined || isOlder(state, line)) return;
    const told = subtype === "turn_duration" || ending?.firm ? ending?.reason : undefined;
    finish(state, told ?? "end_turn", now, out);
  } else if (subtype === "local_command") onLocalCommand(state, line, out);
  else if (subtype === "api_error") out.push({ type: "error", code: "api_retry", message: retryWords(line) });
}

/** Written before this turn began: it ends the one before, which the next prompt's hook has overtaken. */
function isOlder(state: State, line: Json): boolean {
  const written = Date.parse(text(line["timestamp"]) ?? "");
  // What is caught up with is read long after it was written.
  const began = state.turn?.began ?? (state.catchingUp ? undefined : state.turn?.since);
  return began !== undefined && written < began;
}

function onLocalCommand(state: State, line: Json, out: FrameBody[]): void {
  const said = words(line["content"]);
  const command = promptOf(line);
  if (command !== undefined) state.command = command;
  if (!said.startsWith("<local-command-stdout>")) return;
  commandSaid(state, said, out);
  commandDone(state, out);
}

function retryWords(line: Json): string {
  const status = count(at(line["error"], "status"));
  const why =
    text(at(at(at(line["error"], "error"), "error"), "message")) ?? text(at(line["error"], "type")) ?? "API error";
  return `${status === undefined ? "" : `${status} `}${why}; try ${count(line["retryAttempt"]) ?? 1} of ${count(line["maxRetries"]) ?? "?"} in ${count(line["retryInMs"]) ?? 0} ms`;
}

/** A command of Claude's own ran: no turn, but whoever waits for an end has it. */
export function commandDone(state: State, out: FrameBody[]): void {
  const told = state.commandTold;
  state.commandTold = false;
  state.commandOwed = false;
  if (state.turn === undefined && !state.catchingUp && !told) out.push({ type: "stop", reason: "command" });
}
