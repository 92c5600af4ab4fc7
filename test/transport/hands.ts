/** Timers that fire when the test says so. */
import type { Timers } from "../../src/transport/timers.ts";

export class Hands implements Timers {
  now = 0;
  readonly #due: { at: number; every: number | undefined; act: () => void }[] = [];

  after(ms: number, act: () => void): () => void {
    return this.#add({ at: this.now + ms, every: undefined, act });
  }

  every(ms: number, act: () => void): () => void {
    return this.#add({ at: this.now + ms, every: ms, act });
  }

  /** Those that come again. */
  get running(): number {
    return this.#due.filter(({ every }) => every !== undefined).length;
  }

  /** All that are still to fire. */
  get waiting(): number {
    return this.#due.length;
  }

  advance(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const [next] = this.#due.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.now = next.at;
      if (next.every === undefined) this.#due.splice(this.#due.indexOf(next), 1);
      else next.at += next.every;
      next.act();
    }
    this.now = end;
  }

  #add(timer: { at: number; every: number | undefined; act: () => void }): () => void {
    this.#due.push(timer);
    return () => {
      const at = this.#due.indexOf(timer);
      if (at >= 0) this.#due.splice(at, 1);
    };
  }
}
