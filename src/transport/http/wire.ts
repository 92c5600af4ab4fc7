/** Wire: values in and out of HTTP and WebSocket, as JSON or CBOR, and the headers around them. */
import { CibError, errorBody } from "../../errors.ts";
import { decodeValue, Encoded, encodeValue } from "../../frame/codec.ts";
import type { Exchange } from "./listener.ts";
import { MethodNotAllowed } from "./routes.ts";

export type Format = "json" | "cbor";

const UTF8 = new TextDecoder("utf-8", { fatal: true });

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

/** The bytes of a value; frames inside it as their flat objects. */
export function pack(value: unknown, format: Format): Buffer {
  if (format === "json") return Buffer.from(JSON.stringify(value, (_, item: unknown) => plain(item)));
  return encodeValue(flat(value));
}

/** One JSON text or CBOR item. Throws `bad_request` saying where; `what` names the place. */
export function unpack(bytes: Buffer, format: Format, what: string): unknown {
  if (format === "cbor") {
    try {
      return decodeValue(bytes);
    } catch (cause) {
      throw new CibError("bad_request", `${what}: ${(cause as Error).message}`, { cause });
    }
  }
  let text: string;
  try {
    text = UTF8.decode(bytes);
  } catch (cause) {
    throw new CibError("bad_request", `${what}: not UTF-8`, { cause });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CibError("bad_request", `${what}: not JSON: ${(cause as Error).message}`, { cause });
  }
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

function plain(item: unknown): unknown {
  if (item instanceof Encoded) return item.frame();
  return item instanceof Uint8Array ? Buffer.from(item).toString("base64") : item;
}

/** The same for CBOR, where bytes stay bytes; only lists of frames hold frames. */
function flat(value: unknown): unknown {
  if (value instanceof Encoded) return value.frame();
  if (Array.isArray(value)) return value.map(flat);
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, flat(item)]));
}
