/** What is a rule, and what its author is told when it is none. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isAbout } from "../../src/hooks/match.ts";
import { MAX_RULES, parseRules, type Rule, RuleError } from "../../src/hooks/rules.ts";
import { referenceOf, rewritten, type Subject } from "../../src/hooks/subject.ts";
import { MAX_NOTE_BYTES, parseVerdict } from "../../src/hooks/verdict.ts";

const good = { name: "a", on: ["text.delta"], run: ["x"] };

test("a rule comes out as it was written", () => {
  const rules = [good, { name: "b", on: ["*"], post: { url: "https://x/y", headers: { A: "b" }, body: "{text}" } }];
  assert.deepEqual(parseRules({ hooks: rules }), rules);
});

for (const [what, raw, words] of [
  ["no list", [], /^hooks: /],
  ["an unknown field", { hooks: [{ ...good, shell: true }] }, /^rule "a": shell: unknown field/],
  ["an unknown event", { hooks: [{ ...good, on: ["hook"] }] }, /^rule "a": on: 0: .*got "hook"/],
  ["neither run nor post", { hooks: [{ name: "a", on: ["*"] }] }, /^rule "a": needs run or post/],
  ["no name", { hooks: [{ on: ["*"], run: ["x"] }] }, /^rule 0: name: /],
  ["a bad pattern", { hooks: [{ ...good, match: { text: "(" } }] }, /^rule "a": match: text: no regular expression/],
  ["a long wait", { hooks: [{ ...good, timeout_ms: 60_001 }] }, /^rule "a": timeout_ms: expected at most 60000/],
  [
    "another scheme",
    { hooks: [{ name: "a", on: ["*"], post: { url: "file:///etc/passwd" } }] },
    /^rule "a": post: url/,
  ],
  [
    "a post that filters",
    { hooks: [{ name: "a", on: ["*"], post: { url: "http://x" }, act: "filter" }] },
    /cannot filter/,
  ],
  ["two of one name", { hooks: [good, good] }, /two rules of one name/],
  [
    "too many",
    { hooks: Array.from({ length: MAX_RULES + 1 }, (_, i) => ({ ...good, name: `r${i}` })) },
    /more than 64/,
  ],
] as const) {
  test(`${what}: the message names the rule and the field`, () => {
    assert.throws(
      () => parseRules(raw),
      (thrown) => thrown instanceof RuleError && words.test(thrown.message),
    );
  });
}

test("what a header holds is in no message", () => {
  const headers = { Authorization: "Bearer \u0001tk_secret" };
  assert.throws(
    () => parseRules({ hooks: [{ name: "a", on: ["*"], post: { url: "http://x", headers } }] }),
    (thrown) => thrown instanceof RuleError && !thrown.message.includes("tk_secret"),
  );
});

const bash = (command: string): Subject => ({ type: "tool.use.start", id: "t", tool: "Bash", input: { command } });
const about = (match: Rule["match"], subject: Subject, on: Rule["on"] = ["*"]) =>
  isAbout({ name: "a", on, run: ["x"], ...(match && { match }) }, subject);

test("a rule is about its events, its tool and its pattern, wherever in the input that stands", () => {
  assert.equal(about(undefined, bash("ls"), ["text.delta"]), false);
  assert.equal(about({ tool: "B*h" }, bash("ls")), true);
  assert.equal(about({ tool: "Bas" }, bash("ls")), false);
  assert.equal(about({ text: "rm\\s+-rf" }, bash("sudo rm  -rf /")), true);
  assert.equal(about({ text: "rm\\s+-rf" }, bash("rm -r")), false);
  assert.equal(about({ tool: "Bash" }, { type: "stop", reason: "Bash" }), false);
  assert.equal(about({ text: "^boom$" }, { type: "error", code: "x", message: "boom" }), true);
});

test("a pattern that would take for ever counts as found, soon", () => {
  const began = performance.now();
  assert.equal(about({ text: "^(a+)+$" }, bash(`${"a".repeat(60)}!`)), true);
  assert.ok(performance.now() - began < 5_000);
});

test("a rewrite changes what may change and nothing else", () => {
  const start = bash("ls");
  assert.deepEqual(rewritten(start, { input: { command: "pwd" } }), { ...start, input: { command: "pwd" } });
  for (const fields of [{}, { id: "x" }, { tool: "Read" }, { input: "ls" }, { type: "stop" }, { __proto__x: 1 }])
    assert.equal(typeof rewritten(start, fields), "string");
  assert.equal(typeof rewritten({ type: "text.delta", text: "a" }, { text: 1 }), "string");
  assert.equal(typeof rewritten({ type: "todo.update", items: [] }, { items: [{ id: 1 }] }), "string");
  assert.equal(typeof rewritten({ type: "stop", reason: "x" }, { reason: "y" }), "string");
});

test("a reference holds no content", () => {
  assert.deepEqual(referenceOf(bash("secret")), { id: "t", tool: "Bash" });
  assert.equal(referenceOf({ type: "text.delta", text: "secret" }), undefined);
});

test("a verdict is one of four, and anything else is a fault with a sentence", () => {
  assert.deepEqual(parseVerdict('{"verdict":"pass","n":3}', 3), { verdict: "pass" });
  assert.deepEqual(parseVerdict('{"verdict":"rewrite","text":"x"}', 1), { verdict: "rewrite", fields: { text: "x" } });
  assert.deepEqual(parseVerdict('{"verdict":"annotate","note":[1]}', 1), { verdict: "annotate", note: [1] });
  const long = "x".repeat(MAX_NOTE_BYTES);
  for (const text of ["", "pass", "[]", "null", '{"verdict":"allow"}', '{"verdict":"pass"}{"verdict":"block"}'])
    assert.equal(typeof parseVerdict(text, 1), "string", text);
  assert.match(String(parseVerdict('{"verdict":"pass","n":2}', 3)), /for event 2, not 3/);
  assert.match(String(parseVerdict(JSON.stringify({ verdict: "annotate", note: long }), 1)), /more than 4096/);
});
