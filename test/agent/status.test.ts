import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Turn } from "../../src/demo/model.ts";
import { ALL_VERSIONS, offlineReason } from "../e2e/claude-versions.ts";
import { startRig, textOf } from "./rig.ts";

/** By the last word of the prompt; a failure that is retried is tried twice. */
const FAILURES: Readonly<Record<string, { readonly turn: Turn; readonly says: RegExp }>> = {
  malformed: { turn: { status: 400, error: "bad thing" }, says: /400.*bad thing/ },
  unauthorized: { turn: { status: 401, error: "invalid x-api-key" }, says: /Invalid API key/ },
  hurried: { turn: { status: 429, error: "too many" }, says: /429.*too many/ },
  overloaded: { turn: { status: 529, error: "Overloaded" }, says: /529/ },
  severed: { turn: { cut: "Half of it.\nand" }, says: /terminated|Connection/ },
};

for (const version of ALL_VERSIONS) {
  const skip = await offlineReason(version);
  describe(`the status of Claude Code ${version} is never stuck`, { skip: skip ?? false, concurrency: 2 }, () => {
    it("whatever the API answers: an error says why, a stop follows, then idle, and the next turn works", async () => {
      await using rig = await startRig({
        version,
        spec: { env: { CLAUDE_CODE_MAX_RETRIES: "1" } },
        script: ({ last }) => FAILURES[/(\w+)\s*$/.exec(last)?.[1] ?? ""]?.turn ?? { blocks: [{ text: "Fine." }] },
      });
      for (const [name, { says }] of Object.entries(FAILURES)) {
        const from = rig.frames.length;
        const frames = await rig.turn(`be ${name}`);
        const errors = rig.of("error", from).filter(({ code }) => code !== "api_retry");
        assert.equal(errors.length, 1, name);
        assert.match(errors[0]?.message ?? "", says);
        assert.deepEqual(
          rig.of("stop", from).map(({ reason }) => reason),
          [`error:${errors[0]?.code}`],
          name,
        );
        assert.deepEqual(
          rig.of("status", from).map(({ state }) => state),
          ["working", "idle"],
          name,
        );
        assert.equal(frames.at(-1)?.type, "status");
      }
      assert.equal(textOf(await rig.turn("be well")), "Fine.");
      assert.deepEqual(rig.faults, []);
    });

    it("an API that never answers is interrupted; a Claude that is killed has stopped", async () => {
      await using rig = await startRig({
        version,
        script: ({ last }) => (last.includes("never") ? new Promise(() => undefined) : { blocks: [{ text: "Fine." }] }),
      });
      await rig.agent.submit("never", AbortSignal.timeout(30_000));
      await rig.until(() => rig.model.requests.length > 0, "the request");
      assert.equal(await rig.agent.interrupt(AbortSignal.timeout(6_000)), true);
      assert.deepEqual(
        rig.of("stop").map(({ reason }) => reason),
        ["interrupted"],
      );
      assert.equal(rig.of("status").at(-1)?.state, "idle");
      await rig.agent.submit("never ever", AbortSignal.timeout(30_000));
      await rig.until(() => rig.model.requests.length > 1, "the second request");
      process.kill(rig.agent.pid, "SIGKILL");
      await rig.until(() => rig.exits.length > 0, "the exit");
      assert.equal(rig.of("status").at(-1)?.state, "stopped");
      assert.equal(rig.of("stop").length, 2);
      assert.notEqual(rig.exits[0]?.words, undefined);
    });
  });
}
