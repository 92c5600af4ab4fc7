/** Runner: a hook started anew for each event, asked once. */
import { Child, type Place } from "./child.ts";
import type { RunRule } from "./rules.ts";

/** Longest answer of a hook, in bytes; a rewritten text has room in it. */
export const MAX_STDOUT_BYTES = 64 * 1024;

/** What came of asking a hook. */
export interface Answer {
  /** What it wrote on stdout. */
  readonly text?: string;
  /** Why there is no answer. */
  readonly error?: string;
  /** The beginning of what it said on stderr. */
  readonly stderr: string;
}

/** Whoever answers for a rule. */
export interface Runner {
  /** One event, one JSON line without its newline; never rejects. */
  ask(event: string, line: string): Promise<Answer>;
  /** Ends every process of it, at once; those who wait are answered with an error. */
  stop(): void;
  /** Ends every process of it, once those who wait are answered. */
  retire(): void;
}

export class Spawned implements Runner {
  readonly #rule: RunRule;
  readonly #place: Place;
  readonly #timeoutMs: number;
  readonly #alive = new Map<Child, (error: string) => void>();

  constructor(rule: RunRule, place: Place, timeoutMs: number) {
    this.#rule = rule;
    this.#place = place;
    this.#timeoutMs = timeoutMs;
  }

  ask(event: string, line: string): Promise<Answer> {
    return new Promise((done) => {
      let text = "";
      let child: Child;
      const finish = (error: string | undefined): void => {
        if (!this.#alive.delete(child)) return;
        clearTimeout(timer);
        done(error === undefined ? { text, stderr: child.stderr } : { error, stderr: child.stderr });
        child.kill();
      };
      try {
        child = new Child(this.#rule, this.#place, event, (more) => {
          text += more;
          if (text.length > MAX_STDOUT_BYTES) finish(`more than ${MAX_STDOUT_BYTES} bytes on stdout`);
        });
      } catch (failure) {
        done({ error: `could not run: ${reason(failure)}`, stderr: "" });
        return;
      }
      const timer = setTimeout(() => finish(`no verdict within ${this.#timeoutMs} ms`), this.#timeoutMs);
      this.#alive.set(child, finish);
      void child.ended.then(({ error }) => finish(error));
      child.end(`${line}\n`);
    });
  }

  stop(): void {
    for (const finish of [...this.#alive.values()]) finish("stopped");
  }

  retire(): void {
    // Each process ends with its answer.
  }
}

/** spawn itself throws where the arguments are too long or no process can be made. */
export function reason(failure: unknown): string {
  return (failure as NodeJS.ErrnoException).code ?? "failed";
}
