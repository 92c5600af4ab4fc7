/** The intake with gates that hang, throw and flood: no frame is lost, doubled or out of order. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { Body, FrameBody } from "../../src/frame/frame.ts";
import type { HookGate, Passed } from "../../src/hooks/gate.ts";
import type { Subject } from "../../src/hooks/subject.ts";
import { Intake, LINE_HOLD_MS, MAX_WAITING, STOP_WAIT_MS } from "../../src/session/intake.ts";
import { FakeClock, turn, until } from "./fake-clock.ts";

type Answer = "pass" | "later" | "hang" | "throw" | "block" | "hook";
const hook = (of: Subject): Body<"hook"> => ({ type: "hook", name: "r", event: of.type, payload: numberOf(of) });
const status = (n: number): Body<"status"> => ({ type: "status", state: "working", elapsed_ms: n });
const numberOf = (body: FrameBody) => (body as { elapsed_ms?: number }).elapsed_ms ?? -1;

/** A gate that answers as it is told: `hang` until somebody hurries. */
function gateOf(answer: (subject: Subject) => Answer, cares: (type: string) => boolean = () => true) {
  const filter = (subject: Subject, { hurry }: { hurry?: AbortSignal } = {}): Passed | Promise<Passed> => {
    const passed: Passed = { subject, hooks: [] };
    switch (hurry?.aborted ? "pass" : answer(subject)) {
      case "pass":
        return passed;
      case "later":
        return turn().then(() => passed);
      case "hang":
        return new Promise((done) => hurry?.addEventListener("abort", () => done(passed)));
      case "throw":
        return Promise.reject(new Error("broken"));
      case "block":
        return Promise.resolve({ subject: undefined, hooks: [hook(subject)], blocked: { name: "r", reason: "no" } });
      default:
        return { subject, hooks: [hook(subject)] };
    }
  };
  return { cares, filter } as unknown as HookGate;
}

function setUp(gate: HookGate) {
  const clock = new FakeClock();
  const logged: FrameBody[] = [];
  const blocked: FrameBody[] = [];
  const faults: unknown[] = [];
  const append = (body: FrameBody): void => void logged.push(body);
  /** How much was logged whenever all of it was. */
  const calmed: number[] = [];
  const intake: Intake = new Intake({
    gate,
    calmed: () => void calmed.push(intake.calm ? logged.length : -1),
    append,
    blocked: (body) => void blocked.push(body),
    fault: (thrown) => void faults.push(thrown),
    clock,
  });
  return { clock, logged, blocked, faults, calmed, intake };
}

test("where no rule cares and nothing waits a frame is logged at once", () => {
  const { intake, logged } = setUp(
    gateOf(
      () => "hang",
      () => false,
    ),
  );
  intake.frame(status(1));
  assert.equal(logged.length, 1);
});

test("a frame that no rule cares for does not overtake one that waits, nor does what follows it", async () => {
  const { intake, logged } = setUp(
    gateOf(
      () => "later",
      (type) => type === "status",
    ),
  );
  const ran: number[] = [];
  intake.frame(status(1));
  intake.frame({ type: "stop", reason: "end_turn" });
  intake.after(() => ran.push(logged.length));
  assert.equal(logged.length, 0);
  await intake.settled();
  assert.deepEqual(
    logged.map(({ type }) => type),
    ["status", "stop"],
  );
  assert.deepEqual(ran, [2]);
});

test("a frame whose call was judged is not judged again, and what the rules said follows it", async () => {
  const { intake, logged } = setUp(gateOf(() => "block"));
  const start: Body<"tool.use.start"> = { type: "tool.use.start", id: "t", tool: "Bash", input: {} };
  intake.judged("tool.use.start", "t", [{ type: "hook", name: "r", event: "tool.use.start" }]);
  intake.frame(start);
  intake.frame({ ...start, id: "u" });
  await intake.settled();
  assert.deepEqual(
    logged.map((body) => `${body.type} ${(body as { id?: string }).id ?? ""}`),
    ["tool.use.start t", "hook ", "hook "],
  );
});

test("half a line goes on when Claude is silent, and before the next frame", async () => {
  const { intake, logged, clock } = setUp(
    gateOf(
      () => "pass",
      (type) => type === "text.delta",
    ),
  );
  intake.frame({ type: "text.delta", text: "half" });
  assert.equal(logged.length, 0);
  clock.pass(LINE_HOLD_MS);
  assert.equal(logged.length, 1);
  intake.frame({ type: "text.delta", text: "more" });
  intake.frame({ type: "stop", reason: "end_turn" });
  assert.deepEqual(
    logged.map(({ type }) => type),
    ["text.delta", "text.delta", "stop"],
  );
  assert.equal(clock.timers, 0);
});

test("it is calm again when the last that waits has passed, and says so once", async () => {
  const { intake, calmed } = setUp(
    gateOf(
      () => "later",
      (type) => type === "status",
    ),
  );
  assert.equal(intake.calm, true);
  intake.frame(status(1));
  intake.frame({ type: "stop", reason: "end_turn" });
  assert.equal(intake.calm, false);
  intake.frame(status(2));
  await intake.settled();
  assert.deepEqual([intake.calm, calmed], [true, [3]]);
});

test("it is not calm while it holds half a line, nor between it and the frame that ends it", async () => {
  const { intake, calmed, clock } = setUp(
    gateOf(
      () => "pass",
      (type) => type === "text.delta",
    ),
  );
  intake.frame({ type: "text.delta", text: "half" });
  assert.deepEqual([intake.calm, calmed], [false, []]);
  intake.frame({ type: "stop", reason: "end_turn" });
  assert.deepEqual([intake.calm, calmed], [true, [2]]);
  intake.frame({ type: "text.delta", text: "more" });
  clock.pass(LINE_HOLD_MS);
  assert.deepEqual([intake.calm, calmed], [true, [2, 3]]);
});

test("more than may wait goes by at once, in order", async () => {
  const { intake, logged } = setUp(gateOf(() => "hang"));
  for (let n = 0; n <= MAX_WAITING + 1; n++) intake.frame(status(n));
  await until(() => logged.length === MAX_WAITING + 2, "everything");
  assert.deepEqual(
    logged.map(numberOf),
    Array.from({ length: MAX_WAITING + 2 }, (_, n) => n),
  );
});

test("a session that stops waits for its hooks, and then no longer", async () => {
  const { intake, logged, clock } = setUp(gateOf(() => "hang"));
  intake.frame(status(1));
  const settled = intake.settled();
  await turn();
  assert.equal(logged.length, 0);
  clock.pass(STOP_WAIT_MS);
  await settled;
  assert.equal(logged.length, 1);
});

describe("whatever the gate does", () => {
  const answers = fc.array(fc.constantFrom<Answer>("pass", "later", "hang", "throw", "block", "hook"), {
    maxLength: 60,
  });

  test("no frame is lost, doubled or out of order; a blocked one has its hook frame in its place", async () => {
    await fc.assert(
      fc.asyncProperty(answers, fc.array(fc.nat(60)), async (script, pauses) => {
        const { intake, logged, blocked, faults, clock } = setUp(gateOf((body) => script[numberOf(body)] ?? "pass"));
        for (let n = 0; n < script.length; n++) {
          intake.frame(status(n));
          if (pauses.includes(n)) await turn();
        }
        const settled = intake.settled();
        // Those that hang are let go when the session has waited long enough.
        for (let done = false, tries = 0; !done && tries < 1000; tries++) {
          void settled.then(() => {
            done = true;
          });
          clock.pass(STOP_WAIT_MS);
          await turn();
        }
        await settled;
        const gone = new Set(blocked.map(numberOf));
        const expected = script.flatMap((_, n) => (gone.has(n) ? [] : [n]));
        assert.deepEqual(logged.filter(({ type }) => type === "status").map(numberOf), expected);
        // Each hook frame stands right behind its own, or where it would be.
        let at = -1;
        for (const body of logged) {
          if (body.type !== "hook") at = numberOf(body);
          else assert.ok(Number(body.payload) >= at && (gone.has(Number(body.payload)) || body.payload === at));
        }
        for (const fault of faults) assert.match(String(fault), /broken/);
      }),
      { numRuns: 60 },
    );
  });
});
