/** Wire: answers of HTTP, as JSON or CBOR, and the headers around them. */
import { type CibError, errorBody } from "../../errors.ts";
import { type Format, pack } from "../values.ts";
import type { Exchange } from "./listener.ts";
import { MethodNotAllowed } from "./routes.ts";

/** On every response: nothing here is a page, a script, or for a cache. */
const HEADERS = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
} as const;

/** Seconds that a refused client waits where the refusal does not know better. */
const RETRY_AFTER_S = 1;

/** What the client wants to read. */
export function wantedFormat(exchange: Exchange): Format {
  return (exchange.request.headers.get("accept") ?? "").includes("application/cbor") ? "cbor" : "json";
}

/** Answers with a value. */
export function answer(exchange: Exchange, status: number, value: unknown, format: Format): void {
  exchange.respond(status, head(TYPE[format]), pack(value, format));
}

/** Answers with ready-made JSON text. */
export function answerText(exchange: Exchange, json: string | Buffer): void {
  exchange.respond(200, head(TYPE.json), json);
}

/** Answers with a row of the error table. */
export function refuse(exchange: Exchange, error: CibError, format: Format): void {
  const headers: Record<string, string> = head(TYPE[format]);
  const { status, retryable } = error.row;
  if (status === 401) headers["www-authenticate"] = 'Bearer realm="claude-in-box"';
  if (error instanceof MethodNotAllowed) headers["allow"] = error.allow;
  if (status === 429 || (retryable && status === 503))
    headers["retry-after"] = String(Math.ceil(error.retryAfterS ?? RETRY_AFTER_S));
  exchange.respond(status, headers, pack({ error: errorBody(error), ...error.partial }, format));
}

/** The headers of every answer with this content type. */
export function head(type: string): Record<string, string> {
  return { "content-type": type, ...HEADERS };
}

const TYPE = { json: "application/json", cbor: "application/cbor" } as const;
