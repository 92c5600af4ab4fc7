/** Failures: how a turn ends that the API has failed, and what a reached usage limit makes of it. */
import type { FrameBody } from "../frame/frame.ts";
import type { Json } from "./json.ts";
import type { State } from "./state.ts";
import { end, SETTLE_MS } from "./turns.ts";
import { limitIn, resetIn } from "./usage-limit.ts";

/** Claude inherits the daemon's; its words name the zone in every version tested. */
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Claude said that the turn has failed: `code` in its words, `message` for people. */
export function failed(state: State, code: string, message: string, now: number, out: FrameBody[]): void {
  const limit = code === "rate_limit" ? limitIn(message, now, ZONE) : undefined;
  const told = limit === undefined ? code : "usage_limit";
  out.push({ type: "error", code: told, message });
  if (limit !== undefined && state.turn !== undefined) state.turn.limit = limit;
  end(state, `error:${told}`, now, SETTLE_MS, true);
}

/** The transcript's account of it may know the reset to the second. */
export function learnReset(state: State, line: Json, now: number): void {
  const resetsAt = resetIn(line, now);
  if (resetsAt !== undefined && state.turn?.limit !== undefined) state.turn.limit = { resetsAt };
}
