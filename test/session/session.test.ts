/** One session by behaviour: how its Claude starts, ends and dies, what its log then says and what a restart brings back. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { describe, test } from "node:test";
import { CibError } from "../../src/errors.ts";
import type { Frame, FrameBody } from "../../src/frame/frame.ts";
import type { Session } from "../../src/session/session.ts";
import { Recorder } from "./recorder.ts";
import { framesOf, refused, story, until, World } from "./world.ts";

const STOP = { wanted: false, reason: "stopped" } as const;
const tool: FrameBody = { type: "tool.use.start", id: "t1", tool: "Bash", input: { command: "sleep" } };
const question: FrameBody = {
  type: "ask.question",
  id: "t1/1",
  of: 1,
  kind: "permission",
  prompt: "?",
  options: [],
  multiSelect: false,
};

/** Everything written, then the frames that follow the first idle. */
async function since(session: Session): Promise<Frame[]> {
  await session.log.sync();
  const frames = framesOf(session);
  return frames.slice(frames.findIndex((frame) => frame.type === "status") + 1);
}

const meta = (w: World, session: Session): Record<string, unknown> =>
  JSON.parse(readFileSync(w.file(session.id, "meta.json"), "utf8"));
const wanted = async (w: World, session: Session, value: boolean): Promise<void> =>
  until(() => meta(w, session)["wanted"] === value, `wanted: ${value} in meta.json`);

describe("the end of Claude", () => {
  test("in the middle of a turn closes its tools and questions and the turn, once, and stays the end", async () => {
    await using w = await World.open();
    const session = await w.create();
    const agent = w.engine.agent(session.id);
    agent.begin("work");
    agent.tell(tool, question);
    w.now += 250;
    agent.die({ code: 1, signal: undefined, words: "out of memory" });
    assert.deepEqual(
      (await since(session)).slice(2).map(({ ts: _ts, seq: _seq, session: _session, ...body }) => body),
      [
        { type: "tool.use.start", id: "t1", tool: "Bash", input: { command: "sleep" } },
        { ...question, expires_at: w.now - 250 + 600_000 },
        { type: "tool.use.result", id: "t1", tool: "Bash", output: null, error: "crashed", duration_ms: 250 },
        { type: "ask.answer", id: "t1/1", answer: null, by: "lost" },
        { type: "stop", reason: "crashed" },
        { type: "error", code: "claude_failed", message: "out of memory" },
        { type: "status", state: "stopped", elapsed_ms: 250 },
      ],
    );
    assert.equal(session.running, false);
    await wanted(w, session, false);
    await w.crash();
    assert.equal(w.get(session.id).running, false);
    assert.equal(w.engine.starts.length, 1);
  });

  for (const [how, reason] of [
    [{ code: 0, signal: undefined }, "exit"],
    [{ code: undefined, signal: "SIGSEGV" }, "crashed"],
  ] as const) {
    test(`by itself while idle (${JSON.stringify(how)}) is told as ${reason}`, async () => {
      await using w = await World.open();
      const session = await w.create();
      w.engine.agent(session.id).die(how);
      await session.log.sync();
      assert.deepEqual(story(session), ["idle", `stop ${reason}`, "stopped"]);
    });
  }

  test("tells what Claude still says while it ends, with the session's reason and no other state", async () => {
    await using w = await World.open();
    const session = await w.create();
    const agent = w.engine.agent(session.id);
    agent.begin("work");
    agent.lastFrames = [
      { type: "text.delta", text: "last words" },
      { type: "usage", input: 1, output: 1, cache_read: 0, cache_write: 0 },
      { type: "stop", reason: "interrupted" },
      { type: "status", state: "idle", elapsed_ms: 0 },
    ];
    await session.stop("term", STOP);
    await session.log.sync();
    assert.deepEqual(story(session), ["idle", "working", "heard: work", "last words", "stop stopped", "stopped"]);
  });

  test("by a stop keeps what a client wants: it does not run after a restart, and stopping again changes nothing", async () => {
    await using w = await World.open();
    const session = await w.create();
    await session.stop("term", STOP);
    await session.stop("kill", STOP);
    await session.log.sync();
    assert.deepEqual(story(session), ["idle", "stop stopped", "stopped"]);
    await w.stop();
    await w.start();
    assert.equal(w.get(session.id).running, false);
    assert.deepEqual(story(w.get(session.id)), ["idle", "stop stopped", "stopped"]);
  });

  test("by a stop of the daemon is not the end of the session", async () => {
    await using w = await World.open();
    const session = await w.create();
    w.engine.agent(session.id).begin("work");
    await w.stop();
    assert.equal(meta(w, session)["wanted"], true);
    await w.start();
    await until(() => w.get(session.id).state === "idle", "resumed");
    await w.get(session.id).log.sync();
    assert.deepEqual(story(w.get(session.id)), [
      "idle",
      "working",
      "heard: work",
      "stop daemon_stop",
      "stopped",
      "idle",
    ]);
    assert.equal(w.get(session.id).log.epoch, 1);
    assert.equal(w.engine.starts.at(-1)?.start, "resume");
  });

  test("closes every reader when the daemon stops", async () => {
    await using w = await World.open();
    const session = await w.create();
    const recorder = new Recorder();
    session.fanout.attach({ from: 1, mask: -1, sink: recorder });
    await w.stop();
    assert.equal(recorder.closed, "stopping");
  });
});

describe("a start", () => {
  test("that never gets ready tells why and ends the session", async () => {
    await using w = await World.open();
    w.engine.ready = () => Promise.reject(new CibError("claude_failed", "asks for a login"));
    const session = await w.sessions.create({
      id: crypto.randomUUID() as Session["id"],
      by: "master",
      auth: "subscription",
      bypass: true,
    });
    await until(() => !session.running && session.state === "stopped", "given up");
    await session.log.sync();
    const frames = framesOf(session);
    const error = frames.find((frame) => frame.type === "error");
    assert.deepEqual([error?.code, error?.message], ["claude_failed", "asks for a login"]);
    assert.ok(frames.some((frame) => frame.type === "stop" && frame.reason === "failed"));
    await wanted(w, session, false);
  });

  test("that dies before it is ready is told once", async () => {
    await using w = await World.open();
    let lost: (error: Error) => void = () => undefined;
    w.engine.ready = () =>
      new Promise((_, reject) => {
        lost = reject;
      });
    const session = await w.sessions.create({
      id: crypto.randomUUID() as Session["id"],
      by: "master",
      auth: "subscription",
      bypass: true,
    });
    assert.equal(session.state, "working", "it is on its way");
    w.engine.agent(session.id).die({ code: 3, signal: undefined, words: "no" });
    lost(new CibError("claude_failed", "ended while starting"));
    await until(() => session.state === "stopped", "stopped");
    await session.log.sync();
    assert.deepEqual(
      framesOf(session).flatMap((frame) => (frame.type === "error" ? [frame.message] : [])),
      ["no"],
    );
    assert.deepEqual(story(session), ["stop crashed", "stopped"]);
  });

  test("of one that runs does nothing, and starts and stops keep their order", async () => {
    await using w = await World.open();
    const session = await w.create();
    await session.start();
    assert.equal(w.engine.starts.length, 1);
    await Promise.all([session.stop("term", STOP), session.start(), session.stop("term", STOP), session.start()]);
    assert.equal(session.running, true);
    assert.equal(w.engine.starts.length, 3);
    await wanted(w, session, true);
  });

  test("that the engine refuses leaves the session stopped, to be tried again", async () => {
    await using w = await World.open();
    const session = await w.create();
    await session.stop("term", STOP);
    w.engine.refusesStart = new CibError("claude_failed", "not installed");
    await assert.rejects(session.start(), refused("claude_failed"));
    assert.equal(session.state, "stopped");
    w.engine.refusesStart = undefined;
    await session.start();
    await until(() => session.state === "idle", "idle");
  });
});

describe("what a session knows", () => {
  test("keeps the name that its creator gave, whatever Claude calls it", async () => {
    await using w = await World.open();
    const session = await w.create({ title: "mine" });
    const before = session.log.numbered;
    w.engine.agent(session.id).tell({ type: "meta", title: "Chat about lamps" });
    w.engine.agent(session.id).tell({ type: "meta", title: "Chat about lamps", permission_mode: "plan" });
    await session.log.sync();
    assert.equal(session.info()["title"], "mine");
    const frames = session.log.page(before + 1, 10).map((encoded) => encoded.frame());
    assert.deepEqual(
      frames.map((frame) => "title" in frame),
      [false],
    );
  });

  test("adds up its turns and follows what Claude says of itself, across restarts", async () => {
    await using w = await World.open();
    const session = await w.create();
    for (const text of ["a", "b"]) {
      await session.queue.accept({ who: "master", text });
      await until(
        () => session.queue.size === 0 && session.state === "idle" && story(session).includes(`heard: ${text}`),
        text,
      );
    }
    const conversation = crypto.randomUUID();
    w.engine
      .agent(session.id)
      .tell(
        { type: "meta", model: "claude-real", title: "lamp", claude_session: conversation },
        { type: "usage", input: 1, output: 0, cache_read: 0, cache_write: 0, cost_usd: 0.5 },
        { type: "stop", reason: "end_turn" },
      );
    const usage = { input: 7, output: 4, cache_read: 2, cache_write: 0, turns: 3, cost_usd: 0.5 };
    const told = ({ title, model, version, usage: sum }: Record<string, unknown>) => ({
      title,
      model,
      version,
      usage: sum,
    });
    assert.deepEqual(told(session.info()), { title: "lamp", model: "claude-real", version: "0.0.1", usage });
    await w.stop();
    await w.start();
    assert.deepEqual(told(w.get(session.id).info()), { title: "lamp", model: "claude-real", version: "0.0.1", usage });
    const spec = w.engine.starts.at(-1);
    assert.deepEqual([spec?.conversation, spec?.start], [conversation, "resume"]);
    assert.deepEqual(spec?.position, {
      file: session.id,
      offset: 2,
      seq: spec?.position && "seq" in spec.position ? spec.position.seq : 0,
    });
  });

  test("hands over what the log holds of the turns after the stored place", async () => {
    await using w = await World.open();
    const session = await w.create();
    const agent = w.engine.agent(session.id);
    agent.tell(
      { type: "status", state: "working", elapsed_ms: 0 },
      { type: "text.delta", text: "12345", message: "m1" },
      tool,
    );
    await session.log.sync();
    await w.crash();
    const seen = w.engine.starts.at(-1)?.seen;
    assert.equal(seen?.turnOpen, true);
    assert.deepEqual([...(seen?.text ?? [])], [["m1", 5]]);
    assert.deepEqual([...(seen?.tools ?? [])], [["t1", { tool: "Bash", done: false }]]);
  });
});

describe("after a kill of the daemon", () => {
  async function killed(restore: "resume" | "off" | "continue") {
    const w = await World.open();
    const { id } = await w.create();
    w.engine.agent(id).begin("work");
    w.engine.agent(id).tell(tool);
    await w.get(id).log.sync();
    await w.crash(undefined, { restore });
    return { w, session: w.get(id), [Symbol.asyncDispose]: () => w[Symbol.asyncDispose]() };
  }

  test("with restore off the open turn is closed and Claude does not run, but would at the next start", async () => {
    await using k = await killed("off");
    await k.session.log.sync();
    assert.deepEqual(story(k.session), ["idle", "working", "heard: work", "stop daemon_restart", "stopped"]);
    assert.equal(framesOf(k.session).filter((frame) => frame.type === "tool.use.result").length, 1);
    assert.equal(k.session.running, false);
    await k.w.crash(undefined, { restore: "resume" });
    await until(() => k.w.get(k.session.id).state === "idle", "resumed");
    assert.equal(story(k.w.get(k.session.id)).filter((word) => word === "stop daemon_restart").length, 1);
  });

  test("with restore resume Claude goes on idle, under the next epoch", async () => {
    await using k = await killed("resume");
    await until(() => story(k.session).at(-1) === "idle", "resumed");
    assert.deepEqual(story(k.session), ["idle", "working", "heard: work", "stop daemon_restart", "idle"]);
    assert.equal(k.session.log.epoch, 2);
    assert.deepEqual(k.w.engine.prompts(k.session.id), []);
    const seqs = framesOf(k.session).map(({ seq }) => seq);
    assert.deepEqual(
      seqs,
      seqs.map((_, i) => i + 1),
    );
  });

  test("with restore continue a session whose turn was open is told to go on, another one is not", async () => {
    await using k = await killed("continue");
    await until(() => k.w.engine.prompts(k.session.id).length === 1, "told");
    assert.deepEqual(k.w.engine.prompts(k.session.id), ["go on"]);
    const idle = await k.w.create();
    await k.w.crash(undefined, { restore: "continue" });
    await until(() => k.w.get(idle.id).state === "idle", "resumed");
    assert.deepEqual(k.w.engine.prompts(idle.id), []);
  });

  test("a session that cannot be resumed says so and leaves the others alone", async () => {
    for (const [failure, code, words] of [
      [new CibError("claude_failed", "not installed"), "claude_failed", "not installed"],
      [new Error("secret inner words"), "internal", "could not be resumed; see the daemon's log"],
    ] as const) {
      await using w = await World.open();
      const session = await w.create();
      w.engine.agent(session.id).begin("work");
      await session.log.sync();
      w.engine.refusesStart = failure;
      await w.crash();
      const again = w.get(session.id);
      await again.log.sync();
      const error = framesOf(again).find((frame) => frame.type === "error");
      assert.deepEqual([error?.code, error?.message], [code, words]);
      assert.deepEqual(story(again).slice(-2), ["stop daemon_restart", "stopped"]);
      assert.deepEqual(w.faults, [[`resume ${session.id}`, failure]]);
    }
  });
});

describe("secrets", () => {
  const SECRET = { key: "sk-very-secret-key-0000000000", env: { TOKEN: "hidden-variable" } };

  test("are sealed in meta.json and come back at the next start", async () => {
    await using w = await World.open();
    const session = await w.create({ auth: "api_key", ...SECRET });
    const credential = { mode: "api_key", key: SECRET.key };
    assert.deepEqual(w.engine.starts.at(-1)?.credential, credential);
    const text = readFileSync(w.file(session.id, "meta.json"), "utf8");
    assert.equal(text.includes(SECRET.key) || text.includes(SECRET.env.TOKEN), false);
    assert.match(text, /"sealed":/);
    assert.equal(JSON.stringify(session.info()).includes("hidden"), false);
    await w.stop();
    await w.start();
    assert.deepEqual(w.engine.starts.at(-1)?.credential, credential);
    assert.deepEqual(w.engine.starts.at(-1)?.env, SECRET.env);
  });

  test("sealed under another master token keep the session from starting, and say what to do", async () => {
    await using w = await World.open();
    const session = await w.create({ auth: "api_key", ...SECRET });
    await w.stop();
    w.vault = undefined;
    await w.start();
    const again = w.get(session.id);
    assert.equal(again.running, false);
    assert.match(String(w.faults[0]?.[1]), /CIB_AUTH_TOKEN_PREVIOUS/);
    await assert.rejects(again.start(), refused("conflict", /sealed under an earlier CIB_AUTH_TOKEN/));
  });
});

describe("a disk that refuses", () => {
  test("the log keeps the frames, tells its fault, and goes on when the disk works again", async () => {
    await using w = await World.open();
    const session = await w.create();
    await w.stop();
    // log.json must say that the log is open before it may grow: this keeps it from doing so.
    mkdirSync(w.file(session.id, "log.json.next"));
    await w.start();
    await until(() => w.faults.some(([where]) => where === `log ${session.id}`), "told");
    const again = w.get(session.id);
    await until(() => again.state === "idle", "it runs all the same");
    w.engine.agent(session.id).begin("unwritten");
    assert.equal(story(again).includes("heard: unwritten"), false, "nobody sees what is not on disk");
    rmdirSync(w.file(session.id, "log.json.next"));
    await until(() => story(again).includes("heard: unwritten"), "written");
  });

  test("the place in Claude's transcript is stored only when the log holds what was told of it", async () => {
    await using w = await World.open();
    const session = await w.create();
    await w.stop();
    mkdirSync(w.file(session.id, "log.json.next"));
    await w.start();
    const again = w.get(session.id);
    await until(() => again.state === "idle", "it runs");
    w.engine.transcripts.get(session.id)?.push("one", "two");
    const agent = w.engine.agent(session.id);
    agent.begin("two");
    agent.finish();
    agent.tell({ type: "meta", title: "written" });
    await until(() => meta(w, again)["title"] === "written", "meta.json is written all the same");
    assert.equal(meta(w, again)["position"], undefined);
    rmdirSync(w.file(session.id, "log.json.next"));
    await until(() => story(again).includes("heard: two"), "the log is written");
    agent.finish();
    await until(() => meta(w, again)["position"] !== undefined, "stored");
    assert.deepEqual(meta(w, again)["position"], { file: session.id, offset: 2, seq: again.log.last - 1 });
  });

  test("a session whose frames find no room is stopped and wanted again", async () => {
    await using w = await World.open();
    const session = await w.create();
    await w.stop();
    mkdirSync(w.file(session.id, "log.json.next"));
    await w.start();
    const again = w.get(session.id);
    await until(() => again.state === "idle" && w.faults.length > 0, "it runs, and the disk's refusal is told");
    const agent = w.engine.agent(session.id);
    agent.begin("flood");
    for (let i = 0; i < 12; i++) agent.tell({ type: "text.delta", text: "x".repeat(1_000_000) });
    await until(() => !again.running, "stopped");
    assert.equal(again.state, "stopped", "its last frames found room");
    assert.equal(again.meta.wanted, true);
    assert.deepEqual(
      [...new Set(w.faults.map(([where]) => where))],
      [`log ${session.id}`],
      "only the disk's own refusal",
    );
    rmdirSync(w.file(session.id, "log.json.next"));
    await until(() => story(again).includes("stop disk_full") && story(again).at(-1) === "stopped", "written");
  });
});
