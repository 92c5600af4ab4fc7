/** Switches: confirmed by Claude, or promised; one session's never another's. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CibError } from "../../src/errors.ts";
import type { FrameBody } from "../../src/frame/frame.ts";
import { CONFIRM_MS, MAX_SWITCHES, Switches } from "../../src/session/switches.ts";
import { FakeClock, turn } from "./fake-clock.ts";
import { refused, story, until, World } from "./world.ts";

function desk(work: (value: string) => Promise<string>, append?: () => void) {
  const clock = new FakeClock();
  const frames: FrameBody[] = [];
  const kept: string[] = [];
  const faults: unknown[] = [];
  let done = 0;
  const switches = new Switches({
    agent: () => ({ switch: (_what, value) => work(value) }),
    append: append ?? ((body) => frames.push(body)),
    keep: async (what, value) => void kept.push(`${what}=${value}`),
    done: () => done++,
    clock,
    fault: (thrown) => faults.push(thrown),
  });
  return { clock, frames, kept, faults, switches, done: () => done };
}

describe("a switch", () => {
  test("that Claude confirms in time is answered with Claude's own word and kept for the next start", async () => {
    const { switches, kept, done, clock } = desk(async () => "claude-opus-4-1");
    assert.equal(await switches.set("model", "opus"), "claude-opus-4-1");
    assert.deepEqual(kept, ["model=opus"]);
    assert.equal(done(), 1);
    assert.equal(clock.timers, 0);
  });

  test("that takes longer is promised, keeps texts waiting, and is kept when it comes", async () => {
    let confirm: (value: string) => void = () => undefined;
    const { switches, kept, done, clock } = desk(
      () =>
        new Promise((go) => {
          confirm = go;
        }),
    );
    const answered = switches.set("effort", "high");
    clock.pass(CONFIRM_MS);
    assert.equal(await answered, undefined);
    assert.equal(switches.busy, true);
    assert.deepEqual(kept, []);
    confirm("high");
    await turn();
    assert.equal(switches.busy, false);
    assert.deepEqual([kept, done()], [["effort=high"], 1]);
  });

  test("that fails in time throws, and after a promise becomes an error frame", async () => {
    let fail: (why: Error) => void = () => undefined;
    const { switches, frames, kept, clock } = desk(
      () =>
        new Promise((_go, no) => {
          fail = no;
        }),
    );
    const early = switches.set("model", "nonsense");
    fail(new CibError("bad_request", "model: Claude knows no nonsense"));
    await assert.rejects(early, refused("bad_request"));
    assert.deepEqual(frames, []);
    const late = switches.set("model", "nonsense");
    clock.pass(CONFIRM_MS);
    await late;
    fail(new CibError("bad_request", "model: Claude knows no nonsense"));
    await turn();
    assert.deepEqual(frames, [{ type: "error", code: "bad_request", message: "model: Claude knows no nonsense" }]);
    assert.deepEqual(kept, []);
  });

  test("whose error frame the log does not take is a fault, not the end of the daemon", async () => {
    let fail: (why: Error) => void = () => undefined;
    const wish = (): Promise<string> =>
      new Promise((_go, no) => {
        fail = no;
      });
    const { switches, faults, clock } = desk(wish, () => {
      throw new Error("the log is full");
    });
    const late = switches.set("model", "opus");
    clock.pass(CONFIRM_MS);
    await late;
    fail(new Error("claude ended"));
    await turn();
    switches.restore("plan");
    fail(new Error("claude ended"));
    await turn();
    assert.deepEqual(
      faults.map((thrown) => (thrown as Error).message),
      ["the log is full", "the log is full"],
    );
  });

  test("is refused where too many wait", async () => {
    const { switches, clock } = desk(() => new Promise(() => undefined));
    for (let i = 0; i < MAX_SWITCHES; i++) void switches.set("model", "opus");
    await assert.rejects(switches.set("model", "opus"), refused("overloaded"));
    clock.pass(CONFIRM_MS);
  });
});

describe("a session's switch", () => {
  test("goes before texts that wait, and a restart asks for it again", async () => {
    await using w = await World.open();
    const session = await w.create();
    const other = await w.create();
    let confirm: () => void = () => undefined;
    w.engine.agent(session.id).switches = (_what, value) =>
      new Promise((go) => {
        confirm = () => go(value);
      });
    const switched = session.switches.set("model", "opus");
    await session.queue.accept({ who: "master", text: "after it" });
    await turn();
    assert.deepEqual(w.engine.prompts(session.id), []);
    confirm();
    assert.equal(await switched, "opus");
    await until(() => story(session).includes("stop end_turn"), "the turn");
    await session.switches.set("effort", "low").catch(() => undefined);
    await w.crash();
    const [again, foreign] = [session, other].map(({ id }) => w.engine.starts.findLast((spec) => spec.session === id));
    assert.equal(again?.model, "opus");
    assert.equal(foreign?.model, "default-model");
  });

  test("of the mode is made again after a restart, before any text", async () => {
    await using w = await World.open();
    const session = await w.create();
    await session.switches.set("mode", "plan");
    const asked: string[] = [];
    w.engine.switches = async (what, value) => {
      asked.push(`${what} ${value}`);
      return value;
    };
    await w.crash();
    const back = w.get(session.id);
    await back.queue.accept({ who: "master", text: "hello" });
    await until(() => story(back).includes("stop end_turn"), "the turn");
    assert.deepEqual(asked, ["mode plan"]);
    assert.equal(back.meta.mode, "plan");
  });

  test("of a stopped session is a conflict", async () => {
    await using w = await World.open();
    const session = await w.create();
    await session.stop("term", { wanted: false, reason: "stopped" });
    await assert.rejects(session.switches.set("model", "opus"), refused("conflict"));
  });
});
