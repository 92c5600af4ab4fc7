/** Text in pieces becomes whole lines, and nothing of it is lost. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { FrameBody } from "../../src/frame/frame.ts";
import { Lines, MAX_HELD_CHARS } from "../../src/hooks/lines.ts";

const piece = (text: string, message = "m") => ({ type: "text.delta", text, message }) as const;
const texts = (bodies: readonly FrameBody[]) => bodies.map((body) => (body as { text?: string }).text);

test("half a line waits for its end, and goes when another message begins", () => {
  const lines = new Lines();
  assert.deepEqual(texts(lines.take(piece("a\nb"))), ["a\n"]);
  assert.deepEqual(texts(lines.take(piece("c"))), []);
  assert.deepEqual(texts(lines.take(piece("x\n", "n"))), ["bc", "x\n"]);
  assert.equal(lines.empty, true);
});

test("a line without an end goes in pieces, no character cut", () => {
  const lines = new Lines();
  const out = [...lines.take(piece(`x${"😀".repeat(MAX_HELD_CHARS)}`)), ...lines.flush()];
  assert.ok(out.length > 1);
  for (const text of texts(out)) assert.ok(text?.isWellFormed() && text.length <= MAX_HELD_CHARS);
});

test("many lines at once go in pieces that end with a line", () => {
  const lines = new Lines();
  const out = texts(lines.take(piece("0123456789\n".repeat(10_000))));
  assert.equal(out.join("").length, 110_000);
  for (const text of out) assert.ok(text?.endsWith("\n") && text.length <= MAX_HELD_CHARS);
});

test("what another agent does leaves a line alone; what is nobody's does not", () => {
  const lines = new Lines();
  lines.take(piece("main"));
  lines.take({ ...piece("sub"), agent: "s" });
  assert.deepEqual(texts(lines.before({ type: "tool.use.start", id: "t", tool: "B", input: {}, agent: "s" })), ["sub"]);
  assert.deepEqual(texts(lines.before({ type: "stop", reason: "x" })), ["main"]);
});

test("every character comes out once and in order, for each agent", () => {
  const part = fc.record({
    type: fc.constantFrom("text.delta" as const, "thinking" as const),
    text: fc.string({ unit: fc.constantFrom("a", "b", "\n"), minLength: 1 }),
    message: fc.constantFrom("1", "2"),
    agent: fc.constantFrom(undefined, "s"),
  });
  fc.assert(
    fc.property(fc.array(part), (parts) => {
      const lines = new Lines();
      const given = parts.map(({ agent, ...rest }) => (agent === undefined ? rest : { ...rest, agent }));
      const out = [...given.flatMap((body) => lines.take(body)), ...lines.flush()] as typeof given;
      for (const agent of [undefined, "s"]) {
        const told = (list: readonly ((typeof given)[number] & { agent?: string })[]) =>
          list
            .filter((body) => body.agent === agent)
            .flatMap(({ type, message, text }) => [...text].map((c) => [type, message, c]));
        assert.deepEqual(told(out), told(given));
      }
    }),
  );
});
