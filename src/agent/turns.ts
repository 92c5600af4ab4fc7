/** Turns: when one begins and ends, by Claude's word or by what its being idle lets us conclude, and what it used. */
import type { FrameBody } from "../frame/frame.ts";
import { dropAsks } from "./asks.ts";
import { sumOf } from "./counts.ts";
import { restStatus, showStatus } from "./frames.ts";
import { count, type Json } from "./json.ts";
import type { State, Turn } from "./state.ts";
import type { ClaudeState } from "./status.ts";
import { renewed } from "./texts.ts";
import { closeTool, settledBy, start } from "./tools.ts";

/** After Stop the transcript is complete within 200 ms on a desktop; a loaded Raspberry Pi may take ten times that. */
export const SETTLE_MS = 2_000;

/** Idle without Stop is an interrupt; its mark, if any, follows within 190 ms. */
export const MARK_MS = 700;

/** Before the first word there is mostly no mark: only half a line would be written with one, 60 to 140 ms after idle on a desktop. */
const SILENT_MARK_MS = 180;

/** A question's hook comes within 0.1 s of the dialog that asks it; on a loaded Raspberry Pi it may take ten times that. */
export const DIALOG_MS = 2_000;

/** Messages whose thinking is remembered when a turn begins: those of subagents that still work. */
const KEPT_THOUGHTS = 32;

/** Claude may write down that it waits when the answer has just come: 40 ms after it on a loaded desktop. */
const LATE_MS = 250;

/** Claude entered this state; `since`: when, as far as it says so. */
export function onState(state: State, claude: ClaudeState, since: number, now: number, out: FrameBody[]): void {
  const before = state.claude;
  const held = [...state.asks.values()].some((ask) => ask.until === undefined);
  if (claude === "waiting" && since < state.settledAt + LATE_MS && !held) return;
  // Without a status file a waiting dialog looks idle in the title.
  const is = claude === "idle" && !state.row.statusFile && held ? "waiting" : claude;
  state.claude = is;
  if (is !== "waiting") state.dialogAt = undefined;
  else if (before !== "waiting") {
    if (!state.switching) state.dialogAt = now + DIALOG_MS;
    state.commandOwed = state.turn === undefined;
  }
  if (is === "busy" && before === "waiting") for (const open of state.asks.values()) open.passed = true;
  // Another dialog follows: which of the calls was decided on, their results will tell.
  if (is === "waiting" && before === "busy") for (const open of state.asks.values()) open.passed = false;
  if (is === "idle" && state.turn !== undefined)
    end(state, "interrupted", now, markWait(state.turn, now, state.row.display), false);
  else if (is === "busy" && state.turn?.ending?.firm === false) delete state.turn.ending;
  if (is !== "idle" || state.turn === undefined) showStatus(state, now, out);
}

/** On a loaded board the mark is late like everything else: the 0.1 s from our Esc to idle are so many more, and tell it. */
function markWait({ spoke, escAt }: Turn, now: number, display: boolean): number {
  // Without MessageDisplay whole paragraphs may be written with the mark, though nothing has been told.
  if (spoke || escAt === undefined || !display) return MARK_MS;
  return Math.min(SETTLE_MS, Math.max(SILENT_MARK_MS, 1.5 * (now - escAt)));
}

/** A switch is ours from its first key to Claude's answer; a dialog that it leaves behind is shown like any other. */
export function onSwitching(state: State, on: boolean, now: number, out: FrameBody[]): void {
  state.switching = on;
  if (on) {
    state.said = undefined;
    state.commandTold = false;
    return;
  }
  if (state.claude === "waiting") state.dialogAt = now + DIALOG_MS;
  else state.commandOwed = false;
  showStatus(state, now, out);
}

/** Work without a prompt hook (a `!command`, a queued prompt) opens a turn; work after "idle" takes that back. */
export function goesOn(state: State, now: number, out: FrameBody[]): void {
  if (state.turn === undefined) begin(state, now, out);
  else if (state.turn.ending?.firm === false) delete state.turn.ending;
}

/** A hook that tells of work comes at most this long before Claude's own state does; a loaded Raspberry Pi takes seconds. */
const PROOF_MS = 10_000;

/** A hook call told of work: a child of the session can forge it, and where Claude stays idle there was none. */
export function claimsWork(state: State, now: number, out: FrameBody[]): void {
  const rested = state.turn === undefined && state.claude === "idle";
  goesOn(state, now, out);
  if (rested) end(state, "interrupted", now, PROOF_MS, false);
}

/** A prompt was taken. */
export function begin(state: State, now: number, out: FrameBody[]): void {
  if (state.turn?.ending !== undefined) finish(state, state.turn.ending.reason, now, out);
  // A prompt that was queued while the turn goes on belongs to it.
  if (state.turn !== undefined) return;
  state.turn = { since: now };
  state.limit = undefined;
  state.commandTold = false;
  state.commandOwed = false;
  state.escaped = false;
  state.texts = renewed(state.texts);
  state.thoughts = { entries: state.thoughts.entries.slice(-KEPT_THOUGHTS) };
  state.compacting = false;
  for (const [id, tool] of state.tools) if (tool.done) state.tools.delete(id);
  showStatus(state, now, out);
}

/** `firm`: Claude said so itself; else it is what "idle" lets us conclude. */
export function end(state: State, reason: string, now: number, wait: number, firm: boolean): void {
  if (state.turn === undefined) return;
  if (state.turn.ending?.firm && !firm) return;
  state.turn.ending = { reason, since: now, until: now + wait, firm };
}

/** Closes what is open and tells the end. What waited for it (`state.waiting`) is the caller's to go on with. */
export function finish(state: State, reason: string, now: number, out: FrameBody[]): void {
  const turn = state.turn;
  if (turn === undefined) return;
  const why = reason === "interrupted" || reason === "daemon_restart" ? reason : "no result";
  state.judging.clear();
  for (const [id, tool] of state.tools) {
    if (!tool.started) start(state, id, now, out);
    const background = tool.agent !== undefined && reason !== "interrupted";
    if (!tool.done && !background) closeTool(state, id, tool, why, now, out);
  }
  out.push(...dropAsks(state.asks, settledBy(state)));
  state.turn = undefined;
  state.announced.clear();
  if (state.usage.size > 0) out.push(usageFrame(state));
  state.usage.clear();
  out.push({ type: "stop", reason });
  if (state.claude === "waiting") {
    state.claude = "idle";
    state.dialogAt = undefined;
  }
  state.limit = turn.limit?.resetsAt;
  restStatus(state, now, now - turn.since, out);
}

/** The last account of a message counts. */
export function countUsage(state: State, id: string, usage: Json | undefined): void {
  if (usage === undefined) return;
  state.usage.set(id, {
    input: count(usage["input_tokens"]) ?? 0,
    output: count(usage["output_tokens"]) ?? 0,
    cache_read: count(usage["cache_read_input_tokens"]) ?? 0,
    cache_write: count(usage["cache_creation_input_tokens"]) ?? 0,
  });
}

/** One frame a turn: the sum over the messages of the main thread and of its subagents, each message once. */
function usageFrame(state: State): FrameBody {
  const model = state.meta["model"];
  return { type: "usage", ...sumOf(state.usage.values()), ...(model === undefined ? {} : { model }) };
}
