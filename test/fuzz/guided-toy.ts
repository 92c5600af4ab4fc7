/** A toy for guided.test.ts, in a process of its own: a fault behind four bytes, which only a search that keeps what got further finds. */
import { Coverage } from "./coverage.ts";
import { guided } from "./guided.ts";

const SEED = 7;
/** Blind, one input in 2^32 would do. */
const RUNS = 400_000;

function toy(input: Uint8Array): void {
  if (input[0] === 0x13) {
    if (input[1] === 0x37) {
      if (input[2] === 0x99) {
        if (input[3] === 0x42) throw new Error("found");
      }
    }
  }
}

const coverage = new Coverage(/guided-toy/);
const parser = { name: "toy", seeds: [new Uint8Array(16)], run: toy };
for (let i = 0; i < 2; i++) {
  const { ran, found } = await guided(parser, [], { runs: RUNS, seed: SEED }, coverage);
  process.stdout.write(`${ran} ${Buffer.from(found?.input ?? []).toString("hex")}\n`);
}
