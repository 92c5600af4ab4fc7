/** The box's control by behaviour: each command over real sessions, with a scripted engine in Claude's place. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Principal } from "../../src/auth/gate.ts";
import { MAX_COMMAND_ID_BYTES, MAX_INPUT_BYTES } from "../../src/control/fields.ts";
import { CibError } from "../../src/errors.ts";
import type { Frame, FrameBody, SessionId } from "../../src/frame/frame.ts";
import { Recorder } from "../session/recorder.ts";
import { framesOf, refused, until } from "../session/world.ts";
import { ControlWorld, type Fields } from "./world.ts";

const working: FrameBody = { type: "status", state: "working", elapsed_ms: 0 };
const question: FrameBody = {
  type: "ask.question",
  id: "t/1",
  of: 1,
  kind: "question",
  prompt: "?",
  options: [],
  multiSelect: false,
};

async function open() {
  const world = await ControlWorld.open();
  const { inner } = world;
  return {
    world,
    inner,
    engine: inner.engine,
    /** As the master. */
    run: (command: Fields, signal?: AbortSignal) => world.run(world.master, command, signal),
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

const idOf = (body: Fields): SessionId => body["session"] as SessionId;
const textOf = (body: Fields): string => (body["messages"] as { text: string }[]).map(({ text }) => text).join("|");

describe("sessions.create", () => {
  test("repeated with its id gives the same session and says so, also after a restart", async () => {
    await using w = await open();
    const command = { cmd: "sessions.create", id: "c1", title: "lamp" };
    const first = await w.run(command);
    assert.equal(first["duplicate"], undefined);
    const again = await w.run(command);
    assert.deepEqual([idOf(again), again["duplicate"]], [idOf(first), true]);
    await w.world.restart();
    const later = await w.run(command);
    assert.deepEqual([idOf(later), later["duplicate"], later["title"]], [idOf(first), true, "lamp"]);
    assert.equal(w.inner.sessions.all().length, 1);
    await assert.rejects(w.run({ ...command, title: "other" }), refused("id_conflict"));
  });

  test("asked for twice at once makes one session", async () => {
    await using w = await open();
    const command = { cmd: "sessions.create", id: "c1" };
    const [one, two] = await Promise.all([w.run(command), w.run(command)]);
    assert.equal(idOf(one), idOf(two));
    assert.equal(w.engine.starts.length, 1);
  });

  test("that failed acts anew when it is repeated, under the same session id", async () => {
    await using w = await open();
    w.engine.refusesStart = new CibError("claude_failed", "no claude here");
    const command = { cmd: "sessions.create", id: "c1" };
    await assert.rejects(w.run(command), refused("claude_failed"));
    assert.deepEqual(w.inner.sessions.all(), []);
    w.engine.refusesStart = undefined;
    const made = await w.run(command);
    assert.equal(idOf(made), w.engine.starts[0]?.session);
  });

  test("tells what it made and hands the wishes to the engine", async () => {
    await using w = await open();
    const made = await w.run({
      cmd: "sessions.create",
      title: "lamp",
      model: "sonnet",
      effort: "high",
      workdir: "lamp",
      bypass: false,
      auth: { mode: "api_key", key: "sk-dummy-dummy-dummy-dummy" },
      env: { LAMP: "on" },
    });
    const spec = w.engine.starts[0];
    assert.equal(spec?.model, "sonnet");
    assert.equal(spec?.effort, "high");
    assert.equal(spec?.bypass, false);
    assert.deepEqual(spec?.credential, { mode: "api_key", key: "sk-dummy-dummy-dummy-dummy" });
    assert.deepEqual(spec?.env, { LAMP: "on" });
    assert.equal(made["title"], "lamp");
    assert.equal(made["auth"], "api_key");
    assert.equal(made["by"], "master");
    assert.equal(String(made["workdir"]).endsWith("/lamp"), true);
    assert.equal(JSON.stringify(made).includes("dummy"), false);
  });

  test("with resume brings a stopped session back and takes nothing else", async () => {
    await using w = await open();
    const session = await w.inner.create();
    await w.run({ cmd: "sessions.stop", session: session.id });
    const { status, body } = await w.world.control.run(
      w.world.master,
      { cmd: "sessions.create", resume: session.id },
      new AbortController().signal,
    );
    assert.deepEqual([status, body["session"]], [201, session.id]);
    assert.equal(session.running, true);
    assert.equal(w.engine.starts.at(-1)?.start, "resume");
    await assert.rejects(
      w.run({ cmd: "sessions.create", resume: session.id, model: "x" }),
      refused("bad_request", /^model: /),
    );
    const none = "00000000-0000-4000-8000-000000000000";
    await assert.rejects(w.run({ cmd: "sessions.create", resume: none }), refused("not_found"));
  });

  test("with fork begins from another session's conversation, in its folder and with its model", async () => {
    await using w = await open();
    const source = await w.inner.create({ workdir: "there", model: "opus" });
    const made = await w.run({ cmd: "sessions.create", fork: source.id });
    assert.notEqual(idOf(made), source.id);
    assert.equal(made["workdir"], source.meta.workdir);
    assert.equal(made["model"], "opus");
    assert.deepEqual(w.engine.starts.at(-1)?.start, { fork: source.meta.conversation });
    assert.equal(w.engine.starts.at(-1)?.conversation, idOf(made));
    await w.run({ cmd: "sessions.stop", session: idOf(made) });
    await w.run({ cmd: "sessions.resume", session: idOf(made) });
    assert.equal(w.engine.starts.at(-1)?.start, "resume", "its own conversation from the first start on");
    const none = "00000000-0000-4000-8000-000000000000";
    await assert.rejects(w.run({ cmd: "sessions.create", fork: none }), refused("not_found"));
  });

  test("without auth takes the box's key where there is one and no login token", async () => {
    for (const [wish, auth] of [
      [{ apiKey: "sk-box" }, "api_key"],
      [{ apiKey: "sk-box", oauthToken: true }, "subscription"],
      [{}, "subscription"],
    ] as const) {
      await using world = await ControlWorld.open(wish);
      assert.equal((await world.run(world.master, { cmd: "sessions.create" }))["auth"], auth);
    }
  });
});

describe("sessions.list", () => {
  test("shows who needs you first, then who works, then the newest, and pages by cursor", async () => {
    await using w = await open();
    const made: SessionId[] = [];
    for (let i = 0; i < 5; i++) {
      w.inner.now += 1000;
      made.push((await w.inner.create()).id);
    }
    const [stopped, busy, asks, idle, newer] = made as [SessionId, SessionId, SessionId, SessionId, SessionId];
    await w.run({ cmd: "sessions.stop", session: stopped });
    w.engine.agent(busy).tell(working);
    w.engine.agent(asks).tell(working, question, { type: "status", state: "waiting_for_input", elapsed_ms: 1 });
    const order = [asks, busy, newer, idle, stopped];
    const all = await w.run({ cmd: "sessions.list" });
    assert.deepEqual((all["sessions"] as Fields[]).map(idOf), order);
    assert.equal((all["sessions"] as Fields[])[0]?.["waiting"], 1);
    assert.equal(all["cursor"], undefined);
    const paged: SessionId[] = [];
    let cursor: unknown;
    do {
      const page = await w.run({ cmd: "sessions.list", limit: 2, ...(cursor !== undefined && { cursor }) });
      paged.push(...(page["sessions"] as Fields[]).map(idOf));
      cursor = page["cursor"];
    } while (cursor !== undefined);
    assert.deepEqual(paged, order);
    await assert.rejects(w.run({ cmd: "sessions.list", cursor: "gone" }), refused("bad_request", /^cursor: /));
  });
});

describe("input", () => {
  test("is accepted once for its id, and told again with the same place", async () => {
    await using w = await open();
    const { id: session } = await w.inner.create();
    const command = { cmd: "input", session, text: "hello", id: "a" };
    const first = await w.run(command);
    assert.equal(first["state"], "accepted");
    await until(() => w.engine.prompts(session).length === 1, "typed");
    const again = await w.run(command);
    assert.deepEqual({ ...again, duplicate: undefined }, { ...first, duplicate: undefined });
    assert.equal(again["duplicate"], true);
    await assert.rejects(w.run({ ...command, text: "other" }), refused("id_conflict"));
    await w.run({ ...command, id: "b" });
    await until(() => w.engine.prompts(session).length === 2, "typed again under another id");
    assert.deepEqual(w.engine.prompts(session), ["hello", "hello"]);
  });

  test("takes bytes and keys to the terminal at once and leaves no frame of them", async () => {
    await using w = await open();
    const { id: session } = await w.inner.create();
    const before = framesOf(w.inner.get(session)).length;
    const send = (fields: Fields) => w.run({ cmd: "input", session, ...fields });
    assert.deepEqual(await send({ data: "hé" }), { state: "delivered" });
    await send({ data: "aGk=", encoding: "base64" });
    await send({ data: new Uint8Array([1, 2]) });
    await send({ keys: ["Escape", "Up", "Enter"] });
    assert.equal(Buffer.concat(w.engine.agent(session).typed).toString(), "héhi\x01\x02\x1b\x1b[A\r");
    assert.equal(framesOf(w.inner.get(session)).length, before);
  });

  test("names what is wrong with it", async () => {
    await using w = await open();
    const { id: session } = await w.inner.create();
    const wrong: readonly (readonly [Fields, RegExp, string?])[] = [
      [{}, /exactly one of text, data, keys, got none/],
      [{ text: "a", keys: ["Up"] }, /got text and keys/],
      [{ text: " \n" }, /^text: empty/],
      [{ text: "a\x1b[A" }, /^text: holds control characters/],
      [{ text: "x".repeat(MAX_INPUT_BYTES + 1) }, /^text: longer than/],
      [{ text: 5 }, /^text: expected/],
      [{ keys: ["Nope"] }, /^keys\.0: expected/],
      [{ keys: [] }, /^keys/],
      [{ text: "a", encoding: "utf8" }, /^encoding: goes with data/],
      [{ data: new Uint8Array(1), encoding: "utf8" }, /^encoding: goes with data/],
      [{ data: "%%%", encoding: "base64" }, /^data: not base64/],
      [{ data: "a", id: "1" }, /^id: only text/],
      [{ text: "a", id: "x".repeat(MAX_COMMAND_ID_BYTES + 1) }, /^id: longer than 64 bytes/],
      [{ text: "a", id: "" }, /^id: empty/],
      [{ text: "a", colour: "red" }, /^colour: /],
    ];
    for (const [fields, words] of wrong) {
      await assert.rejects(
        w.run({ cmd: "input", session, ...fields }),
        refused("bad_request", words),
        JSON.stringify(fields).slice(0, 80),
      );
    }
    await assert.rejects(w.run({ cmd: "input", session: "nonsense", text: "a" }), refused("bad_request", /^session: /));
    await assert.rejects(w.run({ cmd: "sessions.fly" }), refused("bad_request", /^cmd: expected one of/));
    await assert.rejects(w.run({}), refused("bad_request", /^cmd: .*got nothing/));
    assert.deepEqual(w.engine.prompts(session), []);
  });

  test("to the terminal of a stopped session is a conflict, text waits for it", async () => {
    await using w = await open();
    const session = await w.inner.create();
    await w.run({ cmd: "sessions.stop", session: session.id });
    await assert.rejects(w.run({ cmd: "input", session: session.id, keys: ["Up"] }), refused("conflict", /stopped/));
    await w.run({ cmd: "input", session: session.id, text: "later" });
    const listed = await w.run({ cmd: "queue.list", session: session.id });
    assert.deepEqual(
      (listed["inputs"] as Fields[]).map((each) => each["text"]),
      ["later"],
    );
    await w.run({ cmd: "sessions.resume", session: session.id });
    await until(() => w.engine.prompts(session.id).includes("later"), "typed after the resume");
  });
});

describe("the queue", () => {
  test("is listed oldest first, and a waiting input can be taken back once", async () => {
    await using w = await open();
    const { id: session } = await w.inner.create();
    w.engine.agent(session).tell(working);
    const one = await w.run({ cmd: "input", session, text: "one", id: "1" });
    const two = await w.run({ cmd: "input", session, text: "two" });
    const list = async () =>
      ((await w.run({ cmd: "queue.list", session }))["inputs"] as Fields[]).map(({ text, id, by }) => [text, id, by]);
    assert.deepEqual(await list(), [
      ["one", "1", "master"],
      ["two", undefined, "master"],
    ]);
    const cancel = { cmd: "queue.cancel", session, input: one["input"] };
    assert.deepEqual(await w.run(cancel), { input: one["input"], state: "failed" });
    assert.deepEqual(await list(), [["two", undefined, "master"]]);
    await assert.rejects(w.run(cancel), refused("not_found"));
    w.engine.agent(session).finish();
    await until(() => w.engine.prompts(session).length > 0, "typed");
    assert.deepEqual(w.engine.prompts(session), ["two"]);
    await assert.rejects(w.run({ ...cancel, input: two["input"] }), refused("not_found"));
  });
});

describe("send", () => {
  test("brings the text and the reason of the turn's end", async () => {
    await using w = await open();
    const { id: session } = await w.inner.create();
    const body = await w.run({ cmd: "send", session, text: "hello", id: "s" });
    assert.equal(textOf(body), "heard: hello");
    assert.equal(body["reason"], "end_turn");
    const again = await w.run({ cmd: "send", session, text: "hello", id: "s" });
    assert.equal(textOf(again), "heard: hello");
    assert.equal(again["input"], body["input"]);
    assert.deepEqual(w.engine.prompts(session), ["hello"]);
  });

  test("waits for its own turn, not for the one before it, and keeps messages apart", async () => {
    await using w = await open();
    const { id: session } = await w.inner.create();
    const agent = w.engine.agent(session);
    agent.begin("other");
    w.engine.behaviour = () => "hang";
    const sending = w.run({ cmd: "send", session, text: "mine" });
    await until(() => w.inner.get(session).queue.size === 1, "accepted");
    agent.finish();
    await until(
      () => framesOf(w.inner.get(session)).some((frame) => frame.type === "text.delta" && frame.text === "heard: mine"),
      "begun",
    );
    agent.tell(
      { type: "text.delta", text: "a", message: "m1" },
      { type: "text.delta", text: "b", message: "m1" },
      { type: "text.delta", text: "of a helper", message: "m9", agent: "sub" },
      { type: "text.delta", text: "c", message: "m2" },
    );
    agent.finish();
    assert.deepEqual((await sending)["messages"], [
      { text: "heard: mine" },
      { message: "m1", text: "ab" },
      { message: "m2", text: "c" },
    ]);
  });

  test("that takes too long answers timeout with what there is, and the turn goes on", async () => {
    await using w = await open();
    w.engine.behaviour = () => "hang";
    const { id: session } = await w.inner.create();
    const before = new AbortController();
    const sending = w.run({ cmd: "send", session, text: "slow", timeout_ms: 300 }, before.signal);
    await assert.rejects(sending, (thrown) => {
      assert.ok(thrown instanceof CibError && thrown.code === "timeout");
      assert.deepEqual(thrown.partial?.["messages"], [{ text: "heard: slow" }]);
      return thrown.row.status === 408;
    });
    assert.equal(w.inner.get(session).state, "working");
  });

  test("whose caller goes away gives what there is", async () => {
    await using w = await open();
    w.engine.behaviour = () => "hang";
    const { id: session } = await w.inner.create();
    const caller = new AbortController();
    const sending = w.run({ cmd: "send", session, text: "slow" }, caller.signal);
    await until(() => framesOf(w.inner.get(session)).some((frame) => frame.type === "text.delta"), "begun");
    caller.abort();
    assert.equal((await sending)["reason"], undefined);
    assert.equal((await w.run({ cmd: "send", session, text: "x", id: "1" }, AbortSignal.abort()))["reason"], undefined);
  });

  test("ends when the session is stopped meanwhile, and its text waits for the next start", async () => {
    await using w = await open();
    const { id: session } = await w.inner.create();
    w.engine.agent(session).begin("other");
    const sending = w.run({ cmd: "send", session, text: "mine" });
    await until(() => w.inner.get(session).queue.size === 1, "accepted");
    await w.run({ cmd: "sessions.stop", session });
    assert.equal((await sending)["reason"], "stopped");
    assert.equal(w.inner.get(session).queue.size, 1);
    await assert.rejects(w.run({ cmd: "send", session, text: "x" }), refused("conflict", /stopped; resume/));
  });

  test("tells an input that Claude did not take", async () => {
    await using w = await open();
    w.engine.behaviour = () => "refuse";
    const { id: session } = await w.inner.create();
    assert.match(
      String((await w.run({ cmd: "send", session, text: "x" }))["reason"]),
      /^input failed: the prompt was not taken/,
    );
  });

  test("of a token that is revoked stops waiting", async () => {
    await using w = await open();
    w.engine.behaviour = () => "hang";
    const { id: session } = await w.inner.create();
    const who: Principal = w.world.device(["sessions:input", "sessions:read"]);
    const sending = w.world.run(who, { cmd: "send", session, text: "slow" });
    await until(() => w.engine.prompts(session).length === 1, "typed");
    w.world.tokens.revoke(who.name);
    await assert.rejects(sending, refused("timeout"));
  });
});

describe("frames", () => {
  test("pages through the log, all types or some, and judges like attach", async () => {
    await using w = await open();
    const { id: session } = await w.inner.create();
    await w.run({ cmd: "send", session, text: "hello" });
    const all = framesOf(w.inner.get(session));
    const got: Frame[] = [];
    let next = 1;
    for (;;) {
      const page = await w.run({ cmd: "frames", session, from: next, limit: 2 });
      const frames = page["frames"] as Frame[];
      assert.equal(page["verdict"], "ok");
      if (frames.length === 0) break;
      assert.ok(frames.length <= 2);
      got.push(...frames);
      next = Number(page["next"]);
    }
    assert.deepEqual(got, all);
    const texts = await w.run({ cmd: "frames", session, types: ["text.delta"] });
    assert.deepEqual(
      (texts["frames"] as Frame[]).map(({ type }) => type),
      ["text.delta"],
    );
    const ahead = await w.run({ cmd: "frames", session, from: all.length + 100 });
    assert.deepEqual([ahead["verdict"], ahead["from"]], ["ahead", all.length + 1]);
    await assert.rejects(w.run({ cmd: "frames", session, types: ["nope"] }), refused("bad_request", /^types\.0/));
  });
});

describe("interrupt and resize", () => {
  test("an interrupt is confirmed by Claude, or pending", async () => {
    await using w = await open();
    const { id: session } = await w.inner.create();
    const agent = w.engine.agent(session);
    const interrupt = () =>
      w.world.control.run(w.world.master, { cmd: "interrupt", session }, new AbortController().signal);
    assert.deepEqual(await interrupt(), { body: { state: "idle" } });
    agent.begin("long");
    agent.obeys = false;
    assert.deepEqual(await interrupt(), { status: 202, body: { pending: true } });
    agent.obeys = true;
    assert.deepEqual(await interrupt(), { body: { state: "idle" } });
    await w.run({ cmd: "sessions.stop", session });
    await assert.rejects(interrupt(), refused("conflict", /nothing to interrupt/));
  });

  test("a size is kept for the next start, refused when stopped, and never 0×0", async () => {
    await using w = await open();
    const { id: session } = await w.inner.create();
    assert.deepEqual(await w.run({ cmd: "resize", session, cols: 90, rows: 30 }), { cols: 90, rows: 30 });
    assert.deepEqual(w.engine.agent(session).sizes, [[90, 30]]);
    await assert.rejects(w.run({ cmd: "resize", session, cols: 0, rows: 30 }), refused("bad_request", /^cols/));
    await w.run({ cmd: "sessions.stop", session });
    await assert.rejects(w.run({ cmd: "resize", session, cols: 90, rows: 30 }), refused("conflict"));
    await w.run({ cmd: "sessions.resume", session });
    assert.deepEqual([w.engine.starts.at(-1)?.cols, w.engine.starts.at(-1)?.rows], [90, 30]);
  });

  test("a session without a terminal says so", async () => {
    await using w = await open();
    const { id: session } = await w.inner.create();
    w.engine.agent(session).terminal = false;
    await assert.rejects(w.run({ cmd: "resize", session, cols: 90, rows: 30 }), refused("no_terminal"));
    await assert.rejects(w.run({ cmd: "input", session, keys: ["Up"] }), refused("no_terminal"));
  });
});

describe("tokens.create", () => {
  test("repeated with its id tells the token's id and never its secret again", async () => {
    await using w = await open();
    const command = { cmd: "tokens.create", id: "t", label: "lamp", scopes: ["sessions:read"] };
    const first = await w.run(command);
    assert.match(String(first["token"]), /^cib_/);
    for (const restart of [false, true]) {
      if (restart) await w.world.restart();
      assert.deepEqual(await w.run(command), { id: first["id"], label: "lamp", duplicate: true });
    }
    assert.equal(w.world.tokens.list().length, 1);
    assert.equal(w.world.enter(String(first["token"])).name, first["id"]);
  });
});

describe("attach", () => {
  test("gives the verdict first, then the frames of the wanted types, and the terminal's bytes when asked for", async () => {
    await using w = await open();
    const session = await w.inner.create();
    await w.run({ cmd: "send", session: session.id, text: "hello" });
    await w.run({ cmd: "input", session: session.id, data: "screen" });
    const recorder = new Recorder();
    using attachment = w.world.control.attach(
      w.world.master,
      { session: session.id, from: 1, types: ["text.delta", "stop"], pty: true },
      recorder,
    );
    assert.deepEqual(recorder.got, []);
    assert.deepEqual(attachment.verdict, {
      session: session.id,
      epoch: 1,
      first: 1,
      last: framesOf(session).length,
      from: 1,
      verdict: "ok",
    });
    await until(() => recorder.words.length === 2 && recorder.screen === "screen", "all of it");
    assert.deepEqual(recorder.words, ["heard: hello", "stop"]);
    attachment.drained();
  });
});

describe("health", () => {
  test("tells anyone that the box works, and more to those who may enter", async () => {
    await using w = await open();
    assert.deepEqual(w.world.control.health(undefined), { status: "ok", version: "9.9.9", uptime_s: 12 });
    assert.deepEqual(await w.run({ cmd: "health" }), { status: "ok", version: "9.9.9", uptime_s: 12, sessions: 0 });
  });
});
