/** The corpus, exchanged: what TypeScript encodes, C reads to the same values; what C writes, TypeScript takes, byte for byte. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { decode } from "cborg";
import fc from "fast-check";
import { parseAttach, parseCommand } from "../../src/control/commands.ts";
import { fromCbor, toCbor } from "../../src/frame/cbor.ts";
import { cborOf, decodeValue, encodeValue } from "../../src/frame/codec.ts";
import type { SessionId } from "../../src/frame/frame.ts";
import { TYPES } from "../../src/frame/registry.ts";
import { anyFrame } from "../frame/arbitrary.ts";
import { needs } from "../skip.ts";
import { built } from "./built.ts";
import { hexOf, Program, type Told, words } from "./program.ts";

const SEED = Number(process.env["CIB_SEED"] ?? 20261124);
const FRAMES = 1000;
/** Where heads change their width (RFC 8949 §3), and where a reader's own widths would. */
const EDGES = [
  0,
  1,
  23,
  24,
  255,
  256,
  65_535,
  65_536,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  Number.MAX_SAFE_INTEGER,
];
const LENGTHS = [0, 1, 22, 23, 24, 254, 255, 256, 257, 65_535, 65_536];
const SESSION = "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId;

/** Shortest heads only, in the order they stand in: what cborg takes in its strict mode. */
function strictly(bytes: Uint8Array): unknown {
  return decode(bytes, { strict: true, useMaps: true, rejectDuplicateMapKeys: true, allowIndefinite: false });
}

/** As JSON carries it, so that what came from C and what came from here can be compared. */
function comparable(value: unknown): unknown {
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (Array.isArray(value)) return value.map(comparable);
  if (typeof value !== "object" || value === null) return value;
  const out = Object.create(null) as Record<string, unknown>;
  for (const [key, item] of value instanceof Map ? value : Object.entries(value)) out[String(key)] = comparable(item);
  return out;
}

function hex(of: Uint8Array | string): string {
  return Buffer.from(of as string).toString("hex");
}

function hasFloat(value: unknown): boolean {
  if (typeof value === "number") return !Number.isSafeInteger(value);
  if (Array.isArray(value)) return value.some(hasFloat);
  return value instanceof Map && [...value.values()].some(hasFloat);
}

describe("what TypeScript and C encode is the same", { timeout: 300_000, ...needs("gcc", "gcc") }, () => {
  let codec: Program;
  before(async () => {
    codec = new Program(await built("codec"), []);
  });
  after(() => codec[Symbol.asyncDispose]());

  const ask = (line: string): Promise<Told> => {
    codec.say(line);
    return codec.next();
  };
  const items = async (bytes: Uint8Array): Promise<{ items: Told[]; done: unknown }> => {
    const heard = [await ask(`decode ${hex(bytes)}`)];
    while (!("done" in (heard.at(-1) as Told))) heard.push(await codec.next());
    return { done: (heard.pop() as Told)["done"], items: heard };
  };
  const written = async (line: string): Promise<Buffer> => {
    const told = await ask(line);
    assert.equal(typeof told["bytes"], "string", `${line.slice(0, 100)}: ${JSON.stringify(told)}`);
    return Buffer.from(String(told["bytes"]), "hex");
  };

  test(`${FRAMES} frames of every type are read by C as by TypeScript`, async (t) => {
    const frames = fc.sample(anyFrame, { numRuns: FRAMES, seed: SEED });
    const types = new Set<string>();
    let bytes = 0;
    for (const frame of frames) {
      const encoded = cborOf(frame);
      types.add(frame.type);
      bytes += encoded.length;
      const [type, seq, ts, session, data] = strictly(encoded) as [
        number,
        number,
        number,
        Uint8Array,
        Map<number, unknown>,
      ];
      const heard = await items(encoded);
      assert.equal(heard.done, 0);
      assert.equal(heard.items.length, 1);
      const told = heard.items[0] as Told;
      assert.deepEqual(
        comparable(told["frame"]),
        comparable([type, seq, ts, hex(session), data]),
        encoded.toString("hex").slice(0, 2000),
      );
      const [part, parts] = (data.get(30) as [number, number] | undefined) ?? [0, 1];
      assert.deepEqual([told["bytes"], told["error"], told["last"]], [encoded.length, 0, part + 1 >= parts]);
    }
    assert.deepEqual([...types].sort(), Object.keys(TYPES).sort(), "a type is missing from the corpus");
    t.diagnostic(`${frames.length} frames, ${bytes} bytes`);
  });

  test("C writes the same frames to the same bytes", async (t) => {
    let count = 0;
    for (const frame of fc.sample(anyFrame, { numRuns: FRAMES, seed: SEED + 1 })) {
      const encoded = cborOf(frame);
      const value = strictly(encoded);
      // A device has no use for floats: its writer makes none.
      if (hasFloat(value)) continue;
      count++;
      assert.equal(hex(await written(`encode ${words(value)}`)), hex(encoded));
    }
    assert.ok(count > FRAMES / 2, `${count} frames without floats`);
    t.diagnostic(`${count} frames`);
  });

  test("a field is found by its key wherever it stands, and none that is not there", async () => {
    for (const frame of fc.sample(anyFrame, { numRuns: 150, seed: SEED + 2 })) {
      const encoded = cborOf(frame);
      const data = (strictly(encoded) as unknown[])[4] as Map<number, unknown>;
      for (const key of [...data.keys(), 29]) {
        const { field } = await ask(`field ${key} ${encoded.toString("hex")}`);
        assert.deepEqual(comparable(field), comparable(data.get(key) ?? null));
      }
    }
  });

  test("numbers and lengths at every edge are written shortest, and read", async () => {
    for (const n of EDGES) {
      for (const value of [n, -1 - n].filter(Number.isSafeInteger)) {
        const bytes = await written(`encode ${words(value)}`);
        assert.equal(strictly(bytes), value);
        assert.equal(hex(bytes), hex(toCbor(value)));
      }
    }
    for (const length of LENGTHS) {
      const values = ["x".repeat(length), new Uint8Array(length).fill(7), Array.from({ length }, () => 0)];
      for (const value of values)
        assert.deepEqual(comparable(strictly(await written(`encode ${words(value)}`))), comparable(value));
      const frame = {
        session: SESSION,
        seq: 1,
        ts: 2 ** 41,
        type: "text.delta",
        text: "語".repeat(length / 3),
      } as const;
      const heard = await items(Buffer.concat([cborOf(frame), cborOf({ ...frame, seq: 2 })]));
      assert.deepEqual([heard.items.length, heard.done], [2, 0]);
      assert.deepEqual((heard.items[1] as { frame: unknown[] }).frame[4], { 0: frame.text });
    }
  });

  test("replies, gaps and goodbyes are read as what they are, and what is not known is passed over", async () => {
    const read = async (value: unknown) => {
      const heard = await items(encodeValue(value));
      assert.deepEqual([heard.items.length, heard.done], [1, 0]);
      return heard.items[0] as Told;
    };
    const verdict = { re: 7, ok: true, session: SESSION, epoch: 2, first: 1, last: 41, from: 12, verdict: "ok" };
    assert.deepEqual(await read(verdict), { reply: verdict, ok: true, id: 7, name: "", code: "", retryable: false });
    for (const re of ["0000001f-00000007", null]) {
      for (const retryable of [true, false]) {
        const refusal = { re, ok: false, error: { code: "ask_settled", message: "grüße", retryable } };
        const told = { reply: refusal, ok: false, id: 0, name: re ?? "", code: "ask_settled", retryable };
        assert.deepEqual(await read(refusal), told);
      }
    }
    for (const gap of [
      [1, 2],
      [70_000, 2 ** 40],
    ])
      assert.deepEqual(await read({ gap, session: SESSION }), { gap });
    const reasons = ["rekey", "stopping", "too_far_behind", "superseded", "revoked", "expired", "bad_request"];
    for (const bye of [...reasons, "max_frames", "wait_ms"]) assert.deepEqual(await read({ bye }), { bye });
    assert.deepEqual(await read({ bye: "of a later version" }), { bye: "other" });
    for (const detached of ["too_far_behind", "detached"])
      assert.deepEqual(await read({ detached, session: SESSION }), { detached });
    assert.deepEqual(await read({ next: new Uint8Array(16) }), { next: 16 });
    for (const other of [{}, { news: [1, { re: 2 }] }, 7, "text", true, null, new Uint8Array(3)])
      assert.deepEqual(await read(other), { other: encodeValue(other).length });
  });

  test("a frame cut anywhere is no frame, and a writer never goes past its room", async () => {
    const frame = cborOf({
      session: SESSION,
      seq: 70_000,
      ts: 2 ** 41,
      type: "tool.use.start",
      id: "t",
      tool: "Bash",
      input: { a: [1, 2.5, null] },
    });
    for (let n = 1; n < frame.length; n++) {
      const heard = await items(frame.subarray(0, n));
      assert.deepEqual([heard.items.length, Number(heard.done) < 0], [0, true], `${n} bytes`);
    }
    const value = { cmd: "input", n: 70_000, list: [1, "two", false], bytes: new Uint8Array(30) };
    const bytes = await written(`encode ${words(value)}`);
    for (let room = 0; room < bytes.length; room++) {
      const told = await ask(`room ${room} ${words(value)}`);
      assert.equal(told["full"], true);
      assert.ok(Number(told["written"]) <= room);
    }
    assert.equal(hex(await written(`room ${bytes.length} ${words(value)}`)), hex(bytes));
  });

  /** What C wrote is one item of shortest lengths, means this, and comes out as the same bytes when it is written here. */
  const means = (bytes: Buffer, expected: Record<string, unknown>): void => {
    strictly(bytes);
    assert.deepEqual(decodeValue(bytes), expected);
    assert.deepEqual(fromCbor(bytes), expected);
    for (const encode of [encodeValue, toCbor]) assert.equal(hex(encode(decodeValue(bytes))), hex(bytes));
  };
  const ascii = fc.string({ unit: fc.constantFrom(..."abcXYZ019/_-."), minLength: 1, maxLength: 40 });
  const text = fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 }).filter((s) => !s.includes("\0"));

  test("an attach says what is asked for, and is one that the box takes", async () => {
    const names = Object.entries(TYPES).map(([name, { number }]) => [number, name] as const);
    const uint32 = fc.oneof(fc.constantFrom(0, 1, 23, 24, 255, 256, 2 ** 32 - 1), fc.nat());
    const sample = fc.sample(
      fc.tuple(
        fc.uuid({ version: 7 }),
        fc.oneof(fc.constantFrom(0, 1, 2 ** 32), fc.nat()),
        uint32,
        fc.nat(0xfffe),
        fc.constantFrom(0, 1, 128, 70_000),
      ),
      {
        numRuns: 200,
        seed: SEED,
      },
    );
    for (const [session, seq, epoch, types, limit] of sample) {
      const wanted = types & 0xfffe;
      const bytes = await written(`attach ${hexOf(session)} ${seq} ${epoch} ${wanted} ${limit} ${limit} ${limit}`);
      const { id, ...rest } = decodeValue(bytes) as Record<string, unknown>;
      assert.equal(typeof id, "number");
      const list = names.filter(([number]) => (wanted >> number) & 1).map(([, name]) => name);
      means(bytes, {
        cmd: "attach",
        id,
        session,
        from: seq + 1,
        ...(epoch > 0 && { epoch }),
        ...(wanted > 0 && { types: list }),
        ...(limit > 0 && { max_frames: limit, wait_ms: limit, max_bytes: limit }),
      });
      const { cmd: _, max_frames: __, wait_ms: ___, max_bytes: ____, ...want } = rest;
      parseAttach(want);
    }
    const now = await written(`attach-now ${hexOf(SESSION)} ${1 << 9}`);
    const { id, ...rest } = decodeValue(now) as Record<string, unknown>;
    assert.equal(typeof id, "number");
    assert.deepEqual(rest, { cmd: "attach", session: SESSION, types: ["status"] });
  });

  test("answers and inputs are those that the box takes", async () => {
    const sample = fc.sample(fc.tuple(fc.uuid({ version: 7 }), ascii, text, fc.nat({ max: 300 })), {
      numRuns: 200,
      seed: SEED,
    });
    for (const [session, id, said, choice] of sample) {
      const about = `${id} ${hexOf(session)} ${hex(said)}`;
      for (const decision of ["allow", "deny"]) {
        const bytes = await written(`${decision} ${about}`);
        means(bytes, { cmd: "answer", id, session, ask: said, decision });
        parseCommand(decodeValue(bytes) as Record<string, unknown>);
      }
      means(await written(`choose ${about} ${choice}`), { cmd: "answer", id, session, ask: said, choices: [choice] });
      const input = await written(`input ${about}`);
      means(input, { cmd: "input", id, session, text: said });
      parseCommand(decodeValue(input) as Record<string, unknown>);
    }
  });

  test("any other command is written with the pairs it is given", async () => {
    means(await written(`begin sessions.list - 7 - 1 ${words("limit")} u1`), { cmd: "sessions.list", id: 7, limit: 1 });
    means(await written(`begin sessions.get - 4294967295 ${hexOf(SESSION)} 0 `), {
      cmd: "sessions.get",
      id: 2 ** 32 - 1,
      session: SESSION,
    });
    means(await written(`begin model x-1 0 ${hexOf(SESSION)} 1 ${words("model")} ${words("opus")}`), {
      cmd: "model",
      id: "x-1",
      session: SESSION,
      model: "opus",
    });
  });
});
