/** Limit: a session waits for its usage limit to reset; when that is over, and what is done then. Without clock and timer. */
import type { FrameBody } from "../frame/frame.ts";

/** After the reset: the API's clock and ours may differ, and a try that is too early only meets the limit again. */
export const LIMIT_MARGIN_MS = 10_000;
/** What a session with `auto_continue` asks when the limit is over. */
export const GO_ON = "Go on where the usage limit stopped you.";

export class Limit {
  #resetsAt: number | undefined;

  /**
   * Takes every frame of the session, in order, live and from the log at a start: a status with `limit_resets_at`
   * begins the waiting, any other status ends it. `stopped` does not: the limit goes on without Claude.
   */
  take(body: FrameBody): void {
    if (body.type !== "status" || body.state === "stopped") return;
    this.#resetsAt = body.state === "waiting_for_input" ? body.limit_resets_at : undefined;
  }

  /** When the waiting ends, ms since 1970: ask `over` then. Undefined: nothing is waited for. May have passed, after a restart. */
  get due(): number | undefined {
    return this.#resetsAt === undefined ? undefined : this.#resetsAt + LIMIT_MARGIN_MS;
  }

  /** When the limit resets, ms since 1970: for `AgentSpec.limitResetsAt`, so that a Claude started anew waits on. */
  get resetsAt(): number | undefined {
    return this.#resetsAt;
  }

  /** Ends the waiting when its time has come: true once, then the session tells `status` idle and may go on. */
  over(now: number): boolean {
    if (this.due === undefined || now < this.due) return false;
    return this.cancel();
  }

  /** Ends the waiting at once: an interrupt, somebody wants to try now. False where nothing was waited for. */
  cancel(): boolean {
    const waited = this.#resetsAt !== undefined;
    this.#resetsAt = undefined;
    return waited;
  }
}
