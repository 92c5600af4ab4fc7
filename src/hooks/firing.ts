/** Firing: what a hook frame says of one rule that fired. It never holds what a rewrite or a block has taken away. */
import type { Body } from "../frame/frame.ts";
import { referenceOf, type Subject } from "./subject.ts";

/** One rule that fired and what came of it. `error`: the verdict is the rule's `fail`, not the hook's. */
export interface Firing {
  readonly name: string;
  readonly verdict: "pass" | "rewrite" | "block" | "annotate";
  /** Milliseconds until the verdict. */
  readonly ms: number;
  readonly reason?: string;
  readonly error?: string;
  /** The beginning of what the hook said on stderr. */
  readonly stderr?: string;
  readonly note?: unknown;
  /** Events that were not shown to it since its last firing, because it was too slow. */
  readonly dropped?: number;
}

/**
 * The hook frames of one subject, in the order of firing. What a rule said before another one changed the subject may
 * quote what is gone now: then its note, its words on stderr and what it blocked with are left out.
 */
export function hookFrames(before: Subject, after: Subject | undefined, firings: readonly Firing[]): Body<"hook">[] {
  const lastChange = firings.findLastIndex(({ verdict }) => verdict === "rewrite" || verdict === "block");
  return firings.map(({ name, verdict, ms, reason, error, stderr, note, dropped }, at) => {
    const quiet = at <= lastChange;
    const payload = verdict === "annotate" && !quiet ? note : payloadOf(before, after, at === lastChange);
    const result = {
      verdict,
      ms,
      ...(reason !== undefined && { reason }),
      ...(error !== undefined && { error }),
      ...(stderr && !quiet && { stderr }),
      ...(quiet && verdict === "annotate" && { withheld: true }),
      ...(dropped && { dropped }),
    };
    return { type: "hook", name, event: before.type, ...(payload !== undefined && { payload }), result };
  });
}

/**
 * The reference, and for a text that was changed how many characters it had and has: after a restart the session must
 * know how much of a message was told (session/tail.ts).
 */
function payloadOf(before: Subject, after: Subject | undefined, changed: boolean): unknown {
  const reference = referenceOf(before);
  if (!changed || (before.type !== "text.delta" && before.type !== "thinking")) return reference;
  const is = after === undefined ? 0 : (after as typeof before).text.length;
  return { ...reference, was: before.text.length, is };
}
