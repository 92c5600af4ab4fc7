import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Source } from "../../src/agent/source.ts";
import { newState, reopen, type State } from "../../src/agent/state.ts";
import { displayed, newTexts, written } from "../../src/agent/texts.ts";
import { deadline, translate } from "../../src/agent/translate.ts";
import { rowFor } from "../../src/agent/versions.ts";
import type { FrameBody } from "../../src/frame/frame.ts";
import { textOf } from "./rig.ts";

const state = (version = "2.1.197", thinking = true): State => newState(rowFor(version).row, thinking);
const hook = (event: string, body: Readonly<Record<string, unknown>> = {}, at = 0): Source => ({
  src: "hook",
  at,
  event,
  body,
});
const line = (value: Readonly<Record<string, unknown>>, at = 0, agent?: string): Source => ({
  src: "line",
  at,
  line: value,
  ...(agent === undefined ? {} : { agent }),
});
const assistant = (id: string, ...content: object[]): Readonly<Record<string, unknown>> => ({
  type: "assistant",
  message: { id, model: "m", content, usage: { input_tokens: 10, output_tokens: 5 } },
});
const text = (said: string): object => ({ type: "text", text: said });
const toolUse = (id: string, name = "Bash"): object => ({ type: "tool_use", id, name, input: { command: "x" } });
const toolResult = (id: string, content: string, error = false): Readonly<Record<string, unknown>> => ({
  type: "user",
  message: { role: "user", content: [{ type: "tool_result", tool_use_id: id, content, is_error: error }] },
});
const display = (id: string, index: number, delta: string): Source =>
  hook("MessageDisplay", { message_id: id, index, delta });
const SUMMARY = { type: "system", subtype: "stop_hook_summary" };
const play = (to: State, ...sources: Source[]): FrameBody[] => sources.flatMap((source) => translate(to, source));
const types = (frames: readonly FrameBody[]): string[] => frames.map((frame) => frame.type);

describe("text", () => {
  it("is told once whatever share the display hook and the transcript have in it, and in whatever order they come", () => {
    const message = fc.string({ unit: fc.constantFrom("a", "b", "ä", "\n", "🙂"), minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(
        fc.array(message, { minLength: 1, maxLength: 4 }),
        fc.nat(),
        fc.infiniteStream(fc.nat(9)),
        (said, lost, dice) => {
          const roll = (): number => dice.next().value ?? 0;
          const texts = newTexts();
          const got: string[] = said.map(() => "");
          for (const [n, whole] of said.entries()) {
            // Unique beginnings: two equal messages are told apart by their order alone, which a lost hook may break.
            const full = `${n}:${whole}`;
            const lines = full.split(/(?<=\n)/);
            const calls = lines
              .map((delta, index) => () => displayed(texts, `d${n}`, index, delta))
              .filter((_, i) => (i + lost) % 7 !== 0);
            calls.splice(roll() % (calls.length + 1), 0, () => written(texts, `msg_${n}`, full));
            for (const step of calls) got[n] += step()?.text ?? "";
          }
          assert.deepEqual(
            got,
            said.map((whole, n) => `${n}:${whole}`),
          );
        },
      ),
    );
  });

  it("of several blocks of one message goes on where the display was", () => {
    const to = state();
    const frames = play(
      to,
      hook("UserPromptSubmit"),
      display("d", 0, "One.\n"),
      line(assistant("msg_a", text("One.\nTwo."))),
      line(assistant("msg_a", toolUse("t"))),
      line(assistant("msg_a", text("Three."))),
    );
    assert.equal(textOf(frames), "One.\nTwo.Three.");
    assert.equal(new Set(frames.flatMap((f) => (f.type === "text.delta" ? [f.message] : []))).size, 1);
  });
});

describe("a tool", () => {
  it("starts after the text before it, or after a while when the transcript is late", () => {
    const to = state();
    play(to, hook("UserPromptSubmit"));
    assert.deepEqual(
      play(to, hook("PreToolUse", { tool_use_id: "t", tool_name: "Bash", tool_input: { command: "x" } }, 10)),
      [],
    );
    assert.deepEqual(types(play(to, line(assistant("msg_a", text("Look:"), toolUse("t")), 90))), [
      "meta",
      "text.delta",
      "tool.use.start",
    ]);
    play(to, hook("PreToolUse", { tool_use_id: "u", tool_name: "Bash", tool_input: {} }, 100));
    const due = deadline(to);
    assert.ok(due !== undefined && due > 100);
    assert.deepEqual(types(play(to, { src: "tick", at: due })), ["tool.use.start"]);
    assert.deepEqual(play(to, line(assistant("msg_b", toolUse("u")))), []);
  });

  it("that returns before its start was told has its result after it", () => {
    const to = state();
    play(to, hook("UserPromptSubmit"), hook("PreToolUse", { tool_use_id: "t", tool_name: "Bash", tool_input: {} }));
    assert.deepEqual(
      play(
        to,
        hook("PostToolUse", { tool_use_id: "t", tool_name: "Bash", tool_response: { stdout: "o" }, duration_ms: 7 }),
      ),
      [],
    );
    const frames = play(to, line(assistant("msg_a", toolUse("t"))));
    assert.deepEqual(types(frames), ["meta", "tool.use.start", "tool.use.result"]);
    assert.deepEqual(frames.at(-1), {
      type: "tool.use.result",
      id: "t",
      tool: "Bash",
      output: { stdout: "o" },
      duration_ms: 7,
    });
    assert.deepEqual(play(to, line(toolResult("t", "o"))), []);
  });

  it("that only the transcript shows, because it was denied, has both frames", () => {
    const to = state();
    const frames = play(
      to,
      hook("UserPromptSubmit"),
      line(assistant("msg_a", toolUse("t")), 100),
      line(toolResult("t", "<tool_use_error>Blocked</tool_use_error>", true), 150),
    );
    assert.deepEqual(frames.slice(-1), [
      { type: "tool.use.result", id: "t", tool: "Bash", output: null, error: "Blocked", duration_ms: 50 },
    ]);
  });

  it("that only PostToolBatch tells of has both frames after a while, and once", () => {
    const to = state();
    play(
      to,
      hook("UserPromptSubmit"),
      hook("PostToolBatch", {
        tool_calls: [
          {
            tool_use_id: "t",
            tool_name: "TaskCreate",
            tool_input: {},
            tool_response: "<tool_use_error>not loaded</tool_use_error>",
          },
        ],
      }),
    );
    const frames = play(to, { src: "tick", at: deadline(to) ?? 0 });
    assert.deepEqual(types(frames), ["tool.use.start", "tool.use.result"]);
    assert.deepEqual(
      play(to, line(assistant("msg_a", toolUse("t", "TaskCreate"))), line(toolResult("t", "x"))).filter(
        (f) => f.type !== "meta",
      ),
      [],
    );
  });
});

describe("a turn", () => {
  it("that Claude begins by itself without a terminal stays, however long its tool takes", () => {
    const to = state();
    play(to, { src: "state", at: 0, state: "idle" });
    const message = { id: "msg_1", model: "m", usage: {} };
    const begun: Source = {
      src: "message",
      at: 10,
      message: { type: "stream_event", event: { type: "message_start", message } },
    };
    assert.ok(play(to, begun).some((frame) => frame.type === "status" && frame.state === "working"));
    assert.equal(deadline(to), undefined);
    assert.deepEqual(types(play(to, { src: "tick", at: 60_000 })), []);
  });

  it("that a forged hook began at rest ends by itself, and one that Claude's state confirms does not", () => {
    for (const works of [false, true]) {
      const to = state();
      play(to, hook("SessionStart", { session_id: "s" }), { src: "state", at: 0, state: "idle" });
      const forged = hook("PreToolUse", { tool_name: "Bash", tool_input: {}, tool_use_id: "t1" }, 10);
      const begun = play(to, forged, ...(works ? [{ src: "state", at: 60, state: "busy" } as const] : []));
      assert.ok(begun.some((frame) => frame.type === "status" && frame.state === "working"));
      const due = 10 + 10_000;
      const ended = play(to, { src: "tick", at: due });
      assert.deepEqual(
        ended.flatMap((frame) => (frame.type === "status" ? [frame.state] : [])),
        works ? [] : ["idle"],
      );
    }
  });

  const whole = (to: State): FrameBody[] =>
    play(
      to,
      hook("UserPromptSubmit", {}, 100),
      display("d", 0, "Hi."),
      hook("Stop", {}, 300),
      line(assistant("msg_a", text("Hi.")), 350),
      line(assistant("msg_a", text("")), 350),
      line(SUMMARY, 360),
    );

  it("ends when the transcript is complete, with one usage for all blocks of a message, then stop, then idle", () => {
    const frames = whole(state());
    assert.deepEqual(types(frames), ["status", "text.delta", "meta", "usage", "stop", "status"]);
    assert.deepEqual(frames[3], { type: "usage", input: 10, output: 5, cache_read: 0, cache_write: 0, model: "m" });
    assert.deepEqual(frames[5], { type: "status", state: "idle", elapsed_ms: 260 });
  });

  it("is not ended by a subagent, and holds back what belongs to the next one", () => {
    const to = state();
    play(to, hook("UserPromptSubmit"));
    assert.deepEqual(
      play(to, hook("Stop", { agent_id: "x" }), hook("SubagentStop", { agent_id: "x" }), line(SUMMARY, 0, "x")),
      [],
    );
    play(to, hook("Stop"));
    assert.deepEqual(play(to, hook("UserPromptSubmit"), display("e", 0, "Next.")), []);
    const frames = play(to, line(assistant("msg_a", text("First."))), line(SUMMARY));
    assert.deepEqual(types(frames), ["meta", "text.delta", "usage", "stop", "status", "status", "text.delta"]);
    assert.equal(textOf(frames), "First.Next.");
  });

  it("that the next prompt's hook overtakes is ended by its own lines, and they do not end the next", () => {
    const to = state();
    play(to, hook("UserPromptSubmit", {}, 1_000), line(assistant("msg_a", text("One."))), hook("Stop", {}, 1_500));
    const stamp = (ms: number): string => new Date(ms).toISOString();
    const frames = play(
      to,
      hook("UserPromptSubmit", {}, 1_600),
      line({ ...SUMMARY, timestamp: stamp(1_510) }, 1_610),
      line({ type: "system", subtype: "turn_duration", timestamp: stamp(1_520) }, 1_611),
      line(assistant("msg_b", text("Two."))),
    );
    assert.deepEqual(types(frames), ["usage", "stop", "status", "status", "text.delta"]);
    const mark = { type: "user", message: { role: "user", content: [text("[Request interrupted by user]")] } };
    assert.deepEqual(play(to, line({ ...mark, timestamp: stamp(1_530) }, 1_612)), []);
    const rest = play(to, hook("Stop", {}, 1_800), line({ ...SUMMARY, timestamp: stamp(1_810) }, 1_820));
    assert.deepEqual(types(rest), ["usage", "stop", "status"]);
  });

  it("that goes idle without a word was interrupted, unless Claude works on", () => {
    const to = state();
    play(to, hook("UserPromptSubmit"), { src: "state", at: 1, state: "busy" }, { src: "state", at: 2, state: "idle" });
    play(to, hook("PreToolUse", { tool_use_id: "t", tool_name: "Bash", tool_input: {} }, 3));
    assert.deepEqual(types(play(to, { src: "tick", at: 10_000 })), ["tool.use.start"]);
    play(to, { src: "state", at: 10_001, state: "busy" }, { src: "state", at: 10_002, state: "idle" });
    const frames = play(to, { src: "tick", at: 20_000 });
    assert.deepEqual(
      frames.map((f) => (f.type === "stop" ? f.reason : f.type)),
      ["tool.use.result", "interrupted", "status"],
    );
  });

  it("of which the log holds a part is told from there on after a restart", () => {
    const to = state();
    reopen(
      to,
      {
        turnOpen: true,
        toldTurns: 0,
        text: new Map([["uuid-of-display", 4]]),
        thinking: new Set(["msg_a"]),
        tools: new Map([["t", { tool: "Bash", done: false }]]),
        usage: new Set(),
      },
      0,
    );
    const frames = play(
      to,
      line(assistant("msg_a", { type: "thinking", thinking: "seen" })),
      line(assistant("msg_a", text("Seen and unseen."))),
      line(assistant("msg_a", toolUse("t"))),
      line(toolResult("t", "out")),
      line(assistant("msg_b", text("After."))),
      { src: "caught-up", at: 9 },
    );
    assert.deepEqual(types(frames), ["meta", "text.delta", "tool.use.result", "text.delta", "usage", "stop"]);
    assert.equal(textOf(frames), " and unseen.After.");
  });

  it("that was cut off by a restart is not ended by what closed the one before it", () => {
    const to = state();
    const none = { thinking: new Set<string>(), tools: new Map(), usage: new Set<string>() };
    reopen(to, { turnOpen: true, turnAt: 2_000, toldTurns: 1, text: new Map(), ...none }, 9_000);
    const stamp = (ms: number): string => new Date(ms).toISOString();
    assert.deepEqual(play(to, line({ ...SUMMARY, timestamp: stamp(1_900) })), []);
    assert.deepEqual(types(play(to, line({ ...SUMMARY, timestamp: stamp(2_500) }))), ["stop"]);
  });

  it("ends with the session, which closes tools and loses questions", () => {
    const to = state();
    play(
      to,
      hook("UserPromptSubmit"),
      line(
        assistant("msg_a", {
          type: "tool_use",
          id: "q",
          name: "AskUserQuestion",
          input: { questions: [{ question: "Why?", options: [] }] },
        }),
      ),
      hook("PermissionRequest", {
        tool_name: "AskUserQuestion",
        tool_input: { questions: [{ question: "Why?", options: [] }] },
      }),
    );
    const frames = play(to, { src: "exit", at: 5 });
    assert.deepEqual(
      frames.find((f) => f.type === "ask.answer"),
      { type: "ask.answer", id: "q/0", answer: null, by: "lost" },
    );
    assert.equal(frames.filter((f) => f.type === "tool.use.result").length, 1);
    assert.equal(frames.filter((f) => f.type === "stop").length, 1);
    assert.deepEqual(frames.at(-1), { type: "status", state: "stopped", elapsed_ms: 0 });
  });
});

it("lines of unknown types and odd shapes are passed over", () => {
  const to = state();
  const odd = [
    {},
    { type: "atis-latch" },
    { type: "assistant" },
    { type: "assistant", message: { id: 5, content: "x" } },
    { type: "user", message: { content: 7 } },
    { type: "system" },
    { type: "user", message: null },
  ];
  assert.deepEqual(play(to, ...odd.map((value) => line(value))), []);
  assert.doesNotThrow(() =>
    play(
      to,
      hook("PreToolUse", { tool_use_id: 7 }),
      hook("MessageDisplay"),
      hook("PostToolBatch", { tool_calls: "x" }),
      hook("Nonsense"),
    ),
  );
});
