/** Patience: sits out a session's usage limit: the one timer for it, and the word when it is over. */
import type { Clock } from "./clock.ts";
import type { Limit } from "./limit.ts";

export interface PatienceOptions {
  readonly limit: Limit;
  readonly clock: Clock;
  readonly over: () => void;
}

export class Patience {
  readonly #o: PatienceOptions;
  #calledOff: () => void = () => undefined;

  constructor(options: PatienceOptions) {
    this.#o = options;
  }

  /** The limit has been told something: its timer follows. */
  arm(): void {
    const { limit, clock, over } = this.#o;
    this.#calledOff();
    this.#calledOff = () => undefined;
    if (limit.due === undefined) return;
    this.#calledOff = clock.after(Math.max(0, limit.due - clock.now()), () => {
      if (limit.over(clock.now())) over();
      else this.arm(); // the clock was set back, or no timer is that long
    });
  }

  /** No timer any more. */
  end(): void {
    this.#calledOff();
  }
}
