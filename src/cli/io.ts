/** What a command of the command line may touch: so that tests can stand where the terminal is. */
export interface Io {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Results: what a script would read. */
  readonly out: (text: string) => void;
  /** Everything said to the person beside it. */
  readonly err: (text: string) => void;
  /** One line that the person types; left out: standard input. */
  readonly line?: (stop: AbortSignal) => Promise<string>;
}

/** 0: done. 1: it did not work. 2: the command line was wrong. */
export const EXIT = { ok: 0, failed: 1, usage: 2 } as const;

/** The command line was wrong: the message says how. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** It did not work, and the message tells a person all there is to tell: no stack. */
export class Failure extends Error {
  override readonly name = "Failure";
}
