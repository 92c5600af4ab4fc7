/** Merge: three levels of rules become one list; what a level has locked, no later one can undo, shadow or get behind. */
import type { Rule } from "./rules.ts";

export const LEVELS = ["image", "user", "session"] as const;
export type Level = (typeof LEVELS)[number];

/** A rule and where it comes from. */
export interface Placed {
  readonly rule: Rule;
  readonly level: Level;
}

/** A rule that was left out because an earlier level has locked its name. */
export interface Refused {
  readonly name: string;
  readonly level: Level;
  readonly by: Level;
}

export interface Merged {
  /** In the order in which they judge. */
  readonly rules: readonly Placed[];
  readonly refused: readonly Refused[];
}

/**
 * A later level replaces a rule of the same name unless it is locked. Locked rules judge last, the image's after the
 * user's: whatever another rule has made of a frame or a call, they see it as it will be.
 */
export function merge(levels: Readonly<Record<Level, readonly Rule[]>>): Merged {
  const byName = new Map<string, Placed>();
  const refused: Refused[] = [];
  for (const level of LEVELS) {
    for (const rule of levels[level]) {
      const before = byName.get(rule.name);
      if (before?.rule.locked && before.level !== level) refused.push({ name: rule.name, level, by: before.level });
      else byName.set(rule.name, { rule, level });
    }
  }
  const placed = [...byName.values()];
  const rules = [
    ...LEVELS.flatMap((level) => placed.filter((one) => one.level === level && !isLast(one))),
    ...[...LEVELS].reverse().flatMap((level) => placed.filter((one) => one.level === level && isLast(one))),
  ];
  return { rules, refused };
}

/** No level comes after the session's own: `locked` means nothing there. */
function isLast({ rule, level }: Placed): boolean {
  return rule.locked === true && level !== "session";
}
