/** A short run of every fuzzed parser; nightly.ts has the long one. */
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { fuzz } from "./fuzz.ts";
import { PARSERS } from "./parsers.ts";

/** Beside the corpus. All of them together take under 3 s. */
const RUNS = 250;

for (const parser of PARSERS) {
  test(`${parser.name}: whatever arrives is taken, or refused in the one way that there is`, async () => {
    fuzz(parser, { runs: RUNS });
    await setImmediate();
    parser.settled?.();
  });
}
