/** The queue by behaviour: accepted texts reach Claude once, one at a time, only when it can take them, whatever dies in between. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { asCibError, CibError } from "../../src/errors.ts";
import type { FrameBody } from "../../src/frame/frame.ts";
import { Ledger } from "../../src/session/ledger.ts";
import { Log } from "../../src/session/log.ts";
import { MAX_QUEUED, Queue, REDELIVER_MS } from "../../src/session/queue.ts";
import type { Session } from "../../src/session/session.ts";
import { FakeClock, turn } from "./fake-clock.ts";
import { MemoryDisk } from "./memory-disk.ts";
import { framesOf, refused, story, until, World } from "./world.ts";

const OFF = { restore: "off" } as const;
const working: FrameBody = { type: "status", state: "working", elapsed_ms: 0 };
const idle: FrameBody = { type: "status", state: "idle", elapsed_ms: 0 };
const waiting: FrameBody = { type: "status", state: "waiting_for_input", elapsed_ms: 0 };
const question: FrameBody = {
  type: "ask.question",
  id: "t/1",
  of: 1,
  kind: "question",
  prompt: "?",
  options: [],
  multiSelect: false,
};
const answer: FrameBody = { type: "ask.answer", id: "t/1", answer: "yes", by: "terminal" };

const accept = (session: Session, text: string) => session.queue.accept({ who: "master", text });
/** The queue is empty and the log is written. */
async function drained(session: Session): Promise<void> {
  await until(() => session.queue.size === 0, "an empty queue");
  await session.log.sync();
}

/** What the log tells of an input. */
/** What was told of an input, once all of it may be read. */
async function told(session: Session, input: string): Promise<string[]> {
  await session.log.sync();
  return framesOf(session).flatMap((frame) => (frame.type === "input" && frame.input === input ? [frame.state] : []));
}

describe("delivery", () => {
  test("types one text at a time, in order, each when the turn before it is over", async () => {
    await using w = await World.open();
    w.engine.behaviour = () => "hang";
    const session = await w.create();
    const agent = w.engine.agent(session.id);
    for (const text of ["one", "two", "three"]) await accept(session, text);
    for (const [i, text] of ["one", "two", "three"].entries()) {
      await until(() => story(session).includes(`heard: ${text}`), text);
      assert.equal(w.engine.prompts(session.id).length, i + 1);
      assert.deepEqual(
        session.queue.list().map((each) => each.text),
        ["one", "two", "three"].slice(i + 1),
      );
      agent.finish();
    }
    await session.log.sync();
    assert.equal(agent.mostSubmitting, 1);
    const turns = story(session).filter((word) => !word.startsWith("accepted"));
    const turn = (text: string) => ["delivered", "working", `heard: ${text}`, "stop end_turn", "idle"];
    assert.deepEqual(turns, ["idle", ...turn("one"), ...turn("two"), ...turn("three")]);
  });

  test("waits while a question is open, even when Claude seems idle", async () => {
    await using w = await World.open();
    const session = await w.create();
    const agent = w.engine.agent(session.id);
    agent.tell(question);
    await accept(session, "later");
    await w.ledger.sync();
    assert.equal(agent.mostSubmitting, 0);
    agent.tell(answer);
    await drained(session);
    assert.deepEqual(w.engine.prompts(session.id), ["later"]);
  });

  test("goes on when the answer and the end of the turn are told in one breath", async () => {
    await using w = await World.open();
    const session = await w.create();
    const agent = w.engine.agent(session.id);
    agent.tell(working, question, waiting);
    await accept(session, "later");
    agent.tell(answer, { type: "stop", reason: "interrupted" }, idle);
    await drained(session);
    assert.deepEqual(w.engine.prompts(session.id), ["later"]);
  });

  test("tells a text that Claude refused as failed and goes on with the next", async () => {
    await using w = await World.open();
    w.engine.behaviour = (text) => (text === "bad" ? "refuse" : "answer");
    const session = await w.create();
    w.engine.agent(session.id).tell(working);
    const [bad, good] = [await accept(session, "bad"), await accept(session, "good")];
    w.engine.agent(session.id).tell(idle);
    await drained(session);
    assert.deepEqual(await told(session, bad.input), ["accepted", "failed"]);
    assert.deepEqual(await told(session, good.input), ["accepted", "delivered"]);
    assert.ok(story(session).includes("failed the prompt was not taken"));
  });

  test("believes Claude's transcript when the confirmation is lost", async () => {
    await using w = await World.open();
    w.engine.behaviour = () => "forget";
    const session = await w.create();
    const { input } = await accept(session, "heard");
    await drained(session);
    assert.deepEqual(await told(session, input), ["accepted", "delivered"]);
    assert.deepEqual(w.engine.prompts(session.id), ["heard"]);
  });

  test("an interrupt waits for the text that is being typed, and then interrupts its turn", async () => {
    await using w = await World.open();
    w.engine.behaviour = () => "wait";
    const session = await w.create();
    const agent = w.engine.agent(session.id);
    await accept(session, "long");
    await until(() => agent.submitting === 1, "the typing");
    const interrupted = session.interrupt(new AbortController().signal);
    assert.ok(!story(session).includes("stop interrupted"));
    agent.hang();
    assert.equal(await interrupted, true);
    await session.log.sync();
    assert.ok(story(session).includes("stop interrupted"));
  });

  test("tells two equal texts apart", async () => {
    await using w = await World.open();
    const session = await w.create();
    await Promise.all([accept(session, "same"), accept(session, "same")]);
    await until(() => story(session).filter((word) => word === "stop end_turn").length === 2, "two turns");
    assert.deepEqual(w.engine.prompts(session.id), ["same", "same"]);
  });
});

describe("limits", () => {
  test("a full queue refuses, also those that come at the same time", async () => {
    await using w = await World.open();
    const session = await w.create();
    w.engine.agent(session.id).tell(working);
    const tries = Array.from({ length: MAX_QUEUED + 5 }, (_, i) =>
      accept(session, `text ${i}`).then(
        () => "ok",
        (thrown: unknown) => asCibError(thrown).code,
      ),
    );
    const answers = await Promise.all(tries);
    assert.deepEqual(answers.slice(MAX_QUEUED), Array(5).fill("queue_full"));
    assert.deepEqual(new Set(answers.slice(0, MAX_QUEUED)), new Set(["ok"]));
    assert.equal(session.queue.size, MAX_QUEUED);
    await assert.rejects(accept(session, "more"), refused("queue_full"));
    const [first] = session.queue.list();
    await session.queue.cancel(first?.input ?? "");
    await accept(session, "fits again");
  });
});

describe("cancel", () => {
  test("in the moment before the text is typed keeps it from Claude", async () => {
    await using w = await World.open();
    const session = await w.create();
    const typing = w.ledger.typing.bind(w.ledger);
    let taken: Promise<void> | undefined;
    w.ledger.typing = (input, at) => {
      taken ??= session.queue.cancel(input);
      return typing(input, at);
    };
    const { input } = await accept(session, "never");
    await until(() => taken !== undefined, "about to be typed");
    await taken;
    await accept(session, "next");
    await until(() => w.engine.prompts(session.id).includes("next"), "next");
    assert.deepEqual(w.engine.prompts(session.id), ["next"]);
    assert.deepEqual(await told(session, input), ["accepted", "failed"]);
  });

  test("of a text that is being typed is a conflict", async () => {
    await using w = await World.open();
    w.engine.behaviour = () => "wait";
    const session = await w.create();
    const { input } = await accept(session, "soon");
    await until(() => w.engine.agent(session.id).submitting === 1, "submitting");
    await assert.rejects(session.queue.cancel(input), refused("conflict", /already with Claude/));
    w.engine.agent(session.id).go();
    await drained(session);
    assert.deepEqual(w.engine.prompts(session.id), ["soon"]);
  });

  test("survives a restart: the text is not typed after it", async () => {
    await using w = await World.open();
    const session = await w.create();
    w.engine.agent(session.id).tell(working);
    const { input } = await accept(session, "never");
    await session.queue.cancel(input);
    await w.crash();
    await until(() => w.get(session.id).state === "idle", "resumed");
    await accept(w.get(session.id), "next");
    await drained(w.get(session.id));
    assert.deepEqual(w.engine.prompts(session.id), ["next"]);
    assert.deepEqual(await told(w.get(session.id), input), ["accepted", "failed"]);
  });
});

describe("when Claude dies while it is given a text", () => {
  for (const [behaviour, what] of [
    ["lose", "and had taken but not written it down, the text is typed again and told once"],
    ["die", "before it had the text, the text is typed after the resume"],
    ["die after", "with the text, it is delivered and not typed again"],
  ] as const) {
    test(what, async () => {
      await using w = await World.open();
      const session = await w.create();
      w.engine.behaviour = () => behaviour;
      const { input } = await accept(session, "fatal");
      await until(() => session.state === "stopped", "dead");
      assert.equal(session.queue.size, 1);
      w.engine.behaviour = () => "answer";
      await session.start();
      await drained(session);
      assert.deepEqual(w.engine.prompts(session.id), ["fatal"]);
      assert.deepEqual(await told(session, input), ["accepted", "delivered"]);
    });
  }

  test("of a stop, the text waits for the next start", async () => {
    await using w = await World.open();
    w.engine.behaviour = () => "wait";
    const session = await w.create();
    await accept(session, "patient");
    await until(() => w.engine.agent(session.id).submitting === 1, "submitting");
    await session.stop("term", { wanted: false, reason: "stopped" });
    w.engine.behaviour = () => "answer";
    await session.start();
    await drained(session);
    assert.deepEqual(w.engine.prompts(session.id), ["patient"]);
  });
});

describe("after a kill of the daemon", () => {
  test("idle is not told again to a log that ends with it", async () => {
    await using w = await World.open();
    const { id } = await w.create();
    await w.get(id).log.sync();
    await w.crash();
    await accept(w.get(id), "next");
    await until(() => story(w.get(id)).includes("stop end_turn"), "a turn");
    assert.deepEqual(story(w.get(id)).slice(0, 3), ["idle", "accepted next", "delivered"]);
  });

  for (const has of [false, true]) {
    test(`in the middle of typing, a text that Claude ${has ? "has is not" : "has not is"} typed`, async () => {
      await using w = await World.open();
      w.engine.behaviour = () => "wait";
      const session = await w.create();
      const { input } = await accept(session, "half");
      await until(() => w.engine.agent(session.id).submitting === 1, "submitting");
      w.engine.behaviour = () => "answer";
      await w.crash(() => has && w.engine.transcripts.get(session.id)?.push("half"));
      await drained(w.get(session.id));
      assert.deepEqual(w.engine.prompts(session.id), ["half"]);
      assert.deepEqual(await told(w.get(session.id), input), ["accepted", "delivered"]);
    });
  }

  test("between ledger and log, the accepted frame is told once with its text", async () => {
    await using w = await World.open(OFF);
    const session = await w.create();
    await w.stop();
    const ledger = await Ledger.open({ file: join(w.data, "ledger.jsonl"), now: () => w.now });
    await ledger.accept({
      who: "phone",
      id: "x",
      digest: "d",
      input: "i1",
      session: session.id,
      text: "kept",
      after: session.log.numbered,
    });
    await ledger.close();
    for (const _ of [1, 2]) {
      await w.start();
      await w.get(session.id).log.sync();
      const frames = framesOf(w.get(session.id)).filter((frame) => frame.type === "input");
      assert.deepEqual(
        frames.map(({ state, text, id, by }) => [state, text, id, by]),
        [["accepted", "kept", "x", "phone"]],
      );
      assert.equal(w.ledger.find("phone", "x")?.seq, frames[0]?.seq);
      await w.stop();
    }
    await w.start({ restore: "resume" });
    await w.get(session.id).start();
    await drained(w.get(session.id));
    assert.deepEqual(w.engine.prompts(session.id), ["kept"]);
  });

  test("with the log's last frames lost, what the ledger knows is told again", async () => {
    await using w = await World.open(OFF);
    const session = await w.create();
    const { input, seq } = await accept(session, "kept");
    await drained(session);
    await w.ledger.sync();
    await w.crash(() => {
      const file = w.file(session.id, "transcript.jsonl");
      const lines = readFileSync(file, "utf8").split("\n");
      writeFileSync(file, `${lines.slice(0, seq - 1).join("\n")}\n`);
    });
    await w.get(session.id).log.sync();
    assert.deepEqual(await told(w.get(session.id), input), ["accepted", "delivered"]);
    await w.get(session.id).start();
    await accept(w.get(session.id), "next");
    await drained(w.get(session.id));
    assert.deepEqual(w.engine.prompts(session.id), ["kept", "next"]);
  });

  test("with the ledger's last line lost, Claude's transcript decides, and delivery is told once", async () => {
    for (const has of [true, false]) {
      await using w = await World.open();
      const session = await w.create();
      const { input } = await accept(session, "kept");
      await until(() => story(session).at(-1) === "idle" && session.queue.size === 0, "a turn");
      await w.ledger.sync();
      await w.crash(() => {
        const file = join(w.data, "ledger.jsonl");
        const lines = readFileSync(file, "utf8").split("\n");
        assert.ok(lines.some((line) => line.includes('"settle"')));
        writeFileSync(file, lines.filter((line) => !line.includes('"settle"')).join("\n"));
        if (!has) w.engine.transcripts.set(session.id, []);
      });
      await until(() => w.get(session.id).state === "idle", "resumed");
      await drained(w.get(session.id));
      assert.deepEqual(await told(w.get(session.id), input), ["accepted", "delivered"]);
      assert.deepEqual(w.engine.prompts(session.id), ["kept"]);
    }
  });

  test("with the ledger's last line lost, an input that was told as failed stays failed", async () => {
    await using w = await World.open(OFF);
    const session = await w.create();
    w.engine.agent(session.id).tell(working);
    const { input } = await accept(session, "never");
    await session.queue.cancel(input);
    await session.log.sync();
    await w.crash(() => {
      const file = join(w.data, "ledger.jsonl");
      const lines = readFileSync(file, "utf8").split("\n");
      writeFileSync(file, lines.filter((line) => !line.includes('"settle"')).join("\n"));
    });
    assert.equal(w.get(session.id).queue.size, 0);
    assert.deepEqual(await told(w.get(session.id), input), ["accepted", "failed"]);
  });
});

describe("a disk that refuses", () => {
  /** A queue alone, with an agent that is free and takes everything. */
  async function alone() {
    const disk = new MemoryDisk();
    const clock = new FakeClock();
    const session = "0190f0c2-7a11-7c33-9a55-1234567890ab" as Session["id"];
    const ledger = await Ledger.open({ file: "/data/ledger.jsonl", disk, now: () => clock.now() });
    const log = Log.open({ session, folder: "/data/s", disk, clock });
    const typed: string[] = [];
    const faults: unknown[] = [];
    const agent = {
      terminal: true,
      version: "0",
      pid: 1,
      ready: Promise.resolve(),
      at: { file: "f", offset: 0 },
      submit: async (text: string) => void typed.push(text),
      write: () => undefined,
      resize: () => undefined,
      interrupt: async () => true,
      claim: () => undefined,
      switch: async (_what: string, value: string) => value,
      stop: async () => undefined,
    };
    const queue = new Queue({
      session,
      ledger,
      engine: { start: () => Promise.reject(new Error("not here")), shows: async () => false },
      log,
      free: () => agent,
      alive: () => agent,
      append: (body) => log.append(body),
      fault: (_where, thrown) => faults.push(thrown),
      clock,
    });
    return { disk, clock, queue, typed, faults };
  }

  test("a text that could not be written is not accepted", async () => {
    const { disk, queue, typed } = await alone();
    disk.fault = (operation, path) =>
      operation === "write" && path.endsWith("ledger.jsonl") ? { code: "ENOSPC" } : undefined;
    await assert.rejects(queue.accept({ who: "master", text: "a" }), refused("disk_full"));
    disk.fault = () => undefined;
    await queue.accept({ who: "master", text: "b" });
    await until(() => queue.size === 0, "delivered");
    assert.deepEqual(typed, ["b"]);
  });

  test("a text whose place could not be written is typed once the disk works again", async () => {
    const { disk, clock, queue, typed, faults } = await alone();
    let accepted = false;
    disk.fault = (operation) => (accepted && operation === "datasync" ? { code: "ENOSPC" } : undefined);
    disk.duringSync = async () => {
      accepted = true;
    };
    await queue.accept({ who: "master", text: "a" });
    await until(() => faults.length === 1, "refused");
    assert.ok(faults[0] instanceof CibError && faults[0].code === "disk_full");
    assert.deepEqual([typed, clock.timers], [[], 1]);
    disk.fault = () => undefined;
    clock.pass(REDELIVER_MS);
    await until(() => queue.size === 0, "delivered");
    assert.deepEqual([typed, clock.timers], [["a"], 0]);
  });

  test("of a session's own files is told, and its text is delivered all the same", async () => {
    await using w = await World.open();
    const session = await w.create();
    const blocked = w.file(session.id, "meta.json.next");
    await until(() => !readFileSync(w.file(session.id, "meta.json"), "utf8").includes('"started":false'), "written");
    mkdirSync(blocked);
    await accept(session, "on");
    await until(() => w.faults.length > 0 && session.queue.size === 0 && session.state === "idle", "told");
    assert.ok(w.faults.every(([where]) => where === "meta.json"));
    assert.equal(session.running, true);
    rmdirSync(blocked);
    w.faults.length = 0;
    w.engine.agent(session.id).tell({ type: "meta", title: "again" });
    await until(
      () => readFileSync(w.file(session.id, "meta.json"), "utf8").includes('"title":"again"'),
      "written again",
    );
    assert.deepEqual(w.faults, []);
  });
});

describe("a text that hooks see first", () => {
  /** Hooks that pass what they are told to, when they are told. */
  class Judge {
    judgesInput = true;
    /** What was asked about, in order. */
    readonly asked: string[] = [];
    readonly #answers: ((words: string | undefined) => void)[] = [];

    input(text: string): Promise<{ readonly text: string }> {
      this.asked.push(text);
      return new Promise((pass, block) => {
        this.#answers.push((words) => {
          if (words === undefined) block(new CibError("hook_blocked", "no"));
          else pass({ text: words });
        });
      });
    }

    /** Undefined: blocked. */
    async says(words: string | undefined): Promise<void> {
      this.#answers.shift()?.(words);
      await turn();
    }
  }
  const offer = (session: Session, judge: Judge, text: string) => session.queue.offer({ who: "master", text }, judge);

  test("is not overtaken by one whose hooks are quicker, nor by one that none is about any more", async () => {
    await using w = await World.open();
    w.engine.behaviour = () => "hang";
    const [session, judge] = [await w.create(), new Judge()];
    const first = offer(session, judge, "first");
    const second = offer(session, judge, "second");
    judge.judgesInput = false;
    const third = offer(session, judge, "third");
    const refusal = assert.rejects(second, refused("hook_blocked"));
    await turn();
    assert.deepEqual(judge.asked, ["first"]);
    await judge.says("first, rewritten");
    await first;
    await until(() => judge.asked.length === 2, "the second's hooks");
    await judge.says(undefined);
    await refusal;
    await until(() => judge.asked.length === 3, "the third's hooks");
    await judge.says("third");
    assert.ok((await first).seq < (await third).seq);
    await session.log.sync();
    const accepted = story(session).filter((word) => word.startsWith("accepted"));
    assert.deepEqual(accepted, ["accepted first, rewritten", "accepted third"]);
  });

  test("has its place while they look: one too many is refused before any hook is asked", async () => {
    await using w = await World.open();
    w.engine.behaviour = () => "hang";
    const [session, judge] = [await w.create(), new Judge()];
    const waiting = Array.from({ length: MAX_QUEUED }, (_, n) => offer(session, judge, `${n}`));
    const ends = Promise.allSettled(waiting);
    await turn();
    await assert.rejects(offer(session, judge, "one too many"), refused("queue_full"));
    await assert.rejects(accept(session, "one too many"), refused("queue_full"));
    assert.deepEqual(judge.asked, ["0"]);
    for (let n = 0; n < MAX_QUEUED; n++) {
      await until(() => judge.asked.length === n + 1, `text ${n}`);
      await judge.says(undefined);
    }
    assert.ok((await ends).every(({ status }) => status === "rejected"));
    await accept(session, "there is room again");
  });

  test("goes straight on where no rule is about texts", async () => {
    await using w = await World.open();
    const [session, judge] = [await w.create(), new Judge()];
    judge.judgesInput = false;
    await offer(session, judge, "hello");
    assert.deepEqual(judge.asked, []);
  });
});
