/** Seeds: what fuzzing of the C client begins from: items as the box encodes them, one file each. Written anew by running this file. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { encodeValue } from "../../src/frame/codec.ts";
import { TYPES } from "../../src/frame/registry.ts";
import { carrierSeeds } from "./carrier-seeds.ts";

export const CORPUS = join(import.meta.dirname, "../../mcu/test/corpus");

const SESSION = Buffer.from("0190f0c27a117c339a551234567890ab", "hex");
const TS = 1_763_880_000_123;
/** The largest plaintext that fuzz_link.c takes from one byte of its input. */
const MOST_IN_A_RECORD = 255;

/** A value of each kind that a field may have. */
const VALUES: Readonly<Record<string, unknown>> = {
  text: "déjà vu",
  uint: 70_000,
  bool: true,
  json: { path: "a.c", lines: [1, -2, 2.5], none: null },
  bytes: Buffer.from([0, 255]),
  number: 0.25,
  todos: [new Map([0, 1, 2].map((key) => [key, `${key}`]))],
  options: [new Map([0, 1].map((key) => [key, "Allow"]))],
};

const REPLIES_AND_NOTICES: Readonly<Record<string, unknown>> = {
  verdict: { session: SESSION, epoch: 1, first: 1, last: 41, from: 12, verdict: "ok", re: 1, ok: true },
  ahead: { session: SESSION, epoch: 2, first: 1, last: 8, from: 9, verdict: "ahead", re: 1, ok: true },
  refused: { re: 1, ok: false, error: { code: "not_found", message: "no such session", retryable: false } },
  busy: { re: "7-0", ok: false, error: { code: "overloaded", message: "later", retryable: true } },
  accepted: { id: "7-0", input: "x", seq: 13, state: "accepted", re: "7-0", ok: true },
  gap: { gap: [12, 4_000_000_000_000], session: SESSION },
  detached: { detached: "too_far_behind", session: SESSION },
  bye: { bye: "superseded" },
  next: { next: Buffer.alloc(16, 7) },
  later: 18,
};

/** Every file below mcu/test/corpus that is made here, and its bytes. */
export function seeds(): Map<string, Buffer> {
  const items = new Map<string, Buffer>();
  const add = (name: string, item: unknown) => items.set(name, Buffer.from(encodeValue(item)));
  for (const [name, item] of Object.entries(REPLIES_AND_NOTICES)) add(name, item);
  for (const [name, { number, fields }] of Object.entries(TYPES)) {
    const data = Object.values(fields).map(({ key, kind }) => [key, VALUES[kind] ?? "x"] as const);
    add(name, [number, 12, TS, SESSION, new Map(data)]);
  }
  const piece = new Map<number, unknown>([
    [0, "Hel"],
    [30, [0, 2]],
  ]);
  add("piece", [1, 12, TS, SESSION, piece]);

  const files = new Map<string, Buffer>();
  for (const [name, bytes] of items) {
    files.set(`items/${name}`, bytes);
    if (bytes.length <= MOST_IN_A_RECORD) files.set(`link/${name}`, sealed(bytes));
  }
  files.set("items/record", Buffer.concat([...items].filter(([name]) => name !== "bye").map(([, bytes]) => bytes)));
  const short = [...items.values()].filter(({ length }) => length <= MOST_IN_A_RECORD);
  files.set("link/stream", sealed(...short.slice(0, 12)));
  files.set(
    "link/pieces",
    Buffer.concat([sealed(...short.slice(0, 6)), Buffer.from([9, 0, 5, 1, 2, 3, 2, 255].concat(Array(24).fill(7)))]),
  );
  files.set("link/reply", Buffer.concat([Buffer.from([0]), Buffer.from("CIB1\0\x01\x40\0"), Buffer.alloc(32, 31)]));
  files.set("link/raw", Buffer.concat([Buffer.from([1]), Buffer.alloc(120, 31)]));
  files.set("text/key", Buffer.from(`a0a1a2a3a4a5a6a7:${"00112233445566778899AABBCCDDEEFF".repeat(2)}`));
  files.set("text/session", Buffer.from("0190f0c2-7a11-7c33-9a55-1234567890ab"));
  for (const [name, bytes] of carrierSeeds()) files.set(name, bytes);
  return files;
}

/** As fuzz_link.c reads its input: what the box sends is sealed, each record a length and its plaintext. */
function sealed(...plaintexts: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from([2]), ...plaintexts.flatMap((each) => [Buffer.from([each.length]), each])]);
}

if (process.argv[1] === import.meta.filename)
  for (const [name, bytes] of seeds()) {
    mkdirSync(dirname(join(CORPUS, name)), { recursive: true });
    writeFileSync(join(CORPUS, name), bytes);
  }
