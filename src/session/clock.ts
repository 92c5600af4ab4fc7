/** Clock: the time and the timers that session parts are given, so that tests own both. */

export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Runs once after `ms`; the returned function calls it off. */
  after(ms: number, run: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    timer.unref(); // no deadline of ours is a reason to keep the process alive
    return () => clearTimeout(timer);
  },
};
