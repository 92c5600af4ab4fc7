/** Engine suite, the terminal: keys, dialogs and what a person does there. */
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { textOf } from "../../agent/rig.ts";
import { PINNED } from "../claude-versions.ts";
import { QUESTIONS } from "./asking.ts";
import { call, type Kit, lastLine, mains, NOW, say, stops, when } from "./kit.ts";

export function terminalTests(kit: Kit): void {
  const { rigged, version } = kit;
  rigged(
    "tells what a person answered in the terminal",
    when({
      quiz: () => call({ tool: "AskUserQuestion", input: { questions: QUESTIONS.slice(0, 1) }, id: "toolu_q" }),
      answered: () => say("Thanks."),
    }),
    async (rig) => {
      await rig.agent.submit("quiz", NOW);
      await rig.until(() => rig.of("status").at(-1)?.state === "waiting_for_input", "the question");
      // The dialog takes keys as soon as it is drawn, which nothing but the screen tells: Enter until it is settled.
      for (let i = 0; i < 20 && rig.of("ask.answer").length === 0; i++) {
        rig.agent.write(Buffer.from("\r"));
        await pause(300);
      }
      await rig.until(() => stops(rig.frames).length === 1, "the end");
      assert.deepEqual(
        rig.of("ask.answer").map((f) => [f.id, f.answer, f.by]),
        [["toolu_q/0", "Red", "terminal"]],
      );
      assert.deepEqual(
        rig.of("status").map((f) => f.state),
        ["idle", "working", "waiting_for_input", "working", "idle"],
      );
    },
  );

  rigged(
    "takes a command by the name that was sent, not by one that Claude's list would make of it",
    when({}),
    async (rig) => {
      await rig.turn("something to lose");
      await rig.turn("/clea");
      await rig.turn("still there?");
      assert.match(JSON.stringify(mains(rig).at(-1)?.messages), /something to lose/);
    },
  );

  rigged(
    "shows a permission when bypass is off, and both decisions of the terminal",
    when({
      "run it": () => call({ text: "will" }, { tool: "Bash", input: { command: "touch made" } }),
    }),
    async (rig) => {
      for (const decision of ["allow", "deny"] as const) {
        const from = rig.frames.length;
        await rig.agent.submit("run it", NOW);
        await rig.until(() => rig.of("status", from).at(-1)?.state === "waiting_for_input", "the permission");
        const [asked] = rig.of("ask.question", from);
        assert.equal(asked?.kind, "permission");
        assert.equal(asked?.tool, "Bash");
        assert.deepEqual(asked?.options, [{ label: "Allow" }, { label: "Deny" }]);
        assert.equal((asked?.input as { command: string } | undefined)?.command, "touch made");
        for (let i = 0; i < 20 && rig.of("ask.answer", from).length === 0; i++) {
          rig.agent.write(Buffer.from(decision === "allow" ? "\r" : "\x1b"));
          await pause(400);
        }
        await rig.until(
          () => rig.of("status", from).at(-1)?.state === "idle" && stops(rig.frames.slice(from)).length === 1,
          "the end",
        );
        assert.deepEqual(
          rig.of("ask.answer", from).map((f) => [f.id, f.answer, f.by]),
          [[asked?.id, decision, "terminal"]],
        );
        assert.equal(rig.of("tool.use.result", from).length, 1);
      }
    },
    { bypass: false },
  );

  rigged("what a person typed and did not send is not joined to a submitted text", when({}), async (rig) => {
    rig.agent.write(Buffer.from("a draft in the terminal"));
    await pause(300);
    await rig.turn("clean");
    assert.equal(lastLine(rig.model.requests[0]), "clean");
  });

  if (version !== PINNED) return;
  for (const text of ["/exit", "exit"]) {
    rigged(`${text} ends Claude and counts as taken`, when({}), async (rig) => {
      let toldBefore = -1;
      await rig.agent.submit(text, NOW, () => {
        toldBefore = rig.exits.length;
      });
      assert.equal(toldBefore, 0);
      await rig.until(() => rig.exits.length === 1, "Claude's end");
      assert.equal(rig.exits[0]?.code, 0);
    });
  }

  rigged("a lone ! is refused, and the next text is no shell command", when({}), async (rig) => {
    await assert.rejects(rig.agent.submit("!", NOW), /only switches Claude's input mode/);
    rig.agent.write(Buffer.from("!"));
    const frames = await rig.turn("echo plain");
    assert.equal(textOf(frames), "Fine.");
  });

  rigged("a dialog that a command opened is told of once, and Esc closes it", when({}), async (rig) => {
    await rig.agent.submit("/model", NOW);
    const notes = () => rig.of("meta").filter((f) => f.note?.includes("a dialog is open") === true).length;
    await rig.until(() => notes() > 0, "word of the dialog");
    assert.equal(await rig.agent.interrupt(NOW), true);
    const from = rig.frames.length;
    await rig.agent.submit("hello", NOW, () => assert.deepEqual(stops(rig.frames.slice(from)), ["command"]));
    await rig.until(() => stops(rig.frames.slice(from)).length === 2, "the end of the turn");
    assert.equal(textOf(rig.frames.slice(from)), "Fine.");
    assert.equal(notes(), 1);
  });
}

export function noTerminalTests({ rigged }: Kit): void {
  rigged("without a terminal, keys and a size are refused, and what steers one is text", when({}), async (rig) => {
    assert.equal(rig.agent.terminal, false);
    assert.throws(() => rig.agent.write(Buffer.from("x")), { code: "no_terminal" });
    assert.throws(() => rig.agent.resize(80, 24), { code: "no_terminal" });
    for (const text of ["!", "!echo plain", "exit"]) {
      const frames = await rig.turn(text);
      assert.equal(textOf(frames), "Fine.", text);
      assert.equal(lastLine(rig.model.requests.at(-1)), text);
    }
    assert.equal(rig.terminalBytes(), 0);
    assert.deepEqual(rig.exits, []);
  });

  rigged("without a terminal, a command that would open a dialog ends with words", when({}), async (rig) => {
    for (const text of ["/model", "/exit"]) {
      const frames = await rig.turn(text);
      assert.equal(stops(frames).length, 1, text);
      assert.notEqual(textOf(frames), "", text);
    }
    assert.deepEqual(stops(await rig.turn("hello")), ["end_turn"]);
    assert.deepEqual(mains(rig).length, 1);
  });
}
