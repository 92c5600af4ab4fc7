/** Parser: what the fuzzer drives: something that takes bytes from strangers, with the only way in which it may fail. */
import { CibError } from "../../src/errors.ts";

export interface Parser {
  readonly name: string;
  /** What is well-formed, for a start. */
  readonly seeds: readonly Uint8Array[];
  /** Throws where the parser does what it must not. */
  run(input: Uint8Array): void;
  /** Throws what a run has left behind, a turn of the loop later. */
  settled?(): void;
}

export const text = (input: Uint8Array): string => Buffer.from(input).toString();
export const bytes = (value: string): Uint8Array => Buffer.from(value);
export const SESSION = "0190f0c2-7a11-7c33-9a55-1234567890ab";

/** Runs; only these errors are answers, every other is a find. */
export function only(kinds: readonly (abstract new (...args: never[]) => Error)[], act: () => void): void {
  try {
    act();
  } catch (thrown) {
    if (thrown instanceof CibError && thrown.code === "internal") throw thrown;
    if (!kinds.some((kind) => thrown instanceof kind)) throw thrown;
  }
}
