import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Source } from "../../src/agent/source.ts";
import { newState } from "../../src/agent/state.ts";
import { deadline, translate } from "../../src/agent/translate.ts";
import { rowFor } from "../../src/agent/versions.ts";
import type { Body, FrameBody } from "../../src/frame/frame.ts";

const QUESTION = { question: "Why?", header: "Why", multiSelect: false, options: [{ label: "So" }] };

/** Claude as the translation sees it; every method returns the frames it led to. */
function claude(version = "2.1.197") {
  const state = newState(rowFor(version).row, true);
  let held = 0;
  const play = (...sources: Source[]): FrameBody[] => sources.flatMap((source) => translate(state, source));
  const hook = (event: string, body: Readonly<Record<string, unknown>>, at: number, more = {}): FrameBody[] =>
    play({ src: "hook", at, event, body, ...more });
  const call = (id: string, command: string, at = 1): FrameBody[] => [
    ...hook("PreToolUse", { tool_use_id: id, tool_name: "Bash", tool_input: { command } }, at),
    ...play({ src: "tick", at: at + 1_000 }),
  ];
  const request = (command: string, at = 1_010): FrameBody[] =>
    hook("PermissionRequest", { tool_name: "Bash", tool_input: { command } }, at, { held: ++held });
  const returned = (id: string, at = 2_000): FrameBody[] =>
    hook("PostToolUse", { tool_use_id: id, tool_name: "Bash", tool_response: {} }, at);
  play({ src: "hook", at: 0, event: "UserPromptSubmit", body: {} });
  return { state, play, hook, call, request, returned };
}

const asks = (frames: readonly FrameBody[]): Body<"ask.question">[] =>
  frames.filter((frame): frame is Body<"ask.question"> => frame.type === "ask.question");
const answers = (frames: readonly FrameBody[]): unknown[] =>
  frames.flatMap((frame) => (frame.type === "ask.answer" ? [[frame.id, frame.answer, frame.by]] : []));
const states = (frames: readonly FrameBody[]): string[] =>
  frames.flatMap((frame) => (frame.type === "status" ? [frame.state] : []));

describe("an ask", () => {
  it("shows the body of the request, named after its call", () => {
    const { call, request } = claude();
    call("toolu_a", "ls");
    assert.deepEqual(asks(request("ls\u202e")), [
      {
        type: "ask.question",
        of: 1,
        kind: "permission",
        tool: "Bash",
        id: "toolu_a/0",
        prompt: "Allow Bash?",
        options: [{ label: "Allow" }, { label: "Deny" }],
        multiSelect: false,
        input: { command: "ls\u202e" },
        summary: "ls\\u{202e}",
      },
    ]);
  });

  it("waits for the start of its call", () => {
    const { hook, request, play } = claude();
    hook("PreToolUse", { tool_use_id: "toolu_a", tool_name: "Bash", tool_input: { command: "ls" } }, 1);
    assert.deepEqual(request("ls", 2), []);
    assert.deepEqual(
      play({ src: "tick", at: 1_001 }).map(({ type }) => type),
      ["tool.use.start", "ask.question", "status"],
    );
  });

  it("for a call that is asked about already is one of its own, and the call's end settles both", () => {
    const { call, request, returned } = claude();
    call("toolu_a", "ls");
    const [one, two] = [...asks(request("ls")), ...asks(request("ls"))];
    assert.equal(one?.id, "toolu_a/0");
    assert.notEqual(two?.id, one?.id);
    assert.deepEqual(answers(returned("toolu_a")), [
      [one?.id, "allow", "terminal"],
      [two?.id, "allow", "terminal"],
    ]);
  });

  it("for no call at all is shown like any other, also where it asks no question or comes under an odd name", () => {
    const { hook, request } = claude();
    assert.equal(asks(request("ls")).length, 1);
    const [empty] = asks(hook("PermissionRequest", { tool_name: "AskUserQuestion", tool_input: { questions: 7 } }, 5));
    assert.equal(empty?.kind, "permission");
    const [odd] = asks(hook("PermissionRequest", { tool_name: "x\u001b[2K\n" }, 6));
    assert.equal(odd?.prompt, "Allow x\\u{1b}[2K\\n?");
  });

  it("is settled by whoever has hold of it, and the session goes on", () => {
    const { call, request, play, returned } = claude();
    call("toolu_a", "ls");
    request("ls");
    play({ src: "claim", at: 1_100, group: "toolu_a" });
    const frames = play({ src: "release", at: 1_101, group: "toolu_a", taken: true });
    assert.deepEqual(states(frames), ["working"]);
    assert.deepEqual(answers([...frames, ...returned("toolu_a")]), []);
  });

  it("that was settled at the terminal while someone had hold of it is told when that turns out", () => {
    const { call, request, play, returned } = claude();
    call("toolu_a", "ls");
    request("ls");
    play({ src: "claim", at: 1_100, group: "toolu_a" });
    assert.deepEqual(answers(returned("toolu_a")), []);
    assert.deepEqual(answers(play({ src: "release", at: 2_001, group: "toolu_a", taken: false })), [
      ["toolu_a/0", "allow", "terminal"],
    ]);
    assert.deepEqual(answers(play({ src: "exit", at: 3_000 })), []);
  });

  it("whose connection Claude closed has its call's word, or is lost after a while", () => {
    const { state, call, request, play, hook } = claude();
    call("toolu_a", "ls");
    request("ls");
    request("forged");
    const frames = play({ src: "let-go", at: 1_100, held: 1 }, { src: "let-go", at: 1_100, held: 2 });
    assert.deepEqual(states(frames), ["working"]);
    const rejected = hook("PostToolUseFailure", { tool_use_id: "toolu_a", error: "no" }, 1_200);
    assert.deepEqual(answers(rejected), [["toolu_a/0", "allow", "terminal"]]);
    assert.equal(deadline(state), 3_100);
    assert.deepEqual(
      answers(play({ src: "tick", at: 3_100 })).map((answer) => (answer as unknown[]).slice(1)),
      [[null, "lost"]],
    );
  });

  it("is lost with Claude, also where someone has hold of it", () => {
    const { call, request, play } = claude();
    call("toolu_a", "ls");
    request("ls");
    play({ src: "claim", at: 1_100, group: "toolu_a" });
    assert.deepEqual(answers(play({ src: "exit", at: 1_200 })), [["toolu_a/0", null, "lost"]]);
  });

  it("that stays open while another dialog was answered waits for a person again", () => {
    const { state, call, request, play } = claude();
    call("toolu_a", "one");
    call("toolu_b", "two", 2_000);
    request("one", 3_100);
    request("two", 3_110);
    play({ src: "state", at: 3_200, state: "waiting" }, { src: "state", at: 3_300, state: "busy" });
    assert.equal(state.asks.get("toolu_a")?.passed, true);
    play({ src: "state", at: 3_310, state: "waiting" });
    assert.equal(state.asks.get("toolu_a")?.passed, false);
    assert.equal(state.status, "waiting_for_input");
  });

  it("of several is told with how many there are, and its answers by their prompts", () => {
    const { hook, play } = claude();
    const input = { questions: [QUESTION, { ...QUESTION, question: "How?", multiSelect: true }] };
    const call = { tool_use_id: "toolu_q", tool_name: "AskUserQuestion", tool_input: input };
    hook("PreToolUse", call, 1);
    hook("PermissionRequest", call, 2);
    const done = { ...call, tool_response: { answers: { "Why?": "So", "How?": "A, B" } } };
    const frames = [...play({ src: "tick", at: 1_001 }), ...hook("PostToolUse", done, 1_002)];
    assert.deepEqual(
      asks(frames).map(({ id, of, prompt, multiSelect }) => [id, of, prompt, multiSelect]),
      [
        ["toolu_q/0", 2, "Why?", false],
        ["toolu_q/1", 2, "How?", true],
      ],
    );
    assert.deepEqual(answers(frames), [
      ["toolu_q/0", "So", "terminal"],
      ["toolu_q/1", "A, B", "terminal"],
    ]);
  });
});
