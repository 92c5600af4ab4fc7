/** Packed: nothing is lost, cut or reordered, and no two neighbours would have fitted together. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { packed } from "../../src/transport/packed.ts";

const ROOM = 100;

test("items stay whole and in order, in plaintexts that fit and that no smaller number would hold", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 120 })), (arrays) => {
      const items = arrays.map((each) => Buffer.from(each));
      const plaintexts = packed(items, ROOM);
      assert.deepEqual(Buffer.concat(plaintexts), Buffer.concat(items));
      // Filled one after the other, as far as each goes.
      let next = 0;
      for (const plaintext of plaintexts) {
        let bytes = items[next++]?.length ?? 0;
        while (bytes < plaintext.length) bytes += items[next++]?.length ?? 0;
        assert.equal(bytes, plaintext.length);
        const following = items[next];
        assert.ok(following === undefined || bytes + following.length > ROOM);
      }
      assert.equal(next, items.length);
    }),
  );
});

test("an item that is longer than the room stands alone, and what stands alone is not copied", () => {
  const small: Buffer = Buffer.alloc(ROOM);
  const long: Buffer = Buffer.alloc(ROOM + 1);
  const plaintexts = packed([small, long, small], ROOM);
  assert.deepEqual(
    plaintexts.map((each) => [small, long].indexOf(each)),
    [0, 1, 0],
  );
  assert.equal(packed([long], ROOM)[0], long);
  assert.deepEqual(packed([], ROOM), []);
});
