/** Spec: what an engine is told to start, made from what the session knows of itself. */
import { join } from "node:path";
import type { AgentSpec, Credential, Seen } from "../agent/agent.ts";
import type { Box } from "./box.ts";
import type { Meta } from "./meta.ts";

/** What only this start knows. */
export interface Occasion {
  readonly credential: Credential;
  readonly env: Readonly<Record<string, string>>;
  /** Terminal size in characters. */
  readonly size: { readonly cols: number; readonly rows: number };
  readonly seen: Seen;
}

/** The first start begins a conversation, or forks another one; every later one resumes it. */
export function specOf(meta: Meta, settings: Box["settings"], { credential, env, size, seen }: Occasion): AgentSpec {
  const { home, thinking, baseUrl, user } = settings;
  const fork = meta.started ? undefined : meta.fork_of;
  return {
    session: meta.id,
    conversation: meta.conversation,
    start: fork === undefined ? (meta.started ? "resume" : "new") : { fork },
    workdir: meta.workdir,
    model: meta.model || settings.model,
    ...(meta.effort !== undefined && { effort: meta.effort }),
    bypass: meta.bypass,
    ...size,
    home,
    configDir: join(home, ".claude"),
    runDir: join(home, ".claude-in-box", meta.id),
    ...(user && { user }),
    credential,
    env,
    ...(baseUrl !== undefined && { baseUrl }),
    thinking,
    ...(meta.position && { position: meta.position }),
    seen,
  };
}
