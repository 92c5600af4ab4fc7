import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { matches } from "../../../src/transport/mqtt/client.ts";
import { Tree } from "../../../src/transport/mqtt/tree.ts";

const level = fc.constantFrom("a", "b", "");
const topic = fc
  .array(level, { minLength: 1, maxLength: 4 })
  .map((levels) => levels.join("/"))
  .filter((text) => text !== "");
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant("+")), { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([levels, rest]) => [...levels, ...(rest ? ["#"] : [])].join("/"))
  .filter((text) => text !== "");
const step = fc.record({ add: fc.boolean(), filter, who: fc.integer({ min: 0, max: 3 }) });

test("a topic finds exactly those whose filters match it, whatever came and went before", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), topic, (steps, asked) => {
      const tree = new Tree<number>();
      const all = new Set<string>();
      for (const { add, filter: text, who } of steps) {
        if (add) tree.add(text, who);
        else tree.delete(text, who);
        if (add) all.add(`${who} ${text}`);
        else all.delete(`${who} ${text}`);
      }
      const held = Array.from(all, (each) => [Number(each[0]), each.slice(2)] as const);
      const expected = new Set(held.filter(([, text]) => matches(text, asked)).map(([who]) => who));
      assert.deepEqual(new Set(tree.match(asked)), expected);
      for (const who of [0, 1, 2, 3])
        assert.equal(
          tree.some(asked, (each) => each === who),
          expected.has(who),
        );
      // Whoever hears a topic hears something within each of its parents.
      for (const [i] of asked.split("/").entries()) {
        const prefix = asked
          .split("/")
          .slice(0, i + 1)
          .join("/");
        if (expected.size > 0)
          assert.equal(
            tree.within(prefix, (each) => expected.has(each)),
            true,
            prefix,
          );
      }
      for (const [who, text] of held) tree.delete(text, who);
      assert.equal(tree.empty, true);
    }),
    { numRuns: 2000 },
  );
});

test("within is false where no filter leads", () => {
  const tree = new Tree<string>();
  tree.add("cib/s1/frames/+", "one");
  assert.equal(
    tree.within("cib/s1/frames", () => true),
    true,
  );
  assert.equal(
    tree.within("cib/s2/frames", () => true),
    false,
  );
  assert.equal(
    tree.within("cib/s1/json", () => true),
    false,
  );
  assert.equal(
    tree.within("cib/s1/frames", () => false),
    false,
  );
});
