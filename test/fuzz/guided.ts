/** Guided: inputs made by changing those that reached new code; the same seed makes the same inputs. */
import { setImmediate } from "node:timers/promises";
import type { Coverage } from "./coverage.ts";
import type { Parser } from "./parser.ts";

/** Reading the counters takes as long as some hundred inputs. */
const BATCH = 256;
const MAX_INPUT_BYTES = 2048;
const MAX_CHANGES = 5;
/** Runs that go into making a find smaller. */
const MAX_SHRINK = 2000;
/** One input that takes longer, twice, is a find: the loop of the daemon stands still for everybody. */
const SLOW_MS = 1000;
/** Where parsers tend to turn: ends of ranges, heads of CBOR and MQTT, what JSON and headers are made of. */
const TURNS = [
  0,
  1,
  0x10,
  0x1f,
  0x30,
  0x40,
  0x5f,
  0x7f,
  0x80,
  0x9f,
  0xa1,
  0xbf,
  0xd8,
  0xf7,
  0xff,
  ...Buffer.from('"{}[],:/=+#.\\ \n'),
];

export interface Guided {
  readonly ran: number;
  /** The smallest inputs that reach together whatever was reached. */
  readonly corpus: readonly Uint8Array[];
  readonly functions: number;
  readonly missed: number;
  readonly found: { readonly input: Uint8Array; readonly thrown: unknown } | undefined;
}

/** Runs one parser until the limit, or to its first find. `starts`: inputs to begin with, beside its seeds. `coverage`: older than what it is to watch. */
export async function guided(
  parser: Parser,
  starts: readonly Uint8Array[],
  limit: { readonly runs?: number; readonly ms?: number; readonly seed: number },
  coverage: Coverage,
): Promise<Guided> {
  coverage.forget();
  const below = random(limit.seed);
  const end = performance.now() + (limit.ms ?? Number.POSITIVE_INFINITY);
  const most = limit.runs ?? Number.POSITIVE_INFINITY;
  const corpus: Uint8Array[] = [];
  let ran = 0;
  let found: Guided["found"];

  /** Keeps those that reach something new: all at once, then halves of what did. */
  async function look(inputs: readonly Uint8Array[]): Promise<void> {
    found ??= await failing(parser, inputs);
    ran += inputs.length;
    if (!coverage.isNew() || found !== undefined) return;
    const [only] = inputs;
    if (inputs.length === 1 && only !== undefined) {
      coverage.count();
      corpus.push(only);
      return;
    }
    const half = inputs.length >> 1;
    await look(inputs.slice(0, half));
    await look(inputs.slice(half));
  }

  const first = [...parser.seeds, ...starts];
  for (const each of first) await look([each]);
  while (found === undefined && ran < most && performance.now() < end) {
    const from = corpus.length > 0 ? corpus : first;
    const pick = () => from[below(from.length)] ?? new Uint8Array();
    await look(Array.from({ length: BATCH }, () => changed(pick(), pick, below)));
  }
  const { functions, missed } = coverage.counts;
  if (found !== undefined) found = await shrunk(parser, found);
  // Once more from nothing, the shortest first: what a shorter one reaches, a longer one need not be kept for.
  coverage.forget();
  const candidates = corpus.splice(0).sort((a, b) => a.length - b.length);
  if (found === undefined) for (const each of candidates) await look([each]);
  return { ran, corpus, functions, missed, found };
}

/** The first of the inputs that a parser fails on, also after its turn. */
async function failing(parser: Parser, inputs: readonly Uint8Array[]): Promise<Guided["found"]> {
  for (const input of inputs) {
    try {
      const began = performance.now();
      parser.run(input);
      if (performance.now() - began > SLOW_MS) {
        const again = performance.now();
        parser.run(input);
        if (performance.now() - again > SLOW_MS) throw new Error(`slow: more than ${SLOW_MS} ms`);
      }
    } catch (thrown) {
      return { input, thrown };
    }
  }
  await setImmediate();
  try {
    parser.settled?.();
  } catch (thrown) {
    const [input] = inputs;
    if (inputs.length === 1 && input !== undefined) return { input, thrown };
    for (const each of inputs) {
      const found = await failing(parser, [each]);
      if (found !== undefined) return found;
    }
    throw new Error(`${parser.name}: failed once, in a batch, and not again`, { cause: thrown });
  }
  return undefined;
}

async function shrunk(parser: Parser, first: NonNullable<Guided["found"]>): Promise<NonNullable<Guided["found"]>> {
  let best = first;
  let left = MAX_SHRINK;
  for (let size = best.input.length >> 1 || 1; size > 0 && left > 0; size >>= 1) {
    for (let at = 0; at < best.input.length && left-- > 0; ) {
      const input = Buffer.concat([best.input.subarray(0, at), best.input.subarray(at + size)]);
      const found = await failing(parser, [input]);
      if (found === undefined) at += size;
      else best = found;
    }
  }
  return best;
}

function changed(input: Uint8Array, pick: () => Uint8Array, below: (end: number) => number): Uint8Array {
  let bytes: Uint8Array = Uint8Array.from(input);
  for (let i = below(MAX_CHANGES); i >= 0; i--) {
    const at = below(bytes.length + 1);
    const other = pick();
    const from = below(other.length + 1);
    const piece = other.subarray(from, from + below(64));
    const put = (drop: number, middle: Uint8Array) =>
      Buffer.concat([bytes.subarray(0, at), middle, bytes.subarray(at + drop)]);
    const ways = [
      () => put(1, Uint8Array.of((bytes[at] ?? 0) ^ (1 << below(8)))),
      () => put(below(2), Uint8Array.of(TURNS[below(TURNS.length)] ?? 0)),
      () => put(below(2), Uint8Array.of(below(256))),
      () => put(1 + below(8), new Uint8Array()),
      () => put(0, bytes.subarray(at, at + below(32))),
      () => put(below(2) * piece.length, piece),
      () => bytes.subarray(0, at),
    ];
    bytes = (ways[below(ways.length)] ?? (() => bytes))();
  }
  return bytes.subarray(0, MAX_INPUT_BYTES);
}

/** Whole numbers below an end, by the seed: a linear congruential generator (Numerical Recipes), its upper bits. */
function random(seed: number): (end: number) => number {
  let state = seed >>> 0;
  return (end) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * end);
  };
}
