/** Engine suite, starts and ends: nothing is left behind, nothing secret lies open. */
import assert from "node:assert/strict";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { it } from "node:test";
import { processesOf, sessionMarker } from "../../../src/agent/process-tree.ts";
import { call, type Kit, NOW, stops, when } from "./kit.ts";

export function endingTests(kit: Kit): void {
  const { rigged, can, start } = kit;
  rigged(
    "stop leaves no process, also not one that left its session",
    when({
      go: () => call({ tool: "Bash", input: { command: "setsid sleep 300 >/dev/null 2>&1 & echo started" } }),
    }),
    async (rig) => {
      await rig.turn("go");
      const marker = sessionMarker(rig.spec.session);
      assert.ok((await processesOf(marker, undefined)).length >= 2, "claude and the sleep");
      await rig.agent.stop("term");
      assert.deepEqual(await processesOf(marker, undefined), []);
      assert.equal(rig.exits.length, 1);
      assert.equal(rig.of("status").at(-1)?.state, "stopped");
    },
  );

  rigged(
    "kill -9 of Claude in a tool closes what is open and leaves no process",
    when({
      go: () =>
        call({
          tool: "Bash",
          input: { command: "setsid sleep 300 >/dev/null 2>&1 & for i in 1 2 3 4 5 6 7 8 9; do sleep 5; done" },
          id: "toolu_x",
        }),
    }),
    async (rig) => {
      await rig.agent.submit("go", NOW);
      await rig.until(() => rig.of("tool.use.start").length === 1, "the tool");
      process.kill(rig.agent.pid, "SIGKILL");
      await rig.until(() => rig.exits.length === 1, "the exit");
      assert.deepEqual(await processesOf(sessionMarker(rig.spec.session), undefined), []);
      assert.deepEqual(
        rig.of("tool.use.result").map((f) => f.id),
        ["toolu_x"],
      );
      assert.deepEqual(stops(rig.frames), ["interrupted"]);
      assert.equal(rig.of("status").at(-1)?.state, "stopped");
    },
  );

  rigged("nothing secret is in argv, and the settings are readable by their owner alone", when({}), async (rig) => {
    const argv = await readFile(`/proc/${rig.agent.pid}/cmdline`, "utf8");
    assert.doesNotMatch(argv, /sk-ant|127\.0\.0\.1/);
    const file = join(rig.spec.runDir, "settings.json");
    const settings = await readFile(file, "utf8");
    // Where Claude's hooks are called; without a terminal they come over its own lines.
    assert.equal(/127\.0\.0\.1/.test(settings), can.terminal);
    assert.equal((await stat(file)).mode & 0o077, 0);
    const env = await readFile(`/proc/${rig.agent.pid}/environ`, "latin1");
    assert.match(env, new RegExp(`CIB_SESSION=${rig.spec.session}`));
    assert.doesNotMatch(env, /CIB_AUTH_TOKEN|npm_/);
  });

  it("a Claude that cannot start says why", async () => {
    const conversation = "00000000-0000-4000-8000-000000000000";
    await assert.rejects(start({ script: when({}), spec: { start: { fork: conversation } } }), (thrown: Error) => {
      assert.match(thrown.message, /ended while starting/);
      assert.match(thrown.message, /No conversation found|not found/i);
      return true;
    });
  });
}
