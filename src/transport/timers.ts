/** Timers: what a link waits for, injected, so that a test's clock can stand in for the machine's. */

/** Both give back what ends them. */
export interface Timers {
  after(ms: number, act: () => void): () => void;
  every(ms: number, act: () => void): () => void;
}

/** The machine's; none of them keeps the process alive. */
export const TIMERS: Timers = {
  after: (ms, act) => {
    const timer = setTimeout(act, ms).unref();
    return () => clearTimeout(timer);
  },
  every: (ms, act) => {
    const timer = setInterval(act, ms).unref();
    return () => clearInterval(timer);
  },
};
