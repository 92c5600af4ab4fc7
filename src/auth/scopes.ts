/** Scopes: what a token may do. Each command names the ones it needs (control/commands.ts). */
export const SCOPES = [
  "sessions:read",
  "sessions:write",
  /** Implies whatever the session's own credential can do: Claude obeys the text. */
  "sessions:input",
  "sessions:answer",
  "sessions:env",
  "pty:read",
  /** Like sitting at the terminal: can also answer dialogs. */
  "pty:write",
  "tokens:read",
  "tokens:write",
  "hooks:read",
  "hooks:write",
  "login:read",
  "login:write",
  "metrics:read",
  "fs:read",
] as const;

export type Scope = (typeof SCOPES)[number];
