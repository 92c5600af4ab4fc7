/** Verdict: what a hook answers, as it came over stdout. */
import { isObject } from "./subject.ts";

/** A note of a hook, as JSON: for a person, not a store. */
export const MAX_NOTE_BYTES = 4 * 1024;
export const MAX_REASON_CHARS = 1024;

export type Verdict =
  | { readonly verdict: "pass" }
  | { readonly verdict: "rewrite"; readonly fields: Readonly<Record<string, unknown>> }
  | { readonly verdict: "block"; readonly reason: string }
  | { readonly verdict: "annotate"; readonly note: unknown };

/** The verdict in one JSON object; a sentence about what is wrong with it. `n` must be the event's where it is given. */
export function parseVerdict(text: string, n: number): Verdict | string {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    return text.trim() === "" ? "no verdict on stdout" : "stdout is not one JSON verdict";
  }
  if (!isObject(raw)) return "stdout is not one JSON verdict";
  const { verdict, n: echoed, ...rest } = raw;
  if (echoed !== undefined && echoed !== n) return `a verdict for event ${JSON.stringify(echoed)}, not ${n}`;
  switch (verdict) {
    case "pass":
      return { verdict };
    case "rewrite":
      return { verdict, fields: rest };
    case "block": {
      const { reason = "no reason given" } = rest;
      if (typeof reason !== "string") return "block: reason is no text";
      return { verdict, reason: reason.slice(0, MAX_REASON_CHARS).toWellFormed() };
    }
    case "annotate": {
      const bytes = Buffer.byteLength(JSON.stringify(rest["note"] ?? null));
      if (bytes > MAX_NOTE_BYTES) return `annotate: a note of ${bytes} bytes, more than ${MAX_NOTE_BYTES}`;
      return { verdict, note: rest["note"] ?? null };
    }
    default:
      return "verdict: expected pass, rewrite, block or annotate";
  }
}
