/** Fit: makes a body that would be too long for one line of the log fit: text in several frames, anything else shortened. */
import { jsonOf } from "../frame/codec.ts";
import type { Frame, FrameBody, Head } from "../frame/frame.ts";

/** Characters of text in one piece: at worst each becomes `\u0000`, 6 bytes, so 128 Ki × 6 = 768 KiB, under a line's 1 MiB. */
export const PIECE_CHARS = 128 * 1024;
/** Longest string, array or object that the first round of shortening leaves; each further round leaves a quarter. */
const FIRST_ROUND = 64 * 1024;
const LAST_ROUND = 16;
/** Deeper values are left out when a body has to be shortened. */
const MAX_DEPTH = 24;

export type Fitted = FrameBody & { readonly truncated?: number };

/** The bodies to log in place of one whose JSON line is `bytes` long, more than `max`. */
export function fit(body: FrameBody, bytes: number, max: number, head: Head): readonly Fitted[] {
  if (body.type === "text.delta" || body.type === "thinking") {
    const { text, ...rest } = body;
    if (text.length > PIECE_CHARS) return pieces(text).map((piece) => ({ ...rest, text: piece }) as FrameBody);
  }
  for (let most = FIRST_ROUND; most >= LAST_ROUND; most /= 4) {
    const short: Fitted = { ...(shorten(body, most, 0) as FrameBody), truncated: bytes };
    if (Buffer.byteLength(jsonOf({ ...head, ...short } as Frame)) <= max) return [short];
  }
  // Wide and deep at once: what nests goes, what is named stays.
  const flat = Object.entries(body).map(([key, value]) => [
    key,
    typeof value === "object" ? (Array.isArray(value) ? [] : null) : shorten(value, LAST_ROUND, 0),
  ]);
  return [{ ...(Object.fromEntries(flat) as FrameBody), type: body.type, truncated: bytes } as Fitted];
}

function pieces(text: string): string[] {
  const out: string[] = [];
  for (let at = 0; at < text.length; ) {
    const end = whole(text, Math.min(at + PIECE_CHARS, text.length));
    out.push(text.slice(at, end));
    at = end;
  }
  return out;
}

function shorten(value: unknown, most: number, depth: number): unknown {
  if (typeof value === "string") return value.length <= most ? value : value.slice(0, whole(value, most));
  if (typeof value !== "object" || value === null) return value;
  if (depth > MAX_DEPTH) return null;
  if (Array.isArray(value)) return value.slice(0, most).map((item) => shorten(item, most, depth + 1));
  const entries = Object.entries(value).slice(0, most);
  return Object.fromEntries(entries.map(([key, item]) => [key.slice(0, most), shorten(item, most, depth + 1)]));
}

/** A cut at or just before `end` that leaves no surrogate pair in two. */
function whole(text: string, end: number): number {
  const last = text.charCodeAt(end - 1);
  return end < text.length && last >= 0xd800 && last < 0xdc00 ? end - 1 : end;
}
