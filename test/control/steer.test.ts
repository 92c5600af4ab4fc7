/** Steering through the gate: what a command refuses, repeats and remembers, whatever transport it came by. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, test } from "node:test";
import type { FrameBody, SessionId } from "../../src/frame/frame.ts";
import { each } from "../hooks/scripts.ts";
import { Recorder } from "../session/recorder.ts";
import { framesOf, refused, until } from "../session/world.ts";
import { ControlWorld } from "./world.ts";

const permission = (group: string): FrameBody => ({
  type: "ask.question",
  id: `${group}/0`,
  of: 1,
  kind: "permission",
  prompt: "Allow Bash?",
  options: [{ label: "Allow" }, { label: "Deny" }],
  multiSelect: false,
  tool: "Bash",
});

/** Claude waits for an answer to it. */
function ask(world: ControlWorld, session: SessionId, group = "t1"): void {
  const agent = world.inner.engine.agent(session);
  agent.held.add(group);
  agent.tell({ type: "status", state: "working", elapsed_ms: 0 }, permission(group));
}

describe("an answer", () => {
  test("with an id has the same reply after a restart, while another's learns who was first", async () => {
    await using world = await ControlWorld.open();
    const { id: session } = await world.inner.create();
    ask(world, session);
    const command = { cmd: "answer", session, ask: "t1/0", decision: "allow", id: "a" };
    const first = await world.run(world.master, command);
    assert.deepEqual(first, { id: "a", ask: "t1/0", state: "settled", answer: "allow", by: "master" });
    await world.restart();
    assert.deepEqual(await world.run(world.master, command), { ...first, duplicate: true });
    await assert.rejects(world.run(world.device(), { ...command, decision: "deny", id: "b" }), refused("ask_settled"));
  });

  test("promised to nobody before a crash is lost with its question, and says so", async () => {
    await using world = await ControlWorld.open();
    const { id: session } = await world.inner.create();
    ask(world, session);
    await world.inner.get(session).log.sync();
    await world.restart();
    const command = { cmd: "answer", session, ask: "t1/0", decision: "allow", id: "a" };
    const { code, message } = await world.outcome(world.master, command);
    assert.equal(code, "ask_settled");
    assert.match(message, /lost when Claude ended/);
  });

  test("that fits no question says what would", async () => {
    await using world = await ControlWorld.open();
    const { id: session } = await world.inner.create();
    ask(world, session);
    for (const [said, words] of [
      [{}, /choices or text, or decision, got none/],
      [{ decision: "allow", choices: [0] }, /got both/],
      [{ decision: "allow", message: "because" }, /message: goes with decision deny/],
      [{ text: "maybe" }, /takes decision allow or deny/],
      [{ decision: "perhaps" }, /decision/],
      [{ choices: [] }, /choices: empty/],
      [{ text: "a\x1b[2Jb" }, /control characters/],
    ] as const) {
      const { code, message } = await world.outcome(world.master, { cmd: "answer", session, ask: "t1/0", ...said });
      assert.equal(code, "bad_request", JSON.stringify(said));
      assert.match(message, words);
    }
    assert.deepEqual(world.inner.engine.agent(session).settled.size, 0);
  });
});

describe("a text that a hook judges", () => {
  const counting = (verdict: string) => ({
    name: "judge",
    on: ["input"] as const,
    run: each(`say(${verdict})`),
    timeout_ms: 20_000,
  });

  test("is refused before it is promised anything, in the hook's words", async () => {
    await using world = await ControlWorld.open();
    const { id: session } = await world.inner.create({ hooks: [counting(`{ verdict: "block", reason: "not now" }`)] });
    const { code, message } = await world.outcome(world.master, { cmd: "input", session, text: "hello", id: "x" });
    assert.equal(code, "hook_blocked");
    assert.match(message, /not now/);
    assert.deepEqual(world.inner.engine.prompts(session), []);
  });

  test("reaches Claude as it was rewritten, and a repeat with its id is not judged again", async () => {
    await using world = await ControlWorld.open();
    const rule = counting(`{ verdict: "rewrite", text: e.frame.text + " (in short)" }`);
    const { id: session } = await world.inner.create({ hooks: [rule] });
    const command = { cmd: "input", session, text: "hello", id: "x" };
    await world.run(world.master, command);
    assert.equal((await world.run(world.master, command))["duplicate"], true);
    await until(() => world.inner.engine.prompts(session).length > 0, "the prompt");
    assert.deepEqual(world.inner.engine.prompts(session), ["hello (in short)"]);
    const fired = framesOf(world.inner.get(session)).filter(({ type }) => type === "hook");
    assert.equal(fired.length, 1);
  });
});

test("the terminal of a session whose content is filtered is shown to nobody", async () => {
  await using world = await ControlWorld.open();
  const rule = { name: "redact", on: ["text.delta"] as const, run: each(`say({ verdict: "pass" })`) };
  const { id: session } = await world.inner.create({ hooks: [rule] });
  assert.throws(() => world.control.attach(world.master, { session, pty: true }, new Recorder()), refused("forbidden"));
  world.control.attach(world.master, { session }, new Recorder())[Symbol.dispose]();
});

test("a terminal that there is not is refused as such", async () => {
  await using world = await ControlWorld.open();
  const { id: session } = await world.inner.create({ engine: "stream" });
  assert.throws(
    () => world.control.attach(world.master, { session, pty: true }, new Recorder()),
    refused("no_terminal"),
  );
});

test("a shell line past the questions of a session takes the right to sit at its terminal", async () => {
  await using world = await ControlWorld.open();
  const [asking, open] = [await world.inner.create({ bypass: false, gate: ["Bash"] }), await world.inner.create()];
  const phone = world.device(["sessions:input"]);
  const line = { cmd: "input", text: " !touch /tmp/x" };
  assert.equal((await world.outcome(phone, { ...line, session: asking.id })).code, "forbidden");
  assert.equal((await world.outcome(phone, { ...line, session: open.id })).code, "ok");
  assert.equal((await world.outcome(world.master, { ...line, session: asking.id })).code, "ok");
});

describe("sessions.create", () => {
  test("copies what asks and what judges together with the conversation, unless told otherwise", async () => {
    await using world = await ControlWorld.open();
    const rule = { name: "note", on: ["stop"], run: ["/bin/true"], act: "observe" };
    const source = await world.run(world.master, { cmd: "sessions.create", gate: ["Bash"], hooks: [rule] });
    const fork = { cmd: "sessions.create", fork: source["session"] };
    const copy = await world.run(world.master, fork);
    assert.deepEqual([copy["bypass"], copy["gate"]], [false, ["Bash"]]);
    assert.deepEqual(world.inner.get(copy["session"] as SessionId).meta.hooks, [rule]);
    assert.equal((await world.run(world.master, { ...fork, bypass: true }))["bypass"], true);
    const { conversation } = world.inner.get(source["session"] as SessionId).meta;
    world.inner.conversations.add(conversation);
    const adopted = await world.run(world.master, { cmd: "sessions.create", adopt: conversation, copy: true });
    assert.deepEqual([adopted["bypass"], adopted["gate"]], [false, ["Bash"]]);
  });

  test("makes a gate without bypass, and refuses one with it", async () => {
    await using world = await ControlWorld.open();
    const made = await world.run(world.master, { cmd: "sessions.create", gate: ["Bash(rm *)"] });
    assert.deepEqual([made["bypass"], made["gate"]], [false, ["Bash(rm *)"]]);
    const both = await world.outcome(world.master, { cmd: "sessions.create", gate: ["Bash"], bypass: true });
    assert.equal(both.code, "bad_request");
    const broken = await world.outcome(world.master, { cmd: "sessions.create", gate: ["rm -rf (x"] });
    assert.match(broken.message, /expected Tool or Tool\(pattern\)/);
  });

  test("adopts a conversation once, and copies it as often as wanted", async () => {
    await using world = await ControlWorld.open();
    const adopt = randomUUID();
    world.inner.conversations.add(adopt);
    const create = { cmd: "sessions.create", adopt };
    const both = await Promise.allSettled([world.run(world.master, create), world.run(world.master, create)]);
    assert.deepEqual(both.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
    const starts = (): unknown[] => world.inner.engine.starts.map(({ start, conversation }) => [start, conversation]);
    assert.deepEqual(starts(), [["resume", adopt]]);
    const copy = await world.run(world.master, { ...create, copy: true });
    assert.deepEqual(starts().at(-1), [{ fork: adopt }, copy["session"]]);
    assert.equal((await world.outcome(world.master, { ...create, adopt: randomUUID() })).code, "not_found");
    assert.equal((await world.outcome(world.master, { ...create, workdir: "x" })).code, "bad_request");
    assert.equal((await world.outcome(world.master, { cmd: "sessions.create", copy: true })).code, "bad_request");
  });
});
