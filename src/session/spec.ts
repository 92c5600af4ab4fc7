/** Spec: what an engine is told to start, made from what the session knows of itself. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { AgentSpec, Credential, Seen } from "../agent/agent.ts";
import { CibError } from "../errors.ts";
import type { Box, Secrets } from "./box.ts";
import type { Meta } from "./meta.ts";
import { toolsOf } from "./permit.ts";

/** What only this start knows. */
export interface Occasion {
  readonly credential: Credential;
  readonly env: Readonly<Record<string, string>>;
  /** Terminal size in characters. */
  readonly size: { readonly cols: number; readonly rows: number };
  readonly seen: Seen;
  /** A usage limit that is still waited for, ms since 1970. */
  readonly resetsAt: number | undefined;
}

/** The first start begins a conversation, or forks another one; every later one resumes it. */
export function specOf(
  meta: Meta,
  settings: Box["settings"],
  { credential, env, size, seen, resetsAt }: Occasion,
): AgentSpec {
  const { home, thinking, tap, baseUrl, user } = settings;
  const fork = meta.started ? undefined : meta.fork_of;
  return {
    session: meta.id,
    conversation: meta.conversation,
    start: fork === undefined ? (meta.started ? "resume" : "new") : { fork },
    workdir: meta.workdir,
    model: meta.model || settings.model,
    ...(meta.effort !== undefined && { effort: meta.effort }),
    engine: meta.engine,
    bypass: meta.bypass,
    ...(meta.gate && { gated: toolsOf(meta.gate) }),
    askTimeoutS: meta.ask_timeout_s ?? settings.askTimeoutS,
    ...size,
    home,
    configDir: configDirOf(home, credential),
    projectsDir: join(home, ".claude", "projects"),
    runDir: join(home, ".claude-in-box", meta.id),
    ...(user && { user }),
    credential,
    env,
    ...(baseUrl !== undefined && { baseUrl }),
    thinking,
    tap,
    ...(resetsAt !== undefined && { limitResetsAt: resetsAt }),
    ...(meta.position && { position: meta.position }),
    seen,
  };
}

/** What pays for a start and what it adds to the environment. Throws `conflict` when the box cannot tell any more. */
export function launchOf(
  meta: Meta,
  box: Pick<Box, "unseal" | "credential">,
  secrets: Secrets | undefined,
): Pick<Occasion, "credential" | "env"> {
  const kept = meta.sealed === undefined ? {} : box.unseal(meta.sealed, meta.id);
  if (kept === undefined && secrets === undefined)
    throw new CibError(
      "conflict",
      "this session's key is sealed under an earlier CIB_AUTH_TOKEN; set CIB_AUTH_TOKEN_PREVIOUS, or create a new session",
    );
  const { key, env = {} } = { ...kept, ...secrets };
  return { credential: box.credential(meta.auth, key), env };
}

/** Claude keeps a login, and a trace of every key it was given, in its configuration: one folder for each credential. */
function configDirOf(home: string, credential: Credential): string {
  if (credential.mode === "subscription") return join(home, ".claude");
  const name = createHash("sha256").update(`config of ${credential.key}`).digest("hex").slice(0, 16);
  return join(home, ".claude-in-box", "config", name);
}
