/** Fuzz: inputs made of seeds and of what the corpus keeps, changed here and there; a find becomes a file of the corpus. */

import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import type { Parser } from "./parsers.ts";

const CORPUS = new URL("corpus/", import.meta.url);
/** Bytes put in at one place. */
const MAX_PUT = 64;
const MAX_CHANGES = 6;
/** No limit of ours: the time is. */
const ENDLESS = 2 ** 31 - 1;

/** The inputs that are kept for a parser: one file each, in hex. Every one of them once found a fault, or is rare. */
export function kept(name: string): Uint8Array[] {
  const folder = new URL(`${name}/`, CORPUS);
  try {
    return readdirSync(folder).map((file) => Buffer.from(readFileSync(new URL(file, folder), "utf8").trim(), "hex"));
  } catch (failure) {
    if ((failure as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw failure;
  }
}

/** Runs one parser for so long, or so often. Throws with the smallest input that was found, in hex, and its seed. */
export function fuzz(
  parser: Parser,
  limit: { readonly runs?: number; readonly ms?: number; readonly seed?: number },
): number {
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
      numRuns: limit.runs ?? ENDLESS,
      ...(limit.ms !== undefined && { interruptAfterTimeLimit: limit.ms, markInterruptAsFailure: false }),
      ...(limit.seed !== undefined && { seed: limit.seed }),
    },
  );
  if (result.counterexample === null) return ran;
  const hex = Buffer.from(result.counterexample[0]).toString("hex");
  throw new Error(`${parser.name}: ${hex} (seed ${result.seed})`, { cause: result.errorInstance });
}

/** Keeps a find, so that every later run begins with it. */
export function keep(name: string, hex: string): void {
  const folder = new URL(`${name}/`, CORPUS);
  mkdirSync(folder, { recursive: true });
  writeFileSync(new URL(`${createHash("sha256").update(hex).digest("hex").slice(0, 12)}.hex`, folder), `${hex}\n`);
}

function change() {
  return fc.record({
    at: fc.nat(),
    drop: fc.nat({ max: 8 }),
    put: fc.uint8Array({ maxLength: MAX_PUT, size: "small" }),
  });
}
