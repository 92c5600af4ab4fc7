/** Sequences: every item of a record is found where it is, and nothing makes the search run away. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { cborOf, decodeValue, encodeValue } from "../../src/frame/codec.ts";
import { itemsOf } from "../../src/frame/sequence.ts";
import { anyFrame } from "./arbitrary.ts";

const items = (bytes: Buffer) => Array.from(itemsOf(bytes), (item) => item.toString("hex"));

test("what was joined comes apart, whatever the items are", () => {
  const value = fc.jsonValue({ maxDepth: 5 }).map((each) => encodeValue({ each }));
  fc.assert(
    fc.property(fc.array(fc.oneof(value, anyFrame.map(cborOf)), { maxLength: 8 }), (parts) => {
      assert.deepEqual(
        items(Buffer.concat(parts)),
        parts.map((part) => part.toString("hex")),
      );
    }),
    { numRuns: 100 },
  );
});

test("a sequence cut anywhere but between two items is refused", () => {
  const parts = [encodeValue({ cmd: "health", id: 1 }), encodeValue([1, 300, 70_000, 2 ** 40, "text", -1.5, true])];
  const bytes = Buffer.concat(parts);
  for (let size = 0; size <= bytes.length; size++) {
    if (size === 0 || size === parts[0]?.length || size === bytes.length) items(bytes.subarray(0, size));
    else assert.throws(() => items(bytes.subarray(0, size)), /cbor: cut short/);
  }
});

test("counts that lie, nesting without end and unknown heads are refused at once", () => {
  const refused = (hex: string, why: RegExp) => assert.throws(() => items(Buffer.from(hex, "hex")), why);
  refused("9b7fffffffffffffff", /cut short/);
  refused("bb7fffffffffffffff00", /cut short/);
  refused("5bffffffffffffffff", /cut short/);
  refused("9f01ff", /indefinite/);
  refused("bf0101ff", /indefinite/);
  refused("8201d9d9f7a0", /a tag/);
  refused("1c", /malformed/);
  refused("81".repeat(100_000), /nested deeper than 32/);
  refused("c1".repeat(100_000), /a tag/);
});

test("random bytes throw nothing but a SyntaxError, and what is found is no longer than what there was", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (data) => {
      const bytes = Buffer.from(data);
      try {
        assert.equal(items(bytes).join(""), bytes.toString("hex"));
      } catch (thrown) {
        assert.ok(thrown instanceof SyntaxError, String(thrown));
      }
    }),
    { numRuns: 500 },
  );
});

test("whatever the decoder takes, the search finds whole", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (data) => {
      const bytes = Buffer.from(data);
      try {
        for (const item of itemsOf(bytes)) decodeValue(item);
      } catch (thrown) {
        assert.ok(thrown instanceof SyntaxError, String(thrown));
      }
    }),
    { numRuns: 500 },
  );
});
