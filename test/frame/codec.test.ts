/** The codec against a decoder that is not ours: what is on the wire is what docs/frames.cddl promises. */
import assert from "node:assert/strict";
import { isUtf8 } from "node:buffer";
import { describe, test } from "node:test";
import { decode, type Token, Tokenizer } from "cborg";
import fc from "fast-check";
import { cborOf, decodeValue, Encoded, encodeValue, jsonOf } from "../../src/frame/codec.ts";
import type { Frame, PtyFrame, SessionId } from "../../src/frame/frame.ts";
import { frameOf } from "../../src/frame/item.ts";
import { CUT_FIELDS, type Field, OPTION_KEYS, TODO_KEYS, TYPES } from "../../src/frame/registry.ts";
import { anyFrame } from "./arbitrary.ts";

const SESSION = "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId;

/** A value as it stands on the wire: floats are told from whole numbers, maps keep the kind of their keys. */
class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/** `strict` refuses every number and length that is longer than it need be; the rest refuses what the CDDL leaves out. */
const STRICT = {
  strict: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowNaN: false,
  allowInfinity: false,
  useMaps: true,
  retainStringBytes: true,
};

/** One whole CBOR item, from the tokens of cborg. */
function onTheWire(bytes: Uint8Array): unknown {
  const tokens = new Tokenizer(bytes, STRICT);
  const item = (token: Token): unknown => {
    const { name } = token.type;
    if (name === "array") return Array.from({ length: Number(token.value) }, () => item(tokens.next()));
    if (name === "map")
      return new Map(Array.from({ length: Number(token.value) }, () => [item(tokens.next()), item(tokens.next())]));
    if (name === "float") return new Float(token.value);
    if (name === "string") {
      // From the bytes themselves: cborg's own text decoder swallows a byte order mark.
      const text = Buffer.from(token.byteValue ?? token.value);
      assert.ok(isUtf8(text), "text that is not UTF-8");
      return text.toString();
    }
    assert.notEqual(name, "tag");
    assert.notEqual(name, "undefined");
    if (name === "null") return null;
    return typeof token.value === "bigint" ? Number(token.value) : token.value;
  };
  const value = item(tokens.next());
  assert.ok(tokens.done(), "bytes after the frame");
  return value;
}

/** What the CDDL says a frame looks like, written down once more without the codec. */
function expected(frame: Frame | PtyFrame): unknown {
  const { number, fields } = TYPES[frame.type] as { number: number; fields: Record<string, Field> };
  const data = new Map<number, unknown>();
  for (const [name, field] of Object.entries({ ...fields, ...CUT_FIELDS })) {
    const value = (frame as unknown as Record<string, unknown>)[name];
    if (value !== undefined) data.set(field.key, expectedField(field, value));
  }
  const place = frame.type === "pty.raw" ? frame.offset : frame.seq;
  return [number, place, frame.ts, bytesOf(frame.session), data];
}

function expectedField({ kind }: Field, value: unknown): unknown {
  if (kind === "todos") return (value as object[]).map((item) => keyed(item, TODO_KEYS));
  if (kind === "options") return (value as object[]).map((item) => keyed(item, OPTION_KEYS));
  return plain(value);
}

function keyed(item: object, keys: Readonly<Record<string, number>>): Map<unknown, unknown> {
  return new Map(Object.entries(item).map(([name, value]) => [keys[name], plain(value)]));
}

function plain(value: unknown): unknown {
  if (typeof value === "number") return Number.isSafeInteger(value) ? value : new Float(value);
  if (typeof value === "string") return value.toWellFormed();
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "object" && value !== null)
    return new Map(Object.entries(value).map(([key, item]) => [plain(key), plain(item)]));
  return value;
}

function bytesOf(session: string): Uint8Array {
  return Uint8Array.from(Buffer.from(session.replaceAll("-", ""), "hex"));
}

/** The order of a map's keys is nobody's business. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value instanceof Uint8Array) return Uint8Array.from(value);
  if (value instanceof Map)
    return new Map(
      [...value]
        .map(([key, item]) => [key, sorted(item)] as const)
        .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)),
    );
  return value;
}

/** What JSON makes of a frame: the reference for every round trip. Lone surrogates do not exist in UTF-8. */
function wellFormed<T>(value: T): T {
  if (typeof value === "string") return value.toWellFormed() as T;
  if (Array.isArray(value)) return value.map(wellFormed) as T;
  if (value instanceof Uint8Array) return Uint8Array.from(value) as T;
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [wellFormed(key), wellFormed(item)])) as T;
  return value;
}

describe("frames in CBOR", () => {
  test("any frame is what the CDDL says, read by another decoder", () => {
    fc.assert(
      fc.property(anyFrame, (frame) => {
        assert.deepEqual(sorted(onTheWire(cborOf(frame))), sorted(expected(frame)));
      }),
      { numRuns: 2000 },
    );
  });

  test("any frame comes back as it was", () => {
    fc.assert(
      fc.property(anyFrame, (frame) => {
        assert.deepEqual(wellFormed(frameOf(decodeValue(cborOf(frame)))), wellFormed(frame));
      }),
      { numRuns: 1000 },
    );
  });

  test("the head needs five fixed reads: array, number, seq, time, sixteen bytes", () => {
    const bytes = cborOf({ session: SESSION, seq: 12, ts: 1_763_880_000_123, type: "text.delta", text: "Hello" });
    assert.equal(bytes.toString("hex"), `85010c1b0000019aaf70da7b50${SESSION.replaceAll("-", "")}a1006548656c6c6f`);
  });

  test("times and places past 32 bits stay whole numbers", () => {
    const bytes = cborOf({ session: SESSION, offset: 2 ** 40, ts: 2 ** 41, type: "pty.raw", data: Uint8Array.of(1) });
    assert.deepEqual(decode(bytes, STRICT), [15, 2 ** 40, 2 ** 41, bytesOf(SESSION), new Map([[0, Uint8Array.of(1)]])]);
  });

  test("a frame of a later version is skipped, something else is refused", () => {
    assert.equal(frameOf([250, 1, 1, bytesOf(SESSION), {}]), undefined);
    for (const junk of [undefined, null, 7, "frame", {}, [], [1, 2, 3, 4]])
      assert.throws(() => frameOf(junk), SyntaxError);
  });
});

describe("frames in JSON", () => {
  test("any frame comes back as it was, terminal bytes as base64", () => {
    fc.assert(
      fc.property(anyFrame, (frame) => {
        const back = JSON.parse(jsonOf(frame));
        if (frame.type === "pty.raw") back.data = Uint8Array.from(Buffer.from(back.data, "base64"));
        assert.deepEqual(back, { ...frame });
      }),
    );
  });

  test("a line of the log gives the same CBOR as the frame it was made from", () => {
    fc.assert(
      fc.property(anyFrame, (frame) => {
        fc.pre(frame.type !== "pty.raw");
        const fresh = Encoded.of(frame as Frame);
        const read = Encoded.fromLine(fresh.json());
        assert.deepEqual([read.seq, read.ts, read.type, read.bit], [fresh.seq, fresh.ts, fresh.type, fresh.bit]);
        assert.deepEqual(sorted(onTheWire(read.cbor())), sorted(onTheWire(fresh.cbor())));
      }),
    );
  });

  test("a frame is encoded once and the bytes are shared", () => {
    const encoded = Encoded.of({ session: SESSION, seq: 1, ts: 1, type: "stop", reason: "end_turn" });
    assert.equal(encoded.json(), encoded.json());
    assert.equal(encoded.cbor(), encoded.cbor());
  });

  test("a line that is none of ours is refused", () => {
    for (const line of ["", "{}", "null", '{"session":"x","seq":1}', "x".repeat(200)]) {
      assert.throws(() => Encoded.fromLine(Buffer.from(line)), SyntaxError);
    }
  });
});

describe("commands in CBOR", () => {
  test("session travels as 16 bytes and comes back as text", () => {
    const command = { cmd: "attach", session: SESSION, from: 2 ** 33 };
    const wanted = new Map<string, unknown>([
      ["cmd", "attach"],
      ["session", bytesOf(SESSION)],
      ["from", 2 ** 33],
    ]);
    assert.deepEqual(sorted(onTheWire(encodeValue(command))), sorted(wanted));
    assert.deepEqual(decodeValue(encodeValue(command)), command);
  });

  test("whole numbers have their shortest heads at every border, downwards too", () => {
    for (const border of [0, 24, 2 ** 8, 2 ** 16, 2 ** 31, 2 ** 32, 2 ** 53 - 1])
      for (const n of [border - 1, border, -border, -border - 1].filter((each) => Number.isSafeInteger(each))) {
        assert.equal(onTheWire(encodeValue(n)), n === 0 ? 0 : n);
        assert.equal(decodeValue(encodeValue(n)), n === 0 ? 0 : n);
      }
  });

  test("cut short, nested too deep or followed by more is refused", () => {
    const whole = encodeValue({ cmd: "health", list: [1, "two", { three: 3 }] });
    for (let length = 0; length < whole.length; length++)
      assert.throws(() => decodeValue(whole.subarray(0, length)), SyntaxError);
    assert.throws(() => decodeValue(Buffer.concat([whole, whole])), SyntaxError);
    assert.throws(() => decodeValue(Buffer.alloc(10_000, 0x81)), SyntaxError);
    assert.throws(() => decodeValue(Buffer.concat([Buffer.alloc(40, 0x81), Buffer.of(0)])), SyntaxError);
  });

  test("any bytes give a value or a SyntaxError, never anything else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decodeValue(bytes);
        } catch (error) {
          assert.ok(error instanceof SyntaxError, String(error));
        }
      }),
      { numRuns: 5000 },
    );
  });

  test("__proto__ is a key like any other", () => {
    const value = decodeValue(encodeValue(JSON.parse('{"__proto__":{"admin":true}}')));
    assert.equal((value as { admin?: boolean }).admin, undefined);
    assert.deepEqual(Object.keys(value as object), ["__proto__"]);
  });
});
