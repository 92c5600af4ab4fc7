/** Epochs: which frames of an earlier life of the log survived, and what that means for a client that comes back. */

/** Lives of one log that are told apart: one a power loss; the oldest are merged with care. */
export const MAX_EPOCHS = 64;

/** Where a reader wants to begin. `from` left out means "from now"; `epoch` is the one under which it read its last frame. */
export interface Wanted {
  readonly from?: number | undefined;
  readonly epoch?: number | undefined;
}

/** The log's part of a verdict (FRAMES, Attaching). */
export interface Judgement {
  readonly epoch: number;
  /** First and last seq that may be read; last is first - 1 when there is none. */
  readonly first: number;
  readonly last: number;
  /** Begin here. With `ahead` this may lie below `first`: the reader forgets what it has from here on, and a gap follows. */
  readonly from: number;
  readonly verdict: "ok" | "gap" | "ahead";
}

/** `[epoch, last surviving seq]` of the lives before this one; both rise strictly. */
export type Lives = readonly (readonly [epoch: number, survived: number])[];

/** Ends a life: what was known in it beyond `survived` is gone, also for those who knew it from a life before. */
export function endLife(lives: Lives, epoch: number, survived: number): Lives {
  // An earlier life that survived further has lost the difference now; one with the same end needs no entry of its own.
  const kept = lives.filter(([, end]) => end < survived);
  const next = [...kept, [epoch, survived] as const];
  if (next.length <= MAX_EPOCHS) return next;
  const [oldest, second, ...rest] = next as [readonly [number, number], readonly [number, number], ...Lives];
  // Whoever comes from either is told the earlier end: it may read a frame again, it never keeps a lost one.
  return [[second[0], oldest[1]], ...rest];
}

/** Judges where a reader may begin in a log that now holds `first` to `last`. */
export function judge(lives: Lives, epoch: number, first: number, last: number, want: Wanted): Judgement {
  const is = (verdict: Judgement["verdict"], from: number): Judgement => ({ epoch, first, last, from, verdict });
  if (want.from === undefined) return is("ok", last + 1);
  const from = Math.max(1, want.from);
  const known = survived(lives, epoch, first, last, want.epoch);
  if (from > known + 1) return is("ahead", known + 1);
  return from < first ? is("gap", first) : is("ok", from);
}

/** The last seq that a reader of `claimed` can know and the log still holds the same. */
function survived(lives: Lives, epoch: number, first: number, last: number, claimed: number | undefined): number {
  if (claimed === undefined || claimed === epoch) return last;
  // An epoch we never had (a restored backup, a lost log.json): nothing it says can be trusted.
  if (claimed > epoch) return first - 1;
  return lives.find(([life]) => life >= claimed)?.[1] ?? last;
}
