/** Fit: makes a body that would be too long for one line of the log fit: text in several frames, anything else shortened. */
import { shortened } from "../frame/fit.ts";
import type { Frame, FrameBody, Head } from "../frame/frame.ts";

/** Characters of text in one piece: at worst each becomes `\u0000`, 6 bytes, so 128 Ki × 6 = 768 KiB, under a line's 1 MiB. */
export const PIECE_CHARS = 128 * 1024;

export type Fitted = FrameBody & { readonly truncated?: number };

/** The bodies to log in place of one whose JSON line is `bytes` long, more than `max`. */
export function fit(body: FrameBody, bytes: number, max: number, head: Head): readonly Fitted[] {
  if (body.type === "text.delta" || body.type === "thinking") {
    const { text, ...rest } = body;
    if (text.length > PIECE_CHARS) return pieces(text).map((piece) => ({ ...rest, text: piece }) as FrameBody);
  }
  const { session: _session, seq: _seq, ts: _ts, ...short } = shortened({ ...head, ...body } as Frame, bytes, max);
  return [short as Fitted];
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

/** A cut at or just before `end` that leaves no surrogate pair in two. */
function whole(text: string, end: number): number {
  const last = text.charCodeAt(end - 1);
  return end < text.length && last >= 0xd800 && last < 0xdc00 ? end - 1 : end;
}
