/** Parts of the stream engine: the lines, the control protocol, and the translation of messages, without a Claude. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Agent, AgentSpec, Exit } from "../../src/agent/agent.ts";
import { createEngine } from "../../src/agent/engine.ts";
import type { Json } from "../../src/agent/json.ts";
import type { Source } from "../../src/agent/source.ts";
import { newState, type State } from "../../src/agent/state.ts";
import { StreamAgent } from "../../src/agent/stream-agent.ts";
import { StreamControl } from "../../src/agent/stream-control.ts";
import { spawnStream } from "../../src/agent/stream-process.ts";
import { translate } from "../../src/agent/translate.ts";
import { rowFor } from "../../src/agent/versions.ts";
import type { FrameBody, SessionId } from "../../src/frame/frame.ts";

const { row } = rowFor("2.1.330");
const ID = "msg_1";

/** A session in which messages come, one each millisecond. */
function talk(): { state: State; tell(message: Json): FrameBody[]; feed(source: Partial<Source>): FrameBody[] } {
  const state = newState(row, true);
  let at = 1_000;
  const feed = (source: Partial<Source>): FrameBody[] => translate(state, { at: ++at, ...source } as Source);
  feed({ src: "state", state: "idle" });
  return { state, feed, tell: (message) => feed({ src: "message", message }) };
}

const prompt = { src: "hook", event: "UserPromptSubmit", body: { prompt: "hi" } } as const;
const event = (inner: object, more: object = {}): Json => ({
  type: "stream_event",
  event: inner,
  parent_tool_use_id: null,
  ...more,
});
const began = (id = ID, usage: object = { input_tokens: 10, output_tokens: 1, cache_read_input_tokens: 2 }): Json =>
  event({ type: "message_start", message: { id, model: "claude-x", usage } });
const said = (text: string): Json => event({ type: "content_block_delta", delta: { type: "text_delta", text } });
const mused = (thinking: string): Json =>
  event({ type: "content_block_delta", delta: { type: "thinking_delta", thinking } });
const whole = (content: object[], more: object = {}): Json => ({
  type: "assistant",
  message: { id: ID, model: "claude-x", content, usage: { input_tokens: 10, output_tokens: 1 } },
  parent_tool_use_id: null,
  ...more,
});
const result = (more: object = {}): Json => ({ type: "result", subtype: "success", is_error: false, ...more });
const kinds = (frames: readonly FrameBody[]): string[] => frames.map((frame) => frame.type);

describe("messages of a Claude without a terminal", () => {
  it("text that came in pieces does not come again with the whole message, and what was missed does", () => {
    const { tell, feed } = talk();
    feed(prompt);
    tell(began());
    assert.deepEqual(tell(said("Hel")), [{ type: "text.delta", text: "Hel", message: ID }]);
    assert.deepEqual(tell(said("lo")), [{ type: "text.delta", text: "lo", message: ID }]);
    assert.deepEqual(tell(whole([{ type: "text", text: "Hello" }])), []);
    const other = whole([{ type: "text", text: "Not streamed." }]);
    const unseen = { ...other, message: { ...(other["message"] as object), id: "msg_2" } };
    assert.deepEqual(tell(unseen), [{ type: "text.delta", text: "Not streamed.", message: "msg_2" }]);
  });

  it("thinking comes in pieces, once, and not at all where the session does not want it", () => {
    const { tell, feed } = talk();
    feed(prompt);
    tell(began());
    assert.deepEqual(tell(mused("hm")), [{ type: "thinking", text: "hm", message: ID }]);
    assert.deepEqual(tell(whole([{ type: "thinking", thinking: "hm" }])), []);
    const quiet = newState(row, false);
    translate(quiet, { at: 1, ...prompt });
    for (const message of [began(), mused("hm"), whole([{ type: "thinking", thinking: "hm" }])])
      assert.deepEqual(
        kinds(translate(quiet, { at: 2, src: "message", message })).filter((t) => t === "thinking"),
        [],
      );
  });

  it("a call is told when it runs, with the input that it runs with, one after the other", () => {
    const { tell, feed } = talk();
    feed(prompt);
    tell(began());
    const call = (id: string): object => ({ type: "tool_use", id, name: "Bash", input: { command: "raw" } });
    assert.deepEqual(tell(whole([call("t1"), call("t2")])), []);
    const runs = (id: string): Json => ({ tool_use_id: id, tool_name: "Bash", tool_input: { command: "judged" } });
    const first = feed({ src: "runs", body: runs("t1") });
    assert.deepEqual(first, [{ type: "tool.use.start", id: "t1", tool: "Bash", input: { command: "judged" } }]);
    const back = (id: string, more: object = {}): Json => ({
      type: "user",
      message: { content: [{ type: "tool_result", tool_use_id: id, content: "seen", ...more }] },
      tool_use_result: { stdout: "seen" },
      parent_tool_use_id: null,
    });
    const done = tell(back("t1"));
    assert.deepEqual(kinds(done), ["tool.use.result"]);
    assert.deepEqual((done[0] as { output?: unknown }).output, { stdout: "seen" });
    assert.deepEqual(
      kinds(tell(back("t2", { is_error: true }))),
      ["tool.use.start", "tool.use.result"],
      "refused before it ran",
    );
  });

  it("usage counts each message once, and what Claude counted beside them", () => {
    const { tell, feed } = talk();
    const usageOf = (frames: readonly FrameBody[]): unknown => frames.find((frame) => frame.type === "usage");
    const models = (input: number, output: number): Json =>
      result({ modelUsage: { a: { inputTokens: input, outputTokens: output, cacheReadInputTokens: 2 } } });
    feed(prompt);
    tell(began());
    tell(whole([{ type: "text", text: "x" }]));
    tell(event({ type: "message_delta", usage: { output_tokens: 7 } }));
    tell(whole([{ type: "text", text: "y" }]));
    const first = { type: "usage", input: 25, output: 12, cache_read: 2, cache_write: 0, model: "claude-x" };
    assert.deepEqual(usageOf(tell(models(25, 12))), first, "a subagent used 15 and 5");
    feed(prompt);
    tell(began("msg_2", { input_tokens: 4, output_tokens: 3 }));
    assert.deepEqual(usageOf(tell(models(25, 12))), { ...first, input: 4, output: 3, cache_read: 0 }, "cut off");
    feed(prompt);
    const since = { model_usage_since_last_result: { a: { inputTokens: 5, outputTokens: 6 } } };
    assert.deepEqual(
      usageOf(tell({ ...models(900, 900), ...since })),
      { ...first, input: 5, output: 6, cache_read: 0 },
      "a count that goes on from an earlier process",
    );
  });

  it("ends turns by Claude's word: done, a command, interrupted, failed, at a limit", () => {
    const reason = (frames: readonly FrameBody[]): unknown => frames.find((frame) => frame.type === "stop");
    const stop = (reason_: string): object => ({ type: "stop", reason: reason_ });
    const { tell, feed } = talk();
    feed(prompt);
    assert.deepEqual(reason(tell(result())), stop("end_turn"));
    assert.deepEqual(kinds(tell(result())), [], "a result without a turn");
    assert.deepEqual(kinds(feed({ src: "sent", command: true })), ["status"]);
    const command = tell(result({ result: "Unknown skill: x", uuid: "u" }));
    assert.deepEqual(kinds(command), ["text.delta", "stop", "status"]);
    assert.deepEqual(reason(command), stop("command"));
    feed(prompt);
    feed({ src: "esc" });
    assert.deepEqual(reason(tell(result({ subtype: "error_during_execution", is_error: true }))), stop("interrupted"));
    feed(prompt);
    assert.deepEqual(reason(tell(result({ subtype: "error_max_turns", is_error: true }))), stop("error:max_turns"));
    feed(prompt);
    assert.deepEqual(tell(whole([{ type: "text", text: "API Error: 400" }], { error: "invalid_request" })), []);
    const failed = tell(result({ is_error: true }));
    assert.deepEqual(failed[0], { type: "error", code: "invalid_request", message: "API Error: 400" });
    assert.deepEqual(reason(failed), stop("error:invalid_request"));
    feed(prompt);
    tell({ type: "rate_limit_event", rate_limit_info: { status: "rejected", resetsAt: 60 } });
    tell(whole([{ type: "text", text: "You've hit your session limit" }], { error: "rate_limit" }));
    const limited = tell(result({ is_error: true }));
    assert.deepEqual(reason(limited), stop("error:usage_limit"));
    assert.equal((limited.at(-1) as { limit_resets_at?: number }).limit_resets_at, 60_000);
  });

  it("marks a subagent's messages with its id, in every version's way", () => {
    const { tell, feed } = talk();
    feed(prompt);
    tell({ type: "system", subtype: "task_started", task_type: "local_agent", task_id: "a1", tool_use_id: "t1" });
    const words = (more: object): unknown => (tell(whole([{ type: "text", text: "x" }], more))[0] as Json)?.["agent"];
    assert.equal(words({ parent_tool_use_id: "t1" }), "a1");
    assert.equal(words({ parent_tool_use_id: "t2", agent_id: "a2" }), "a2");
    assert.equal(words({ parent_tool_use_id: "t3" }), "t3");
  });

  it("/clear goes on under another name, without the old tasks", () => {
    const { tell, feed, state } = talk();
    const init = (session_id: string): Json => ({ type: "system", subtype: "init", session_id, model: "m" });
    assert.deepEqual(kinds(tell(init("one"))), ["meta"]);
    feed(prompt);
    state.tasks.set("1", { id: "1", subject: "s", status: "pending" });
    state.shownTasks = "something";
    assert.deepEqual(kinds(tell(init("two"))), ["meta", "todo.update"]);
  });

  it("survives whatever stands on a line", () => {
    const words = fc.constantFrom("stream_event", "assistant", "user", "system", "result", "control_request", "x");
    const inner = fc.oneof(fc.jsonValue(), fc.record({ type: fc.string(), content: fc.jsonValue() }));
    const some = fc.record(
      {
        type: words,
        subtype: fc.constantFrom("init", "status", "api_retry", "task_started", "success", "can_use_tool"),
        event: fc.record({
          type: fc.constantFrom("message_start", "content_block_delta", "message_delta"),
          delta: inner,
          message: inner,
        }),
        message: inner,
        request: fc.record({ subtype: fc.constant("can_use_tool"), tool_use_id: fc.string(), input: inner }),
        modelUsage: fc.jsonValue(),
        parent_tool_use_id: fc.oneof(fc.constant(null), fc.string()),
      },
      { requiredKeys: ["type"] },
    );
    fc.assert(
      fc.property(fc.array(some, { maxLength: 12 }), (messages) => {
        const { tell, feed } = talk();
        feed(prompt);
        for (const message of messages) tell(message as Json);
        const end = feed({ src: "exit" });
        assert.equal(end.at(-1)?.type, "status");
      }),
    );
  });
});

describe("control requests", () => {
  it("are answered by id, refused with Claude's words, and end with it", async () => {
    const sent: Json[] = [];
    const control = new StreamControl((message) => sent.push(message as Json));
    const ask = (): Promise<Json> => control.request({ subtype: "set_model", model: "m" });
    const reply = (n: number, response: object): void =>
      control.answered({ type: "control_response", response: { request_id: sent[n]?.["request_id"], ...response } });
    const [first, second, third] = [ask(), ask(), ask()];
    assert.equal(new Set(sent.map((message) => message["request_id"])).size, 3);
    control.answered({ type: "control_response", response: { request_id: "unknown", subtype: "success" } });
    reply(1, { subtype: "error", error: "no such model" });
    reply(0, { subtype: "success", response: { model: "m" } });
    assert.deepEqual(await first, { model: "m" });
    await assert.rejects(second, { code: "claude_failed", message: "no such model" });
    control.end();
    await assert.rejects(third, { code: "claude_failed" });
    await assert.rejects(ask(), { code: "claude_failed" });
  });
});

/** Runs JavaScript as the child and gathers what it tells until it ends. */
function child(
  code: string,
  write: readonly object[] = [],
): Promise<{ told: Json[]; skipped: number[]; exit: number | undefined; words: string }> {
  const told: Json[] = [];
  const skipped: number[] = [];
  return new Promise((done) => {
    const started = spawnStream(
      { argv: [process.execPath, "-e", code], env: {}, cwd: tmpdir() },
      {
        message: (message) => told.push(message),
        skipped: (bytes) => skipped.push(bytes),
        exit: (exit) => done({ told, skipped, exit, words: started.words }),
      },
    );
    for (const message of write) started.write(message);
  });
}

describe("the process", () => {
  it("skips what is no message and a line of 20 MB, and reads on", async () => {
    const { told, skipped, exit } = await child(
      `const say = (l) => process.stdout.write(l + "\\n");
       say("{\\"n\\":1}"); say("not json"); say("[1]"); say("");
       say(JSON.stringify({ long: "x".repeat(20 << 20) })); say("{\\"n\\":2}")`,
    );
    assert.deepEqual(told, [{ n: 1 }, { n: 2 }]);
    assert.deepEqual(skipped, [0, 0, (20 << 20) + 11]);
    assert.equal(exit, 0);
  });

  it("hears what is written, line by line, and gives its last words and its code", async () => {
    const { told, exit, words } = await child(
      `process.stdin.on("data", (d) => { process.stdout.write(d); console.error("all is lost"); process.exitCode = 3; process.stdin.destroy(); })`,
      [{ a: "line\nbreak" }],
    );
    assert.deepEqual(told, [{ a: "line\nbreak" }]);
    assert.equal(exit, 3);
    assert.equal(words, "all is lost");
  });

  it("that cannot be started ends at once", async () => {
    const exit = await new Promise((done) =>
      spawnStream(
        { argv: ["/nowhere/claude"], env: {}, cwd: tmpdir() },
        { message: () => undefined, skipped: () => undefined, exit: done },
      ),
    );
    assert.equal(exit, 127);
  });
});

/** A Claude that answers the first request, asks something that nobody knows, and says nonsense. */
const FAKE = `
if (process.argv.includes("--version")) { console.log("2.1.330 (Claude Code)"); process.exit(0); }
const say = (m) => process.stdout.write((typeof m === "string" ? m : JSON.stringify(m)) + "\\n");
require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const m = JSON.parse(line);
  if (m.type === "control_request") return say({ type: "control_response", response: { subtype: "success", request_id: m.request_id, response: {} } });
  if (m.type === "control_response") return say({ type: "control_response", response: { subtype: "success", request_id: "x" } }), say({ type: "result", subtype: "success", result: m.response.error });
  say("garbage {"); say("null"); say("x".repeat(9 << 20));
  say({ type: "control_request", request_id: "q1", request: { subtype: "unheard_of" } });
});`;

describe("an agent whose Claude misbehaves", () => {
  it("refuses what it does not know, passes over garbage, and loses no turn", async () => {
    const base = await mkdtemp(join(tmpdir(), "cib-fake-"));
    await writeFile(join(base, "fake.cjs"), FAKE);
    await mkdir(join(base, "work"));
    const frames: FrameBody[] = [];
    const exits: Exit[] = [];
    let wake = (): void => undefined;
    const engine = await createEngine({ command: [process.execPath, join(base, "fake.cjs")], box: "box" });
    const spec: AgentSpec = {
      session: "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId,
      conversation: "0190f0c2-7a11-7c33-9a55-1234567890ac",
      start: "new",
      workdir: join(base, "work"),
      model: "m",
      engine: "stream",
      bypass: true,
      askTimeoutS: 60,
      cols: 80,
      rows: 24,
      configDir: join(base, "config"),
      projectsDir: join(base, "config", "projects"),
      home: join(base, "home"),
      runDir: join(base, "run"),
      credential: { mode: "api_key", key: "sk-dummy" },
      env: {},
      thinking: true,
    };
    const agent: Agent = await engine.start(spec, {
      frame(body) {
        frames.push(body);
        if (body.type === "stop") wake();
      },
      terminal: () => undefined,
      position: () => undefined,
      judge: () => ({ do: "pass" }),
      ending: () => undefined,
      exited: (how) => exits.push(how),
    });
    await agent.ready;
    const stopped = new Promise<void>((done) => {
      wake = done;
    });
    await Promise.all([agent.submit("/go", new AbortController().signal), stopped]);
    assert.match(JSON.stringify(frames), /unheard_of: this client does not know it/);
    assert.equal(frames.filter((frame) => frame.type === "error" && frame.code === "line_skipped").length, 1);
    assert.ok(agent instanceof StreamAgent);
    assert.equal(agent.garbled, 3);
    await agent.stop("kill");
    assert.equal(exits.length, 1);
    await engine[Symbol.asyncDispose]();
    await rm(base, { recursive: true, force: true });
  });
});
