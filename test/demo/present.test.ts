/** The presenter, tested: one line a frame, and nothing in it that a terminal would obey. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type Look, lookOf, present, visible } from "../../src/demo/present.ts";
import type { FrameBody, SessionId } from "../../src/frame/frame.ts";
import { anyFrame } from "../frame/arbitrary.ts";

const SESSION = "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId;
const PLAIN: Look = { color: false, columns: undefined };
const line = (body: FrameBody, look = PLAIN) => present({ session: SESSION, seq: 12, ts: 0, ...body }, look);

describe("a frame as a line", () => {
  const lines: readonly (readonly [FrameBody, string])[] = [
    [{ type: "text.delta", text: "Hello\nbox\n" }, "   12  text      Hello ⏎ box ⏎"],
    [{ type: "text.delta", text: "Hm", agent: "a1" }, "   12  text      (subagent) Hm"],
    [{ type: "thinking", text: "Let me see" }, "   12  thinking  Let me see"],
    [
      { type: "tool.use.start", id: "t", tool: "Bash", input: { command: "ls", description: "List" } },
      "   12  tool      Bash  ls",
    ],
    [{ type: "tool.use.start", id: "t", tool: "Odd", input: [1] }, "   12  tool      Odd  [1]"],
    [
      { type: "tool.use.result", id: "t", tool: "Bash", output: { stdout: "a\nb" }, duration_ms: 1500 },
      "   12  result    Bash  1.5 s  a ⏎ b",
    ],
    [
      { type: "tool.use.result", id: "t", tool: "Bash", output: null, error: "exit 1", duration_ms: 3 },
      "   12  result    Bash  3 ms  exit 1",
    ],
    [
      {
        type: "todo.update",
        items: [
          { id: "1", subject: "Look", status: "completed" },
          { id: "2", subject: "Tell", status: "in_progress" },
        ],
      },
      "   12  todo      [x] Look · [>] Tell",
    ],
    [
      {
        type: "ask.question",
        id: "t/0",
        of: 1,
        kind: "question",
        prompt: "Which?",
        options: [{ label: "Red" }, { label: "Blue" }],
        multiSelect: false,
      },
      "   12  ask       Which?  1) Red  2) Blue",
    ],
    [{ type: "ask.answer", id: "t/0", answer: "Blue", by: "master" }, "   12  answer    Blue (master)"],
    [
      { type: "usage", input: 1, output: 2, cache_read: 3, cache_write: 4, cost_usd: 0.5 },
      "   12  usage     1 in, 2 out, cache 3 read, 4 written  $0.5000",
    ],
    [{ type: "status", state: "working", elapsed_ms: 0 }, "   12  status    working"],
    [{ type: "status", state: "idle", elapsed_ms: 2300 }, "   12  status    idle  after 2.3 s"],
    [{ type: "stop", reason: "end_turn" }, "   12  stop      end_turn"],
    [{ type: "meta", model: "sonnet", title: "A talk" }, "   12  meta      model sonnet  title A talk"],
    [{ type: "hook", name: "log", event: "Stop" }, "   12  hook      log  Stop"],
    [{ type: "input", by: "master", text: "Hi", state: "accepted" }, "   12  input     accepted  Hi  (master)"],
    [{ type: "error", code: "claude_failed", message: "gone" }, "   12  error     claude_failed: gone"],
  ];
  for (const [body, expected] of lines) {
    test(`${body.type}: ${expected.trim()}`, () => assert.equal(line(body), expected));
  }

  test("a piece and a shortened frame say so", () => {
    const piece = present(
      { session: SESSION, seq: 3, ts: 0, type: "text.delta", text: "a", part: [1, 3], truncated: 900 },
      PLAIN,
    );
    assert.equal(piece, "    3  text      a  [2 of 3]  [cut from 900 bytes]");
  });

  test("terminal bytes are counted, never shown", () => {
    const shown = present({ session: SESSION, offset: 7, ts: 0, type: "pty.raw", data: Buffer.from("\x1b[2J") }, PLAIN);
    assert.equal(shown, "       terminal  4 bytes at 7");
  });

  test("a line is cut to the terminal, not between two halves of a character", () => {
    const look = { color: false, columns: 40 };
    const text = line({ type: "text.delta", text: "🙂".repeat(100) }, look);
    assert.ok(text.length <= 40, text);
    assert.ok(text.isWellFormed());
    assert.ok(text.endsWith("…"));
  });

  test("no frame of any content gives more than one line or a control character", () => {
    fc.assert(
      fc.property(anyFrame, fc.option(fc.integer({ min: 1, max: 200 }), { nil: undefined }), (frame, columns) => {
        assert.doesNotMatch(
          present(frame, { color: false, columns }),
          /[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/,
        );
      }),
      { numRuns: 500 },
    );
  });
});

describe("what a terminal would obey", () => {
  test("is shown instead", () => {
    assert.equal(visible("\x1b[31mred\x07\x9b2J"), "␛[31mred␇\\u009b2J");
    assert.equal(visible("a\u202eb"), "a\\u202eb");
    assert.equal(visible("\x7f"), "\\u007f");
  });

  test("leaves other writing alone", () => assert.equal(visible("é 語 🙂 שלום"), "é 語 🙂 שלום"));
});

describe("colours", () => {
  test("come on a terminal only", () => {
    assert.deepEqual(lookOf({ isTTY: true, columns: 100 }, {}), { color: true, columns: 100 });
    assert.deepEqual(lookOf({ columns: 100 }, {}), { color: false, columns: undefined });
  });

  test("stay away where NO_COLOR is set or the terminal is dumb", () => {
    assert.equal(lookOf({ isTTY: true }, { NO_COLOR: "1" }).color, false);
    assert.equal(lookOf({ isTTY: true }, { NO_COLOR: "" }).color, true);
    assert.equal(lookOf({ isTTY: true }, { TERM: "dumb" }).color, false);
  });

  test("a failed tool is red, and colours end with the line", () => {
    const shown = line(
      { type: "tool.use.result", id: "t", tool: "Bash", output: null, error: "no", duration_ms: 1 },
      { color: true, columns: 80 },
    );
    assert.match(shown, /\x1b\[31mresult/);
    assert.ok(shown.endsWith("\x1b[0m"));
  });
});
