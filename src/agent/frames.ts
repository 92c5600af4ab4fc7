/** Frames: the small ones that several sources lead to (text, meta, the session's status), each told only when it is news. */
import type { FrameBody, SessionState } from "../frame/frame.ts";
import { waitsForPerson } from "./asks.ts";
import type { State } from "./state.ts";
import type { Piece } from "./texts.ts";

/** Tells what of this has changed. */
export function meta(state: State, change: Readonly<Record<string, string>>, out: FrameBody[]): void {
  const fresh = Object.entries(change).filter(([key, value]) => value !== "" && state.meta[key] !== value);
  if (fresh.length === 0) return;
  for (const [key, value] of fresh) state.meta[key] = value;
  out.push({ type: "meta", ...Object.fromEntries(fresh) });
}

/** Tells a piece of text, if there is one. */
export function say(piece: Piece | undefined, agent: string | undefined, out: FrameBody[]): void {
  if (piece !== undefined) out.push({ type: "text.delta", text: piece.text, message: piece.key, ...by(agent) });
}

/** Marks a frame as a subagent's. */
export function by(agent: string | undefined): { agent?: string } {
  return agent === undefined ? {} : { agent };
}

/** Tells the status that follows from asks, turn and Claude. */
export function showStatus(state: State, now: number, out: FrameBody[]): void {
  const elapsed = state.turn === undefined ? 0 : now - state.turn.since;
  // What Claude offers after a usage limit is closed by us, as is what a switch opens.
  const claude = state.switching || state.turn?.limit !== undefined ? "idle" : state.claude;
  if (waitsForPerson(state.asks) || claude === "waiting") {
    if (![...state.asks.values()].some(({ tool }) => tool !== undefined && state.tools.get(tool)?.started === false))
      setStatus(state, "waiting_for_input", elapsed, out);
  } else if (state.turn !== undefined || claude === "busy") setStatus(state, "working", elapsed, out);
  else restStatus(state, now, elapsed, out);
}

/** Nothing is going on: idle, or waiting for a usage limit to reset. */
export function restStatus(state: State, now: number, elapsed: number, out: FrameBody[]): void {
  if (state.limit !== undefined && state.limit > now) setStatus(state, "waiting_for_input", elapsed, out, state.limit);
  else setStatus(state, "idle", elapsed, out);
}

/** Tells this status, if it is another one now. `elapsed`: ms since the turn began; `limit`: when a usage limit resets. */
export function setStatus(state: State, status: SessionState, elapsed: number, out: FrameBody[], limit?: number): void {
  if ((state.status === status && state.limitTold === limit) || state.catchingUp) return;
  state.status = status;
  state.limitTold = limit;
  const until = limit === undefined ? {} : { limit_resets_at: limit };
  out.push({ type: "status", state: status, elapsed_ms: Math.max(0, elapsed), ...until });
}
