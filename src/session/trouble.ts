/** Trouble: a disk that refuses is told of once, tried again after a while, and told of when it works. */
import type { Clock } from "./clock.ts";

/** How long a disk that refused is left alone. */
export const RETRY_MS = 1000;

export class Trouble {
  readonly #clock: Clock;
  readonly #tell: (error: Error | undefined) => void;
  readonly #again: () => void;
  #error: Error | undefined;
  #retry: (() => void) | undefined;

  constructor(clock: Clock, tell: (error: Error | undefined) => void, again: () => void) {
    this.#clock = clock;
    this.#tell = tell;
    this.#again = again;
  }

  /** The latest refusal, while it lasts. */
  get error(): Error | undefined {
    return this.#error;
  }

  /** `again`: something waits for another try. */
  met(error: unknown, again: boolean): void {
    const first = this.#error === undefined;
    this.#error = error as Error;
    if (first) this.#tell(this.#error);
    if (!again) return;
    this.#retry ??= this.#clock.after(RETRY_MS, () => {
      this.#retry = undefined;
      this.#again();
    });
  }

  /** The disk has done what was asked. */
  over(): void {
    this.rest();
    if (this.#error === undefined) return;
    this.#error = undefined;
    this.#tell(undefined);
  }

  /** No more tries. */
  rest(): void {
    this.#retry?.();
    this.#retry = undefined;
  }
}
