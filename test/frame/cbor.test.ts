/** The client's CBOR against the box's and a third: the same bytes mean the same everywhere. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decode } from "cborg";
import fc from "fast-check";
import { base64Bytes, hexBytes, hexOf, sessionBytes, sessionText } from "../../src/frame/bytes.ts";
import { fromCbor, toCbor } from "../../src/frame/cbor.ts";
import { cborOf, decodeValue, encodeValue } from "../../src/frame/codec.ts";
import type { SessionId } from "../../src/frame/frame.ts";
import { frameOf } from "../../src/frame/item.ts";
import { checkItem } from "../../src/frame/sequence.ts";
import { anyFrame } from "./arbitrary.ts";

const SESSION = "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId;
const hex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));
/** Views of any class have the same bytes. */
const plain = (value: unknown): unknown =>
  value instanceof Uint8Array
    ? Uint8Array.from(value)
    : Array.isArray(value)
      ? value.map(plain)
      : typeof value === "object" && value !== null
        ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]))
        : value;

/** What commands are made of. */
const command = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthSize: "small", withCrossShrink: true },
    fc.constantFrom(null, true, false, SESSION),
    fc.string({ unit: fc.nat(0xffff).map((unit) => String.fromCharCode(unit)), maxLength: 300 }),
    fc.oneof(fc.maxSafeInteger(), fc.integer({ min: -300, max: 70_000 }), fc.double()).map((n) => (n === 0 ? 0 : n)),
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie("value"), { maxLength: 30 }),
    fc.dictionary(fc.oneof(fc.string(), fc.constantFrom("session", "__proto__", "7", "")), tie("value"), {
      maxKeys: 30,
      noNullPrototype: true,
    }),
  ),
})).value;

describe("the client's CBOR", () => {
  test("any frame from the box is read as the box's own decoder reads it", () => {
    fc.assert(
      fc.property(anyFrame, (frame) => {
        const bytes = cborOf(frame);
        assert.deepEqual(plain(fromCbor(bytes)), plain(decodeValue(bytes)));
        assert.deepEqual(plain(frameOf(fromCbor(bytes))), plain(frameOf(decodeValue(bytes))));
      }),
      { numRuns: 2000 },
    );
  });

  test("any command is written in a form that the box takes, and means the same to it", () => {
    fc.assert(
      fc.property(command, (value) => {
        const bytes = toCbor({ cmd: "any", value });
        checkItem(bytes);
        const wanted = plain(decodeValue(encodeValue({ cmd: "any", value })));
        assert.deepEqual(plain(decodeValue(bytes)), wanted);
        assert.deepEqual(plain(fromCbor(bytes)), wanted);
      }),
      { numRuns: 2000 },
    );
  });

  test("heads are the shortest there are, read by a strict decoder", () => {
    const edges = [0, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER];
    for (const n of [...edges, ...edges.map((n) => -1 - n).filter(Number.isSafeInteger)])
      assert.equal(decode(toCbor(n), { strict: true }), n);
    for (const length of [0, 23, 24, 255, 256, 65_535, 65_536])
      assert.equal(decode(toCbor("x".repeat(length)), { strict: true }).length, length);
  });

  test("a session is 16 bytes, undefined is left out, lone surrogates become U+FFFD", () => {
    assert.equal(
      hexOf(toCbor({ session: SESSION, from: undefined })),
      `a16773657373696f6e50${hexOf(sessionBytes(SESSION))}`,
    );
    assert.deepEqual(fromCbor(toCbor({ session: SESSION, a: ["\ud800"] })), { session: SESSION, a: ["\ufffd"] });
    assert.deepEqual(fromCbor(toCbor({ session: "no uuid" })), { session: "no uuid" });
  });

  test("what JSON does not know cannot be sent", () => {
    for (const value of [() => 1, Symbol("s"), 1n])
      assert.throws(() => toCbor({ value }), /cbor: a (function|symbol|bigint)/);
  });

  // RFC 8949, appendix A.
  const vectors: readonly (readonly [string, unknown])[] = [
    ["f90000", 0],
    ["f93c00", 1],
    ["f93e00", 1.5],
    ["f97bff", 65_504],
    ["f90001", 2 ** -24],
    ["f90400", 2 ** -14],
    ["f9c400", -4],
    ["f97c00", Number.POSITIVE_INFINITY],
    ["f9fc00", Number.NEGATIVE_INFINITY],
    ["f97e00", Number.NaN],
    ["fa47c35000", 100_000],
    ["fb3ff199999999999a", 1.1],
    ["1b0020000000000000", 2n ** 53n],
    ["1bffffffffffffffff", 18_446_744_073_709_551_615n],
    ["3bffffffffffffffff", -18_446_744_073_709_551_616n],
    ["3903e7", -1000],
    ["f4", false],
    ["f6", null],
    ["f7", undefined],
    ["f8ff", undefined],
    ["6161", "a"],
    ["63efbbbf", "\ufeff"],
    ["a201020304", { 1: 2, 3: 4 }],
  ];
  for (const [bytes, value] of vectors)
    test(`${bytes} is ${String(value)}`, () => assert.deepEqual(fromCbor(hex(bytes)), value));

  test("what is malformed, cut short, tagged, endless or too deep is refused", () => {
    const whole = toCbor({ cmd: "health", list: [1, "two", { three: 3.5 }], bytes: new Uint8Array(30) });
    for (let length = 0; length < whole.length; length++)
      assert.throws(() => fromCbor(whole.subarray(0, length)), SyntaxError);
    const bad = [
      "ff",
      "1c",
      "9f01ff",
      "c000",
      "61ff",
      "0000",
      "9b00ffffffffffffff",
      "bb7fffffffffffffff",
      "a1a000",
      "a1f600",
    ];
    for (const bytes of bad) assert.throws(() => fromCbor(hex(bytes)), SyntaxError, bytes);
    assert.throws(() => fromCbor(new Uint8Array(10_000).fill(0x81)), /deeper than 32/);
    assert.deepEqual(JSON.stringify(fromCbor(hex(`${"81".repeat(32)}00`))), `${"[".repeat(32)}0${"]".repeat(32)}`);
  });

  test("counts that lie on every level cost no room for what they claim", () => {
    const bytes = Buffer.alloc(8 * 1024 * 1024, 0xff);
    for (let at = 0; at < 32 * 5; at += 5) {
      bytes[at] = 0x9a;
      bytes.writeUInt32BE(bytes.length - at - 1024, at + 1);
    }
    const highest = () => process.resourceUsage().maxRSS / 1024;
    const before = highest();
    assert.throws(() => fromCbor(bytes), /malformed/);
    // Room for 32 lists of 8 million items would be 2 GiB.
    assert.ok(highest() - before < 512, `${highest() - before} MiB more`);
  });

  test("any bytes give a value or a SyntaxError, never anything else", () => {
    const edited = fc.tuple(anyFrame, fc.nat(), fc.nat(255)).map(([frame, at, byte]) => {
      const bytes = Uint8Array.from(cborOf(frame));
      bytes[at % bytes.length] = byte;
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), edited), (bytes) => {
        try {
          fromCbor(bytes);
        } catch (error) {
          assert.ok(error instanceof SyntaxError, String(error));
        }
      }),
      { numRuns: 5000 },
    );
  });

  test("__proto__ is a key like any other", () => {
    const value = fromCbor(toCbor(JSON.parse('{"__proto__":{"admin":true}}')));
    assert.equal((value as { admin?: boolean }).admin, undefined);
    assert.deepEqual(Object.keys(value as object), ["__proto__"]);
  });
});

describe("bytes as text", () => {
  test("hex, base64 and session ids come back as they were", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.uuid(), (bytes, id) => {
        assert.equal(hexOf(bytes), Buffer.from(bytes).toString("hex"));
        assert.deepEqual(hexBytes(hexOf(bytes).toUpperCase()), bytes);
        assert.deepEqual(base64Bytes(Buffer.from(bytes).toString("base64")), bytes);
        assert.equal(hexOf(sessionBytes(id as SessionId)), id.replaceAll("-", ""));
        assert.equal(sessionText(sessionBytes(id as SessionId)), id);
      }),
    );
  });

  test("what is no hex is refused", () => {
    for (const text of ["0", "0g", "0x12", " 00"]) assert.throws(() => hexBytes(text), TypeError);
  });
});
