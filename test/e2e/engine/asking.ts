/** Engine suite, questions and permissions. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { asked, before, call, ended, type Kit, NOW, stops, when } from "./kit.ts";

/** One choice of two, and several. */
export const QUESTIONS = [
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

export function askingTests(kit: Kit): void {
  const { rigged, start } = kit;
  rigged(
    "shows questions, waits for a person, and tells that an interrupt left them without an answer",
    when({
      quiz: () => call({ tool: "AskUserQuestion", input: { questions: QUESTIONS }, id: "toolu_q" }),
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

  rigged(
    "takes the answers of someone far away, to several questions at once, and a refusal",
    when({
      quiz: () => call({ tool: "AskUserQuestion", input: { questions: QUESTIONS }, id: "toolu_q" }),
      riddle: () => call({ tool: "AskUserQuestion", input: { questions: QUESTIONS.slice(0, 1) }, id: "toolu_r" }),
    }),
    async (rig) => {
      await rig.agent.submit("quiz", NOW);
      const group = await asked(rig);
      const answers = { "Which color?": "Mauve, like a “dusk”", "Which fruits?": "Apple, Fig, my own" };
      const claim = rig.agent.claim(group);
      assert.equal(rig.agent.claim(group), undefined, "one hand at a time");
      assert.equal(claim?.release({ behavior: "allow", answers }), true);
      assert.equal(claim?.release({ behavior: "deny", message: "or not" }), false, "settled once");
      await ended(rig);
      const heard = rig.model.requests.at(-1)?.last ?? "";
      assert.match(heard, /"Which color\?"="Mauve, like a “dusk”"/);
      assert.match(heard, /"Which fruits\?"="Apple, Fig, my own"/);
      assert.deepEqual(rig.of("ask.answer"), [], "whoever decided tells it");
      assert.deepEqual(
        rig.of("tool.use.result").map((f) => [f.id, f.error]),
        [["toolu_q", undefined]],
      );
      assert.deepEqual(
        rig.of("status").map((f) => f.state),
        ["idle", "working", "waiting_for_input", "working", "idle"],
      );
      const from = rig.frames.length;
      await rig.agent.submit("riddle", NOW);
      rig.agent.claim(await asked(rig, from))?.release({ behavior: "deny", message: "ask me later" });
      await ended(rig, from);
      assert.match(rig.model.requests.at(-1)?.last ?? "", /ask me later/);
      assert.match(rig.of("tool.use.result", from)[0]?.error ?? "", /ask me later/);
      assert.deepEqual(stops(rig.frames), ["end_turn", "end_turn"]);
    },
  );

  rigged(
    "holds a permission when bypass is off: runs what is allowed, not what is denied or interrupted",
    when({
      "make it": ({ last }) =>
        call({ text: "will" }, { tool: "Bash", input: { command: `touch ${last.trim().split(" ").at(-1)}` } }),
    }),
    async (rig) => {
      for (const decision of ["allow", "deny", "interrupt"] as const) {
        const from = rig.frames.length;
        const file = join(rig.spec.workdir, decision);
        await rig.agent.submit(`make it: ${decision}`, NOW);
        const group = await asked(rig, from);
        const [shown] = rig.of("ask.question", from);
        assert.deepEqual([shown?.kind, shown?.tool, shown?.summary], ["permission", "Bash", `touch ${decision}`]);
        assert.deepEqual(shown?.options, [{ label: "Allow" }, { label: "Deny" }]);
        assert.deepEqual((shown?.input as { command: string } | undefined)?.command, `touch ${decision}`);
        assert.equal(existsSync(file), false);
        const claim = rig.agent.claim(group);
        if (decision === "interrupt") {
          assert.equal(await rig.agent.interrupt(NOW), true);
          assert.equal(claim?.release({ behavior: "allow" }), false, "Claude does not wait any more");
        } else {
          const settlement =
            decision === "allow" ? { behavior: decision } : { behavior: decision, message: "not today" };
          assert.equal(claim?.release(settlement), true);
        }
        await ended(rig, from);
        assert.equal(existsSync(file), decision === "allow");
        assert.deepEqual(stops(rig.frames.slice(from)), [decision === "interrupt" ? "interrupted" : "end_turn"]);
        assert.equal(rig.of("ask.question", from).length, 1);
        const results = rig.of("tool.use.result", from);
        assert.equal(results.length, 1);
        if (decision === "allow") assert.equal(results[0]?.error, undefined);
        if (decision === "deny") {
          assert.match(results[0]?.error ?? "", /not today/);
          assert.match(rig.model.requests.at(-1)?.last ?? "", /not today/);
        }
      }
    },
    { bypass: false },
  );

  it("a gate holds what is inside it, call by call, and lets run what was judged to be outside", async () => {
    const echo = (word: string) => ({ tool: "Bash", input: { command: `echo said-${word}` }, id: `toolu_${word}` });
    const script = when({ both: () => call(echo("one"), echo("two")), "run it": () => call(echo("free")) });
    await using rig = await start({
      script,
      spec: { bypass: false, gated: ["Bash"] },
      judge: (call) =>
        call.on !== "tool" ? { do: "pass" } : { do: JSON.stringify(call.input).includes("free") ? "allow" : "ask" },
    });
    await rig.turn("run it");
    assert.match(rig.model.requests.at(-1)?.last ?? "", /said-free/);
    assert.deepEqual(rig.of("ask.question"), []);
    const from = rig.frames.length;
    await rig.agent.submit("both", NOW);
    await rig.until(() => rig.of("ask.question", from).length === 2, "both permissions");
    for (const { id } of rig.of("ask.question", from).toReversed())
      assert.equal(rig.agent.claim(id.replace(/\/\d+$/, ""))?.release({ behavior: "allow" }), true, id);
    await ended(rig, from);
    assert.match(rig.model.requests.at(-1)?.last ?? "", /said-one\nsaid-two|said-two\nsaid-one/);
    await assert.rejects(rig.agent.switch("mode", "bypassPermissions", NOW), { code: "conflict" });
    assert.deepEqual(rig.faults, []);
  });
}
