/**
 * Translate: one source event (hook call, transcript line, state, time) becomes frame bodies.
 * No clock, no I/O: the same events give the same frames, which the recorded transcripts in test/ prove.
 */
import type { FrameBody, SessionState } from "../frame/frame.ts";
import type { Seen } from "./agent.ts";
import { type Asks, askFrames, newAsks, permissionFrame, settleAll, settleAsk, waitsForPerson } from "./asks.ts";
import { at, count, type Json, list, object, text, words } from "./json.ts";
import type { ClaudeState } from "./status.ts";
import { applyTool, type Tasks } from "./tasks.ts";
import { displayed, isTold, newTexts, type Piece, type Texts, written } from "./texts.ts";
import type { VersionRow } from "./versions.ts";

/** One thing that happened, with the time it was noticed (ms since 1970). */
export type Source = { readonly at: number } & (
  | { readonly src: "hook"; readonly event: string; readonly body: Json }
  | { readonly src: "line"; readonly line: Json; readonly agent?: string }
  /** `since`: when Claude entered it, where it says so. */
  | { readonly src: "state"; readonly state: ClaudeState; readonly since?: number }
  | { readonly src: "title"; readonly title: string }
  /** A line of this many bytes was too long to read. */
  | { readonly src: "skipped"; readonly bytes: number }
  /** We sent Esc. */
  | { readonly src: "esc" }
  /** `deadline(state)` has come. */
  | { readonly src: "tick" }
  /** The end of what happened while no daemon was there. */
  | { readonly src: "caught-up" }
  | { readonly src: "exit" }
);

/** A start waits this long for its transcript line, so that text said before the call comes before it: flushes take 130 ms, and more on a loaded machine. */
const HOLD_MS = 1_000;
/** A call that only PostToolBatch told of waits this long for the transcript's fuller account. */
const BATCH_MS = 600;
/** After Stop the transcript is complete within 200 ms on a desktop; a loaded Raspberry Pi may take ten times that. */
const SETTLE_MS = 2_000;
/** 2.1.112 draws an 84 KB reply for 22 s before it writes it: as long as Stop's last words are owed, it ends nothing before this. */
const DRAWING_MS = 120_000;
/** Idle without Stop is an interrupt; its mark, if any, follows within 190 ms. */
const MARK_MS = 700;

interface Tool {
  readonly tool: string;
  readonly input: unknown;
  readonly agent: string | undefined;
  readonly since: number;
  started: boolean;
  done: boolean;
  /** What waits for the start, and until when. */
  held: Emission[];
  until: number;
  /** PostToolBatch's word for the result. */
  fallback?: unknown;
}

/** Frames to come: made when their time has come, so that a list is the list of then. */
type Emission = (out: FrameBody[]) => void;

interface Counts {
  readonly input: number;
  readonly output: number;
  readonly cache_read: number;
  readonly cache_write: number;
}

interface Turn {
  readonly since: number;
  ending?: { readonly reason: string; readonly since: number; readonly until: number; readonly firm: boolean };
  /** The last words by Stop's account. */
  owed?: string;
}

/** Everything the translation remembers; made by `newState`, changed by `translate` alone. */
export interface State {
  readonly row: VersionRow;
  readonly thinking: boolean;
  readonly meta: Record<string, string>;
  status: SessionState | undefined;
  claude: ClaudeState | undefined;
  turn: Turn | undefined;
  texts: Texts;
  readonly agentTexts: Map<string, Texts>;
  readonly tools: Map<string, Tool>;
  readonly asks: Asks;
  readonly tasks: Tasks;
  shownTasks: string;
  /** When a question was last settled: a state from before it is stale. */
  settledAt: number;
  readonly usage: Map<string, Counts>;
  readonly seen: { thinking: ReadonlySet<string>; usage: ReadonlySet<string> };
  /** Hooks of the next turn, while the transcript still completes this one. */
  waiting: Source[];
  catchingUp: boolean;
  escaped: boolean;
}

export function newState(row: VersionRow, thinking: boolean): State {
  return {
    row,
    thinking,
    meta: {},
    status: undefined,
    claude: undefined,
    turn: undefined,
    texts: newTexts(),
    agentTexts: new Map(),
    tools: new Map(),
    asks: newAsks(),
    tasks: new Map(),
    shownTasks: "[]",
    settledAt: 0,
    usage: new Map(),
    seen: { thinking: new Set(), usage: new Set() },
    waiting: [],
    catchingUp: false,
    escaped: false,
  };
}

/** After a restart: lines until `caught-up` belong to a turn of which `seen` is framed already. */
export function reopen(state: State, seen: Seen | undefined, now: number): void {
  state.catchingUp = true;
  if (seen === undefined) return;
  state.texts = newTexts(seen.text);
  state.seen.thinking = seen.thinking;
  state.seen.usage = seen.usage;
  for (const [id, { tool, done }] of seen.tools) {
    state.tools.set(id, {
      tool,
      input: undefined,
      agent: undefined,
      since: now,
      started: true,
      done,
      held: [],
      until: 0,
    });
  }
  if (seen.turnOpen) state.turn = { since: now };
}

/** When `tick` is due, if nothing else happens. */
export function deadline(state: State): number | undefined {
  let due = state.turn?.ending?.until;
  for (const tool of state.tools.values()) {
    if (!tool.done && (!tool.started || tool.fallback !== undefined)) due = Math.min(due ?? tool.until, tool.until);
  }
  return due;
}

export function translate(state: State, source: Source): FrameBody[] {
  const out: FrameBody[] = [];
  step(state, source, out);
  return out;
}

function step(state: State, source: Source, out: FrameBody[]): void {
  if (belongsToNextTurn(state, source)) {
    state.waiting.push(source);
    return;
  }
  if (source.src === "hook") onHook(state, source.event, source.body, source.at, out);
  else if (source.src === "line") onLine(state, source.line, source.agent, source.at, out);
  else if (source.src === "state") onState(state, source.state, source.since ?? source.at, source.at, out);
  else if (source.src === "title") meta(state, { title: source.title }, out);
  else if (source.src === "skipped")
    out.push({
      type: "error",
      code: "line_skipped",
      message: `a transcript line of ${source.bytes} bytes was passed over`,
    });
  else if (source.src === "esc") state.escaped = true;
  else if (source.src === "tick") onTick(state, source.at, out);
  else if (source.src === "caught-up") onCaughtUp(state, source.at, out);
  else if (source.src === "exit") onExit(state, source.at, out);
  else source satisfies never;
}

function belongsToNextTurn(state: State, source: Source): boolean {
  if (state.turn?.ending === undefined) return false;
  if (source.src !== "hook" && source.src !== "state") return false;
  if (state.waiting.length > 0) return true;
  return source.src === "hook" && source.event === "UserPromptSubmit" && source.body["agent_id"] === undefined;
}

// Hooks

function onHook(state: State, event: string, body: Json, now: number, out: FrameBody[]): void {
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
  else if (event === "Stop" && agent === undefined) onStop(state, body, now);
  else if (event === "StopFailure" && agent === undefined) onFailure(state, body, now, out);
}

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

/** Work without a prompt hook (a `!command`, a queued prompt) opens a turn; work after "idle" takes that back. */
function goesOn(state: State, now: number, out: FrameBody[]): void {
  if (state.turn === undefined) begin(state, now, out);
  else if (state.turn.ending?.firm === false) delete state.turn.ending;
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
  const tool = state.tools.get(id);
  if (tool?.tool === "AskUserQuestion") ask(state, id, askFrames(state.asks, id, body["tool_input"]), now, out);
}

function ensureTool(state: State, body: Json, agent: string | undefined, now: number): void {
  const id = text(body["tool_use_id"]);
  if (id === undefined || state.tools.has(id)) return;
  state.tools.set(id, {
    tool: text(body["tool_name"]) ?? "",
    input: body["tool_input"] ?? {},
    agent,
    since: now,
    started: false,
    done: false,
    held: [],
    until: now + HOLD_MS,
  });
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

function onBatch(state: State, body: Json, agent: string | undefined, now: number): void {
  for (const call of list(body["tool_calls"])) {
    ensureTool(state, call, agent, now);
    const tool = state.tools.get(text(call["tool_use_id"]) ?? "");
    if (tool === undefined || tool.done) continue;
    tool.fallback = call["tool_response"] ?? null;
    tool.until = now + BATCH_MS;
  }
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

// Transcript lines

function onLine(state: State, line: Json, fileAgent: string | undefined, now: number, out: FrameBody[]): void {
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
const NOT_SAID = new Set(["No response requested.", "(no content)"]);

function onAssistant(state: State, line: Json, agent: string | undefined, now: number, out: FrameBody[]): void {
  const message = object(line["message"]);
  const id = text(message?.["id"]);
  if (message === undefined || id === undefined) return;
  if (line["isApiErrorMessage"] === true) {
    if (agent === undefined) onApiErrorLine(state, message, now, out);
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
    const thought = text(block["thinking"]);
    if (block["type"] === "text" && said !== undefined && !(synthetic && NOT_SAID.has(said))) {
      say(written(textsOf(state, agent), id, said), agent, out);
    } else if (block["type"] === "thinking" && thought && state.thinking && !state.seen.thinking.has(id)) {
      out.push({ type: "thinking", text: thought, message: id, ...by(agent) });
    } else if (block["type"] === "tool_use") {
      ensureTool(state, { tool_use_id: block["id"], tool_name: block["name"], tool_input: block["input"] }, agent, now);
      start(state, text(block["id"]) ?? "", now, out);
    }
  }
}

function onApiErrorLine(state: State, message: Json, now: number, out: FrameBody[]): void {
  const ending = state.turn?.ending;
  if (ending?.firm) finish(state, ending.reason, now, out);
  else if (state.turn !== undefined) {
    if (state.catchingUp) out.push({ type: "error", code: "unknown", message: words(message["content"]) });
    end(state, "error:unknown", now, MARK_MS, false);
  }
}

function countUsage(state: State, id: string, usage: Json | undefined): void {
  if (usage === undefined) return;
  state.usage.set(id, {
    input: count(usage["input_tokens"]) ?? 0,
    output: count(usage["output_tokens"]) ?? 0,
    cache_read: count(usage["cache_read_input_tokens"]) ?? 0,
    cache_write: count(usage["cache_creation_input_tokens"]) ?? 0,
  });
}

function onUser(state: State, line: Json, agent: string | undefined, now: number, out: FrameBody[]): void {
  const content = at(line["message"], "content");
  for (const block of list(content)) {
    if (block["type"] === "tool_result") onToolResult(state, line, block, now, out);
  }
  if (agent !== undefined) return;
  const said = words(content);
  if (said.startsWith("[Request interrupted by user") && state.turn !== undefined)
    finish(state, "interrupted", now, out);
  else if (said.startsWith("<local-command-stdout>")) commandDone(state, out);
  else if (said.startsWith("<bash-stdout>") && !state.row.bangAnswers) commandDone(state, out);
}

/** Both versions of the words for a tool that a person turned down begin like this. */
const REJECTED = "The user doesn't want to proceed with this tool use";

function onToolResult(state: State, line: Json, block: Json, now: number, out: FrameBody[]): void {
  const id = text(block["tool_use_id"]);
  const said = words(block["content"]);
  if (block["is_error"] === true) {
    const rejected = said.startsWith(REJECTED);
    const asked = id !== undefined && state.asks.has(id);
    const cut = said.includes("[Request interrupted by user") || (rejected && (state.escaped || !asked));
    result(state, id, { error: cut ? "interrupted" : unwrapped(said), rejected }, now, out);
  } else result(state, id, { output: line["toolUseResult"] ?? block["content"] ?? null }, now, out);
}

function unwrapped(said: string): string {
  return /^<tool_use_error>([\s\S]*)<\/tool_use_error>$/.exec(said)?.[1] ?? said;
}

function onSystem(state: State, line: Json, now: number, out: FrameBody[]): void {
  const subtype = line["subtype"];
  const ending = state.turn?.ending;
  if (subtype === "stop_hook_summary" && state.turn !== undefined)
    finish(state, ending?.firm ? ending.reason : "end_turn", now, out);
  else if (subtype === "turn_duration" && state.turn !== undefined)
    finish(state, ending?.reason ?? "end_turn", now, out);
  else if (subtype === "local_command" && words(line["content"]).startsWith("<local-command-stdout>"))
    commandDone(state, out);
  else if (subtype === "api_error") out.push({ type: "error", code: "api_retry", message: retryWords(line) });
}

function retryWords(line: Json): string {
  const status = count(at(line["error"], "status"));
  const why =
    text(at(at(at(line["error"], "error"), "error"), "message")) ?? text(at(line["error"], "type")) ?? "API error";
  return `${status === undefined ? "" : `${status} `}${why}; try ${count(line["retryAttempt"]) ?? 1} of ${count(line["maxRetries"]) ?? "?"} in ${count(line["retryInMs"]) ?? 0} ms`;
}

/** A command of Claude's own ran: no turn, but whoever waits for an end has it. */
function commandDone(state: State, out: FrameBody[]): void {
  if (state.turn === undefined && !state.catchingUp) out.push({ type: "stop", reason: "command" });
}

// Tools

function start(state: State, id: string, now: number, out: FrameBody[]): void {
  const tool = state.tools.get(id);
  if (tool === undefined || tool.started) return;
  tool.started = true;
  out.push({ type: "tool.use.start", id, tool: tool.tool, input: tool.input, ...by(tool.agent) });
  const held = tool.held;
  tool.held = [];
  for (const emission of held) emission(out);
  showStatus(state, now, out);
}

/** What there is to say about a tool comes after its start. */
function emit(state: State, id: string, emission: Emission, out: FrameBody[]): void {
  const tool = state.tools.get(id);
  if (tool === undefined || tool.started) emission(out);
  else tool.held.push(emission);
}

function showTasks(state: State, out: FrameBody[]): void {
  const items = [...state.tasks.values()];
  const shown = JSON.stringify(items);
  if (shown === state.shownTasks) return;
  state.shownTasks = shown;
  out.push({ type: "todo.update", items });
}

interface Outcome {
  readonly output?: unknown;
  readonly error?: string;
  readonly duration?: number | undefined;
  /** As PostToolUse shows it: with the answers that were given. */
  readonly input?: unknown;
  readonly rejected?: boolean;
}

/** Closes a tool, once: whichever source is first. */
function result(state: State, id: string | undefined, outcome: Outcome, now: number, out: FrameBody[]): void {
  const tool = id === undefined ? undefined : state.tools.get(id);
  if (id === undefined || tool === undefined || tool.done) return;
  tool.done = true;
  const settled = settleAsk(state.asks, id, outcome, settledBy(state));
  if (settled.length > 0) state.settledAt = now;
  const closed: FrameBody = {
    type: "tool.use.result",
    id,
    tool: tool.tool,
    output: outcome.error === undefined ? (outcome.output ?? null) : null,
    ...(outcome.error === undefined ? {} : { error: outcome.error }),
    duration_ms: outcome.duration ?? Math.max(0, now - tool.since),
    ...by(tool.agent),
  };
  if (outcome.error === undefined)
    applyTool(state.tasks, tool.tool, tool.input ?? outcome.input, outcome.output, tool.agent);
  emit(
    state,
    id,
    (to) => {
      to.push(...settled, closed);
      showTasks(state, to);
    },
    out,
  );
  showStatus(state, now, out);
}

// State and turns

function onState(state: State, claude: ClaudeState, since: number, now: number, out: FrameBody[]): void {
  const before = state.claude;
  if (claude === "waiting" && since < state.settledAt) return;
  // Without a status file a waiting dialog looks idle in the title.
  const is = claude === "idle" && !state.row.statusFile && waitsForPerson(state.asks) ? "waiting" : claude;
  state.claude = is;
  if (is === "busy" && before === "waiting") for (const open of state.asks.values()) open.passed = true;
  if (is === "idle" && state.turn !== undefined) end(state, "interrupted", now, MARK_MS, false);
  else if (is === "busy" && state.turn?.ending?.firm === false) delete state.turn.ending;
  if (is !== "idle" || state.turn === undefined) showStatus(state, now, out);
}

function begin(state: State, now: number, out: FrameBody[]): void {
  if (state.turn?.ending !== undefined) finish(state, state.turn.ending.reason, now, out);
  // A prompt that was queued while the turn goes on belongs to it.
  if (state.turn !== undefined) return;
  state.turn = { since: now };
  state.escaped = false;
  state.texts = newTexts();
  for (const [id, tool] of state.tools) if (tool.done) state.tools.delete(id);
  showStatus(state, now, out);
}

/** `firm`: Claude said so itself; else it is what "idle" lets us conclude. */
function end(state: State, reason: string, now: number, wait: number, firm: boolean): void {
  if (state.turn === undefined) return;
  if (state.turn.ending?.firm && !firm) return;
  state.turn.ending = { reason, since: now, until: now + wait, firm };
}

function finish(state: State, reason: string, now: number, out: FrameBody[]): void {
  const turn = state.turn;
  if (turn === undefined) return;
  const why = reason === "interrupted" ? "interrupted" : "no result";
  for (const [id, tool] of state.tools) {
    if (!tool.started) start(state, id, now, out);
    const background = tool.agent !== undefined && reason !== "interrupted";
    if (!tool.done && !background) closeTool(state, id, tool, why, now, out);
  }
  out.push(...settleAll(state.asks, settledBy(state)));
  state.turn = undefined;
  state.agentTexts.clear();
  if (state.usage.size > 0) out.push(usageFrame(state));
  state.usage.clear();
  out.push({ type: "stop", reason });
  state.claude = state.claude === "waiting" ? "idle" : state.claude;
  setStatus(state, "idle", now - turn.since, out);
  const waiting = state.waiting;
  state.waiting = [];
  for (const source of waiting) step(state, source, out);
}

function closeTool(state: State, id: string, tool: Tool, why: string, now: number, out: FrameBody[]): void {
  if (tool.fallback !== undefined && why !== "interrupted") closeByBatch(state, id, tool, now, out);
  else result(state, id, { error: why, rejected: true }, now, out);
}

/** PostToolBatch gives the result as the model reads it; an error is marked only inside the text. */
function closeByBatch(state: State, id: string, tool: Tool, now: number, out: FrameBody[]): void {
  const said = words(tool.fallback);
  if (said.startsWith("<tool_use_error>")) result(state, id, { error: unwrapped(said) }, now, out);
  else result(state, id, { output: tool.fallback }, now, out);
}

function onTick(state: State, now: number, out: FrameBody[]): void {
  for (const [id, tool] of state.tools) {
    if (tool.until > now || tool.done) continue;
    start(state, id, now, out);
    if (tool.fallback !== undefined) closeByBatch(state, id, tool, now, out);
  }
  const ending = state.turn?.ending;
  if (ending === undefined || ending.until > now) return;
  const owed = state.turn?.owed;
  const owes = owed !== undefined && !isTold(state.texts, owed);
  if (owes && state.turn !== undefined && now - ending.since < DRAWING_MS)
    state.turn.ending = { ...ending, until: now + SETTLE_MS };
  else finish(state, ending.reason, now, out);
}

function onCaughtUp(state: State, now: number, out: FrameBody[]): void {
  const ending = state.turn?.ending;
  if (state.turn !== undefined) finish(state, ending?.reason ?? "daemon_restart", now, out);
  state.catchingUp = false;
  state.tools.clear();
  state.usage.clear();
  state.seen.thinking = new Set();
  state.seen.usage = new Set();
}

function onExit(state: State, now: number, out: FrameBody[]): void {
  const ending = state.turn?.ending;
  state.waiting = [];
  out.push(...settleAll(state.asks, "lost"));
  if (state.turn !== undefined) finish(state, ending?.firm ? ending.reason : "interrupted", now, out);
  for (const id of state.tools.keys()) {
    start(state, id, now, out);
    result(state, id, { error: "session ended" }, now, out);
  }
  setStatus(state, "stopped", 0, out);
}

/** One frame a turn: the sum over the messages of the main thread and of its subagents, each message once. */
function usageFrame(state: State): FrameBody {
  const sum = { input: 0, output: 0, cache_read: 0, cache_write: 0 };
  for (const counts of state.usage.values()) {
    sum.input += counts.input;
    sum.output += counts.output;
    sum.cache_read += counts.cache_read;
    sum.cache_write += counts.cache_write;
  }
  const model = state.meta["model"];
  return { type: "usage", ...sum, ...(model === undefined ? {} : { model }) };
}

function showStatus(state: State, now: number, out: FrameBody[]): void {
  const elapsed = state.turn === undefined ? 0 : now - state.turn.since;
  if (waitsForPerson(state.asks) || state.claude === "waiting") {
    if (![...state.asks.keys()].some((id) => state.tools.get(id)?.started === false))
      setStatus(state, "waiting_for_input", elapsed, out);
  } else if (state.turn !== undefined || state.claude === "busy") setStatus(state, "working", elapsed, out);
  else setStatus(state, "idle", elapsed, out);
}

function setStatus(state: State, status: SessionState, elapsed: number, out: FrameBody[]): void {
  if (state.status === status || state.catchingUp) return;
  state.status = status;
  out.push({ type: "status", state: status, elapsed_ms: Math.max(0, elapsed) });
}

/** Nothing but Esc and the terminal can answer yet. */
function settledBy(state: State): string {
  return state.escaped ? "interrupt" : "terminal";
}

// Small change

function meta(state: State, change: Readonly<Record<string, string>>, out: FrameBody[]): void {
  const fresh = Object.entries(change).filter(([key, value]) => value !== "" && state.meta[key] !== value);
  if (fresh.length === 0) return;
  for (const [key, value] of fresh) state.meta[key] = value;
  out.push({ type: "meta", ...Object.fromEntries(fresh) });
}

function say(piece: Piece | undefined, agent: string | undefined, out: FrameBody[]): void {
  if (piece !== undefined) out.push({ type: "text.delta", text: piece.text, message: piece.key, ...by(agent) });
}

function textsOf(state: State, agent: string | undefined): Texts {
  if (agent === undefined) return state.texts;
  const known = state.agentTexts.get(agent);
  if (known !== undefined) return known;
  const fresh = newTexts();
  state.agentTexts.set(agent, fresh);
  return fresh;
}

function by(agent: string | undefined): { agent?: string } {
  return agent === undefined ? {} : { agent };
}
