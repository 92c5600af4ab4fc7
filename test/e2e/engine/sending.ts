/** Engine suite, what is sent: odd texts, commands of Claude's own, switches. */
import assert from "node:assert/strict";
import { before, call, hanging, type Kit, NOW, say, stops, types, when } from "./kit.ts";
import { MODEL, textOf } from "../../agent/rig.ts";
import { JS_VERSION, NEWEST, PINNED } from "../claude-versions.ts";

export function sendingTests(kit: Kit): void {
  const { rigged, version, can } = kit;
    rigged("a text that ends in a backslash is taken as it was typed", when({}), async (rig) => {
      const at = rig.agent.at;
      let taken = 0;
      await rig.agent.submit("a\\", NOW, () => taken++);
      assert.equal(taken, 1);
      assert.ok(await rig.shows(at, "a\\"));
      await rig.until(() => rig.of("stop").length === 1, "the end of the turn");
      assert.equal(rig.model.requests.filter((r) => r.caller === "main").length, 1);
    });

    rigged(
      "the stop of a command is told after it was taken and before its submission is over",
      when({}),
      async (rig) => {
        for (const text of ["/nosuchcommand", "/context", "/nosuchcommand", "/context"]) {
          const from = rig.frames.length;
          let stopsAtTaken = -1;
          await rig.agent.submit(text, NOW, () => {
            stopsAtTaken = rig.of("stop", from).length;
          });
          assert.equal(stopsAtTaken, 0, text);
          assert.deepEqual(stops(rig.frames.slice(from)), ["command"], text);
        }
        await rig.turn("hello");
        assert.deepEqual(stops(rig.frames), ["command", "command", "command", "command", "end_turn"]);
      },
    );

  rigged("long, odd and commanding texts are submitted as they are", when({}), async (rig) => {
    const odd = [
      "# not a memory",
      "ends with @",
      "tab\there and \"quotes\" 'and' `ticks`",
      `${"many words ".repeat(1500)}end`,
      "a\n\nb\n".repeat(20).trim(),
      "über 🙂 漢字",
    ];
    for (const text of odd) {
      const at = rig.agent.at;
      await rig.turn(text);
      assert.equal(await rig.shows(at, text), true, text.slice(0, 30));
    }
    const mains = rig.model.requests.filter((r) => r.caller === "main");
    assert.equal(mains.length, odd.length);
    assert.match(mains[3]?.last ?? "", /many words end$/);
    assert.doesNotMatch(
      JSON.stringify(mains.at(-1)?.messages),
      /pasted_content/,
      "the model is not told that a prompt was pasted",
    );
  });
}
