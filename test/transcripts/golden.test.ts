import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import type { FrameBody } from "../../src/frame/frame.ts";
import { ALL_VERSIONS } from "../e2e/claude-versions.ts";
import { parse, replay } from "./replay.ts";
import { SCENARIOS } from "./scenarios.ts";

const here = dirname(fileURLToPath(import.meta.url));

for (const version of ALL_VERSIONS) {
  describe(`recorded ${version}`, () => {
    for (const { name, without } of SCENARIOS) {
      if (without?.includes(version)) continue;
      const folder = join(here, version, name);
      it(`${name} translates to its frames`, () => {
        assert.ok(existsSync(folder), `missing: npm run record ${version} ${name}`);
        const frames = replay(version, parse(readFileSync(join(folder, "in.jsonl"), "utf8")));
        assert.deepEqual(frames, JSON.parse(readFileSync(join(folder, "frames.json"), "utf8")));
        assertSound(frames);
      });
    }

    it("holds no recording that no scenario names", () => {
      const names = new Set(SCENARIOS.map((scenario) => scenario.name));
      assert.deepEqual(
        readdirSync(join(here, version)).filter((name) => !names.has(name)),
        [],
      );
    });
  });
}

/** What holds for every recording: calls opened and closed once, asks settled, the last word is that Claude stopped. */
function assertSound(frames: readonly FrameBody[]): void {
  const open = new Set<string>();
  const asks = new Set<string>();
  for (const frame of frames) {
    if (frame.type === "tool.use.start") {
      assert.ok(!open.has(frame.id));
      open.add(frame.id);
    } else if (frame.type === "tool.use.result") assert.ok(open.delete(frame.id), `${frame.id} was open`);
    else if (frame.type === "ask.question") asks.add(frame.id);
    else if (frame.type === "ask.answer") assert.ok(asks.delete(frame.id), `${frame.id} was asked`);
  }
  assert.deepEqual([...open, ...asks], []);
  assert.equal(frames.filter((frame) => frame.type === "status").at(-1)?.state, "stopped");
}
