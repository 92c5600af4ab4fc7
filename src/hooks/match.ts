/** Match: whether a rule is about a subject. */
import { createContext, Script } from "node:vm";
import type { Rule } from "./rules.ts";
import { type Subject, textsOf } from "./subject.ts";

/** A pattern that needs longer counts as found: its hook looks closer, and the daemon has others to serve. */
const PATTERN_MS = 20;
/** Up to here a pattern with one open repetition takes 1,024² / 2 steps at most, under 5 ms on a small board. */
const SHORT_CHARS = 1024;

const context = createContext(Object.assign(Object.create(null) as object, { pattern: /(?:)/, text: "" }));
const bounded = new Script("pattern.test(text)");

export function isAbout(rule: Rule, subject: Subject): boolean {
  if (!rule.on.includes(subject.type) && !rule.on.includes("*")) return false;
  const { tool, text } = rule.match ?? {};
  if (tool !== undefined && !("tool" in subject && subject.tool !== undefined && glob(tool).test(subject.tool)))
    return false;
  if (text === undefined) return true;
  const pattern = new RegExp(text, "u");
  const hard = /\\[1-9k]/.test(text) || repetitions(text) > 1;
  return textsOf(subject).some((one) => (!hard && one.length <= SHORT_CHARS ? pattern.test(one) : found(pattern, one)));
}

/** A tool's name with `*` for anything: `Bash`, `mcp__*`. */
function glob(pattern: string): RegExp {
  const quoted = pattern.split("*").map((words) => words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${quoted.join(".*")}$`);
}

function repetitions(source: string): number {
  return source.match(/[*+]|\{\d+,\d*\}/g)?.length ?? 0;
}

/** A rule's pattern meets what Claude writes: some patterns take for ever over some texts. */
function found(pattern: RegExp, text: string): boolean {
  Object.assign(context, { pattern, text });
  try {
    return bounded.runInContext(context, { timeout: PATTERN_MS }) === true;
  } catch {
    return true;
  } finally {
    Object.assign(context, { pattern: /(?:)/, text: "" });
  }
}
