/** Wildcards mean what a shell's mean, and no text makes them slow. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { isGated } from "../src/session/permit.ts";
import { fits } from "../src/wildcard.ts";

/** The plain meaning, slow and clear. */
function means(pattern: string, text: string): boolean {
  if (pattern === "") return text === "";
  const [head, rest] = [pattern[0], pattern.slice(1)];
  if (head !== "*") return text[0] === head && means(rest, text.slice(1));
  return means(rest, text) || (text !== "" && means(pattern, text.slice(1)));
}

test("fits exactly what the plain meaning fits", () => {
  const words = fc.string({ unit: fc.constantFrom("a", "b", "*"), maxLength: 8 });
  const texts = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 10 });
  fc.assert(fc.property(words, texts, (pattern, text) => fits(pattern, text) === means(pattern, text)));
});

test("a gate over a long command answers in no time", () => {
  const command = "rm -rf ".repeat(100_000);
  const before = process.cpuUsage();
  assert.equal(isGated(["Bash(*rm*-rf*/*)"], "Bash", { command }), false);
  assert.equal(isGated(["Bash(*rm*-rf*)"], "Bash", { command }), true);
  const { user } = process.cpuUsage(before);
  assert.ok(user < 5_000_000, `${user} µs of CPU for 700 KB: a regular expression would take days`);
});

test("a gate sees each part of a command, however it is put together, and each text of an input", () => {
  const gate = ["Bash(git push:*)", "Write(*.env)", "mcp__*"];
  for (const command of ["git push", "git push -f", "cd x && git push", "a;git push", "$(git push)", "x | git push\n"])
    assert.equal(isGated(gate, "Bash", { command }), true, command);
  for (const command of ["git pull", "echo git pushed", "digit push"])
    assert.equal(isGated(gate, "Bash", { command }), false, command);
  assert.equal(isGated(gate, "Write", { file_path: "/x/.env", content: "" }), true);
  assert.equal(isGated(gate, "Write", { files: [{ path: "a.env" }] }), true);
  assert.equal(isGated(gate, "mcp__x__y", {}), true);
  assert.equal(isGated(gate, "Read", { file_path: "a.env" }), false);
});
