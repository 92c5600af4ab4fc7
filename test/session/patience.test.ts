/** A usage limit is sat out: no text is wasted on it, and whoever wants goes on when it is over. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { MAX_TIMER_MS, systemClock } from "../../src/session/clock.ts";
import { GO_ON, LIMIT_MARGIN_MS, Limit } from "../../src/session/limit.ts";
import { Patience } from "../../src/session/patience.ts";
import { FakeClock, turn } from "./fake-clock.ts";
import { framesOf, story, until, World } from "./world.ts";

const waiting = (limit_resets_at: number) =>
  ({ type: "status", state: "waiting_for_input", elapsed_ms: 1, limit_resets_at }) as const;

describe("the timer", () => {
  test("runs to the reset and its margin, and is called off by any other status", () => {
    const [clock, limit] = [new FakeClock(), new Limit()];
    let over = 0;
    const patience = new Patience({ limit, clock, over: () => over++ });
    const say = (...args: Parameters<Limit["take"]>): void => {
      limit.take(...args);
      patience.arm();
    };
    say(waiting(clock.now() + 60_000));
    clock.pass(60_000 + LIMIT_MARGIN_MS - 1);
    assert.equal(over, 0);
    clock.pass(1);
    assert.equal(over, 1);
    say(waiting(clock.now() + 60_000));
    say({ type: "status", state: "idle", elapsed_ms: 1 });
    assert.equal(clock.timers, 0);
  });

  test("waits on when the clock was set back meanwhile", () => {
    const [clock, limit] = [new FakeClock(), new Limit()];
    let over = 0;
    const patience = new Patience({
      limit,
      clock: { ...clock, now: () => clock.now() - 1000, after: (ms, run) => clock.after(ms, run) },
      over: () => over++,
    });
    limit.take(waiting(clock.now() + 5_000));
    patience.arm();
    clock.pass(5_000 + LIMIT_MARGIN_MS);
    assert.equal(over, 0);
    clock.pass(1_000);
    assert.equal(over, 1);
  });
});

test("a limit that is longer than a timer can be is waited for all the same", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const [limit, resetMs] = [new Limit(), 34 * 86_400_000];
  let [over, looked] = [0, 0];
  const clock = { ...systemClock, now: () => ++looked && systemClock.now() };
  const patience = new Patience({ limit, clock, over: () => over++ });
  limit.take(waiting(resetMs));
  patience.arm();
  assert.equal(looked, 1);
  t.mock.timers.tick(MAX_TIMER_MS - 1);
  assert.deepEqual([over, looked], [0, 1], "no timer fires before its time");
  t.mock.timers.tick(resetMs + LIMIT_MARGIN_MS - MAX_TIMER_MS);
  assert.equal(over, 0);
  t.mock.timers.tick(1);
  assert.equal(over, 1);
});

test("no timer is set for longer than node can count", (t) => {
  const set = t.mock.method(globalThis, "setTimeout");
  systemClock.after(34 * 86_400_000, () => undefined)();
  assert.equal(set.mock.calls[0]?.arguments[1], MAX_TIMER_MS);
});

describe("a session", () => {
  test("that waits for its limit takes no text to Claude until it is over, then goes on by itself where wanted", async () => {
    await using w = await World.open();
    const session = await w.create({ auto_continue: true });
    const agent = w.engine.agent(session.id);
    agent.tell(waiting(w.now + 3_600_000));
    await session.queue.accept({ who: "master", text: "later" });
    await turn();
    assert.deepEqual(w.engine.prompts(session.id), []);
    agent.tell(waiting(w.now - LIMIT_MARGIN_MS));
    await until(() => story(session).includes("stop end_turn"), "the text that waited");
    assert.deepEqual(w.engine.prompts(session.id), ["later"], "it does not need to be told to go on");
    agent.tell(waiting(w.now - LIMIT_MARGIN_MS));
    await until(() => w.engine.prompts(session.id).length === 2, "go on");
    assert.equal(w.engine.prompts(session.id)[1], GO_ON);
  });

  test("whose creator did not ask for it only becomes idle", async () => {
    await using w = await World.open();
    const session = await w.create();
    w.engine.agent(session.id).tell(waiting(w.now - LIMIT_MARGIN_MS));
    await until(() => session.state === "idle", "idle");
    await turn();
    assert.deepEqual(w.engine.prompts(session.id), []);
    assert.equal(framesOf(session).filter(({ type }) => type === "input").length, 0);
  });

  test("waits on after a restart, and one whose limit ended meanwhile goes on at once", async () => {
    await using w = await World.open();
    const [patient, late] = [await w.create({ auto_continue: true }), await w.create({ auto_continue: true })];
    const resets = w.now + 3_600_000;
    w.engine.agent(patient.id).tell(waiting(resets));
    w.engine.agent(late.id).tell(waiting(w.now + 1));
    await Promise.all([patient.log.sync(), late.log.sync()]);
    await w.crash(() => {
      w.now += 1 + LIMIT_MARGIN_MS;
    });
    await until(() => w.engine.prompts(late.id).length === 1, "go on");
    assert.equal(w.engine.prompts(late.id)[0], GO_ON);
    assert.equal(w.engine.starts.findLast(({ session }) => session === patient.id)?.limitResetsAt, resets);
    assert.notEqual(w.get(patient.id).state, "idle");
    assert.deepEqual(w.engine.prompts(patient.id), []);
  });
});
