/** A short run of every fuzzed parser; nightly.ts has the long one. */
import { test } from "node:test";
import { fuzz } from "./fuzz.ts";
import { PARSERS } from "./parsers.ts";

/** About half a second each. */
const RUNS = 1_500;

for (const parser of PARSERS) {
  test(`${parser.name}: whatever arrives is taken, or refused in the one way that there is`, () => {
    fuzz(parser, { runs: RUNS });
  });
}
