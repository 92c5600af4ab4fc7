/** Routes: every path of the HTTP API as one table; the router and the OpenAPI description both come from it. */
import type { CommandName } from "../../control/commands.ts";
import { CibError } from "../../errors.ts";

/** How a query value becomes a field: text as it is, a whole number, a comma-separated list, true or false. */
export type QueryKind = "text" | "whole" | "list" | "flag";

export interface Route {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** Segments that begin with ":" are named after the command field they fill. */
  readonly path: string;
  /** The command behind it, or what this transport does itself. */
  readonly does: CommandName | "events" | "openapi" | "socket" | "envelope" | "envelope.token";
  readonly summary: string;
  readonly query?: Readonly<Record<string, QueryKind>>;
  /** Whether a JSON or CBOR body fills the remaining fields. */
  readonly body?: true;
  /** Answers without a token. */
  readonly open?: true;
  /** Status of success where it is not 200. */
  readonly status?: 201;
}

const FROM = { from: "whole", epoch: "whole", types: "list" } as const;
const FOLLOW = { ...FROM, max_bytes: "whole", pty: "flag", pty_from: "whole" } as const;

export const ROUTES = [
  {
    method: "GET",
    path: "/api/health",
    does: "health",
    open: true,
    summary: "Status, version and uptime; with a token also isolation and encryption",
  },
  { method: "GET", path: "/api/openapi.json", does: "openapi", open: true, summary: "This description" },
  {
    method: "GET",
    path: "/api/sessions",
    does: "sessions.list",
    query: { cursor: "text", limit: "whole" },
    summary: "The sessions, those that need you first",
  },
  {
    method: "POST",
    path: "/api/sessions",
    does: "sessions.create",
    body: true,
    status: 201,
    summary: "Start a session",
  },
  { method: "GET", path: "/api/sessions/:session", does: "sessions.get", summary: "One session" },
  {
    method: "DELETE",
    path: "/api/sessions/:session",
    does: "sessions.stop",
    query: { signal: "text" },
    summary: "Stop it with its whole process tree; the log stays",
  },
  {
    method: "POST",
    path: "/api/sessions/:session/resume",
    does: "sessions.resume",
    body: true,
    summary: "A stopped session goes on: same id, seq continues",
  },
  {
    method: "POST",
    path: "/api/sessions/:session/input",
    does: "input",
    body: true,
    summary: "Text that is submitted, raw bytes, or keys",
  },
  {
    method: "GET",
    path: "/api/sessions/:session/queue",
    does: "queue.list",
    summary: "Inputs accepted and not yet delivered",
  },
  {
    method: "DELETE",
    path: "/api/sessions/:session/queue/:input",
    does: "queue.cancel",
    summary: "Cancel an input that is not yet delivered",
  },
  {
    method: "GET",
    path: "/api/sessions/:session/asks",
    does: "asks.list",
    summary: "Questions and permissions that wait for a person",
  },
  {
    method: "POST",
    path: "/api/sessions/:session/answer",
    does: "answer",
    body: true,
    summary: "Settle one: choices or text, or decision allow or deny",
  },
  {
    method: "POST",
    path: "/api/sessions/:session/model",
    does: "model",
    body: true,
    summary: "Switch the model; 202 when Claude has not confirmed within 5 s",
  },
  {
    method: "POST",
    path: "/api/sessions/:session/effort",
    does: "effort",
    body: true,
    summary: "Switch the effort",
  },
  {
    method: "POST",
    path: "/api/sessions/:session/mode",
    does: "mode",
    body: true,
    summary: "Switch the permission mode",
  },
  {
    method: "POST",
    path: "/api/sessions/:session/interrupt",
    does: "interrupt",
    body: true,
    summary: "Stop the turn, as Esc does",
  },
  {
    method: "POST",
    path: "/api/sessions/:session/resize",
    does: "resize",
    body: true,
    summary: "Terminal size; the last writer wins",
  },
  {
    method: "POST",
    path: "/api/sessions/:session/send",
    does: "send",
    body: true,
    summary: "Submit a text and wait for the end of the turn",
  },
  {
    method: "GET",
    path: "/api/sessions/:session/frames",
    does: "frames",
    query: { ...FROM, limit: "whole" },
    summary: "A page of frames and the verdict",
  },
  {
    method: "GET",
    path: "/api/sessions/:session/events",
    does: "events",
    query: FOLLOW,
    summary: "Server-sent events: the verdict, then frames as they come",
  },
  {
    method: "GET",
    path: "/api/conversations",
    does: "conversations.list",
    query: { cursor: "text", limit: "whole" },
    summary: "Claude's own conversations on this box, for adopt",
  },
  { method: "GET", path: "/api/hooks", does: "hooks.get", summary: "The merged hook rules, their secrets masked" },
  { method: "PUT", path: "/api/hooks", does: "hooks.put", body: true, summary: "Replace the user level of the hooks" },
  {
    method: "POST",
    path: "/api/login",
    does: "login.start",
    body: true,
    summary: "Begin a guided login: {url} to open",
  },
  { method: "GET", path: "/api/login", does: "login.status", summary: "Where the login stands" },
  {
    method: "POST",
    path: "/api/login/code",
    does: "login.code",
    body: true,
    summary: "The code that the page showed",
  },
  { method: "GET", path: "/api/tokens", does: "tokens.list", summary: "The device tokens, without their secrets" },
  {
    method: "POST",
    path: "/api/tokens",
    does: "tokens.create",
    body: true,
    status: 201,
    summary: "Make a device token; its secret is shown once",
  },
  {
    method: "DELETE",
    path: "/api/tokens/:token",
    does: "tokens.revoke",
    summary: "Revoke a token; its connections end at once",
  },
  {
    method: "GET",
    path: "/aes/token",
    does: "envelope.token",
    open: true,
    summary: "A token for the next sealed request, good for 120 s",
  },
  {
    method: "POST",
    path: "/aes",
    does: "envelope",
    open: true,
    summary: "Every command in one sealed request, for devices without TLS; docs/AES-TRANSPORT.md has its bytes",
  },
  {
    method: "GET",
    path: "/ws",
    does: "socket",
    query: { session: "text", ...FOLLOW },
    summary: "WebSocket: subprotocol cib.v1.cbor or cib.v1.json, and bearer.<token>",
  },
] as const satisfies readonly Route[];

/** Query keys under which people put tokens. A URL ends in logs and histories. */
const TOKEN_KEYS = new Set([
  "token",
  "access_token",
  "auth",
  "authorization",
  "bearer",
  "api_key",
  "apikey",
  "key",
  "secret",
  "jwt",
  "password",
]);

export interface Match {
  readonly route: Route;
  readonly params: Readonly<Record<string, string>>;
}

/** The route of a request. Throws `not_found`, or `method_not_allowed` naming what is allowed. HEAD counts as GET. */
export function match(method: string, path: string): Match {
  const wanted = method === "HEAD" ? "GET" : method;
  const given = path.split("/");
  const allowed: string[] = [];
  for (const route of ROUTES) {
    const params = fits(route.path, given);
    if (params === undefined) continue;
    if (route.method === wanted) return { route, params };
    allowed.push(...(route.method === "GET" ? ["GET", "HEAD"] : [route.method]));
  }
  if (allowed.length > 0) throw new MethodNotAllowed(method, allowed);
  throw new CibError("not_found", "path: there is nothing here; /api/openapi.json lists what there is");
}

/** A 405 has to name the methods that would do (RFC 9110 §15.5.6). */
export class MethodNotAllowed extends CibError {
  readonly allow: string;

  constructor(method: string, allowed: readonly string[]) {
    super("method_not_allowed", `method: expected ${allowed.join(" or ")}, got ${method.slice(0, 16)}`);
    this.allow = allowed.join(", ");
  }
}

/** Refuses a token in the query, whatever else is asked. Throws `token_in_url`. */
export function refuseTokens(query: string): void {
  if (query === "") return;
  for (const name of new URLSearchParams(query).keys()) {
    if (TOKEN_KEYS.has(name.toLowerCase()))
      throw new CibError("token_in_url", `query: a token in the URL (${name}) ends in logs`);
  }
}

/** The query as command fields. Throws `bad_request` naming the key. */
export function readQuery(query: string, known: Readonly<Record<string, QueryKind>> = {}): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  if (query === "") return fields;
  for (const [name, value] of new URLSearchParams(query)) {
    const kind = Object.hasOwn(known, name) ? known[name] : undefined;
    if (kind === undefined) {
      const names = Object.keys(known).join(", ") || "none";
      throw new CibError(
        "bad_request",
        `query: unknown key ${JSON.stringify(name.slice(0, 32))}; known here: ${names}`,
      );
    }
    if (Object.hasOwn(fields, name)) throw new CibError("bad_request", `${name}: given twice`);
    fields[name] = readValue(value, kind);
  }
  return fields;
}

const FLAGS: ReadonlyMap<string, boolean> = new Map([
  ["1", true],
  ["true", true],
  ["0", false],
  ["false", false],
]);

function readValue(value: string, kind: QueryKind): unknown {
  switch (kind) {
    case "text":
      return value;
    case "list":
      return value.split(",").filter((item) => item !== "");
    // What is no number, and no flag, goes on as the text it is: the schema refuses it in the same words on every transport.
    case "whole":
      return /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(value) ? Number(value) : value;
    case "flag":
      return FLAGS.get(value) ?? value;
    default:
      return kind satisfies never;
  }
}

function fits(pattern: string, given: readonly string[]): Record<string, string> | undefined {
  const wanted = pattern.split("/");
  if (wanted.length !== given.length) return undefined;
  const params: Record<string, string> = {};
  for (const [i, segment] of wanted.entries()) {
    const value = given[i] ?? "";
    if (!segment.startsWith(":")) {
      if (segment !== value) return undefined;
    } else if (value === "") {
      return undefined;
    } else {
      params[segment.slice(1)] = decoded(value);
    }
  }
  return params;
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new CibError("bad_request", "path: a broken % escape");
  }
}
