import assert from "node:assert/strict";
import { appendFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { processesOf, sessionMarker } from "../../src/agent/process-tree.ts";
import type { Block, ModelRequest, Script, Turn } from "../../src/demo/model.ts";
import type { FrameBody } from "../../src/frame/frame.ts";
import { MODEL, type Rig, startRig, textOf } from "../agent/rig.ts";
import { ALL_VERSIONS, JS_VERSION, offlineReason, PINNED, pinnedInPackage } from "./claude-versions.ts";

const NOW = new AbortController().signal;
const say = (text: string): Turn => ({ blocks: [{ text }] });
const call = (...blocks: Block[]): Turn => ({ blocks });
/** The last prompt's answer: a script by words, else a plain one. */
const when =
  (rules: Readonly<Record<string, (request: ModelRequest) => Turn | Promise<Turn>>>): Script =>
  (request) => {
    for (const [words, answer] of Object.entries(rules)) if (request.last.includes(words)) return answer(request);
    return say("Fine.");
  };
/** Says some text and then nothing until Claude hangs up. */
async function* hanging(request: ModelRequest, ...pieces: string[]): AsyncGenerator<string> {
  yield* pieces;
  await new Promise<void>((done) => request.gone.addEventListener("abort", () => done()));
}

const types = (frames: readonly FrameBody[]): string[] => frames.map((frame) => frame.type);
const stops = (frames: readonly FrameBody[]): string[] => frames.flatMap((f) => (f.type === "stop" ? [f.reason] : []));
const before = (frames: readonly FrameBody[], first: string, then: string): boolean =>
  types(frames).indexOf(first) < types(frames).indexOf(then);

it("the pinned version of the tests is the one that package.json pins", () => {
  assert.equal(pinnedInPackage(), PINNED);
});

for (const version of ALL_VERSIONS) {
  const skip = await offlineReason(version);
  const rigged = (
    title: string,
    script: Script,
    run: (rig: Rig) => Promise<void>,
    spec: Parameters<typeof startRig>[0]["spec"] = {},
  ): void => {
    it(title, async () => {
      await using rig = await startRig({ version, script, spec });
      await run(rig);
      assert.deepEqual(rig.faults, []);
    });
  };

  describe(`Claude Code ${version}`, { skip: skip ?? false, concurrency: 2 }, () => {
    const lines = "Line one.\nZwei: äöü 漢字 🙂.\n\nThe last has no end";
    rigged(
      "streams text of several lines, thinking before it is done, one usage and one stop",
      when({
        lines: () => ({
          blocks: [{ thinking: ["Let me ", "think."] }, { text: lines.split(/(?<= )/), everyMs: 60 }],
          usage: { input: 11, output: 22, cacheRead: 5, cacheWrite: 6 },
        }),
      }),
      async (rig) => {
        const frames = await rig.turn("lines please\nof several");
        assert.equal(textOf(frames), lines);
        assert.deepEqual(
          rig.of("thinking").map((f) => f.text),
          ["Let me think."],
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
        if (version !== JS_VERSION) assert.ok(rig.of("text.delta").length >= 2, "text comes line by line");
        assert.equal(rig.of("meta")[0]?.version, version);
        assert.equal(rig.of("meta").findLast((f) => f.model !== undefined)?.model, MODEL);
        assert.equal(rig.model.requests.filter((r) => r.caller === "main").length, 1);
        assert.ok(rig.terminalBytes() > 0);
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
        assert.ok(lists.length >= 4, `saw ${lists.length} lists`);
        assert.deepEqual(lists.at(-1), [{ id: "1", subject: "Dig", status: "completed", activeForm: "Digging" }]);
        assert.ok(
          lists.some(
            (items) => items.length === 2 && items[0]?.status === "in_progress" && items[1]?.subject === "Fill",
          ),
        );
      },
    );

    // 2.1.112 has TodoWrite without a terminal only.
    if (version !== JS_VERSION)
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

    rigged(
      "tells what a person answered in the terminal",
      when({
        quiz: () => call({ tool: "AskUserQuestion", input: { questions: questions.slice(0, 1) }, id: "toolu_q" }),
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

    rigged(
      "marks what a subagent does, and its end does not end the turn",
      (request) => {
        if (request.caller === "subagent")
          return request.last.includes("sub-out")
            ? say("Sub done.")
            : call({ text: "Sub works." }, { tool: "Bash", input: { command: "echo sub-out" }, id: "toolu_sub" });
        return request.last.includes("delegate")
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
        // 2.1.330 runs subagents in the background: its end comes after the turn's, and makes a turn of its own.
        const background =
          rig.of("tool.use.start").some((f) => f.id === "toolu_agent") && version !== PINNED && version !== JS_VERSION;
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
      await using rig = await startRig({ version, script });
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
      await using next = await startRig({ version, script, base: rig.base, spec: again });
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
      await using rig = await startRig({ version, script });
      const position = rig.agent.at;
      await rig.agent.submit("first", NOW);
      await rig.until(() => rig.of("tool.use.start").length === 1, "the tool");
      const message = rig.of("text.delta")[0]?.message ?? "";
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
      await using next = await startRig({
        version,
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
      await using rig = await startRig({ version, script });
      await rig.turn("first");
      await rig.agent.stop("term");
      await using fork = await startRig({
        version,
        script,
        base: rig.base,
        spec: { workdir: rig.spec.workdir, start: { fork: rig.spec.conversation } },
      });
      await fork.turn("second");
      assert.equal(textOf(fork.frames), "I remember.");
      assert.deepEqual(stops(fork.frames), ["end_turn"]);
      assert.equal(fork.of("usage").length, 1);
    });

    rigged(
      "an interrupt in the middle of text ends the turn once, and nothing said is lost",
      when({ hang: (r) => call({ text: hanging(r, "Line A.\nhalf ", "a line") }) }),
      async (rig) => {
        await rig.agent.submit("hang on", NOW);
        if (version === JS_VERSION) await rig.until(() => rig.model.requests.length === 1, "the request");
        else await rig.until(() => rig.of("text.delta").length === 1, "the first line");
        await pause(500); // The half line is on Claude's side of the wire, where nothing tells of it.
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
      when({ hang: (r) => call({ text: hanging(r) }) }),
      async (rig) => {
        const long = `hang on\n${"line after line\n".repeat(12)}${"a long one ".repeat(60)}\nto the end`;
        await rig.agent.submit(long, NOW);
        await rig.until(() => rig.model.requests.length === 1, "the request");
        assert.equal(await rig.agent.interrupt(NOW), true);
        assert.deepEqual(stops(rig.frames), ["interrupted"]);
        const frames = await rig.turn("next");
        assert.equal(textOf(frames), "Fine.");
        assert.equal(rig.model.requests.at(-1)?.last.trim().split("\n").at(-1), "next");
      },
    );

    rigged(
      "an interrupt in the middle of a tool closes the tool and ends the turn once",
      when({
        hang: () =>
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
        assert.ok(rig.of("error").some((f) => f.code === "line_skipped"));
      },
    );

    if (version === PINNED) {
      rigged("a text that ends in a backslash is taken as it was typed", when({}), async (rig) => {
        const at = rig.agent.at;
        let taken = 0;
        await rig.agent.submit("a\\", NOW, () => taken++);
        assert.equal(taken, 1);
        assert.ok(await rig.shows(at, "a\\"));
        await rig.until(() => rig.of("stop").length === 1, "the end of the turn");
        assert.equal(rig.model.requests.filter((r) => r.caller === "main").length, 1);
      });

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

    rigged("what a person typed and did not send is not joined to a submitted text", when({}), async (rig) => {
      rig.agent.write(Buffer.from("a draft in the terminal"));
      await pause(300);
      await rig.turn("clean");
      assert.equal(rig.model.requests[0]?.last.trim().split("\n").at(-1), "clean");
    });

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
      const settings = await readFile(join(rig.spec.runDir, "settings.json"), "utf8");
      assert.match(settings, /127\.0\.0\.1/);
      const env = await readFile(`/proc/${rig.agent.pid}/environ`, "latin1");
      assert.match(env, new RegExp(`CIB_SESSION=${rig.spec.session}`));
      assert.doesNotMatch(env, /CIB_AUTH_TOKEN|npm_/);
    });

    it("a Claude that cannot start says why", async () => {
      const conversation = "00000000-0000-4000-8000-000000000000";
      await assert.rejects(
        startRig({ version, script: when({}), spec: { start: { fork: conversation } } }),
        (thrown: Error) => {
          assert.match(thrown.message, /ended while starting/);
          assert.match(thrown.message, /No conversation found|not found/i);
          return true;
        },
      );
    });
  });
}

/** 84 KB of lines, each different. */
const big = Array.from({ length: 1400 }, (_, i) => `Line ${i}: ${"word ".repeat(10)}äö`).join("\n");
