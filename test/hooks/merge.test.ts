/** What three levels of rules make together. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { LEVELS, merge } from "../../src/hooks/merge.ts";
import type { Rule } from "../../src/hooks/rules.ts";

const rule = (name: string, more: Partial<Rule> = {}): Rule => ({ name, on: ["input"], run: ["x"], ...more });
const names = (merged: ReturnType<typeof merge>) => merged.rules.map(({ rule: { name }, level }) => `${level} ${name}`);

test("a later level replaces a rule of the same name", () => {
  const merged = merge({ image: [rule("a")], user: [rule("a", { run: ["y"] }), rule("b")], session: [rule("c")] });
  assert.deepEqual(names(merged), ["user a", "user b", "session c"]);
  assert.deepEqual(merged.rules[0]?.rule.run, ["y"]);
});

test("a locked rule stays, judges last, and whoever wanted its name is told", () => {
  const locked = rule("a", { locked: true });
  const merged = merge({ image: [locked], user: [rule("b", { locked: true })], session: [rule("a"), rule("c")] });
  assert.deepEqual(names(merged), ["session c", "user b", "image a"]);
  assert.deepEqual(merged.refused, [{ name: "a", level: "session", by: "image" }]);
});

describe("whatever the levels hold", () => {
  const rules = fc.uniqueArray(
    fc.record({ name: fc.constantFrom("a", "b", "c", "d", "e"), locked: fc.boolean(), run: fc.tuple(fc.string()) }),
    { selector: ({ name }) => name, maxLength: 5 },
  );
  const level = rules.map((all) => all.map(({ name, locked, run }) => rule(name, { locked, run })));

  test("no locked rule of the image is undone, shadowed or got behind", () => {
    fc.assert(
      fc.property(level, level, level, (image, user, session) => {
        const merged = merge({ image, user, session });
        const locked = image.filter((one) => one.locked);
        const tail = locked.length === 0 ? [] : merged.rules.slice(-locked.length);
        assert.deepEqual(
          tail,
          locked.map((one) => ({ rule: one, level: "image" })),
        );
        for (const one of locked)
          assert.equal(merged.rules.filter((each) => each.rule.name === one.name).length, 1, "shadowed");
      }),
    );
  });

  test("each name is there once, from the last level that may have it, and each other one is told", () => {
    fc.assert(
      fc.property(level, level, level, (image, user, session) => {
        const levels = { image, user, session };
        const merged = merge(levels);
        const all = new Set(LEVELS.flatMap((each) => levels[each].map(({ name }) => name)));
        assert.deepEqual(new Set(merged.rules.map(({ rule: { name } }) => name)), all);
        assert.equal(merged.rules.length, all.size);
        for (const name of all) {
          const having = LEVELS.filter((each) => levels[each].some((one) => one.name === name));
          const lock = having.findIndex((each) => levels[each].find((one) => one.name === name)?.locked);
          const wins = lock < 0 ? having.at(-1) : having[lock];
          assert.equal(merged.rules.find((each) => each.rule.name === name)?.level, wins);
          const refused = lock < 0 ? [] : having.slice(lock + 1);
          assert.deepEqual(
            merged.refused.filter((each) => each.name === name).map((each) => each.level),
            refused,
          );
        }
      }),
    );
  });
});
