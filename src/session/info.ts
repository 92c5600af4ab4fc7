/** Info: what `sessions.get` and `sessions.list` tell of one session. */
import type { SessionId, SessionState } from "../frame/frame.ts";
import type { Log } from "./log.ts";
import type { Meta } from "./meta.ts";

export type Info = Readonly<Record<string, unknown>> & { readonly session: SessionId; readonly state: SessionState };

/** What is not in meta.json. */
export interface Now {
  readonly state: SessionState;
  readonly elapsedMs: number;
  /** Questions open. */
  readonly waiting: number;
  /** Texts not yet delivered. */
  readonly queued: number;
  readonly defaultModel: string;
  readonly log: Pick<Log, "epoch" | "first" | "last">;
}

export function infoOf(meta: Meta, { state, elapsedMs, waiting, queued, defaultModel, log }: Now): Info {
  return {
    session: meta.id,
    state,
    elapsed_ms: elapsedMs,
    ...(waiting > 0 && { waiting }),
    ...(meta.title !== undefined && { title: meta.title }),
    model: meta.running_model ?? (meta.model || defaultModel),
    workdir: meta.workdir,
    engine: meta.engine,
    bypass: meta.bypass,
    ...(meta.gate && { gate: meta.gate }),
    ...(meta.effort !== undefined && { effort: meta.effort }),
    ...(meta.mode !== undefined && { mode: meta.mode }),
    ...(meta.auto_continue && { auto_continue: true }),
    auth: meta.auth,
    ...(meta.version !== undefined && { version: meta.version }),
    created_at: meta.created_at,
    by: meta.by,
    epoch: log.epoch,
    first: log.first,
    last: log.last,
    queued,
    usage: meta.usage,
  };
}
