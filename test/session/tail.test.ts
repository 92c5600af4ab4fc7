/** Tail: what the end of a log says about an open turn, and how it is closed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { FrameBody } from "../../src/frame/frame.ts";
import { Tail } from "../../src/session/tail.ts";

function tailOf(...bodies: FrameBody[]): Tail {
  const tail = new Tail();
  for (const [i, body] of bodies.entries()) tail.take(body, 1000 + i);
  return tail;
}

const working: FrameBody = { type: "status", state: "working", elapsed_ms: 0 };
const start = (id: string): FrameBody => ({ type: "tool.use.start", id, tool: "Bash", input: {} });
const result = (id: string): FrameBody => ({ type: "tool.use.result", id, tool: "Bash", output: "", duration_ms: 1 });

test("an open turn is closed with its tools, its questions and one stop", () => {
  const ask: FrameBody = {
    type: "ask.question",
    id: "q/0",
    of: 1,
    kind: "question",
    prompt: "?",
    options: [],
    multiSelect: false,
  };
  const tail = tailOf(working, start("a"), start("b"), result("a"), ask);
  assert.deepEqual(tail.closing("daemon_restart", 1012), [
    { type: "tool.use.result", id: "b", tool: "Bash", output: null, error: "daemon_restart", duration_ms: 10 },
    { type: "ask.answer", id: "q/0", answer: null, by: "lost" },
    { type: "stop", reason: "daemon_restart" },
  ]);
});

test("a turn that stopped leaves nothing to close", () => {
  const tail = tailOf(
    working,
    start("a"),
    result("a"),
    { type: "stop", reason: "end_turn" },
    { type: "status", state: "idle", elapsed_ms: 5 },
  );
  assert.deepEqual(tail.closing("daemon_restart", 2000), []);
  assert.equal(tail.state, "idle");
});

test("what the log holds of the open turn is not told again", () => {
  const tail = tailOf(
    working,
    { type: "text.delta", text: "abc", message: "m" },
    { type: "text.delta", text: "de", message: "m" },
    start("a"),
    result("a"),
    start("b"),
  );
  const seen = tail.seen(0);
  assert.equal(seen.turnOpen, true);
  assert.equal(seen.text.get("m"), 5);
  assert.deepEqual(seen.tools.get("a"), { tool: "Bash", done: true });
  assert.deepEqual(seen.tools.get("b"), { tool: "Bash", done: false });
});

test("waiting and going on is one turn", () => {
  const tail = tailOf(working, { type: "status", state: "waiting_for_input", elapsed_ms: 1 }, working);
  assert.equal(tail.turnAt, 1000);
});
