/** Engine suite, conversations that go on: after /clear, a resume, a kill, a fork. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { type Rig, textOf } from "../../agent/rig.ts";
import { call, type Kit, NOW, say, stops, when } from "./kit.ts";

export function continuingTests(kit: Kit): void {
  const { rigged, start, can } = kit;
  if (!can.clears)
    rigged("where there is no /clear it says so, and the conversation goes on", when({}), async (rig) => {
      await rig.turn("first");
      const frames = await rig.turn("/clear");
      assert.match(textOf(frames), /\/clear isn't available/);
      assert.deepEqual(stops(frames), ["command"]);
      await rig.turn("second");
      assert.match(JSON.stringify(rig.model.requests.at(-1)?.messages), /first/);
    });
  else
    rigged(
      "goes on in the new file after /clear, without a hole or a repeat",
      when({ first: () => say("One."), second: () => say("Two.") }),
      async (rig) => {
        await rig.turn("first");
        const { file } = rig.agent.at;
        const at = rig.agent.at;
        const cleared = await rig.turn("/clear");
        assert.deepEqual(stops(cleared), ["command"]);
        assert.equal(textOf(cleared), "");
        assert.notEqual(rig.agent.at.file, file);
        const second = await rig.turn("second");
        assert.equal(textOf(second), "Two.");
        assert.deepEqual(stops(second), ["end_turn"]);
        assert.equal(rig.of("usage").length, 2);
        assert.equal(new Set(rig.of("meta").flatMap((f) => f.claude_session ?? [])).size, 2);
        assert.equal(await rig.shows(at, "/clear"), true);
        assert.equal(await rig.shows(at, "second"), true);
        assert.equal(await rig.shows(at, "first"), false);
        assert.equal(await rig.shows(at, "third"), false);
      },
    );

  it("a resumed conversation goes on without telling its past again", async () => {
    const script = when({
      first: () => say("One."),
      second: (r) => say(JSON.stringify(r.messages).includes("first") ? "I remember." : "Who?"),
    });
    await using rig = await start({ script });
    await rig.turn("first");
    await rig.agent.stop("term");
    const { session, conversation, workdir } = rig.spec;
    const position = rig.positions.at(-1);
    const again = {
      session,
      conversation,
      workdir,
      start: "resume" as const,
      ...(position === undefined ? {} : { position }),
    };
    await using next = await start({ script, base: rig.base, spec: again });
    const frames = await next.turn("second");
    assert.equal(textOf(next.frames), "I remember.");
    assert.deepEqual(stops(next.frames), ["end_turn"]);
    assert.equal(next.of("usage").length, 1);
    assert.equal(textOf(frames), "I remember.");
  });

  it("a conversation cut off by kill -9 in the middle of a tool is caught up on resume", async () => {
    const script = when({
      first: () =>
        call(
          { text: "Before the tool." },
          { tool: "Bash", input: { command: "for i in 1 2 3 4 5 6 7 8 9; do sleep 5; done" }, id: "toolu_long" },
        ),
    });
    await using rig = await start({ script });
    const position = rig.agent.at;
    await rig.agent.submit("first", NOW);
    await rig.until(() => rig.of("tool.use.start").length === 1, "the tool");
    const message = rig.of("text.delta")[0]?.message ?? "";
    // The stream engine tells a tool before Claude writes it down; killed in between, Claude would know nothing of it.
    await written(rig, "toolu_long");
    await rig.agent.stop("kill");
    const { session, conversation, workdir } = rig.spec;
    const seen = {
      turnOpen: true,
      toldTurns: 0,
      text: new Map([[message, 6]]),
      thinking: new Set<string>(),
      tools: new Map([["toolu_long", { tool: "Bash", done: false }]]),
      usage: new Set<string>(),
    };
    await using next = await start({
      script,
      base: rig.base,
      spec: { session, conversation, workdir, start: "resume", position, seen },
    });
    assert.equal(textOf(next.frames), " the tool.", "what the log did not hold yet");
    assert.deepEqual(next.of("tool.use.start"), []);
    assert.equal(next.of("tool.use.result").length, 1);
    assert.ok(next.of("tool.use.result")[0]?.error);
    assert.equal(stops(next.frames).length, 1);
    assert.equal(textOf(await next.turn("more")), "Fine.");
  });

  it("a fork has the past but does not tell it", async () => {
    const script = when({
      first: () => say("One."),
      second: (r) => say(JSON.stringify(r.messages).includes("first") ? "I remember." : "Who?"),
    });
    await using rig = await start({ script });
    await rig.turn("first");
    await rig.agent.stop("term");
    await using fork = await start({
      script,
      base: rig.base,
      spec: { workdir: rig.spec.workdir, start: { fork: rig.spec.conversation } },
    });
    await fork.turn("second");
    assert.equal(textOf(fork.frames), "I remember.");
    assert.deepEqual(stops(fork.frames), ["end_turn"]);
    assert.equal(fork.of("usage").length, 1);
  });
}

/** Claude's transcript holds these words. Nothing tells of it but the file: looked at every 20 ms. */
async function written(rig: Rig, words: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if ((await readFile(rig.agent.at.file, "utf8").catch(() => "")).includes(words)) return;
    await pause(20);
  }
  assert.fail(`never written down: ${words}`);
}
