/** Engine suite, questions and permissions. */
import assert from "node:assert/strict";
import { before, call, hanging, type Kit, NOW, say, stops, types, when } from "./kit.ts";
import { MODEL, textOf } from "../../agent/rig.ts";
import { JS_VERSION, NEWEST, PINNED } from "../claude-versions.ts";

export function askingTests(kit: Kit): void {
  const { rigged, can } = kit;
  const questions = [
    {
      question: "Which color?",
      header: "Color",
      multiSelect: false,
      options: [
        { label: "Red", description: "r" },
        { label: "Blue", description: "b" },
      ],
    },
    {
      question: "Which fruits?",
      header: "Fruit",
      multiSelect: true,
      options: [
        { label: "Apple", description: "a" },
        { label: "Fig", description: "f" },
      ],
    },
  ];
  rigged(
    "shows questions, waits for a person, and tells that Esc left them without an answer",
    when({
      quiz: () => call({ tool: "AskUserQuestion", input: { questions }, id: "toolu_q" }),
    }),
    async (rig) => {
      await rig.agent.submit("quiz", NOW);
      await rig.until(() => rig.of("status").at(-1)?.state === "waiting_for_input", "waiting_for_input");
      const asks = rig.of("ask.question");
      assert.deepEqual(
        asks.map((f) => [f.id, f.of, f.kind, f.prompt, f.multiSelect]),
        [
          ["toolu_q/0", 2, "question", "Which color?", false],
          ["toolu_q/1", 2, "question", "Which fruits?", true],
        ],
      );
      assert.deepEqual(asks[0]?.options, [
        { label: "Red", description: "r" },
        { label: "Blue", description: "b" },
      ]);
      assert.ok(before(rig.frames, "tool.use.start", "ask.question"));
      assert.equal(await rig.agent.interrupt(NOW), true);
      assert.deepEqual(
        rig.of("ask.answer").map((f) => [f.id, f.answer, f.by]),
        [
          ["toolu_q/0", null, "interrupt"],
          ["toolu_q/1", null, "interrupt"],
        ],
      );
      assert.deepEqual(
        rig.of("tool.use.result").map((f) => [f.id, f.error]),
        [["toolu_q", "interrupted"]],
      );
      assert.deepEqual(stops(rig.frames), ["interrupted"]);
      assert.deepEqual(stops(await rig.turn("after it")), ["end_turn"]);
    },
  );
}
