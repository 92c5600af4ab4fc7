/** Hooks through a real session: a scripted engine tells, real hook processes judge. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { Sink } from "../../src/frame/sink.ts";
import type { Rule } from "../../src/hooks/rules.ts";
import type { Session } from "../../src/session/session.ts";
import { each } from "../hooks/scripts.ts";
import { framesOf, refused, until, World } from "./world.ts";

const REDACT: Rule = {
  name: "redact",
  on: ["text.delta"],
  run: each(`say({ verdict: "rewrite", text: e.frame.text.replace(/sk-\\w+/g, "[secret]") })`),
  kept: true,
  timeout_ms: 20_000,
};

const texts = (session: Session): string =>
  framesOf(session)
    .flatMap((frame) => (frame.type === "text.delta" ? [frame.text] : []))
    .join("");

const hooks = (session: Session) => framesOf(session).flatMap((frame) => (frame.type === "hook" ? [frame] : []));

const sinkOf = (close: (why: string) => void): Sink => ({ write: () => "ok", gap: () => undefined, close });

const verdicts = (session: Session): string[] =>
  hooks(session).map(({ name, result }) => `${name} ${(result as { verdict: string }).verdict}`);

test("a filter rewrites what Claude says before anyone can read it, though it came in pieces", async () => {
  await using world = await World.open();
  const session = await world.create({ hooks: [REDACT] });
  const agent = world.engine.agent(session.id);
  agent.tell({ type: "text.delta", text: "the key is sk-ab", message: "m" });
  agent.tell({ type: "text.delta", text: "cdef.\nAnd so", message: "m" });
  agent.finish();
  await until(() => session.turnOpen === false && texts(session).length > 0, "the turn's end");
  assert.equal(texts(session), "the key is [secret].\nAnd so");
  assert.doesNotMatch(JSON.stringify(framesOf(session)), /abcdef|sk-ab/);
  const order = framesOf(session).map((frame) => frame.type);
  assert.deepEqual(order.slice(order.indexOf("text.delta")), [
    "text.delta",
    "hook",
    "text.delta",
    "hook",
    "usage",
    "stop",
    "status",
  ]);
  assert.deepEqual(hooks(session)[0]?.payload, { message: "m", was: 22, is: 21 });
  assert.equal(session.hooks.hidesTerminal, true);
});

test("a text from a client is refused in the hook's words", async () => {
  await using world = await World.open();
  const rule: Rule = {
    name: "polite",
    on: ["input"],
    match: { text: "damn" },
    run: each(`say({ verdict: "block", reason: "mind your words" })`),
    timeout_ms: 20_000,
  };
  const session = await world.create({ hooks: [rule] });
  await assert.rejects(session.hooks.input("damn it", "me"), refused("hook_blocked", /polite: mind your words/));
  assert.deepEqual(await session.hooks.input("please", "me"), { text: "please" });
  await until(() => hooks(session).length > 0, "the hook frame");
  assert.deepEqual(verdicts(session), ["polite block"]);
});

const bash = (command: string) => ({ on: "tool", id: "t", tool: "Bash", input: { command } }) as const;
const started = (command: string) => ({ type: "tool.use.start", id: "t", tool: "Bash", input: { command } }) as const;
const rule = (name: string, on: Rule["on"], body: string, more: Partial<Rule> = {}): Rule => ({
  name,
  on,
  run: each(body),
  timeout_ms: 20_000,
  ...more,
});
const CLEANS = rule("cleans", ["tool.use.start"], `say({ verdict: "rewrite", input: { command: "clean" } })`);

describe("a tool", () => {
  test("runs with what a hook made of its input, and its frame is not judged again", async () => {
    await using world = await World.open();
    const session = await world.create({ hooks: [CLEANS] });
    const agent = world.engine.agent(session.id);
    assert.deepEqual(await agent.judge(bash("dirty")), { do: "allow", input: { command: "clean" } });
    agent.tell(started("clean"), { type: "stop", reason: "end_turn" });
    await until(() => hooks(session).length > 0, "the hook frame");
    await session.log.sync();
    const types = framesOf(session).map(({ type }) => type);
    assert.deepEqual(types.slice(types.indexOf("tool.use.start")), ["tool.use.start", "hook", "stop"]);
    assert.deepEqual(hooks(session)[0]?.payload, { id: "t", tool: "Bash" });
  });

  test("whose frame comes without a call is judged as a frame", async () => {
    await using world = await World.open();
    const session = await world.create({ hooks: [CLEANS] });
    world.engine.agent(session.id).tell(started("dirty"), { type: "stop", reason: "end_turn" });
    await until(() => hooks(session).length > 0, "the hook frame");
    const start = framesOf(session).find((frame) => frame.type === "tool.use.start");
    assert.deepEqual(start?.input, { command: "clean" });
  });

  for (const [what, wish, judged] of [
    ["in bypass mode", { bypass: true }, { do: "allow", input: { command: "clean" } }],
    ["without bypass", { bypass: false }, { do: "ask", input: { command: "clean" } }],
    ["whose new input is gated", { bypass: false, gate: ["Bash(clean)"] }, { do: "ask", input: { command: "clean" } }],
    [
      "whose old input was gated",
      { bypass: false, gate: ["Bash(dirty)"] },
      { do: "allow", input: { command: "clean" } },
    ],
  ] as const) {
    test(`${what} is judged by what will run`, async () => {
      await using world = await World.open();
      const gate = "gate" in wish ? { gate: [...wish.gate] } : {};
      const session = await world.create({ bypass: wish.bypass, ...gate, hooks: [CLEANS] });
      assert.deepEqual(await world.engine.agent(session.id).judge(bash("dirty")), judged);
    });
  }

  test("that no rule is about is judged at once, by the gate alone", async () => {
    await using world = await World.open();
    const agentOf = async (more: object) => world.engine.agent((await world.create({ hooks: [], ...more })).id);
    assert.deepEqual((await agentOf({})).judge(bash("x")), { do: "pass" });
    assert.deepEqual((await agentOf({ bypass: false })).judge(bash("x")), { do: "pass" });
    assert.deepEqual((await agentOf({ bypass: false, gate: ["Bash"] })).judge(bash("x")), { do: "ask" });
    assert.deepEqual((await agentOf({ bypass: false, gate: ["Edit"] })).judge(bash("x")), { do: "allow" });
  });

  test("whose result is blocked gives Claude the reason in the tool's own shape", async () => {
    await using world = await World.open();
    const hides = rule("hides", ["tool.use.result"], `say({ verdict: "block", reason: "private" })`);
    const session = await world.create({ hooks: [hides] });
    const judged = await world.engine.agent(session.id).judge({
      on: "result",
      id: "t",
      tool: "Bash",
      input: {},
      output: { stdout: "a", stderr: "b", interrupted: false },
    });
    const output = { stdout: "hidden by hides: private", stderr: "", interrupted: false };
    assert.deepEqual(judged, { do: "rewrite", output });
  });

  test("does not run where a closed hook fails", async () => {
    await using world = await World.open();
    const broken = rule("broken", ["tool.use.start"], "process.exit(1)", { fail: "closed" });
    const session = await world.create({ hooks: [broken] });
    assert.deepEqual(await world.engine.agent(session.id).judge(bash("x")), {
      do: "deny",
      reason: "broken: ended with status 1",
    });
  });
});

test("a prompt typed at the terminal can be blocked, not rewritten; one of ours was judged before", async () => {
  await using world = await World.open();
  const strict = rule(
    "strict",
    ["input"],
    `say(e.frame.text === "bad" ? { verdict: "block", reason: "bad" } : { verdict: "rewrite", text: "x" })`,
  );
  const session = await world.create({ hooks: [strict] });
  const agent = world.engine.agent(session.id);
  assert.deepEqual(await agent.judge({ on: "prompt", text: "bad", ours: false }), {
    do: "deny",
    reason: "strict: bad",
  });
  assert.deepEqual(await agent.judge({ on: "prompt", text: "good", ours: false }), { do: "pass" });
  assert.deepEqual(agent.judge({ on: "prompt", text: "bad", ours: true }), { do: "pass" });
  await until(() => hooks(session).length === 2, "two hook frames");
  assert.deepEqual(verdicts(session), ["strict block", "strict pass"]);
});

test("what a hook changed counts as told after a restart, character by character", async () => {
  await using world = await World.open();
  const { id } = await world.create({ hooks: [REDACT] });
  world.engine.agent(id).tell({ type: "text.delta", text: "key sk-abcdef\n", message: "m" });
  await until(() => hooks(world.get(id)).length > 0, "the hook frame");
  await world.crash();
  await until(() => world.get(id).state === "idle", "idle again");
  assert.equal(world.engine.starts.at(-1)?.seen?.text.get("m"), "key sk-abcdef\n".length);
});

test("a session that stops waits for a hook that hangs no longer than its deadline, and leaves no process", async () => {
  await using world = await World.open();
  const body = `require("fs").writeFileSync("pid", String(process.pid))`;
  const hangs = rule("hangs", ["text.delta"], body, { timeout_ms: 3_000 });
  const session = await world.create({ hooks: [hangs] });
  world.engine.agent(session.id).tell({ type: "text.delta", text: "last words", message: "m" });
  await session.stop("term", { wanted: false, reason: "stopped" });
  await session.log.sync();
  assert.equal(texts(session), "last words");
  const pid = readFileSync(join(session.meta.workdir, "pid"), "utf8");
  await until(() => !existsSync(`/proc/${pid}`), "the end of its process");
  assert.equal(framesOf(session).at(-1)?.type, "status");
  assert.equal(session.state, "stopped");
  assert.equal(framesOf(session).filter((frame) => frame.type === "stop").length, 1);
});

test("a hook that notes something on every stop does not make a second one", async () => {
  await using world = await World.open();
  const notes = rule("notes", ["stop"], `say({ verdict: "annotate", note: 1 })`);
  const session = await world.create({ hooks: [notes] });
  const agent = world.engine.agent(session.id);
  agent.lastFrames = [{ type: "stop", reason: "whatever" }];
  agent.begin("x");
  await session.stop("term", { wanted: false, reason: "stopped" });
  await session.log.sync();
  const stops = framesOf(session).filter((frame) => frame.type === "stop");
  assert.deepEqual(
    stops.map(({ reason }) => reason),
    ["stopped"],
  );
  assert.equal(session.meta.wanted, false);
});

test("whoever watches the terminal loses it when new rules hide it, and nobody else does", async () => {
  await using world = await World.open();
  const session = await world.create();
  const ended: string[] = [];
  const sink = (name: string): Sink => sinkOf((why) => void ended.push(`${name} ${why}`));
  using _frames = session.fanout.attach({ from: 1, mask: 0, sink: sink("frames") });
  using _watches = session.fanout.attach({ from: 1, mask: 0, sink: sink("watches"), lane: {} });
  await world.hooks.put([{ ...REDACT, terminal: true }]);
  assert.deepEqual(ended, []);
  await world.hooks.put([REDACT]);
  assert.deepEqual(ended, ["watches detached"]);
});

test("new rules of the user level hold in a running session from the next frame on", async () => {
  await using world = await World.open();
  const session = await world.create();
  const agent = world.engine.agent(session.id);
  agent.tell({ type: "text.delta", text: "sk-before\n", message: "m" });
  await world.hooks.put([REDACT]);
  agent.tell({ type: "text.delta", text: "sk-after\n", message: "m" });
  await until(() => hooks(session).length > 0, "the hook frame");
  assert.equal(texts(session), "sk-before\n[secret]\n");
});

/** A rule that says it was asked, and passes when it may go. */
const held = (world: World, on: Rule["on"], when: string) => {
  const [asked, go] = [join(world.folder, "asked"), join(world.folder, "go")];
  const body = `const { existsSync, writeFileSync } = require("fs");
    const pass = () => existsSync(${JSON.stringify(go)}) ? say({ verdict: "pass" }) : setTimeout(pass, 5);
    if (${when}) { writeFileSync(${JSON.stringify(asked)}, ""); pass(); } else say({ verdict: "pass" });`;
  return {
    rule: rule("held", on, body),
    asked: () => until(() => existsSync(asked), "the hook to be asked"),
    go: () => writeFileSync(go, ""),
  };
};

describe("a text", () => {
  for (const on of ["status", "*"] as const) {
    test(`does not follow another one into its turn while a hook on ${on} looks at that turn's beginning`, async () => {
      await using world = await World.open();
      world.engine.behaviour = () => "hang";
      const hook = held(world, [on], `e.frame.state === "working"`);
      const session = await world.create({ hooks: [hook.rule] });
      for (const text of ["first", "second"]) await session.queue.accept({ who: "me", text });
      await hook.asked();
      await world.ledger.sync();
      assert.deepEqual(world.engine.prompts(session.id), ["first"]);
      hook.go();
      world.engine.agent(session.id).finish();
      await until(() => world.engine.prompts(session.id).length === 2, "the second text");
    });
  }

  test("is not typed over a question that a hook still looks at, and goes on when it is answered", async () => {
    await using world = await World.open();
    const hook = held(world, ["ask.question"], "true");
    const session = await world.create({ hooks: [hook.rule] });
    const agent = world.engine.agent(session.id);
    agent.tell({
      type: "ask.question",
      id: "g/0",
      of: 1,
      kind: "permission",
      tool: "Bash",
      prompt: "Allow Bash?",
      options: [],
      multiSelect: false,
    });
    await session.queue.accept({ who: "me", text: "hello" });
    await hook.asked();
    await world.ledger.sync();
    assert.deepEqual(world.engine.prompts(session.id), []);
    hook.go();
    await until(() => session.asks.length === 1, "the question");
    assert.deepEqual(world.engine.prompts(session.id), []);
    agent.tell({ type: "ask.answer", id: "g/0", answer: "allow", by: "terminal" });
    await until(() => world.engine.prompts(session.id).length === 1, "the text");
  });

  test("that nothing else would wake goes on when the last hook has looked", async () => {
    await using world = await World.open();
    const hook = held(world, ["usage"], "true");
    const session = await world.create({ hooks: [hook.rule] });
    world.engine.agent(session.id).tell({ type: "usage", input: 1, output: 1, cache_read: 0, cache_write: 0 });
    await session.queue.accept({ who: "me", text: "hello" });
    await hook.asked();
    assert.deepEqual(world.engine.prompts(session.id), []);
    hook.go();
    await until(() => world.engine.prompts(session.id).length === 1, "the text");
  });
});

test("an interrupt reaches Claude though a hook still looks at the beginning of its turn", async () => {
  await using world = await World.open();
  world.engine.behaviour = () => "hang";
  const hook = held(world, ["status"], `e.frame.state === "working"`);
  const session = await world.create({ hooks: [hook.rule] });
  await session.queue.accept({ who: "me", text: "first" });
  await hook.asked();
  assert.equal(session.state, "idle");
  world.engine.agent(session.id).obeys = false;
  assert.equal(await session.interrupt(new AbortController().signal), false);
  hook.go();
});
