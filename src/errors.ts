/** The one error table: every refusal on every transport is a row of it. */

interface ErrorRow {
  /** HTTP status of the reply. */
  readonly status: number;
  /** WebSocket close code where the error ends a connection (4000 + status: RFC 6455 §7.4.2, private use). */
  readonly close: number;
  /** Whether the same call may succeed later, unchanged. */
  readonly retryable: boolean;
  /** Who has to act. */
  readonly fault: "caller" | "box" | "claude";
  /** What to do, for docs/ERRORS.md. */
  readonly advice: string;
}

const row = (status: number, fault: ErrorRow["fault"], retryable: boolean, advice: string): ErrorRow => ({
  status,
  close: 4000 + status,
  retryable,
  fault,
  advice,
});

export const ERRORS = {
  bad_request: row(400, "caller", false, "Correct the field that the message names."),
  unauthorized: row(
    401,
    "caller",
    false,
    "Send a valid token in Authorization: Bearer or in the WebSocket subprotocol.",
  ),
  token_in_url: row(
    400,
    "caller",
    false,
    "Never put a token in a URL: use the Authorization header. Revoke this one, it may be logged.",
  ),
  forbidden: row(403, "caller", false, "Use a token whose scopes, sessions and tenant cover this."),
  bad_origin: row(403, "caller", false, "Reach the box by a name listed in CIB_HOSTS."),
  plain_refused: row(403, "caller", false, "Use HTTPS, or widen CIB_PLAIN."),
  not_found: row(404, "caller", false, "Check the path or the id; list what exists."),
  method_not_allowed: row(405, "caller", false, "Use the method that docs/HTTP-API.md names."),
  timeout: row(408, "caller", true, "The turn goes on; read its frames, or wait longer."),
  conflict: row(409, "caller", false, "The session is not in a state that allows this; get it first."),
  ask_settled: row(409, "caller", false, "Someone was faster: the ask.answer frame says who, and what."),
  hook_blocked: row(403, "caller", false, "A hook of this box refuses it: the message says which and why."),
  id_conflict: row(409, "caller", false, "This id was used for another command: choose a new id."),
  no_terminal: row(409, "caller", false, "This session has no terminal; create one with engine pty."),
  too_large: row(413, "caller", false, "Send less at once; the message names the limit."),
  slow_down: row(429, "caller", true, "Wait as long as Retry-After says."),
  ids_full: row(429, "caller", true, "Too many command ids in 24 hours; wait, or send without id."),
  queue_full: row(429, "caller", true, "Too many inputs wait; let Claude work, or cancel some."),
  headers_too_large: row(431, "caller", false, "Send fewer or shorter headers."),
  too_far_behind: row(480, "caller", true, "The client did not read; attach again from its last seq."),
  internal: row(500, "box", false, "A fault of ours: see the daemon's log and report it."),
  not_implemented: row(501, "box", false, "This build does not have it."),
  claude_failed: row(502, "claude", true, "Claude Code did not start or did not obey; run cib doctor."),
  overloaded: row(503, "box", true, "The box is at its limit; try again later."),
  stopping: row(503, "box", true, "The box is stopping; reconnect in a moment."),
  disk_full: row(507, "box", true, "The box's disk is full: free space in CIB_DATA."),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

/** A refusal that a client may see: `code` is a row of ERRORS, `message` says what arrived and what is wanted. */
export class CibError extends Error {
  readonly code: ErrorCode;
  /** Seconds to wait before another try, where the box knows. */
  readonly retryAfterS: number | undefined;
  /** What there is so far, beside the error in the reply (`send`). */
  readonly partial: Readonly<Record<string, unknown>> | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options?: { cause?: unknown; retryAfterS?: number; partial?: Readonly<Record<string, unknown>> },
  ) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.name = "CibError";
    this.code = code;
    this.retryAfterS = options?.retryAfterS;
    this.partial = options?.partial;
  }

  get row(): ErrorRow {
    return ERRORS[this.code];
  }
}

/** The wire form of an error, the same on every transport. */
export interface ErrorBody {
  readonly code: ErrorCode;
  readonly message: string;
  readonly retryable: boolean;
}

/** Whatever was thrown, as a CibError: unknown faults become `internal` without their text, which may hold secrets. */
export function asCibError(thrown: unknown): CibError {
  if (thrown instanceof CibError) return thrown;
  if (isDiskFull(thrown)) return new CibError("disk_full", "the disk under CIB_DATA is full", { cause: thrown });
  return new CibError("internal", "internal error", { cause: thrown });
}

export function errorBody(error: CibError): ErrorBody {
  return { code: error.code, message: error.message, retryable: error.row.retryable };
}

/** ENOSPC and EDQUOT mean the same to a person: no room. */
export function isDiskFull(thrown: unknown): boolean {
  const code = (thrown as { code?: unknown } | null)?.code;
  return code === "ENOSPC" || code === "EDQUOT";
}
