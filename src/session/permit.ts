/** Permit: a session's gate, the patterns that say which calls of a tool wait for a person. */

import { fits } from "../wildcard.ts";

/** `Tool` or `Tool(words)`, each with `*` for anything: `Bash`, `Bash(git push*)`, `mcp__*`, `Write(/etc/*)`. */
const PATTERN = /^([\w*][\w*:.-]{0,127})(?:\(([^\n]{1,512})\))?$/;

/** Undefined when it is a pattern; else what is wrong with it. */
export function patternFault(pattern: string): string | undefined {
  return PATTERN.test(pattern)
    ? undefined
    : `expected Tool or Tool(pattern), got ${JSON.stringify(pattern.slice(0, 40))}`;
}

/** The tools that a gate is about, with `*` as they were given. */
export function toolsOf(gate: readonly string[]): string[] {
  return [...new Set(gate.map((pattern) => PATTERN.exec(pattern)?.[1] ?? "*"))];
}

/** Whether this call of a tool waits for a person. Where a pattern looks into the input, any part of it that could run counts. */
export function isGated(gate: readonly string[], tool: string, input: unknown): boolean {
  return gate.some((pattern) => {
    const [, name = "*", inner] = PATTERN.exec(pattern) ?? [];
    if (!fits(name, tool)) return false;
    // Claude's own notation for a prefix, `git push:*`, means the same as `git push*`.
    const words = inner?.replace(/:\*$/, "*");
    return words === undefined || partsOf(input).some((part) => fits(words, part));
  });
}

/** Every text in the input, whole and cut where a shell would begin another command. */
function partsOf(input: unknown): string[] {
  const texts = textsOf(input);
  const pieces = texts.flatMap((text) => text.split(/&&|\|\||[;|&\n`(){}]|\$\(/).map((piece) => piece.trim()));
  // A shell reads any white space as one blank.
  return [...texts, ...pieces, ...pieces.map((piece) => piece.replace(/\s+/g, " "))];
}

function textsOf(value: unknown): string[] {
  if (typeof value === "string") return [value, value.trim()];
  if (typeof value !== "object" || value === null) return [];
  return Object.values(value).flatMap(textsOf);
}
