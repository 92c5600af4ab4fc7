/** Sink: what the fan-out writes to; every transport is one. */
import type { Encoded } from "./codec.ts";

/** Why the daemon ended an attachment; the client is told the name. */
export type CloseReason =
  | "detached"
  | "stopping"
  | "revoked"
  | "expired"
  | "too_far_behind"
  | "superseded"
  /** The client had asked for no more, or to wait no longer. */
  | "max_frames"
  | "wait_ms";

/** A reader that follows a session at its own pace. */
export interface Sink {
  /**
   * Hands one frame over. `ok`: taken. `full`: taken, but write nothing more until `drained()` is called
   * on the attachment. `gone`: not taken, the reader is no more.
   */
  write(frame: Encoded): "ok" | "full" | "gone";
  /** Retention pruned frames that this reader had not seen: the next frame has seq `to`. */
  gap(from: number, to: number): void;
  close(reason: CloseReason): void;
  /** Grows while the peer reads; asked while the sink is full. Left out: only `drained` says that it does. */
  taken?(): number;
}
