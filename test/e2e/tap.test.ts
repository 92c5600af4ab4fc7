import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type ModelRequest, type Script, startModel, type Turn } from "../../src/demo/model.ts";
import type { FrameBody } from "../../src/frame/frame.ts";
import { type Rig, startRig, textOf } from "../agent/rig.ts";
import { TestBox } from "./box.ts";
import { ALL_VERSIONS, claudeCommand, JS_VERSION, offlineReason } from "./claude-versions.ts";
import { Live } from "./live.ts";

const NOW = new AbortController().signal;
const say = (...text: string[]): Turn => ({ blocks: [{ text, everyMs: 40 }] });
/** Later calls of the same turn, and what no rule is for, are answered with this. */
const rest = "Fine.";
const when =
  (rules: Readonly<Record<string, (request: ModelRequest) => Turn>>): Script =>
  (request) => {
    for (const [words, answer] of Object.entries(rules)) if (request.last.includes(words)) return answer(request);
    return say(rest);
  };
async function* hanging(request: ModelRequest, ...pieces: string[]): AsyncGenerator<string> {
  yield* pieces;
  await new Promise<void>((done) => request.gone.addEventListener("abort", () => done()));
}
/** The connection breaks after these. */
async function* breaking(...pieces: string[]): AsyncGenerator<string> {
  for (const piece of pieces) {
    yield piece;
    await new Promise((done) => setTimeout(done, 60));
  }
  throw new Error("scripted break");
}

const types = (frames: readonly FrameBody[]): string[] => frames.map((frame) => frame.type);
const stops = (frames: readonly FrameBody[]): string[] => frames.flatMap((f) => (f.type === "stop" ? [f.reason] : []));
const pieces = (frames: readonly FrameBody[], agent?: string): string[] =>
  frames.flatMap((f) => (f.type === "text.delta" && f.agent === agent ? [f.text] : []));

for (const version of ALL_VERSIONS) {
  const skip = await offlineReason(version);
  const tapped = (
    title: string,
    script: Script,
    run: (rig: Rig) => Promise<void>,
    spec: Parameters<typeof startRig>[0]["spec"] = {},
  ): void => {
    it(title, async () => {
      await using rig = await startRig({ version, script, spec: { tap: true, ...spec } });
      await run(rig);
      assert.deepEqual(rig.faults, []);
    });
  };

  describe(`Claude Code ${version} through the tap`, { skip: skip ?? false, concurrency: 2 }, () => {
    const words = "\n\nLine one.\nZwei: äöü 漢字 🙂.\n\nThe last has no end".split(/(?<= )/);
    tapped(
      "tells text and thinking token by token and once, and a tool after the text before it",
      when({
        go: () => ({
          blocks: [
            { thinking: ["Let me ", "think."], everyMs: 40 },
            { text: words, everyMs: 40 },
            { tool: "Bash", input: { command: "echo out" } },
          ],
        }),
      }),
      async (rig) => {
        const frames = await rig.turn("go");
        assert.equal(textOf(frames), words.join("") + rest);
        // Two that come close together may be read as one.
        assert.ok(pieces(frames).length >= words.length - 2, JSON.stringify(pieces(frames)));
        const thoughts = frames.flatMap((f) => (f.type === "thinking" ? [f.text] : []));
        assert.deepEqual(thoughts, ["Let me ", "think."]);
        const order = types(frames).filter((t, i, all) => /^(thinking|text|tool)/.test(t) && t !== all[i - 1]);
        assert.deepEqual(order, ["thinking", "text.delta", "tool.use.start", "tool.use.result", "text.delta"]);
        assert.deepEqual(stops(frames), ["end_turn"]);
        assert.equal(textOf(await rig.turn("again")), rest);
      },
    );

    tapped(
      "tells a long answer that comes at once",
      when({ much: () => ({ blocks: [{ text: "Zeile äöü.\n".repeat(400) }] }) }),
      async (rig) => assert.equal(textOf(await rig.turn("much")), "Zeile äöü.\n".repeat(400)),
    );

    tapped(
      "keeps thinking to itself where it is not wanted",
      when({ think: () => ({ blocks: [{ thinking: "Hm." }, { text: "Thought." }] }) }),
      async (rig) => {
        const frames = await rig.turn("think");
        assert.equal(textOf(frames), "Thought.");
        assert.equal(types(frames).includes("thinking"), false);
      },
      { thinking: false },
    );

    tapped(
      "tells a subagent's text as the subagent's",
      (request) => {
        if (request.caller === "subagent")
          return request.last.includes("sub-out")
            ? say("Sub ", "done.")
            : { blocks: [{ text: ["Sub ", "works."] }, { tool: "Bash", input: { command: "echo sub-out" } }] };
        const input = { description: "look", prompt: "look around", subagent_type: "general-purpose" };
        return request.last.includes("delegate")
          ? { blocks: [{ text: "Asking." }, { tool: "Agent", input }] }
          : say("All done.");
      },
      async (rig) => {
        await rig.turn("delegate");
        const speaker = (): string | undefined => rig.of("text.delta").find((f) => f.agent !== undefined)?.agent;
        await rig.until(() => textOf(rig.frames, speaker()).endsWith("Sub done."), "the subagent's last words");
        const agents = new Set(rig.of("text.delta").map((f) => f.agent));
        assert.deepEqual([...agents].sort(), [speaker(), undefined].sort());
        assert.equal(textOf(rig.frames, speaker()), "Sub works.Sub done.");
        const inBackground = JSON.stringify(rig.of("tool.use.result")).includes("async_launched");
        const turns = inBackground ? 2 : 1;
        await rig.until(() => rig.of("stop").length === turns, "the end");
        assert.equal(textOf(rig.frames), `Asking.${"All done.".repeat(turns)}`);
        if (version !== JS_VERSION) assert.deepEqual(pieces(rig.frames, speaker()).slice(-2), ["Sub ", "done."]);
        const own = rig.frames.filter((f) => "agent" in f && f.agent === speaker());
        assert.deepEqual(
          types(own).filter((t, i, all) => t !== all[i - 1]),
          ["text.delta", "tool.use.start", "tool.use.result", "text.delta"],
        );
      },
    );

    tapped(
      "keeps what was told before an interrupt, and repeats nothing of it",
      when({ hang: (request) => ({ blocks: [{ text: hanging(request, "Line A.\n", "half") }] }) }),
      async (rig) => {
        await rig.agent.submit("hang on", NOW);
        await rig.until(() => textOf(rig.frames) === "Line A.\nhalf", "the words");
        assert.equal(await rig.agent.interrupt(NOW), true);
        assert.equal(rig.model.requests.at(-1)?.gone.aborted, true);
        assert.deepEqual(stops(rig.frames), ["interrupted"]);
        assert.equal(textOf(rig.frames), "Line A.\nhalf");
        assert.equal(textOf(await rig.turn("and now")), rest);
      },
    );

    tapped(
      "passes an overloaded API's answer on, and tells the answer that comes after all",
      (request) => (request.nth === 0 ? { status: 529, error: "busy" } : say("Got ", "through.")),
      async (rig) => {
        const frames = await rig.turn("hello");
        assert.equal(textOf(frames), "Got through.");
        assert.deepEqual(stops(frames), ["end_turn"]);
      },
    );

    tapped(
      "tells a broken message as far as it came, and the next try as a message of its own",
      (request) => (request.nth === 0 ? { blocks: [{ text: breaking("Half a", " line") }] } : say("The ", "whole.")),
      async (rig) => {
        const frames = await rig.turn("hello");
        assert.equal(textOf(frames), "Half a lineThe whole.");
        const messages = new Set(rig.of("text.delta").map((f) => f.message));
        assert.equal(messages.size, 2);
        assert.deepEqual(stops(frames), ["end_turn"]);
      },
    );

    tapped(
      "ends the turn with an error when the API is gone, and the session stays",
      when({}),
      async (rig) => {
        await rig.turn("hello");
        await rig.model[Symbol.asyncDispose]();
        const frames = await rig.turn("anyone there?");
        assert.equal(textOf(frames), "");
        assert.match(stops(frames)[0] ?? "", /^error:/);
        assert.match(JSON.stringify(frames), /cannot be reached/);
      },
      { env: { CLAUDE_CODE_MAX_RETRIES: "1" } },
    );

    tapped(
      "does not take a summary for an answer",
      (request) => (request.last.includes("<summary>") ? say("<summary>Talk.</summary>") : say(rest)),
      async (rig) => {
        for (const prompt of ["hello", "more"]) await rig.turn(prompt);
        const frames = await rig.turn("/compact");
        assert.ok(rig.model.requests.some((r) => r.last.includes("<summary>")));
        assert.equal(textOf(frames), "");
        assert.equal(textOf(await rig.turn("again")), rest);
      },
    );

    it("repeats nothing after the daemon was killed in the middle of a message", async () => {
      let hung = false;
      await using model = await startModel((request) => {
        if (hung || !/^hang on$/m.test(request.last)) return say(rest);
        hung = true;
        return { blocks: [{ text: hanging(request, "First.\nHalf a ", "line") }] };
      });
      await using box = await TestBox.start({
        model: model.url,
        claude: await claudeCommand(version),
        env: { CIB_TAP: "on" },
      });
      const made = await box.call("POST", "/api/sessions", {});
      assert.equal(made.status, 201, JSON.stringify(made.body));
      const session = String(made.body["session"]);
      const input = (text: string): Promise<unknown> => box.call("POST", `/api/sessions/${session}/input`, { text });
      const told = (frames: readonly FrameBody[]): string => textOf(frames);
      {
        using live = await Live.open(box, session);
        await input("hello");
        await live.until((frames) => stops(frames).includes("end_turn"), "the first turn");
        await input("hang on");
        await live.until((frames) => told(frames).endsWith("Half a line"), "the half line");
        await box.end("SIGKILL");
      }
      assert.equal(model.requests.at(-1)?.gone.aborted, true);
      await box.start();
      using live = await Live.open(box, session);
      await live.until((frames) => stops(frames).includes("daemon_restart"), "the end of the turn");
      await input("and now");
      await live.until((frames) => stops(frames).at(-1) === "end_turn" && stops(frames).length > 2, "the next turn");
      // A prompt that Claude had not written down is typed again, and answered then.
      assert.match(told(live.frames), new RegExp(`^${rest}First.\nHalf a line(${rest}){1,2}$`));
    });
  });
}
