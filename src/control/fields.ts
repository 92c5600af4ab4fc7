/** Fields: what commands are made of, checked: ids, names, texts, sizes. */
import * as v from "valibot";
import { type FrameTypeName, sessionId } from "../frame/frame.ts";
import { TYPES } from "../frame/registry.ts";
import { patternFault } from "../session/permit.ts";

/** Longest text of one input, in UTF-8 bytes: a prompt, not a file. */
export const MAX_INPUT_BYTES = 256 * 1024;
/** Longest client-chosen command id, in UTF-8 bytes (FRAMES, exactly once). */
export const MAX_COMMAND_ID_BYTES = 64;
export const MAX_TITLE_BYTES = 200;
/** Smallest max_bytes an attach may ask for: a head, a few fields and the part marker fit. */
export const MIN_MAX_BYTES = 128;
/** Frames in one page of `frames`. */
export const MAX_PAGE_FRAMES = 1000;
/** Longest a `send` may wait: one hour. */
export const MAX_SEND_WAIT_MS = 3_600_000;

/** Longest free text of an answer or of a reason to deny, in UTF-8 bytes. */
export const MAX_ANSWER_BYTES = 8192;
/** `<tool use>/<n>`: Claude's own ids have about 30 characters. */
export const MAX_ASK_ID_BYTES = 160;
/** Claude asks with at most four options; a person may name them all. */
export const MAX_CHOICES = 32;
/** Patterns of one gate. */
export const MAX_PATTERNS = 64;
/** Keys by name, as `input {keys}` takes them, and the bytes a terminal sends for each (xterm, normal mode). */
export const KEYS = {
  Enter: "\r",
  Escape: "\x1b",
  Tab: "\t",
  "Shift+Tab": "\x1b[Z",
  Backspace: "\x7f",
  Delete: "\x1b[3~",
  Up: "\x1b[A",
  Down: "\x1b[B",
  Right: "\x1b[C",
  Left: "\x1b[D",
  Home: "\x1b[H",
  End: "\x1b[F",
  PageUp: "\x1b[5~",
  PageDown: "\x1b[6~",
  Space: " ",
  "Ctrl+C": "\x03",
  "Ctrl+D": "\x04",
  "Ctrl+L": "\x0c",
  "Ctrl+O": "\x0f",
  "Ctrl+R": "\x12",
  "Ctrl+T": "\x14",
  "Ctrl+U": "\x15",
} as const;

export const bytes = (max: number) =>
  v.check<string, string>((s) => Buffer.byteLength(s) <= max, `longer than ${max} bytes`);
export const id = v.pipe(v.string(), v.minLength(1, "empty"), bytes(MAX_COMMAND_ID_BYTES));
export const session = v.pipe(
  v.string(),
  v.transform((s) => sessionId(s)),
  v.check((s) => s !== undefined, "expected a session id (lower-case UUID)"),
  v.transform((s) => s as NonNullable<typeof s>),
);
export const whole = v.pipe(
  v.number(),
  v.safeInteger("expected a whole number"),
  v.minValue(0, "expected a number ≥ 0"),
);
/** A lone surrogate would be one thing in JSON and another in CBOR. */
export const wellFormed = v.check<string, string>((s) => s.isWellFormed(), "not well-formed Unicode");
export const label = v.pipe(
  v.string(),
  v.minLength(1, "empty"),
  bytes(MAX_TITLE_BYTES),
  wellFormed,
  v.check((s) => !hasControls(s) && !/[\t\n]/.test(s), "holds control characters"),
);
export const name = v.pipe(
  v.string(),
  v.regex(/^\w[\w.:[\]@/-]{0,127}$/, "expected letters, digits and . : - _ / [ ] @, at most 128"),
);
export const effort = v.picklist(["low", "medium", "high", "xhigh", "max"]);
/** Claude's permission modes; which of them a session can reach is the agent's to say. */
export const mode = v.picklist(["default", "acceptEdits", "plan", "bypassPermissions"]);
export const pattern = v.pipe(
  v.string(),
  v.check(
    (s) => patternFault(s) === undefined,
    (issue) => patternFault(issue.input) ?? "",
  ),
);
export const conversation = v.pipe(
  v.string(),
  v.check((s) => sessionId(s) !== undefined, "expected a conversation id (lower-case UUID)"),
);
/** Below 2 Claude's layout breaks, above 1,000 nobody reads. */
export const side = v.pipe(whole, v.minValue(2, "expected at least 2"), v.maxValue(1000, "expected at most 1000"));
export const types = v.array(v.picklist(Object.keys(TYPES) as FrameTypeName[]));
export const env = v.pipe(
  v.record(
    v.pipe(v.string(), v.regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, "expected a variable name")),
    v.pipe(
      v.string(),
      bytes(32_768),
      v.check((s) => !s.includes("\0"), "holds a NUL byte"),
    ),
  ),
  v.check((e) => Object.keys(e).length <= 64, "more than 64 variables"),
);
export const auth = v.variant("mode", [
  v.strictObject({ mode: v.literal("subscription") }),
  v.strictObject({
    mode: v.literal("api_key"),
    key: v.optional(v.pipe(v.string(), v.regex(/^[\x21-\x7e]{20,512}$/, "expected an API key"))),
  }),
]);

/** Tab and newline are text; the rest of C0, DEL and a bracketed-paste end would steer the terminal. */
export function hasControls(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f]/.test(text);
}
