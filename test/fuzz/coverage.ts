/** Coverage: whether running something has reached a block of our code, or of the parsers that we use, that nothing reached before. */
import { type Profiler, Session } from "node:inspector";

/** Ours, and the packages that read bytes for us. */
const COUNTS = /\/(src|node_modules\/(mqtt-packet|cbor-x))\//;

type Range = readonly [from: number, to: number];

/**
 * A profiler of this process: one, made before the code under test is loaded, for V8 gives block counters only to what it
 * compiles from then on. It takes the counts away from NODE_V8_COVERAGE.
 */
export class Coverage {
  readonly #session = new Session();
  readonly #counts: RegExp;
  /** What no run has reached yet, by function: V8 joins a block with its parent where both ran as often, so only zeros tell. */
  readonly #missed = new Map<string, readonly Range[]>();
  #due: ReadonlyMap<string, readonly Range[]> = new Map();

  /** `counts`: the files that matter, by their URL. */
  constructor(counts = COUNTS) {
    this.#counts = counts;
    this.#session.connect();
    this.#session.post("Profiler.enable");
    this.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  /** Functions reached, and the blocks in them that were not. */
  get counts(): { readonly functions: number; readonly missed: number } {
    return { functions: this.#missed.size, missed: [...this.#missed.values()].flat().length };
  }

  /** Whether what ran since the last call has reached anything new. `count` makes it known. */
  isNew(): boolean {
    const due = new Map<string, readonly Range[]>();
    for (const { url, functions } of this.#take()) {
      if (!this.#counts.test(url)) continue;
      for (const { ranges } of functions) {
        const [whole] = ranges;
        if (whole === undefined || whole.count === 0) continue;
        const key = `${url}:${whole.startOffset}:${whole.endOffset}`;
        const zeros = ranges.flatMap((each): Range[] => (each.count === 0 ? [[each.startOffset, each.endOffset]] : []));
        const known = this.#missed.get(key);
        const missed = known === undefined ? zeros : both(known, zeros);
        if (known === undefined || size(missed) < size(known)) due.set(key, missed);
      }
    }
    this.#due = due;
    return due.size > 0;
  }

  /** Counts what `isNew` has just found. */
  count(): void {
    for (const [key, missed] of this.#due) this.#missed.set(key, missed);
  }

  /** As if nothing had run. */
  forget(): void {
    this.#take();
    this.#missed.clear();
  }

  /** In the same thread the answer comes before `post` returns. */
  #take(): readonly Profiler.ScriptCoverage[] {
    let scripts: readonly Profiler.ScriptCoverage[] = [];
    this.#session.post("Profiler.takePreciseCoverage", (failure, taken) => {
      if (failure !== null) throw failure;
      scripts = taken.result;
    });
    return scripts;
  }
}

function both(a: readonly Range[], b: readonly Range[]): Range[] {
  return a.flatMap(([from, to]) =>
    b.flatMap(([start, end]): Range[] =>
      start < to && from < end ? [[Math.max(from, start), Math.min(to, end)]] : [],
    ),
  );
}

function size(ranges: readonly Range[]): number {
  return ranges.reduce((sum, [from, to]) => sum + to - from, 0);
}
