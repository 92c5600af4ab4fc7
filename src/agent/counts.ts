/** Counts: tokens of one message or of many, and what can be reckoned with them. */

/** Tokens of one message. */
export interface Counts {
  readonly input: number;
  readonly output: number;
  readonly cache_read: number;
  readonly cache_write: number;
}

export const NOTHING: Counts = { input: 0, output: 0, cache_read: 0, cache_write: 0 };

export function sumOf(all: Iterable<Counts>): Counts {
  let sum = NOTHING;
  for (const more of all) sum = joined(sum, more, (a, b) => a + b);
  return sum;
}

/** Never below zero. */
export function minus(from: Counts, less: Counts): Counts {
  return joined(from, less, (a, b) => Math.max(0, a - b));
}

function joined(a: Counts, b: Counts, by: (a: number, b: number) => number): Counts {
  return {
    input: by(a.input, b.input),
    output: by(a.output, b.output),
    cache_read: by(a.cache_read, b.cache_read),
    cache_write: by(a.cache_write, b.cache_write),
  };
}
