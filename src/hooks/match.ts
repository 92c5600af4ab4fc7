/** Match: whether a rule is about a subject. */
import { createContext, Script } from "node:vm";
import { fits } from "../wildcard.ts";
import type { Rule } from "./rules.ts";
import { type Subject, textsOf } from "./subject.ts";

/** A pattern that needs longer counts as found: its hook looks closer, and the daemon has others to serve. */
const PATTERN_MS = 20;
/** Up to here a pattern with one open repetition takes 1,024² / 2 steps at most, under 5 ms on a small board. */
const SHORT_CHARS = 1024;

const context = createContext(Object.assign(Object.create(null) as object, { pattern: /(?:)/, texts: [] as string[] }));
const bounded = new Script("texts.some((one) => pattern.test(one))");

interface Compiled {
  readonly pattern: RegExp;
  /** It may take longer than the text is long. */
  readonly hard: boolean;
}

/** By source: at most those of the rules in force, a few hundred. */
const COMPILED = new Map<string, Compiled>();
const MAX_COMPILED = 1024;

function compiled(source: string): Compiled {
  let found = COMPILED.get(source);
  if (found === undefined) {
    if (COMPILED.size >= MAX_COMPILED) COMPILED.clear();
    found = { pattern: new RegExp(source, "u"), hard: /\\[1-9k]/.test(source) || repetitions(source) > 1 };
    COMPILED.set(source, found);
  }
  return found;
}

export function isAbout(rule: Rule, subject: Subject): boolean {
  if (!rule.on.includes(subject.type) && !rule.on.includes("*")) return false;
  const { tool, text } = rule.match ?? {};
  if (tool !== undefined && !("tool" in subject && subject.tool !== undefined && fits(tool, subject.tool)))
    return false;
  if (text === undefined) return true;
  const { pattern, hard } = compiled(text);
  const texts = textsOf(subject);
  if (!hard && texts.every((one) => one.length <= SHORT_CHARS)) return texts.some((one) => pattern.test(one));
  // One budget for all of them, however many a tool's output has.
  return found(pattern, texts);
}

function repetitions(source: string): number {
  return source.match(/[*+]|\{\d+,\d*\}/g)?.length ?? 0;
}

/** A rule's pattern meets what Claude writes: some patterns take for ever over some texts. */
function found(pattern: RegExp, texts: readonly string[]): boolean {
  Object.assign(context, { pattern, texts });
  try {
    return bounded.runInContext(context, { timeout: PATTERN_MS }) === true;
  } catch {
    return true;
  } finally {
    Object.assign(context, { pattern: /(?:)/, texts: [] });
  }
}
