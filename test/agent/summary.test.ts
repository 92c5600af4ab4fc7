import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { MAX_SUMMARY_CHARS, summaryOf, visible } from "../../src/agent/summary.ts";

/** Everything, and often what hides, turns or looks like our own escapes. */
const nasty = fc.string({
  unit: fc.oneof(
    fc.constantFrom("\n", "\r", "\t", "\x1b", "\x1b[2K", "\b", "\x7f", "\x9b", "\u202e", "\u2066", "\u200b", "\ufeff"),
    fc.constantFrom(
      "\u00ad",
      "\u2028",
      "\u00a0",
      "\u3164",
      "\u115f",
      "\u{e0041}",
      "\ufe0f",
      "\u0301",
      "\ud800",
      "\\",
      "…",
    ),
    fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
    fc.constantFrom("a", "rm -rf /", "ä", "漢", "🙂", " "),
  ),
  maxLength: 300,
});

describe("a summary", () => {
  it("is one line of at most 200 characters in which nothing hides", () => {
    fc.assert(
      fc.property(fc.constantFrom("Bash", "Write", "mcp__x__y", "Task"), nasty, (tool, text) => {
        const line = summaryOf(tool, { command: text, file_path: text, prompt: text, other: [text] });
        assert.ok(line.length <= MAX_SUMMARY_CHARS && line.length > 0);
        assert.doesNotMatch(line, /[\p{C}\p{Zl}\p{Zp}\p{Me}\p{Default_Ignorable_Code_Point}]/u);
        assert.doesNotMatch(line, /[^\P{Zs} ]/u, "no blank but the plain one");
      }),
    );
  });

  it("shows two different inputs as two different lines, unless it marks that it was cut", () => {
    fc.assert(
      fc.property(nasty, nasty, (a, b) => {
        fc.pre(a !== b);
        assert.notEqual(visible(a), visible(b));
        const [one, two] = [a, b].map((command) => summaryOf("Bash", { command, pad: 1 }));
        if (a !== "" && b !== "" && !one?.endsWith("…")) assert.notEqual(one, two);
      }),
    );
  });

  it("never cuts through an escape, so that no part of one reads as text", () => {
    for (let pad = 180; pad < MAX_SUMMARY_CHARS; pad++) {
      const line = summaryOf("Bash", { command: `${"a".repeat(pad)}\u202e\n\u{e0041}${"b".repeat(99)}` });
      assert.match(line, /^a+(\\u\{202e\})?(\\n)?(\\u\{e0041\})?b*…$/);
    }
  });

  it("names what matters of each tool", () => {
    const cases: [string, unknown, string][] = [
      ["Bash", { command: "git push\nrm -rf /", description: "harmless" }, "git push\\nrm -rf /"],
      ["Write", { file_path: "/etc/passwd", content: "x" }, "/etc/passwd"],
      ["NotebookEdit", { notebook_path: "/n.ipynb", new_source: "x" }, "/n.ipynb"],
      ["WebFetch", { url: "https://example.org/?q=1", prompt: "p" }, "https://example.org/?q=1"],
      ["Agent", { description: "look around", prompt: "Look." }, "look around"],
      ["mcp__mail__send", { to: "a@b", n: 1 }, '{"to":"a@b","n":1}'],
      ["Bash", { command: 7 }, '{"command":7}'],
      ["Bash", { command: "" }, '{"command":""}'],
      ["mcp__x__y", { note: 'a "b"\n\\ \u202e' }, '{"note":"a \\"b\\"\\n\\\\ \\u{202e}"}'],
      ["Nothing", undefined, "{}"],
      ["Bash", { command: "echo \u202ednammoc" }, "echo \\u{202e}dnammoc"],
      ["Bash", { command: "echo \\u{202e}" }, "echo \\\\u{202e}"],
    ];
    for (const [tool, input, line] of cases) assert.equal(summaryOf(tool, input), line);
  });
});
