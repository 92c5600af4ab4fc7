import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { ModelRequest } from "../../src/demo/model.ts";
import { CibError } from "../../src/errors.ts";
import { ALL_VERSIONS, offlineReason, PINNED } from "../e2e/claude-versions.ts";
import { type Rig, startRig } from "./rig.ts";

/** Has levels of effort on all three versions. */
const FIRST = "claude-opus-4-6";
const OTHER = "claude-haiku-4-5-20251001";
const soon = (): AbortSignal => AbortSignal.timeout(30_000);
const coded = (code: string, words: RegExp) => (thrown: unknown) =>
  thrown instanceof CibError && thrown.code === code && words.test(thrown.message);
const knows = (model: string): boolean => !model.includes("unheard");
const mains = (rig: Rig): ModelRequest[] => rig.model.requests.filter((request) => request.caller === "main");
/** How often a text came as a prompt of its own. */
const arrivals = (rig: Rig, text: string): number =>
  mains(rig).filter(({ last }) => last.trimEnd().endsWith(text)).length;
const settingsOf = async ({ spec }: Rig): Promise<string> =>
  readFile(join(spec.configDir, "settings.json"), "utf8").catch(() => "");

for (const version of ALL_VERSIONS) {
  const skip = await offlineReason(version);
  describe(`switches of Claude Code ${version}`, { skip: skip ?? false, concurrency: 2 }, () => {
    it("model and effort are confirmed at rest and in the middle of a turn, and stay this session's own", async () => {
      let release: () => void = () => undefined;
      const released = new Promise<void>((done) => {
        release = done;
      });
      async function* slowly(): AsyncGenerator<string> {
        yield "It takes a while.\n";
        await released;
        yield "Done.";
      }
      await using rig = await startRig({
        version,
        knows,
        spec: { model: FIRST },
        script: ({ last }) => ({ blocks: [{ text: last.trimEnd().endsWith("slowly") ? slowly() : "Fine." }] }),
      });
      assert.equal(await rig.agent.switch("model", OTHER, soon()), OTHER);
      assert.equal(rig.of("meta").at(-1)?.model, OTHER);
      assert.deepEqual(
        rig.of("status").map(({ state }) => state),
        ["idle"],
        "a switch is no turn, and its dialog no question",
      );
      assert.deepEqual(
        rig.of("stop").map(({ reason }) => reason),
        ["command"],
      );
      await rig.turn("which model");
      assert.equal(mains(rig).at(-1)?.model, OTHER);

      // In the middle of a turn it waits for the end; the text behind it arrives after it, once.
      await rig.agent.submit("slowly", soon());
      await rig.until(() => mains(rig).length === 2, "the slow turn's request");
      const from = rig.frames.length;
      let switched = false;
      const switching = rig.agent.switch("model", FIRST, soon()).then((value) => {
        switched = true;
        return value;
      });
      const behind = rig.agent.submit("behind it", soon());
      assert.equal(switched, false);
      release();
      assert.equal(await switching, FIRST);
      assert.equal(rig.of("stop", from)[0]?.reason, "end_turn");
      await behind;
      await rig.until(() => mains(rig).length === 3 && rig.of("status").at(-1)?.state === "idle", "the text behind it");
      assert.equal(arrivals(rig, "behind it"), 1);
      assert.equal(mains(rig).at(-1)?.model, FIRST);

      // What is unknown harms nothing.
      const effort = mains(rig).at(-1)?.effort;
      await assert.rejects(rig.agent.switch("model", "claude-unheard-of-9", soon()), coded("bad_request", /not found/));
      await assert.rejects(rig.agent.switch("effort", "turbo", soon()), coded("bad_request", /turbo/));
      await assert.rejects(rig.agent.switch("model", "two words", soon()), coded("bad_request", /one word/));
      assert.equal(rig.of("status").at(-1)?.state, "idle");

      // A person's draft is neither sent nor switched to.
      rig.agent.write(Buffer.from("a draft of a person\\\r".repeat(7)));
      assert.notEqual(effort, "low");
      assert.equal(await rig.agent.switch("effort", "low", soon()), "low");
      assert.equal(rig.of("meta").at(-1)?.effort, "low");
      await rig.turn("which effort");
      assert.deepEqual([mains(rig).at(-1)?.model, mains(rig).at(-1)?.effort], [FIRST, "low"]);
      assert.equal(mains(rig).length, 4);
      assert.doesNotMatch(JSON.stringify(mains(rig).at(-1)?.messages), /draft of a person/);

      // Another session of this configuration, without a choice of its own.
      await using second = await startRig({
        version,
        base: rig.base,
        script: () => ({ blocks: [{ text: "Fine." }] }),
        spec: { model: FIRST, runDir: join(rig.base, "second") },
      });
      await second.turn("which effort");
      assert.equal(mains(second).at(-1)?.effort, effort);
      assert.doesNotMatch(await settingsOf(rig), /"(model|effortLevel)"/);
      assert.deepEqual([...rig.faults, ...second.faults], []);
    });

    it("the permission mode is read back from the screen, and one that there is not leaves the old one", async () => {
      // As small as a phone held upright: too small for Claude to show the mode.
      const spec = { cols: 40, rows: 8 };
      await using rig = await startRig({ version, script: () => ({ blocks: [{ text: "Fine." }] }), spec });
      for (const mode of ["plan", "default", "acceptEdits", "bypassPermissions", "plan"]) {
        assert.equal(await rig.agent.switch("mode", mode, soon()), mode);
        assert.equal(rig.of("meta").at(-1)?.permission_mode, mode);
      }
      const from = rig.frames.length;
      await rig.turn("what may you do");
      assert.deepEqual(
        rig.of("meta", from).flatMap((frame) => frame.permission_mode ?? []),
        [],
        "Claude's hooks say the same",
      );
      await assert.rejects(rig.agent.switch("mode", "frantic", soon()), coded("conflict", /has .*plan/));
      assert.equal(await rig.agent.switch("mode", "plan", soon()), "plan");
      assert.deepEqual(rig.of("stop", from).length, 1, "no switch of mode ends anything");
      assert.deepEqual(rig.faults, []);
    });
  });
}

it("a gate cannot be switched away, nor a mode reached that the session was not started for", async () => {
  const script = () => ({ blocks: [{ text: "Fine." }] });
  await using rig = await startRig({ version: PINNED, script, spec: { bypass: false, gated: ["Bash"] } });
  await assert.rejects(rig.agent.switch("mode", "bypassPermissions", soon()), coded("conflict", /gate/));
  assert.equal(await rig.agent.switch("mode", "acceptEdits", soon()), "acceptEdits");
  await using free = await startRig({ version: PINNED, script, spec: { bypass: false } });
  await assert.rejects(free.agent.switch("mode", "bypassPermissions", soon()), coded("conflict", /this session has/));
});
