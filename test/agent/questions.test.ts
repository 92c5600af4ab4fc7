import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { newAsks } from "../../src/agent/asks.ts";
import { MAX_HELD, Questions } from "../../src/agent/questions.ts";
import type { Source } from "../../src/agent/source.ts";
import { newState } from "../../src/agent/state.ts";
import { translate } from "../../src/agent/translate.ts";
import { rowFor } from "../../src/agent/versions.ts";
import type { Block, Script } from "../../src/demo/model.ts";
import type { FrameBody } from "../../src/frame/frame.ts";
import { ALL_VERSIONS, offlineReason } from "../e2e/claude-versions.ts";
import { type Rig, startRig } from "./rig.ts";

const NOW = new AbortController().signal;
const COLOR = {
  question: "Which color?",
  header: "Color",
  multiSelect: false,
  options: [
    { label: "Red", description: "warm" },
    { label: "Blue", description: "cold" },
  ],
};
const FRUITS = {
  question: "Which fruits?",
  header: "Fruits",
  multiSelect: true,
  options: [
    { label: "Apple", description: "a" },
    { label: "Fig", description: "f" },
  ],
};
/** A translation and its questions, as an agent joins them. */
function desk() {
  const state = newState(rowFor("2.1.197").row, true);
  const frames: FrameBody[] = [];
  const feed = (source: Source): void => {
    for (const frame of translate(state, source)) {
      frames.push(frame);
      if (frame.type === "ask.question" || frame.type === "ask.answer") questions.sweep();
    }
  };
  const questions = new Questions({ asks: state.asks, feed, now: () => 1 });
  const request = (body: Readonly<Record<string, unknown>>, gone = new AbortController().signal): Promise<object> =>
    Promise.resolve(
      questions.hold(body, gone, (held) => feed({ src: "hook", at: 1, event: "PermissionRequest", body, held })),
    );
  const ids = (): string[] => frames.flatMap((frame) => (frame.type === "ask.question" ? [frame.id] : []));
  return { state, frames, feed, questions, request, ids, group: (n: number) => ids()[n]?.replace(/\/\d+$/, "") ?? "" };
}

const permission = (command: string) => ({ tool_name: "Bash", tool_input: { command } });
const decision = (answer: object): unknown =>
  (answer as { hookSpecificOutput?: { decision?: unknown } }).hookSpecificOutput?.decision;

describe("a held request", () => {
  it("gets the decision on its own connection, and nothing is decided twice", async () => {
    const { questions, request, group } = desk();
    const [one, two] = [request(permission("one")), request(permission("one"))];
    assert.notEqual(group(0), group(1));
    const claim = questions.claim(group(1));
    assert.equal(questions.claim(group(1)), undefined);
    assert.equal(claim?.release({ behavior: "allow" }), true);
    assert.equal(claim?.release({ behavior: "allow" }), false);
    assert.deepEqual(decision(await two), { behavior: "allow" });
    assert.equal(questions.claim(group(0))?.release({ behavior: "deny", message: "no" }), true);
    assert.deepEqual(decision(await one), { behavior: "deny", message: "no" });
    assert.equal(questions.claim("toolu_unknown"), undefined);
  });

  it("brings a question's answers with the questions, and a plan's approval with the plan", async () => {
    const { questions, request, group } = desk();
    const asked = request({ tool_name: "AskUserQuestion", tool_input: { questions: [COLOR, FRUITS] } });
    const answers = { "Which color?": "Mauve", "Which fruits?": "Apple, Fig" };
    questions.claim(group(0))?.release({ behavior: "allow", answers });
    assert.deepEqual(decision(await asked), {
      behavior: "allow",
      updatedInput: { questions: [COLOR, FRUITS], answers },
    });
    const plan = request({ tool_name: "ExitPlanMode", tool_input: { plan: "# Dig" } });
    questions.claim(group(2))?.release({ behavior: "allow" });
    assert.deepEqual(decision(await plan), { behavior: "allow", updatedInput: { plan: "# Dig" } });
  });

  it("is let go with no decision when its connection closes, its call returns, or Claude ends", async () => {
    const { questions, request, feed, group, frames } = desk();
    const closing = new AbortController();
    const closed = request(permission("closed"), closing.signal);
    const claim = questions.claim(group(0));
    closing.abort();
    assert.deepEqual(await closed, {});
    assert.equal(claim?.release({ behavior: "allow" }), false);
    assert.equal(questions.claim(group(0)), undefined);

    const call = { tool_use_id: "toolu_a", ...permission("here") };
    feed({ src: "hook", at: 1, event: "PreToolUse", body: call });
    feed({ src: "tick", at: 1_001 });
    const answered = request(permission("here"));
    assert.equal(group(1), "toolu_a");
    feed({ src: "hook", at: 2, event: "PostToolUse", body: { ...call, tool_response: { stdout: "" } } });
    assert.deepEqual(await answered, {});
    assert.deepEqual(
      frames.find((frame) => frame.type === "ask.answer"),
      { type: "ask.answer", id: "toolu_a/0", answer: "allow", by: "terminal" },
    );

    const last = request(permission("last"));
    questions.end();
    assert.deepEqual(await last, {});
  });

  it("is left to the terminal where too many wait, and a flood holds no memory of more", async () => {
    const { request, ids } = desk();
    for (let n = 0; n < MAX_HELD; n++) void request(permission(`${n}`));
    assert.deepEqual(await request(permission("one more")), {});
    assert.equal(ids().length, MAX_HELD);
  });

  it("that nobody shows is answered when the connection is gone before it came", async () => {
    const questions = new Questions({ asks: newAsks(), feed: () => assert.fail(), now: () => 0 });
    assert.deepEqual(await questions.hold({}, AbortSignal.abort(), () => assert.fail()), {});
  });
});

/** The prompt names the calls to make; everything else is answered with a word. */
const calling =
  (calls: Readonly<Record<string, readonly Block[]>>): Script =>
  ({ last }) => ({
    blocks: Object.entries(calls).find(([prompt]) => last.includes(prompt))?.[1] ?? [{ text: "Fine." }],
  });

async function asked(rig: Rig, from: number, count: number) {
  const state = () => rig.of("status", from).at(-1)?.state;
  await rig.until(
    () => rig.of("ask.question", from).length >= count && state() === "waiting_for_input",
    `${count} asks`,
  );
  return rig.of("ask.question", from);
}

const ended = (rig: Rig, from: number): Promise<void> =>
  rig.until(() => rig.of("stop", from).length > 0 && rig.of("status", from).at(-1)?.state === "idle", "the end");

for (const version of ALL_VERSIONS) {
  const skip = await offlineReason(version);
  describe(`Claude Code ${version}`, { skip: skip ?? false, concurrency: 2 }, () => {
    it("hears every answer: a free text, several choices, a refusal, and those of the terminal", async () => {
      const both: Block = { tool: "AskUserQuestion", input: { questions: [COLOR, FRUITS] } };
      const one: Block = { tool: "AskUserQuestion", input: { questions: [COLOR] } };
      await using rig = await startRig({ version, script: calling({ quiz: [both], riddle: [one] }) });

      let from = rig.frames.length;
      await rig.agent.submit("quiz", NOW);
      const [color, fruits] = await asked(rig, from, 2);
      assert.ok(color && fruits);
      assert.deepEqual(
        [color, fruits].map((ask) => [ask.kind, ask.of, ask.prompt, ask.multiSelect, ask.tool]),
        [
          ["question", 2, "Which color?", false, "AskUserQuestion"],
          ["question", 2, "Which fruits?", true, "AskUserQuestion"],
        ],
      );
      const group = color.id.replace(/\/0$/, "");
      const answers = { "Which color?": "Mauve, like a “dusk”", "Which fruits?": "Apple, Fig, my own" };
      assert.equal(rig.agent.claim(group)?.release({ behavior: "allow", answers }), true);
      await ended(rig, from);
      const heard = rig.model.requests.at(-1)?.last ?? "";
      assert.match(heard, /"Which color\?"="Mauve, like a “dusk”"/);
      assert.match(heard, /"Which fruits\?"="Apple, Fig, my own"/);
      assert.deepEqual(rig.of("ask.answer", from), []);

      from = rig.frames.length;
      await rig.agent.submit("riddle", NOW);
      const [refused] = await asked(rig, from, 1);
      rig.agent.claim(refused?.id.replace(/\/0$/, "") ?? "")?.release({ behavior: "deny", message: "ask me later" });
      await ended(rig, from);
      assert.match(rig.model.requests.at(-1)?.last ?? "", /ask me later/);

      from = rig.frames.length;
      await rig.agent.submit("riddle", NOW);
      const [atDesk] = await asked(rig, from, 1);
      for (let i = 0; i < 20 && rig.of("ask.answer", from).length === 0; i++) {
        rig.agent.write(Buffer.from("\x1b[B\r"));
        await pause(300);
      }
      await ended(rig, from);
      assert.deepEqual(
        rig.of("ask.answer", from).map(({ id, by }) => [id, by]),
        [[atDesk?.id, "terminal"]],
      );
      assert.equal(rig.agent.claim(atDesk?.id.replace(/\/0$/, "") ?? ""), undefined);

      from = rig.frames.length;
      await rig.agent.submit("riddle", NOW);
      const [cut] = await asked(rig, from, 1);
      assert.equal(await rig.agent.interrupt(NOW), true);
      assert.deepEqual(
        rig.of("ask.answer", from).map(({ id, answer, by }) => [id, answer, by]),
        [[cut?.id, null, "interrupt"]],
      );
      assert.equal(rig.agent.claim(cut?.id.replace(/\/0$/, "") ?? ""), undefined);
      assert.deepEqual(rig.faults, []);
    });

    it("takes decisions on parallel calls in any order, and leaves plan mode when a person allows it", async () => {
      const echoes = ["one", "two"].map((word): Block => ({ tool: "Bash", input: { command: `echo said-${word}` } }));
      const script = calling({ both: echoes, zebra: [{ tool: "ExitPlanMode", input: { plan: "# Dig" } }] });
      await using rig = await startRig({
        version,
        script,
        spec: { bypass: false },
        judge: (call) => ({ do: call.on === "tool" && call.tool === "Bash" ? "ask" : "pass" }),
      });
      let from = rig.frames.length;
      await rig.agent.submit("both", NOW);
      const asks = await asked(rig, from, 2);
      for (const ask of asks.toReversed())
        assert.equal(rig.agent.claim(ask.id.replace(/\/0$/, ""))?.release({ behavior: "allow" }), true, ask.summary);
      await ended(rig, from);
      assert.match(rig.model.requests.at(-1)?.last ?? "", /said-one\nsaid-two|said-two\nsaid-one/);

      assert.equal(await rig.agent.switch("mode", "plan", AbortSignal.timeout(20_000)), "plan");
      from = rig.frames.length;
      await rig.agent.submit("zebra", NOW);
      const [leave] = await asked(rig, from, 1);
      assert.equal(leave?.kind, "permission");
      assert.equal(rig.agent.claim(leave?.id.replace(/\/0$/, "") ?? "")?.release({ behavior: "allow" }), true);
      await ended(rig, from);
      assert.match(rig.model.requests.at(-1)?.last ?? "", /approved/);
      assert.deepEqual(rig.faults, []);
    });

    it("ends the turn of a prompt that is not to be sent, whoever entered it, and sends the next one alone", async () => {
      await using rig = await startRig({
        version,
        script: calling({}),
        judge: (call) =>
          call.on === "prompt" && call.text.includes("secret")
            ? Promise.resolve({ do: "deny", reason: `no secrets, ${call.ours ? "client" : "person"}` })
            : { do: "pass" },
      });
      await assert.rejects(rig.agent.submit("my secret", NOW), { code: "hook_blocked", message: /no secrets, client/ });
      await ended(rig, 0);
      assert.deepEqual(
        rig.of("stop").map(({ reason }) => reason),
        ["blocked"],
      );
      const from = rig.frames.length;
      const next = await rig.turn("good words");
      assert.deepEqual(
        next.flatMap((frame) => (frame.type === "stop" ? [frame.reason] : [])),
        ["end_turn"],
      );
      assert.equal(rig.model.requests.length, 1);
      assert.doesNotMatch(rig.model.requests[0]?.last ?? "", /secret/);
      rig.agent.write(Buffer.from("\x1b[200~their secret\x1b[201~"));
      await rig.until(() => /their secret/.test(rig.words()), "the echo");
      rig.agent.write(Buffer.from("\r"));
      await rig.until(() => rig.of("stop", from).length === 2, "the second block");
      await ended(rig, from);
      assert.equal(rig.of("stop").at(-1)?.reason, "blocked");
      assert.deepEqual(
        (await rig.turn("more good words")).flatMap((frame) => (frame.type === "stop" ? [frame.reason] : [])),
        ["end_turn"],
      );
      assert.doesNotMatch(JSON.stringify(rig.model.requests.at(-1)?.messages), /secret/);
      assert.deepEqual(rig.faults, []);
    });
  });
}
