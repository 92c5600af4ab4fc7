/** Tools: calls of tools from their first sign to their result; each is started once and closed once, whichever source is first. */
import type { FrameBody } from "../frame/frame.ts";
import { settleAsks } from "./asks.ts";
import { by, showStatus } from "./frames.ts";
import { type Json, list, text, words } from "./json.ts";
import type { Emission, State, Tool } from "./state.ts";
import { applyTool } from "./tasks.ts";

/** A start waits this long for its transcript line, so that text said before the call comes before it: flushes take 130 ms, and more on a loaded machine. */
const HOLD_MS = 1_000;

/** A call that only PostToolBatch told of waits this long for the transcript's fuller account. */
const BATCH_MS = 600;

/** PreToolUse: what the call runs is settled. What the transcript said of it before may be another input. */
export function ready(state: State, body: Json, agent: string | undefined, now: number, out: FrameBody[]): void {
  const id = text(body["tool_use_id"]);
  if (id === undefined) return;
  ensureTool(state, body, agent, now);
  state.judging.delete(id);
  const tool = state.tools.get(id);
  if (tool === undefined || tool.started) return;
  const input = body["tool_input"] ?? {};
  state.tools.set(id, { ...tool, input, since: now, until: now + HOLD_MS, ready: true, queued: false });
  if (tool.due || state.announced.delete(id)) start(state, id, now, out);
}

/** The transcript shows the call. Claude runs some calls one after the other: whose turn it is not has not begun. */
export function listed(state: State, id: string, now: number, out: FrameBody[]): void {
  const tool = state.tools.get(id);
  if (tool === undefined || tool.started) return;
  tool.due = true;
  tool.queued = !tool.ready && inFront(state, id, tool);
  if (!tool.queued) start(state, id, now, out);
}

function inFront(state: State, id: string, { agent }: Tool): boolean {
  for (const [other, tool] of state.tools) {
    if (other === id) break;
    if (!tool.done && tool.agent === agent) return true;
  }
  return false;
}

/** Those that waited for the end of another have theirs now, or their own PreToolUse in a moment. */
function advance(state: State, now: number): void {
  for (const [id, tool] of state.tools) {
    if (!tool.queued || inFront(state, id, tool)) continue;
    tool.queued = false;
    tool.until = now + HOLD_MS;
    return;
  }
}

/** Remembers the call that a hook or a transcript block names. */
export function ensureTool(state: State, body: Json, agent: string | undefined, now: number): void {
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

/** Tells that the call began, and what waited for that. */
export function start(state: State, id: string, now: number, out: FrameBody[]): void {
  const tool = state.tools.get(id);
  if (tool === undefined || tool.started) return;
  const judgedBy = state.judging.get(id) ?? 0;
  if (judgedBy > now) {
    tool.due = true;
    tool.until = judgedBy;
    return;
  }
  tool.started = true;
  out.push({ type: "tool.use.start", id, tool: tool.tool, input: tool.input, ...by(tool.agent) });
  const held = tool.held;
  tool.held = [];
  for (const emission of held) emission(out);
  showStatus(state, now, out);
}

/** What there is to say about a tool comes after its start. */
export function emit(state: State, id: string, emission: Emission, out: FrameBody[]): void {
  const tool = state.tools.get(id);
  if (tool === undefined || tool.started) emission(out);
  else tool.held.push(emission);
}

/** How a call ended. */
export interface Outcome {
  readonly output?: unknown;
  readonly error?: string;
  readonly duration?: number | undefined;
  /** As PostToolUse shows it: with the answers that were given. */
  readonly input?: unknown;
  readonly rejected?: boolean;
}

/** Closes a tool, once: whichever source is first. */
export function result(state: State, id: string | undefined, outcome: Outcome, now: number, out: FrameBody[]): void {
  const tool = id === undefined ? undefined : state.tools.get(id);
  if (id === undefined || tool === undefined || tool.done) return;
  if (tool.queued) start(state, id, now, out);
  tool.done = true;
  advance(state, now);
  const settled = settleAsks(state.asks, id, outcome, settledBy(state));
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

/** Tells the task list, if it is another one now. */
export function showTasks(state: State, out: FrameBody[]): void {
  const items = [...state.tasks.values()];
  const shown = JSON.stringify(items);
  if (shown === state.shownTasks) return;
  state.shownTasks = shown;
  out.push({ type: "todo.update", items });
}

/** PostToolBatch names every call of a round, with what the model reads of it. */
export function onBatch(state: State, body: Json, agent: string | undefined, now: number): void {
  for (const call of list(body["tool_calls"])) {
    ensureTool(state, call, agent, now);
    const tool = state.tools.get(text(call["tool_use_id"]) ?? "");
    if (tool === undefined || tool.done) continue;
    tool.fallback = call["tool_response"] ?? null;
    tool.queued = false;
    tool.until = now + BATCH_MS;
  }
}

/** Ends a call that will have no result of its own. */
export function closeTool(state: State, id: string, tool: Tool, why: string, now: number, out: FrameBody[]): void {
  if (tool.fallback !== undefined && why !== "interrupted") closeByBatch(state, id, tool, now, out);
  else result(state, id, { error: why, rejected: true }, now, out);
}

/** PostToolBatch gives the result as the model reads it; an error is marked only inside the text. */
export function closeByBatch(state: State, id: string, tool: Tool, now: number, out: FrameBody[]): void {
  const said = words(tool.fallback);
  if (said.startsWith("<tool_use_error>")) result(state, id, { error: unwrapped(said) }, now, out);
  else result(state, id, { output: tool.fallback }, now, out);
}

/** An error without the tag that marks it for the model. */
export function unwrapped(said: string): string {
  return /^<tool_use_error>([\s\S]*)<\/tool_use_error>$/.exec(said)?.[1] ?? said;
}

/** Nothing but Esc and the terminal can answer yet. */
export function settledBy(state: State): string {
  return state.escaped ? "interrupt" : "terminal";
}
