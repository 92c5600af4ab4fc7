/** Clock: the time and the timers that session parts are given, so that tests own both. */

export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Runs once after `ms`, after MAX_TIMER_MS at the latest: look at `now` then. The returned function calls it off. */
  after(ms: number, run: () => void): () => void;
}

/** Node's timers count in 32 bits: one for longer would fire at once. 24.8 days. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  after(ms, run) {
    const timer = setTimeout(run, Math.min(ms, MAX_TIMER_MS));
    timer.unref(); // no deadline of ours is a reason to keep the process alive
    return () => clearTimeout(timer);
  },
};
