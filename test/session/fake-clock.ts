/** A clock that stands still until a test moves it. */
import type { Clock } from "../../src/session/clock.ts";

export class FakeClock implements Clock {
  #now: number;
  readonly #timers = new Set<{ readonly at: number; readonly run: () => void }>();

  constructor(now = 1_763_880_000_000) {
    this.#now = now;
  }

  get timers(): number {
    return this.#timers.size;
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + ms, run };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /** Moves the time, backwards too, and runs what is due. */
  pass(ms: number): void {
    this.#now += ms;
    for (const timer of [...this.#timers].sort((a, b) => a.at - b.at)) {
      if (timer.at > this.#now || !this.#timers.delete(timer)) continue;
      timer.run();
    }
  }
}

/** The next turn of the event loop, after everything that is due in this one. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Turns until it holds; fails after many rather than waiting for ever. */
export async function until(holds: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 10_000; i++) {
    if (holds()) return;
    await turn();
  }
  throw new Error(`never came: ${what}`);
}
