/** Select: the wanted frame types as a bitmask, so that skipping a frame costs one AND. */
import type { FrameTypeName } from "./frame.ts";
import { TYPES } from "./registry.ts";

/** Every numbered type; pty.raw only comes when its lane is asked for. */
export const EVERY =
  Object.values(TYPES).reduce((mask, type) => mask | (1 << type.number), 0) & ~(1 << TYPES["pty.raw"].number);

/** The mask of these types; undefined means all. */
export function maskOf(types: readonly FrameTypeName[] | undefined): number {
  if (types === undefined) return EVERY;
  return types.reduce((mask, type) => mask | (1 << TYPES[type].number), 0);
}
