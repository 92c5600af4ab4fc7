/** A session's rules at work: order, failures, observers, and what hook frames say. */
import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { describe, test } from "node:test";
import { CibError } from "../../src/errors.ts";
import type { Body } from "../../src/frame/frame.ts";
import { MAX_OBSERVED } from "../../src/hooks/armed.ts";
import { hookFrames } from "../../src/hooks/firing.ts";
import { HookGate, type Passed } from "../../src/hooks/gate.ts";
import type { Rule } from "../../src/hooks/rules.ts";
import type { Subject } from "../../src/hooks/subject.ts";
import { until } from "../session/fake-clock.ts";
import { each, script } from "./scripts.ts";

/** Far above what a loaded machine needs to start node. */
const PATIENCE_MS = 30_000;
const rule = (name: string, run: string[], more: Partial<Rule> = {}): Rule => ({
  name,
  on: ["*"],
  run,
  timeout_ms: PATIENCE_MS,
  ...more,
});
const answering = (name: string, verdict: object, more: Partial<Rule> = {}) =>
  rule(name, each(`say(${JSON.stringify(verdict)})`), more);
const BROKEN = script("process.exitCode = 1");
const HANGS = script("setInterval(() => {}, 1000)");

class Gate extends HookGate implements Disposable {
  readonly later: readonly Body<"hook">[];

  constructor(rules: readonly Rule[], now?: () => number) {
    const later: Body<"hook">[] = [];
    const place = { session: "s", workdir: tmpdir(), home: "/" };
    super({ place, emit: (hook) => later.push(hook), ...(now && { now }) }, rules);
    this.later = later;
  }

  [Symbol.dispose](): void {
    this.stop();
  }
}

const text = (words: string): Body<"text.delta"> => ({ type: "text.delta", text: words, message: "m" });
const verdicts = ({ hooks }: Passed) =>
  hooks.map(({ name, result }) => `${name} ${(result as { verdict: string }).verdict}`);
interface Result {
  readonly verdict?: string;
  readonly error?: string;
  readonly stderr?: string;
  readonly dropped?: number;
  readonly withheld?: boolean;
}
const resultOf = (hook: Body<"hook"> | undefined): Result => (hook?.result ?? {}) as Result;
const errorOf = (hook: Body<"hook"> | undefined) => resultOf(hook).error;

test("rules judge one after the other, each what the one before has made", async () => {
  const adds = (name: string) => rule(name, each(`say({ verdict: "rewrite", text: e.frame.text + "${name}" })`));
  using gate = new Gate([adds("a"), adds("b")]);
  const passed = await gate.filter(text("x"));
  assert.equal(passed.subject?.text, "xab");
  assert.deepEqual(verdicts(passed), ["a rewrite", "b rewrite"]);
});

test("after a block nobody is asked, and its reason is told", async () => {
  using gate = new Gate([answering("a", { verdict: "block", reason: "no" }), rule("b", BROKEN)]);
  const passed = await gate.filter(text("x"));
  assert.equal(passed.subject, undefined);
  assert.deepEqual(passed.blocked, { name: "a", reason: "no" });
  assert.deepEqual(verdicts(passed), ["a block"]);
});

test("where no rule is about it a subject passes at once", () => {
  using gate = new Gate([rule("a", BROKEN, { on: ["text.delta"], match: { text: "zebra" } })]);
  assert.ok(!(gate.filter(text("x")) instanceof Promise));
  assert.equal(gate.cares("text.delta"), true);
  assert.equal(gate.cares("stop"), false);
});

describe("a hook that fails", () => {
  for (const [what, run, error] of [
    ["crashes", BROKEN, /^ended with status 1$/],
    ["prints garbage", script(`console.log("yes")`), /not one JSON verdict/],
    ["prints two verdicts", each(`say({ verdict: "pass" }); say({ verdict: "pass" })`), /not one JSON verdict/],
    ["prints half a verdict", script(`process.stdout.write('{"verdict":"pa')`), /not one JSON verdict/],
    ["prints nothing", script(""), /no verdict on stdout/],
    [
      "rewrites what may not change",
      each(`say({ verdict: "rewrite", message: "n" })`),
      /has no message that may change/,
    ],
    ["answers for another event", each(`say({ verdict: "pass", n: 99 })`), /for event 99/],
  ] as const) {
    test(`and ${what} harms nothing but its own verdict`, async () => {
      using gate = new Gate([
        rule("open", [...run]),
        rule("closed", [...run], { fail: "closed", match: { text: "guarded" } }),
        answering("never", { verdict: "pass" }, { match: { text: "guarded" } }),
      ]);
      const open = await gate.filter(text("x"));
      assert.deepEqual(open.subject, text("x"));
      assert.match(errorOf(open.hooks[0]) ?? "", error);
      const closed = await gate.filter(text("guarded"));
      assert.equal(closed.subject, undefined);
      assert.deepEqual(verdicts(closed), ["open pass", "closed block"]);
    });
  }

  test("cannot hold back what may only be annotated", async () => {
    using gate = new Gate([rule("a", BROKEN, { fail: "closed" }), answering("b", { verdict: "block" })]);
    const stop = { type: "stop", reason: "end_turn" } as const;
    const passed = await gate.filter<Subject>(stop);
    assert.deepEqual(passed.subject, stop);
    assert.deepEqual(verdicts(passed), ["a pass", "b pass"]);
    assert.match(errorOf(passed.hooks[1]) ?? "", /can only be annotated/);
  });

  test("and hangs is left alone for a while by frames, but not by calls", async () => {
    let now = 0;
    using gate = new Gate([rule("a", HANGS, { timeout_ms: 200 })], () => now);
    assert.equal(errorOf((await gate.filter(text("1"))).hooks[0]), "no verdict within 200 ms");
    now = 999;
    assert.equal(errorOf((await gate.filter(text("2"))).hooks[0]), "resting after a failure");
    assert.equal(errorOf((await gate.filter(text("3"), { call: true })).hooks[0]), "no verdict within 200 ms");
    now = 2_998;
    assert.equal(errorOf((await gate.filter(text("4"))).hooks[0]), "resting after a failure");
    now = 2_999;
    assert.equal(errorOf((await gate.filter(text("5"))).hooks[0]), "no verdict within 200 ms");
  });

  test("is not waited for where nobody can wait", async () => {
    using gate = new Gate([rule("a", HANGS)]);
    const hurry = new AbortController();
    const passing = gate.filter(text("1"), { hurry: hurry.signal });
    hurry.abort();
    assert.match(errorOf((await passing).hooks[0]) ?? "", /nobody could wait/);
    assert.match(errorOf((await gate.filter(text("2"), { hurry: hurry.signal })).hooks[0]) ?? "", /nobody could wait/);
  });
});

describe("an observer", () => {
  test("is told, its note is told later, and it changes nothing", async () => {
    using gate = new Gate([
      answering("notes", { verdict: "annotate", note: { seen: true } }, { act: "observe" }),
      answering("meddles", { verdict: "block" }, { act: "observe" }),
      rule("silent", script(""), { act: "observe" }),
    ]);
    assert.equal(gate.cares("text.delta"), false);
    gate.told(text("x"), false);
    await gate.looked();
    const [notes, meddles, silent] = ["notes", "meddles", "silent"].map((name) =>
      gate.later.find((hook) => hook.name === name),
    );
    assert.deepEqual(notes?.payload, { seen: true });
    assert.match(errorOf(meddles) ?? "", /only observes/);
    assert.deepEqual([resultOf(silent).verdict, errorOf(silent)], ["pass", undefined]);
  });

  test("that is too slow misses some, and its next frame says how many", async () => {
    using gate = new Gate([rule("a", each(`say({ verdict: "pass" })`), { act: "observe", kept: true })]);
    for (let n = 0; n < MAX_OBSERVED + 7; n++) gate.told(text(String(n)), false);
    await until(() => gate.later.length > 0, "the first").catch(() => gate.looked());
    await gate.looked();
    assert.equal(gate.later.length, MAX_OBSERVED);
    assert.equal(resultOf(gate.later[0]).dropped, 7);
  });

  test("of what the box itself says is also who filters, without a say", async () => {
    using gate = new Gate([answering("a", { verdict: "block" }), answering("b", { verdict: "annotate", note: 1 })]);
    gate.told({ type: "status", state: "stopped", elapsed_ms: 1 }, true);
    gate.told(text("passed already"), false);
    gate.told({ type: "hook", name: "a", event: "status" }, true);
    await gate.looked();
    assert.deepEqual(gate.later.map(({ name, event, payload }) => [name, event, payload]).sort(), [
      ["a", "status", { state: "stopped" }],
      ["b", "status", 1],
    ]);
  });
});

test("a hook frame holds nothing that a rewrite or a block took away", async () => {
  const quotes = each(`console.error(e.frame.text); say({ verdict: "annotate", note: e.frame.text })`);
  for (const last of [
    answering("last", { verdict: "rewrite", text: "clean" }),
    rule("last", BROKEN, { fail: "closed" }),
  ]) {
    using gate = new Gate([rule("quotes", quotes), last]);
    const { subject, hooks } = await gate.filter(text("the secret"));
    assert.doesNotMatch(JSON.stringify([subject, hooks]), /secret/);
    assert.equal(resultOf(hooks[0]).withheld, true);
  }
  using gate = new Gate([rule("quotes", quotes)]);
  const { hooks } = await gate.filter(text("no secret"));
  assert.deepEqual([hooks[0]?.payload, resultOf(hooks[0]).stderr], ["no secret", "no secret\n"]);
});

test("a changed text leaves its lengths in the frame, so that a restart knows what was told", () => {
  const firing = { name: "a", verdict: "rewrite", ms: 1 } as const;
  assert.deepEqual(hookFrames(text("12345"), text("12"), [firing])[0]?.payload, { message: "m", was: 5, is: 2 });
  assert.deepEqual(hookFrames(text("12345"), undefined, [{ ...firing, verdict: "block" }])[0]?.payload, {
    message: "m",
    was: 5,
    is: 0,
  });
});

test("a client's text is rewritten, or refused as hook_blocked", async () => {
  using gate = new Gate([
    rule(
      "a",
      each(
        `say(e.call && e.frame.by === "me" ? { verdict: "rewrite", text: e.frame.text + "!" } : { verdict: "block" })`,
      ),
    ),
  ]);
  assert.deepEqual(await gate.input("hey", "me"), { text: "hey!" });
  await assert.rejects(
    gate.input("hey", "you"),
    (thrown) => thrown instanceof CibError && thrown.code === "hook_blocked" && /hook a: /.test(thrown.message),
  );
  assert.equal(gate.later.length, 2);
});

test("new rules hold at once; a rule that stays keeps its process", async () => {
  const kept = rule("a", each(`say({ verdict: "annotate", note: process.pid })`), { kept: true });
  using gate = new Gate([kept]);
  const pid = async () => (await gate.filter(text("x"))).hooks.find(({ name }) => name === "a")?.payload;
  const first = await pid();
  gate.arm([answering("b", { verdict: "pass" }), { ...kept }]);
  assert.equal(await pid(), first);
  gate.arm([]);
  assert.equal(gate.cares("text.delta"), false);
  assert.deepEqual(await gate.filter(text("x")), { subject: text("x"), hooks: [] });
});

test("the terminal is hidden where a filter is about content, unless each such rule allows it", () => {
  const hides = (more: Partial<Rule>, ...others: Rule[]) => new Gate([rule("a", ["x"], more), ...others]).hidesTerminal;
  assert.equal(hides({ on: ["text.delta"] }), true);
  assert.equal(hides({ on: ["*"] }), true);
  assert.equal(hides({ on: ["tool.use.start"], terminal: true }), false);
  assert.equal(hides({ on: ["tool.use.start"], terminal: true }, rule("b", ["x"], { on: ["thinking"] })), true);
  assert.equal(hides({ on: ["*"], act: "observe" }), false);
  assert.equal(hides({ on: ["ask.question", "stop", "input"] }), false);
});
