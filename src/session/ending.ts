/** Ending: why a session's Claude ends, what is still taken from it while it does, and what its log then says. */
import type { Exit } from "../agent/agent.ts";
import type { FrameBody } from "../frame/frame.ts";
import type { Tail } from "./tail.ts";

export class Ending {
  /** The reason of a stop under way: it was us. */
  stopping: string | undefined;
  /** There is no room for what Claude says: nothing of it is taken until it has ended. */
  deaf = false;
  #reason: string | undefined;

  /** Why it ends, known from the moment it does. */
  get reason(): string {
    return this.#reason ?? "crashed";
  }

  begins(how: Exit): void {
    this.#reason = this.stopping ?? (how.code === 0 ? "exit" : "crashed");
  }

  over(): void {
    this.#reason = undefined;
    this.deaf = false;
  }

  /** What to log of a frame from the agent: while Claude ends, the turn's end has the session's reason, and no state is told but stopped. */
  takes(body: FrameBody): FrameBody | undefined {
    if (this.deaf) return undefined;
    if (this.#reason === undefined) return body;
    if (body.type === "stop") return { type: "stop", reason: this.#reason };
    return body.type === "status" ? undefined : body;
  }
}

/** The last frames of a Claude that has ended, in order: each is to be logged before the next is asked for. */
export function* lastFrames(tail: Tail, how: Exit, reason: string, now: number): Generator<FrameBody> {
  yield* tail.closing(reason, now);
  if (tail.lastStop !== reason) yield { type: "stop", reason };
  if (how.words) yield { type: "error", code: "claude_failed", message: how.words };
  yield { type: "status", state: "stopped", elapsed_ms: tail.elapsed(now) };
}
