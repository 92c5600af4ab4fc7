/** Log state: log.json beside the segments; it changes when a log is opened for writing or rests, never per frame. */
import * as v from "valibot";
import type { Lives } from "./epochs.ts";
import type { Clean } from "./segments.ts";

export const STATE_NAME = "log.json";

const whole = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const STATE = v.object({
  epoch: v.pipe(whole, v.minValue(1)),
  /** Earlier epochs with the last seq that survived each. */
  epochs: v.array(v.tuple([whole, whole])),
  /** There only while nothing is being written: how the files were left. */
  clean: v.optional(v.object({ seq: whole, ts: whole, segment: whole, bytes: whole })),
});

export interface LogState {
  readonly epoch: number;
  readonly epochs: Lives;
  readonly clean?: Clean | undefined;
}

/** Undefined when it is not understood: the caller then trusts nothing but the frames. */
export function parseState(bytes: Buffer): LogState | undefined {
  try {
    const result = v.safeParse(STATE, JSON.parse(bytes.toString()));
    return result.success ? result.output : undefined;
  } catch {
    return undefined;
  }
}

export function stateBytes(state: LogState): Buffer {
  return Buffer.from(`${JSON.stringify(state)}\n`);
}
