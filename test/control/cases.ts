/** Cases: each command called in every way that needs scopes of its own, for the tables of authorisation. */
import type { Scope } from "../../src/auth/scopes.ts";
import type { CommandName } from "../../src/control/commands.ts";
import type { SessionId } from "../../src/frame/frame.ts";

export interface Case {
  readonly args: Readonly<Record<string, unknown>>;
  /** Scopes beyond the command's own that these arguments need. */
  readonly more?: readonly Scope[];
}

/** A session that there is not. */
export const NOBODY = "00000000-0000-4000-8000-000000000000" as SessionId;

/** At least one way to call each command; a new command does not compile before it stands here. */
export function casesFor(session: SessionId): Record<CommandName, readonly Case[]> {
  const id = { session };
  return {
    "sessions.list": [{ args: {} }],
    "sessions.get": [{ args: id }],
    "sessions.create": [
      { args: {} },
      { args: { env: { A: "b" } }, more: ["sessions:env"] },
      { args: { resume: session }, more: ["sessions:read"] },
      { args: { fork: session }, more: ["sessions:read"] },
      { args: { hooks: [] }, more: ["hooks:write"] },
      { args: { adopt: NOBODY }, more: ["sessions:read"] },
    ],
    "sessions.stop": [{ args: id }],
    "sessions.resume": [{ args: id }],
    input: [
      { args: { ...id, text: "hello" }, more: ["sessions:input"] },
      { args: { ...id, data: "x" }, more: ["pty:write"] },
      { args: { ...id, keys: ["Escape"] }, more: ["pty:write"] },
    ],
    "queue.list": [{ args: id }],
    "queue.cancel": [{ args: { ...id, input: "none" } }],
    "conversations.list": [{ args: {} }],
    "asks.list": [{ args: id }],
    answer: [{ args: { ...id, ask: "none/0", decision: "deny" } }],
    model: [{ args: { ...id, model: "opus" } }],
    effort: [{ args: { ...id, effort: "low" } }],
    mode: [{ args: { ...id, mode: "plan" } }],
    "hooks.get": [{ args: {} }],
    "hooks.put": [{ args: { hooks: [] } }],
    "login.start": [{ args: {} }],
    "login.status": [{ args: {} }],
    "login.code": [{ args: { code: "abc#def" } }],
    interrupt: [{ args: id }],
    resize: [{ args: { ...id, cols: 80, rows: 24 } }],
    frames: [{ args: id }],
    send: [{ args: { ...id, text: "hello" } }],
    "tokens.create": [{ args: { label: "child", scopes: ["tokens:write"] } }],
    "tokens.list": [{ args: {} }],
    "tokens.revoke": [{ args: { token: "none" } }],
    health: [{ args: {} }],
  };
}
