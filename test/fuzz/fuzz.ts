/** Fuzz: inputs made of seeds and of what the corpus keeps, changed here and there. */

import fc from "fast-check";
import { kept } from "./corpus.ts";
import type { Parser } from "./parser.ts";

/** Bytes put in at one place. */
const MAX_PUT = 64;
const MAX_CHANGES = 6;

/** Runs one parser so often. Throws with the smallest input that was found, in hex, and its seed. */
export function fuzz(parser: Parser, limit: { readonly runs: number; readonly seed?: number }): number {
  let ran = 0;
  const starts = [...parser.seeds, ...kept(parser.name)];
  for (const start of starts) parser.run(start);
  const changed = fc
    .tuple(fc.constantFrom(...starts), fc.array(change(), { maxLength: MAX_CHANGES }))
    .map(([start, changes]) =>
      changes.reduce<Uint8Array>((input, { at, drop, put }) => {
        const from = at % (input.length + 1);
        return Buffer.concat([input.subarray(0, from), put, input.subarray(from + drop)]);
      }, start),
    );
  const result = fc.check(
    fc.property(
      fc.oneof({ weight: 4, arbitrary: changed }, { weight: 1, arbitrary: fc.uint8Array({ maxLength: 256 }) }),
      (input) => {
        ran++;
        parser.run(input);
      },
    ),
    {
      numRuns: limit.runs,
      ...(limit.seed !== undefined && { seed: limit.seed }),
    },
  );
  if (result.counterexample === null) return ran;
  const hex = Buffer.from(result.counterexample[0]).toString("hex");
  throw new Error(`${parser.name}: ${hex} (seed ${result.seed})`, { cause: result.errorInstance });
}

function change() {
  return fc.record({
    at: fc.nat(),
    drop: fc.nat({ max: 8 }),
    put: fc.uint8Array({ maxLength: MAX_PUT, size: "small" }),
  });
}
