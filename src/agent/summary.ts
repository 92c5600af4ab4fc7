/** Summary: what a tool is about to do, on one honest line, for whoever has to allow it on a small screen. */
import { at, text } from "./json.ts";

/** Longest summary, in characters: three lines of a phone; longer input stands in full beside it. */
export const MAX_SUMMARY_CHARS = 200;
/** Ends a summary that was cut. Whatever was cut off could be the part that matters, so it never goes without a mark. */
const CUT = "…";

/** The fields that say most, in this order, for the tools whose input is known. */
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  Bash: ["command"],
  Read: ["file_path"],
  Write: ["file_path"],
  Edit: ["file_path"],
  MultiEdit: ["file_path"],
  NotebookEdit: ["notebook_path"],
  NotebookRead: ["notebook_path"],
  Glob: ["pattern"],
  Grep: ["pattern"],
  LS: ["path"],
  WebFetch: ["url"],
  WebSearch: ["query"],
  Task: ["description", "prompt"],
  Agent: ["description", "prompt"],
  Skill: ["skill"],
  ExitPlanMode: ["plan"],
};

/** At most `MAX_SUMMARY_CHARS` characters, never empty, without anything that a screen would not show. */
export function summaryOf(tool: string, input: unknown): string {
  const field = FIELDS[tool]?.map((name) => text(at(input, name))).find((value) => value !== undefined && value !== "");
  // JSON has doubled its backslashes already.
  return cut(field === undefined ? seen(compact(input)) : visible(field));
}

/**
 * Everything that is not seen as itself, made visible: line ends and tabs as \n, \r, \t; other control characters,
 * escapes, direction overrides, zero-width and look-alike blanks, unassigned and lone half characters as \u{…}. A
 * backslash is doubled, so that no text can look like one of these.
 */
export function visible(raw: string): string {
  return seen(raw.replaceAll("\\", "\\\\"));
}

function seen(raw: string): string {
  let shown = "";
  for (const char of raw) shown += NAMED[char] ?? (HIDDEN.test(char) ? coded(char) : char);
  return shown;
}

const NAMED: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/**
 * Cc control, Cf format (bidi, zero width, tags), Cs lone surrogates, Co private, Cn unassigned, Zl and Zp separators,
 * Zs blanks other than the plain one, and what is drawn as nothing though it is a letter, a mark or a symbol.
 */
const HIDDEN =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\u{a0}\u{1680}\u{2000}-\u{200a}\u{202f}\u{205f}\u{3000}\p{Default_Ignorable_Code_Point}\u{2800}\p{Me}]/u;

function coded(char: string): string {
  return `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`;
}

/** Whole escapes only: half of one would read as something else. */
function cut(line: string): string {
  if (line.length <= MAX_SUMMARY_CHARS) return line;
  const room = MAX_SUMMARY_CHARS - CUT.length;
  let kept = "";
  for (const [piece] of line.matchAll(/\\u\{[0-9a-f]+\}|\\.|[\s\S]/gu)) {
    if (kept.length + piece.length > room) break;
    kept += piece;
  }
  return kept + CUT;
}

function compact(input: unknown): string {
  return JSON.stringify(input ?? {}) ?? "{}";
}
