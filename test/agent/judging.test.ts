import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Call, Judgement } from "../../src/agent/agent.ts";
import type { Json } from "../../src/agent/json.ts";
import { Porter, timeoutOf } from "../../src/agent/porter.ts";
import { ALLOWED, Questions } from "../../src/agent/questions.ts";
import { guarded, rulesFor } from "../../src/agent/rules.ts";
import type { Source } from "../../src/agent/source.ts";
import { newState } from "../../src/agent/state.ts";
import { translate } from "../../src/agent/translate.ts";
import { Verdicts } from "../../src/agent/verdicts.ts";
import { rowFor } from "../../src/agent/versions.ts";
import type { FrameBody } from "../../src/frame/frame.ts";

const OPEN = new AbortController().signal;

/** A porter on a real translation; `judge` is the session. */
function lodge(judge: (call: Call) => Judgement | Promise<Judgement>, version = "2.1.197") {
  const state = newState(rowFor(version).row, true);
  const frames: FrameBody[] = [];
  const faults: unknown[] = [];
  const calls: Call[] = [];
  const refused: (string | undefined)[] = [];
  const feed = (source: Source): void => void frames.push(...translate(state, source));
  const questions = new Questions({ asks: state.asks, feed, now: () => 1 });
  const senses = {
    feed,
    isSubmission: (prompt: string) => prompt.startsWith("our"),
    hook(event: string, body: Json, how: { readonly held?: number; readonly blocked?: string } = {}): void {
      const { blocked, ...rest } = how;
      refused.push(blocked);
      feed({ src: "hook", at: 1, event, body, ...rest, ...(blocked !== undefined && { blocked: true as const }) });
    },
  };
  const porter = new Porter({
    spec: { gated: ["Bash", "Write"] },
    row: state.row,
    judge: (call) => {
      calls.push(call);
      return judge(call);
    },
    questions,
    senses,
    now: () => 1,
    fault: (fault) => faults.push(fault),
  });
  const take = (event: string, body: Json) => porter.take(event, body, OPEN);
  const line = (id: string, input: object): void =>
    feed({
      src: "line",
      at: 2,
      line: {
        type: "assistant",
        message: { id: `msg_${id}`, content: [{ type: "tool_use", id, name: "Bash", input }] },
      },
    });
  const starts = () => frames.flatMap((frame) => (frame.type === "tool.use.start" ? [frame.input] : []));
  return { take, line, feed, frames, faults, calls, refused, starts };
}

const bash = (command: string, id = "toolu_a"): Json => ({
  tool_name: "Bash",
  tool_use_id: id,
  tool_input: { command },
});
const deferred = <T>() => {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
};

describe("a judged call", () => {
  it("is answered at once where the judgement is there", () => {
    const { take, calls } = lodge(() => ({ do: "pass" }));
    assert.deepEqual(take("PreToolUse", bash("ls")), {});
    assert.deepEqual(take("UserPromptSubmit", { prompt: "our words" }), {});
    assert.deepEqual(take("PostToolUse", { ...bash("ls"), tool_response: "out", agent_id: "x" }), {});
    assert.deepEqual(take("Stop", {}), {});
    assert.deepEqual(calls, [
      { on: "tool", id: "toolu_a", tool: "Bash", input: { command: "ls" } },
      { on: "prompt", text: "our words", ours: true },
      { on: "result", id: "toolu_a", tool: "Bash", input: { command: "ls" }, output: "out", agent: "x" },
    ]);
  });

  it("is not shown before the judgement, though the transcript has it, and then as it runs", async () => {
    const { promise, resolve } = deferred<Judgement>();
    const { take, line, starts, frames } = lodge(() => promise);
    const answer = take("PreToolUse", bash("cat key"));
    line("toolu_a", { command: "cat key" });
    assert.deepEqual(starts(), []);
    resolve({ do: "allow", input: { command: "cat ***" } });
    assert.deepEqual(await answer, {
      hookSpecificOutput: {
        hookEventName: "PreToolUse",
        permissionDecision: "allow",
        updatedInput: { command: "cat ***" },
      },
    });
    assert.deepEqual(starts(), [{ command: "cat ***" }]);
    assert.ok(!JSON.stringify(frames).includes("cat key"));
  });

  it("that waits for the end of another in the transcript is shown as it runs, too", () => {
    const { take, line, starts } = lodge((call) =>
      call.on === "tool" ? { do: "allow", input: { command: "safe" } } : { do: "pass" },
    );
    void take("PreToolUse", bash("one"));
    line("toolu_a", { command: "one" });
    line("toolu_b", { command: "two" });
    assert.deepEqual(starts(), [{ command: "safe" }]);
    void take("PostToolUse", { ...bash("safe"), tool_response: "" });
    assert.deepEqual(starts(), [{ command: "safe" }]);
    void take("PreToolUse", bash("two", "toolu_b"));
    assert.deepEqual(starts(), [{ command: "safe" }, { command: "safe" }]);
  });

  it("shows what Claude reads of a result, and gives it to those versions that take it", () => {
    for (const version of ["2.1.112", "2.1.197"]) {
      const judge = (call: Call): Judgement =>
        call.on === "result" ? { do: "rewrite", output: "***" } : { do: "pass" };
      const { take, line, frames } = lodge(judge, version);
      void take("PreToolUse", bash("cat key"));
      line("toolu_a", { command: "cat key" });
      const answer = take("PostToolUse", { ...bash("cat key"), tool_response: "secret" });
      assert.equal(JSON.stringify(answer).includes("***"), version !== "2.1.112");
      assert.equal(frames.find((frame) => frame.type === "tool.use.result")?.output, "***");
    }
  });

  it("does not run where the judge fails, throws, or never comes to an end", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const denied = (answer: object): void =>
      assert.match(JSON.stringify(answer), /"permissionDecision":"deny".*could not be judged/);
    const failing = lodge(() => Promise.reject(new Error("broken")));
    denied(await failing.take("PreToolUse", bash("ls")));
    const throwing = lodge(() => {
      throw new Error("broken");
    });
    denied(await throwing.take("PreToolUse", bash("ls")));
    assert.deepEqual([failing.faults.length, throwing.faults.length], [1, 1]);
    const hanging = lodge(() => new Promise<never>(() => undefined));
    const answer = hanging.take("PreToolUse", bash("ls"));
    assert.ok(answer instanceof Promise);
    t.mock.timers.tick(timeoutOf("PreToolUse", { askTimeoutS: 1 }) * 1000 - 1);
    denied(await answer);
    assert.equal(hanging.faults.length, 1);
  });

  it("of a prompt ends its turn as blocked, with the reason for whoever submitted it", () => {
    const { take, feed, frames, refused } = lodge(() => ({ do: "deny", reason: "not here" }));
    assert.deepEqual(take("UserPromptSubmit", { prompt: "our words" }), { decision: "block", reason: "not here" });
    assert.deepEqual(refused, ["not here"]);
    feed({ src: "tick", at: 10_000 });
    assert.deepEqual(
      frames.map((frame) =>
        frame.type === "status" ? frame.state : frame.type === "stop" ? frame.reason : frame.type,
      ),
      ["working", "blocked", "idle"],
    );
  });

  it("that asks a person by its nature is not answered by an allow", () => {
    for (const tool of ["AskUserQuestion", "ExitPlanMode"]) {
      const body = { tool_name: tool, tool_use_id: "toolu_q", tool_input: {} };
      assert.deepEqual(lodge(() => ({ do: "allow" })).take("PreToolUse", body), {});
      const changed = lodge(() => ({ do: "allow", input: { questions: [] } })).take("PreToolUse", body);
      assert.match(JSON.stringify(changed), /"permissionDecision":"ask"/);
      const answered = lodge(() => ({ do: "allow", input: { answers: {} } })).take("PreToolUse", body);
      assert.match(JSON.stringify(answered), /"permissionDecision":"allow"/);
    }
  });
});

describe("a request for what was judged to need nobody", () => {
  const judge = (call: Call): Judgement =>
    call.on === "tool" && JSON.stringify(call.input).includes("rm") ? { do: "ask" } : { do: "allow" };
  const waits = (answer: object): boolean => answer instanceof Promise;
  const request = (command: string, more: Json = {}): Json => ({ tool_name: "Bash", tool_input: { command }, ...more });

  it("is let through at once, and nothing else is", () => {
    const { take, frames } = lodge(judge);
    void take("PreToolUse", bash("ls"));
    void take("PreToolUse", bash("rm it", "toolu_b"));
    assert.equal(take("PermissionRequest", request("ls")), ALLOWED);
    assert.deepEqual(
      frames.filter(({ type }) => type === "ask.question"),
      [],
    );
    assert.ok(waits(take("PermissionRequest", request("rm it"))));
    assert.ok(waits(take("PermissionRequest", request("ls -l"))));
    assert.ok(waits(take("PermissionRequest", request("ls", { agent_id: "x" }))));
    assert.ok(waits(take("PermissionRequest", { tool_name: "WebFetch", tool_input: {} })));
    void take("PostToolUse", { ...bash("ls"), tool_response: "" });
    assert.ok(waits(take("PermissionRequest", request("ls"))), "it has returned");
  });

  it("waits for a person where one call of the same words did not pass, and after the turn's end", () => {
    const verdicts = new Verdicts(["Bash"]);
    verdicts.note(bash("ls"), true);
    assert.equal(verdicts.allows(request("ls")), true);
    verdicts.note(bash("ls", "toolu_b"), false);
    assert.equal(verdicts.allows(request("ls")), false);
    verdicts.note(bash("pwd", "toolu_b"), true);
    assert.equal(verdicts.allows(request("ls")), false, "a second account of a call changes nothing");
    verdicts.over(bash("ls", "toolu_b"));
    assert.equal(verdicts.allows(request("ls")), true);
    verdicts.clear();
    assert.equal(verdicts.allows(request("ls")), false);
  });

  it("leaves Claude's own questions about tools outside the gate, and about files that steer it, to a person", () => {
    const verdicts = new Verdicts(["Write"]);
    const write = (file: string): Json => ({
      tool_name: "Write",
      tool_use_id: file,
      cwd: "/home/.me/work",
      tool_input: { file_path: file },
    });
    for (const [file, allowed] of [
      ["/home/.me/work/a.txt", true],
      ["/home/.me/work/.claude/settings.json", false],
      ["/root/.bashrc", false],
      [".mcp.json", false],
    ] as const) {
      verdicts.note(write(file), true);
      assert.equal(verdicts.allows(write(file)), allowed, file);
    }
    verdicts.note(bash("ls"), true);
    assert.equal(verdicts.allows(request("ls")), false);
  });

  it("is forgotten first where calls flood in", () => {
    const verdicts = new Verdicts(["*"]);
    for (let n = 0; n < 5_000; n++) verdicts.note(bash(`ls ${n}`, `toolu_${n}`), true);
    assert.equal(verdicts.allows(request("ls 0")), false);
    assert.equal(verdicts.allows(request("ls 4999")), true);
  });
});

describe("the rules of a gated session", () => {
  it("name its tools, and write a star out for the version that knows none", () => {
    assert.deepEqual(rulesFor(["Bash", "mcp__*"]), ["Bash", "mcp__*"]);
    const all = rulesFor(["*"]);
    for (const tool of ["*", "Bash", "Read", "Write", "WebFetch", "Agent"]) assert.ok(all.includes(tool), tool);
    assert.deepEqual(rulesFor(["Web*"]), ["Web*", "WebFetch", "WebSearch"]);
  });

  it("shut every mode that would open it, and a session in bypass has none", () => {
    assert.deepEqual(guarded({ bypass: true }), {});
    assert.deepEqual(guarded({ bypass: false }), { permissions: { disableBypassPermissionsMode: "disable" } });
    assert.deepEqual(guarded({ bypass: false, gated: ["Bash"] }), {
      permissions: { ask: ["Bash"], disableBypassPermissionsMode: "disable", disableAutoMode: "disable" },
      disableAutoMode: "disable",
    });
  });

  it("give a held question Claude's patience for longer than the session's", () => {
    assert.equal(timeoutOf("PermissionRequest", { askTimeoutS: 3_600 }), 3_660);
    assert.ok(timeoutOf("Stop", { askTimeoutS: 3_600 }) <= 30);
  });
});
