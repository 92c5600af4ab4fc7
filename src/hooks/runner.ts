/** Runner: a hook started anew for each event, asked once. */
import { Child, type Place } from "./child.ts";
import type { RunRule } from "./rules.ts";

/** Longest answer of a hook, in bytes; a rewritten text has room in it. */
export const MAX_STDOUT_BYTES = 64 * 1024;
/** Processes of one rule in one session at a time: Claude runs a handful of tools at once; a small board bears no more. */
export const MAX_PROCESSES = 16;

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

/** A hook that is asked, from the call on: it may have to wait for a process. */
interface Asked {
  start(): void;
  finish(error: string | undefined): void;
}

export class Spawned implements Runner {
  readonly #rule: RunRule;
  readonly #place: Place;
  readonly #timeoutMs: number;
  readonly #waiting = new Set<Asked>();
  readonly #running = new Set<Asked>();

  constructor(rule: RunRule, place: Place, timeoutMs: number) {
    this.#rule = rule;
    this.#place = place;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Beyond MAX_PROCESSES it waits, oldest first. The deadline counts from the call: whoever asks, Claude's own hooks
   * too, must know when there is an answer; a hook that cannot keep up has its rule's `fail` speak for it.
   */
  ask(event: string, line: string): Promise<Answer> {
    return new Promise((done) => {
      let text = "";
      let child: Child | undefined;
      const finish = (error: string | undefined): void => {
        if (!this.#running.delete(asked) && !this.#waiting.delete(asked)) return;
        clearTimeout(timer);
        const stderr = child?.stderr ?? "";
        done(error === undefined ? { text, stderr } : { error, stderr });
        child?.kill();
        this.#next();
      };
      const start = (): void => {
        try {
          child = new Child(this.#rule, this.#place, event, (more) => {
            text += more;
            if (text.length > MAX_STDOUT_BYTES) finish(`more than ${MAX_STDOUT_BYTES} bytes on stdout`);
          });
        } catch (failure) {
          finish(`could not run: ${reason(failure)}`);
          return;
        }
        void child.ended.then(({ error }) => finish(error));
        child.end(`${line}\n`);
      };
      const asked: Asked = { start, finish };
      const timer = setTimeout(() => finish(`no verdict within ${this.#timeoutMs} ms`), this.#timeoutMs);
      this.#waiting.add(asked);
      this.#next();
    });
  }

  stop(): void {
    // Those that wait first: no process is started for them any more.
    for (const { finish } of [...this.#waiting, ...this.#running]) finish("stopped");
  }

  retire(): void {
    // Each process ends with its answer.
  }

  #next(): void {
    for (const asked of this.#waiting) {
      if (this.#running.size >= MAX_PROCESSES) return;
      this.#waiting.delete(asked);
      this.#running.add(asked);
      asked.start();
    }
  }
}

/** spawn itself throws where the arguments are too long or no process can be made. */
export function reason(failure: unknown): string {
  return (failure as NodeJS.ErrnoException).code ?? "failed";
}
