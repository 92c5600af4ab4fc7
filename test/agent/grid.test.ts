import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Grid } from "../../src/agent/grid.ts";
import { asksBack, boxOf, modeOf, offersOptions } from "../../src/agent/switches.ts";

const drawn = (text: string, cols = 20, rows = 4): string[] => {
  const grid = new Grid(cols, rows);
  grid.push(Buffer.from(text));
  return grid.lines();
};

describe("the grid", () => {
  it("puts down what is written where the cursor is", () => {
    assert.deepEqual(drawn("one\r\ntwo\x1b[1;10Hten\x1b[4;1Hlast"), ["one      ten", "two", "", "last"]);
    assert.deepEqual(drawn("bil\x1b[1bing\x1b[2Gu"), ["bulling", "", "", ""]);
    assert.deepEqual(drawn("abc\x1b[1D\x1b[Kd\x1b[3Ce"), ["abd   e", "", "", ""]);
    assert.deepEqual(drawn("old\r\nold\x1b[2J\x1b[Hnew\x1b(B"), ["new", "", "", ""]);
    assert.deepEqual(drawn("a漢b\x1b[4Gc"), ["a漢c", "", "", ""]);
  });

  it("wraps at the edge and scrolls at the end", () => {
    assert.deepEqual(drawn("abcdef", 4, 2), ["abcd", "ef"]);
    assert.deepEqual(drawn("1\r\n2\r\n3", 4, 2), ["2", "3"]);
  });

  it("shows the same however the bytes were cut, and never fails, whatever they are", () => {
    const piece = fc.oneof(
      fc.constantFrom("\x1b[", "\x1b[2;3H", "\x1b[9999B", "\x1b[5b", "\x1b]0;title\x07", "\x1b[?25l", "漢", "é", "\n"),
      fc.string({ maxLength: 8, unit: "binary" }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), fc.integer({ min: 1, max: 7 }), (pieces, size) => {
        const bytes = Buffer.from(pieces.join(""));
        const [whole, cut] = [new Grid(10, 5), new Grid(10, 5)];
        whole.push(bytes);
        for (let at = 0; at < bytes.length; at += size) cut.push(bytes.subarray(at, at + size));
        assert.deepEqual(cut.lines(), whole.lines());
        assert.equal(whole.lines().length, 5);
      }),
    );
  });
});

describe("what the screen says", () => {
  const rule = "─".repeat(40);
  const screen = (box: string[], footer: string): string[] => ["● Fine.", rule, ...box, rule, footer];

  it("the mode stands in the footer, and only there", () => {
    assert.equal(modeOf(screen(["❯ plan mode on"], "  ⏵⏵ accept edits on (shift+tab to cycle)")), "acceptEdits");
    assert.equal(modeOf(screen(["❯"], "  ? for shortcuts   auto mode unavailable for this model")), "default");
    assert.equal(modeOf(screen(["❯"], "  ⏸ manual mode on · ? for shortcuts · ← for agents")), "default");
    assert.equal(modeOf(screen(["❯"], "  ⏸ plan mode on (shift+tab to cycle)")), "plan");
    assert.equal(modeOf(screen(["❯"], "  Press Ctrl-C again to exit")), undefined);
  });

  it("the box holds what stands between the rules, also on two rows", () => {
    assert.equal(boxOf(screen(["❯ /model claude-haiku-", "  4-5"], "")), "/modelclaude-haiku-4-5");
    assert.equal(boxOf(screen(["❯ a draft/model x"], "")), "adraft/modelx");
    assert.equal(boxOf(["no box"]), undefined);
  });

  it("a question is answered with yes only where the cursor stands on it", () => {
    assert.equal(asksBack(["Switch model?", "❯ 1. Yes, switch to Opus", "  2. No, go back"]), true);
    assert.equal(asksBack(["Switch model?", "  1. Yes, switch to Opus", "❯ 2. No, go back"]), false);
    assert.equal(asksBack(["Delete everything?", "❯ 1. Yes"]), false);
  });

  it("the offer after a usage limit is known in both its forms", () => {
    assert.equal(offersOptions(["What do you want to do?", "❯ 1. Stop and wait for limit to reset"]), true);
    assert.equal(offersOptions(["Usage limit reached · set to continue automatically at 1:26am"]), true);
    assert.equal(offersOptions(["You've hit your session limit · resets 1:26am (UTC)"]), false);
  });
});
