/** Engine suite, what a turn tells: text, thinking, tools, lists, subagents, errors, each once and in order. */
import assert from "node:assert/strict";
import { appendFile } from "node:fs/promises";
import { MODEL, textOf } from "../../agent/rig.ts";
import { JS_VERSION, NEWEST } from "../claude-versions.ts";
import { before, call, type Kit, lastLine, mains, say, stops, types, when } from "./kit.ts";

export function tellingTests(kit: Kit): void {
  const { rigged, version, can } = kit;
  const lines = "Line one.\nZwei: äöü 漢字 🙂.\n\nThe last has no end";
  const pieces = lines.split(/(?<= )/);
  rigged(
    "streams text of several lines, thinking before it is done, one usage and one stop",
    when({
      lines: () => ({
        blocks: [{ thinking: ["Let me ", "think."] }, { text: pieces, everyMs: 60 }],
        usage: { input: 11, output: 22, cacheRead: 5, cacheWrite: 6 },
      }),
    }),
    async (rig) => {
      const frames = await rig.turn("lines please\nof several");
      assert.equal(textOf(frames), lines);
      assert.deepEqual(
        rig.of("thinking").map((f) => f.text),
        can.tokens ? ["Let me ", "think."] : ["Let me think."],
      );
      assert.deepEqual(rig.of("usage"), [
        { type: "usage", input: 11, output: 22, cache_read: 5, cache_write: 6, model: MODEL },
      ]);
      assert.deepEqual(stops(frames), ["end_turn"]);
      assert.deepEqual(
        rig.of("status").map((f) => f.state),
        ["idle", "working", "idle"],
      );
      assert.deepEqual(types(frames).slice(-3), ["usage", "stop", "status"]);
      const texts = rig.of("text.delta").map((f) => f.text);
      if (can.tokens) assert.deepEqual(texts, pieces, "text comes as the API sends it");
      else if (version !== JS_VERSION) assert.ok(texts.length >= 2, "text comes line by line");
      assert.equal(rig.of("meta")[0]?.version, version);
      assert.equal(rig.of("meta").findLast((f) => f.model !== undefined)?.model, MODEL);
      assert.equal(mains(rig).length, 1);
      assert.equal(rig.terminalBytes() > 0, can.terminal);
    },
  );

  rigged(
    "leaves thinking out when it is not wanted",
    when({ hm: () => call({ thinking: "secret" }, { text: "Said." }) }),
    async (rig) => {
      const frames = await rig.turn("hm");
      assert.equal(textOf(frames), "Said.");
      assert.deepEqual(rig.of("thinking"), []);
    },
    { thinking: false },
  );

  rigged(
    "gives parallel tools, a failed one among them, a start and a result each, after the text that announced them",
    when({
      go: () =>
        call(
          { text: "I run two.\nnow" },
          { tool: "Bash", input: { command: "sleep 0.2; echo one-out" }, id: "toolu_a" },
          { tool: "Bash", input: { command: "echo bad >&2; exit 3" }, id: "toolu_b" },
        ),
    }),
    async (rig) => {
      const frames = await rig.turn("go");
      const starts = rig.of("tool.use.start");
      const results = rig.of("tool.use.result");
      assert.deepEqual(
        starts.map((f) => [f.id, f.tool]),
        [
          ["toolu_a", "Bash"],
          ["toolu_b", "Bash"],
        ],
      );
      assert.deepEqual(starts[0]?.input, { command: "sleep 0.2; echo one-out" });
      assert.deepEqual(results.map((f) => f.id).sort(), ["toolu_a", "toolu_b"]);
      const ok = results.find((f) => f.id === "toolu_a");
      assert.equal((ok?.output as { stdout: string } | undefined)?.stdout, "one-out");
      assert.equal(ok?.error, undefined);
      assert.ok((ok?.duration_ms ?? 0) >= 200);
      assert.match(results.find((f) => f.id === "toolu_b")?.error ?? "", /Exit code 3[\s\S]*bad/);
      assert.ok(before(frames, "text.delta", "tool.use.start"));
      assert.equal(textOf(frames), "I run two.\nnowFine.");
      assert.equal(rig.of("usage").length, 1);
      assert.equal(rig.of("usage")[0]?.input, 20);
    },
  );

  // 2.1.112 has the Task tools at a terminal only, and TodoWrite without one only.
  const old = version === JS_VERSION;
  if (!old || can.terminal)
    rigged(
      "keeps the task list of the Task tools",
      (request) => {
        if (!request.tools.includes("TaskCreate") && !request.tools.includes("ToolSearch")) return say("no tasks here");
        const rounds = request.messages.filter((m) => m.role === "assistant").length;
        if (rounds === 0)
          return call({ tool: "TaskCreate", input: { subject: "Dig", description: "dig", activeForm: "Digging" } });
        if (rounds === 1)
          return call(
            { tool: "TaskCreate", input: { subject: "Fill", description: "fill" } },
            { tool: "TaskUpdate", input: { taskId: "1", status: "in_progress" } },
          );
        if (rounds === 2)
          return call(
            { tool: "TaskUpdate", input: { taskId: "1", status: "completed" } },
            { tool: "TaskUpdate", input: { taskId: "2", status: "deleted" } },
          );
        return say("Planned.");
      },
      async (rig) => {
        await rig.turn("plan it");
        const lists = rig.of("todo.update").map((f) => f.items);
        // Two changes whose results come in one breath are one list.
        assert.ok(lists.length >= 3, `saw ${lists.length} lists`);
        assert.deepEqual(lists.at(-1), [{ id: "1", subject: "Dig", status: "completed", activeForm: "Digging" }]);
        assert.ok(
          lists.some(
            (items) => items.length === 2 && items[0]?.status === "in_progress" && items[1]?.subject === "Fill",
          ),
        );
      },
    );

  if (!old || !can.terminal)
    rigged(
      "keeps the task list of TodoWrite",
      when({
        plan: () =>
          call({
            tool: "TodoWrite",
            input: {
              todos: [
                { content: "Dig", status: "in_progress", activeForm: "Digging" },
                { content: "Fill", status: "pending", activeForm: "Filling" },
              ],
            },
          }),
      }),
      async (rig) => {
        await rig.turn("plan it");
        assert.deepEqual(
          rig.of("todo.update").map((f) => f.items),
          [
            [
              { id: "1", subject: "Dig", status: "in_progress", activeForm: "Digging" },
              { id: "2", subject: "Fill", status: "pending", activeForm: "Filling" },
            ],
          ],
        );
      },
      { env: { CLAUDE_CODE_ENABLE_TASKS: "0" } },
    );

  rigged(
    "marks what a subagent does, and its end does not end the turn",
    (request) => {
      if (request.caller === "subagent")
        return request.last.includes("sub-out")
          ? say("Sub done.")
          : call({ text: "Sub works." }, { tool: "Bash", input: { command: "echo sub-out" }, id: "toolu_sub" });
      return lastLine(request) === "delegate"
        ? call(
            { text: "Asking." },
            {
              tool: "Agent",
              input: {
                description: "look",
                prompt: "look around",
                subagent_type: "general-purpose",
                run_in_background: false,
              },
              id: "toolu_agent",
            },
          )
        : say("All done.");
    },
    async (rig) => {
      await rig.turn("delegate");
      // At a terminal 2.1.330 runs subagents in the background: its end comes after the turn's, and makes a turn of its own.
      const background = can.terminal && version === NEWEST;
      if (background) await rig.until(() => stops(rig.frames).length === 2, "the turn after the subagent's end");
      const frames = rig.frames;
      assert.equal(textOf(frames), background ? "Asking.All done.All done." : "Asking.All done.");
      const agent = rig.of("tool.use.start").find((f) => f.id === "toolu_sub")?.agent;
      assert.ok(agent, "the subagent's tool carries its agent");
      assert.equal(rig.of("tool.use.result").find((f) => f.id === "toolu_sub")?.agent, agent);
      assert.equal(textOf(frames, agent), "Sub works.Sub done.");
      assert.equal(rig.of("tool.use.start").find((f) => f.id === "toolu_agent")?.agent, undefined);
      assert.deepEqual(stops(frames), background ? ["end_turn", "end_turn"] : ["end_turn"]);
      assert.equal(
        rig.of("usage").reduce((sum, f) => sum + f.input, 0),
        background ? 50 : 40,
        "10 tokens a message",
      );
    },
  );

  rigged(
    "an API error is retried, and one that stays ends the turn with an error frame",
    (request) => {
      if (request.last.includes("bad")) return { status: 400, error: "scripted refusal" };
      return request.nth === 0 ? { status: 529, error: "busy" } : say("Got through.");
    },
    async (rig) => {
      const frames = await rig.turn("hello");
      assert.equal(textOf(frames), "Got through.");
      assert.deepEqual(stops(frames), ["end_turn"]);
      if (version === JS_VERSION)
        assert.deepEqual(
          rig.of("error").map((f) => f.code),
          ["api_retry"],
        );
      const failed = await rig.turn("bad");
      const [reason] = stops(failed);
      assert.match(reason ?? "", /^error:/);
      assert.equal(stops(failed).length, 1);
      assert.equal(textOf(failed), "");
      const errors = failed.filter((f) => f.type === "error");
      assert.equal(errors.length, 1);
      assert.match(errors[0]?.type === "error" ? errors[0].message : "", /scripted refusal/);
    },
  );

  rigged("84 KB in one reply arrive whole and once", when({ much: () => say(big) }), async (rig) => {
    const frames = await rig.turn("much");
    assert.equal(textOf(frames), big);
    assert.deepEqual(stops(frames), ["end_turn"]);
  });

  rigged(
    "a 20 MB transcript line is passed over; what follows it is not",
    when({ go: () => say("Still here.") }),
    async (rig) => {
      await rig.turn("hello");
      await appendFile(
        rig.agent.at.file,
        `{"type":"assistant","message":{"id":"msg_huge","content":[{"type":"text","text":"${"x".repeat(20 * 1024 * 1024)}"}]}}\n`,
      );
      const frames = await rig.turn("go");
      assert.equal(textOf(frames), "Still here.");
      assert.deepEqual(stops(frames), ["end_turn"]);
      assert.deepEqual(
        rig.of("error").map((f) => f.code),
        can.readsTranscript ? ["line_skipped"] : [],
      );
    },
  );
}

/** 84 KB of lines, each different. */
const big = Array.from({ length: 1400 }, (_, i) => `Line ${i}: ${"word ".repeat(10)}äö`).join("\n");
