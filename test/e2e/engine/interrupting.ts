/** Engine suite, interrupts. */
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { textOf } from "../../agent/rig.ts";
import { JS_VERSION } from "../claude-versions.ts";
import { call, hanging, type Kit, lastLine, NOW, say, stops, when } from "./kit.ts";

export function interruptingTests(kit: Kit): void {
  const { rigged, version, can } = kit;
  rigged(
    "an interrupt in the middle of text ends the turn once, and nothing said is lost",
    when({ hang: (r) => call({ text: hanging(r, "Line A.\nhalf ", "a line") }) }),
    async (rig) => {
      await rig.agent.submit("hang on", NOW);
      if (can.tokens) await rig.until(() => textOf(rig.frames) === "Line A.\nhalf a line", "the words");
      else {
        if (version === JS_VERSION) await rig.until(() => rig.model.requests.length === 1, "the request");
        else await rig.until(() => rig.of("text.delta").length === 1, "the first line");
        await pause(500); // The half line is on Claude's side of the wire, where nothing tells of it.
      }
      assert.equal(await rig.agent.interrupt(NOW), true);
      assert.equal(textOf(rig.frames), "Line A.\nhalf a line");
      assert.deepEqual(stops(rig.frames), ["interrupted"]);
      assert.equal(rig.of("status").at(-1)?.state, "idle");
      assert.deepEqual(stops(await rig.turn("go on")), ["end_turn"]);
      assert.equal(await rig.agent.interrupt(NOW), true, "idle already");
      assert.equal(stops(rig.frames).length, 2);
    },
  );

  rigged(
    "an interrupt before the first word does not join that prompt to the next",
    (r) => (lastLine(r) === "next" ? say("Fine.") : call({ text: hanging(r) })),
    async (rig) => {
      const long = `hang on\n${"line after line\n".repeat(12)}${"a long one ".repeat(60)}\nto the end`;
      await rig.agent.submit(long, NOW);
      await rig.until(() => rig.model.requests.length === 1, "the request");
      assert.equal(await rig.agent.interrupt(NOW), true);
      assert.deepEqual(stops(rig.frames), ["interrupted"]);
      const frames = await rig.turn("next");
      assert.equal(textOf(frames), "Fine.");
      const told = rig.model.requests.at(-1);
      assert.equal(lastLine(told), "next");
      // At a terminal it goes back into the input line; without one it stays in the conversation, as a prompt of its own.
      if (can.terminal) assert.doesNotMatch(told?.last ?? "", /hang on/);
      else assert.equal(told?.messages.at(-1)?.role, "user");
    },
  );

  rigged(
    "an interrupt in the middle of a tool closes the tool and ends the turn once",
    when({
      "hang on": () =>
        call(
          { text: "go" },
          { tool: "Bash", input: { command: "for i in 1 2 3 4 5 6 7 8 9; do sleep 5; done" }, id: "toolu_long" },
        ),
    }),
    async (rig) => {
      await rig.agent.submit("hang on", NOW);
      await rig.until(() => rig.of("tool.use.start").length === 1, "the tool");
      assert.equal(await rig.agent.interrupt(NOW), true);
      assert.deepEqual(
        rig.of("tool.use.result").map((f) => [f.id, f.error]),
        [["toolu_long", "interrupted"]],
      );
      assert.deepEqual(stops(rig.frames), ["interrupted"]);
      assert.deepEqual(stops(await rig.turn("go on")), ["end_turn"]);
    },
  );
}
