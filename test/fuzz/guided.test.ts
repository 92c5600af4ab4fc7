/** Guided: the search follows what it reaches, shrinks what it finds, and does the same for the same seed. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

test("a fault behind four bytes is found by what comes nearer to it, made small, and found the same way again", () => {
  // Not here: the profiler would take the counts of this process away from the coverage of the tests.
  const { NODE_V8_COVERAGE: _, ...env } = process.env;
  const toy = fileURLToPath(new URL("guided-toy.ts", import.meta.url));
  const { stdout, stderr } = spawnSync(process.execPath, ["--import", "tsx", toy], { env, encoding: "utf8" });
  const [first, second] = stdout.trim().split("\n");
  assert.match(first ?? "", /^\d+ 13379942$/, stderr);
  assert.equal(second, first);
});
