/** Answers: open questions, settled once, recorded before Claude has the answer. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import type { Claim, Settlement } from "../../src/agent/agent.ts";
import type { Body, FrameBody } from "../../src/frame/frame.ts";
import { Answers, groupOf } from "../../src/session/answers.ts";
import { Tail } from "../../src/session/tail.ts";
import { FakeClock, turn } from "./fake-clock.ts";
import { refused } from "./world.ts";

type Question = Body<"ask.question">;

const permission: Question = {
  type: "ask.question",
  id: "t1/0",
  of: 1,
  kind: "permission",
  prompt: "Allow Bash?",
  options: [{ label: "Allow" }, { label: "Deny" }],
  multiSelect: false,
  tool: "Bash",
};

function question(id: string, more: Partial<Question> = {}): Question {
  return {
    type: "ask.question",
    id,
    of: 1,
    kind: "question",
    prompt: `which? ${id}`,
    options: [{ label: "Red" }, { label: "Blue" }, { label: "Green" }],
    multiSelect: false,
    ...more,
  };
}

class Desk {
  readonly tail = new Tail();
  readonly clock = new FakeClock();
  /** What happened, in order: frames, syncs, what Claude was handed. */
  readonly story: string[] = [];
  readonly handed: [string, Settlement][] = [];
  readonly held = new Set<string>();
  readonly faults: unknown[] = [];
  interrupts = 0;
  terminalFirst = false;
  /** The question whose answer the log does not take. */
  untold: string | undefined;
  sync: () => Promise<void> = async () => undefined;
  readonly answers = new Answers({
    open: this.tail.asks,
    settled: this.tail.settled,
    agent: () => ({ claim: (group: string) => this.#claim(group), interrupt: async () => this.#interrupt() }),
    append: (body) => this.tell(body),
    sync: async () => {
      await this.sync();
      this.story.push("synced");
    },
    clock: this.clock,
    timeoutMs: 60_000,
    fault: (thrown) => this.faults.push(thrown),
  });

  ask(...questions: Question[]): void {
    for (const each of questions) {
      this.held.add(groupOf(each.id));
      this.tell(this.answers.opened(each));
    }
  }

  tell(body: FrameBody): void {
    if (body.type === "ask.answer" && body.id === this.untold) throw new Error("the log is full");
    this.tail.take(body, this.clock.now());
    if (body.type !== "ask.answer") return;
    this.story.push(`${body.id}=${String(body.answer)} by ${body.by}`);
    this.answers.closed(body.id);
  }

  #interrupt(): boolean {
    this.interrupts++;
    return true;
  }

  #claim(group: string): Claim | undefined {
    if (!this.held.delete(group)) return undefined;
    return {
      release: (decision) => {
        if (this.terminalFirst) return false;
        this.handed.push([group, decision]);
        this.story.push(`handed ${decision.behavior}`);
        return true;
      },
    };
  }
}

describe("an answer", () => {
  test("is told and on disk before Claude has it", async () => {
    const desk = new Desk();
    desk.ask(permission);
    assert.deepEqual(await desk.answers.answer("phone", { ask: "t1/0", decision: "allow" }), {
      ask: "t1/0",
      state: "settled",
      answer: "allow",
      by: "phone",
    });
    assert.deepEqual(desk.story, ["t1/0=allow by phone", "synced", "handed allow"]);
  });

  test("deny carries the person's words to Claude", async () => {
    const desk = new Desk();
    desk.ask(permission);
    await desk.answers.answer("phone", { ask: "t1/0", decision: "deny", message: "not on a Friday" });
    assert.deepEqual(desk.handed, [["t1", { behavior: "deny", message: "not on a Friday" }]]);
  });

  test("names options by label or by place, joins several as Claude does, and takes words of the person's own", async () => {
    const desk = new Desk();
    desk.ask(question("a/0"), question("b/0", { multiSelect: true }), question("c/0"));
    assert.equal((await desk.answers.answer("x", { ask: "a/0", choices: [1] })).answer, "Blue");
    assert.equal(
      (await desk.answers.answer("x", { ask: "b/0", choices: ["Red", 2], text: "and Black" })).answer,
      "Red, Green, and Black",
    );
    assert.equal((await desk.answers.answer("x", { ask: "c/0", text: "none of these" })).answer, "none of these");
    assert.deepEqual(desk.handed[1], ["b", { behavior: "allow", answers: { "which? b/0": "Red, Green, and Black" } }]);
  });

  test("to one of several questions is kept until all have one, and then all are handed over together", async () => {
    const desk = new Desk();
    desk.ask(question("q/0", { of: 2 }), question("q/1", { of: 2 }));
    assert.deepEqual(await desk.answers.answer("x", { ask: "q/1", choices: ["Red"] }), {
      ask: "q/1",
      state: "kept",
      answer: "Red",
      by: "x",
      open: ["q/0"],
    });
    assert.deepEqual(desk.story, []);
    await assert.rejects(desk.answers.answer("y", { ask: "q/1", choices: ["Blue"] }), refused("ask_settled"));
    assert.equal((await desk.answers.answer("x", { ask: "q/1", choices: ["Green"] })).state, "kept");
    assert.equal((await desk.answers.answer("y", { ask: "q/0", choices: ["Blue"] })).state, "settled");
    assert.deepEqual(desk.story, ["q/0=Blue by y", "q/1=Green by x", "synced", "handed allow"]);
    assert.deepEqual(desk.handed[0]?.[1], {
      behavior: "allow",
      answers: { "which? q/0": "Blue", "which? q/1": "Green" },
    });
  });

  test("that declines one question declines the call", async () => {
    const desk = new Desk();
    desk.ask(question("q/0", { of: 2 }), question("q/1", { of: 2 }));
    await desk.answers.answer("x", { ask: "q/1", decision: "deny" });
    assert.deepEqual(desk.story, ["q/0=deny by x", "q/1=deny by x", "synced", "handed deny"]);
  });

  for (const [what, said, words] of [
    ["a choice that is none", { choices: ["Pink"] }, /"Red", "Blue", "Green", got "Pink"/],
    ["a place that is none", { choices: [3] }, /got 3/],
    ["two choices for one", { choices: [0, 1] }, /takes one, got 2/],
    ["allow for a question", { decision: "allow" }, /a question takes choices/],
  ] as const) {
    test(`is refused where it is ${what}, and the question stays open`, async () => {
      const desk = new Desk();
      desk.ask(question("q/0"));
      await assert.rejects(desk.answers.answer("x", { ask: "q/0", ...said }), (thrown: Error) => {
        refused("bad_request")(thrown);
        assert.match(thrown.message, words);
        return true;
      });
      assert.equal(desk.tail.asks.size, 1);
    });
  }

  test("by two devices at once settles it once; the second learns by whom", async () => {
    const desk = new Desk();
    desk.ask(permission);
    const [first, second] = await Promise.allSettled([
      desk.answers.answer("phone", { ask: "t1/0", decision: "deny" }),
      desk.answers.answer("desk", { ask: "t1/0", decision: "allow" }),
    ]);
    assert.equal(first?.status, "fulfilled");
    assert.equal(second?.status, "rejected");
    assert.match(String((second as PromiseRejectedResult).reason), /answered already: deny, by phone/);
    assert.equal(desk.handed.length, 1);
  });

  test("repeated by the same one has the same reply and hands nothing over again", async () => {
    const desk = new Desk();
    desk.ask(permission);
    await desk.answers.answer("phone", { ask: "t1/0", decision: "allow" });
    assert.equal((await desk.answers.answer("phone", { ask: "t1/0", choices: ["Allow"] })).repeated, true);
    await assert.rejects(desk.answers.answer("phone", { ask: "t1/0", decision: "deny" }), refused("ask_settled"));
    assert.equal(desk.handed.length, 1);
  });

  test("that finds someone at the terminal faster says so", async () => {
    const desk = new Desk();
    desk.ask(permission);
    desk.terminalFirst = true;
    await assert.rejects(desk.answers.answer("phone", { ask: "t1/0", decision: "allow" }), refused("ask_settled"));
    assert.deepEqual(desk.handed, []);
  });

  test("to a question that waits at the terminal alone is refused, and can be given once Claude waits again", async () => {
    const desk = new Desk();
    desk.ask(permission);
    desk.held.clear();
    await assert.rejects(desk.answers.answer("phone", { ask: "t1/0", decision: "allow" }), refused("conflict"));
    desk.held.add("t1");
    await desk.answers.answer("phone", { ask: "t1/0", decision: "allow" });
    assert.equal(desk.handed.length, 1);
  });

  test("that came too late is not called settled when it is repeated", async () => {
    const desk = new Desk();
    desk.ask(permission);
    desk.terminalFirst = true;
    for (let again = 0; again < 2; again++)
      await assert.rejects(
        desk.answers.answer("phone", { ask: "t1/0", decision: "allow" }),
        refused("ask_settled", /in the terminal/),
      );
  });

  test("that the disk took too late is not called settled either", async () => {
    const desk = new Desk();
    desk.ask(permission);
    desk.sync = async () => {
      throw new Error("no room");
    };
    await assert.rejects(desk.answers.answer("phone", { ask: "t1/0", decision: "allow" }), /no room/);
    desk.sync = async () => undefined;
    desk.terminalFirst = true;
    await assert.rejects(desk.answers.answer("phone", { ask: "t1/0", decision: "allow" }), refused("ask_settled"));
  });

  test("to nothing that was ever asked is not found", async () => {
    await assert.rejects(new Desk().answers.answer("x", { ask: "t9/0", decision: "deny" }), refused("not_found"));
  });

  test("is not handed over while the disk does not take it; the repeat hands it over, once", async () => {
    const desk = new Desk();
    desk.ask(permission);
    desk.sync = async () => {
      throw Object.assign(new Error("no room"), { code: "ENOSPC" });
    };
    await assert.rejects(desk.answers.answer("phone", { ask: "t1/0", decision: "allow" }), /no room/);
    assert.deepEqual(desk.handed, []);
    desk.sync = async () => undefined;
    assert.equal((await desk.answers.answer("phone", { ask: "t1/0", decision: "allow" })).state, "settled");
    assert.equal(desk.handed.length, 1);
    await desk.answers.answer("phone", { ask: "t1/0", decision: "allow" });
    assert.equal(desk.handed.length, 1);
  });

  for (const [when, wait] of [
    ["at once", async () => undefined],
    ["while the first is being written", turn],
  ] as const) {
    test(`given twice, the second ${when}, is settled for nobody before it is on disk and with Claude`, async () => {
      const desk = new Desk();
      desk.ask(permission);
      let written: () => void = () => undefined;
      desk.sync = () =>
        new Promise((done) => {
          written = done;
        });
      const first = desk.answers.answer("phone", { ask: "t1/0", decision: "allow" });
      await wait();
      const second = desk.answers.answer("phone", { ask: "t1/0", decision: "allow" }).then((reply) => {
        desk.story.push("second told");
        return reply;
      });
      await turn();
      assert.deepEqual(desk.story, ["t1/0=allow by phone"]);
      written();
      assert.equal((await first).state, "settled");
      assert.equal((await second).repeated, true);
      assert.deepEqual(desk.story, ["t1/0=allow by phone", "synced", "handed allow", "second told"]);
    });
  }

  test("given twice is settled for neither where the disk takes it from neither", async () => {
    const desk = new Desk();
    desk.ask(permission);
    desk.sync = async () => {
      await turn();
      throw new Error("no room");
    };
    const said = { ask: "t1/0", decision: "allow" } as const;
    const replies = await Promise.allSettled([1, 2, 3].map(() => desk.answers.answer("phone", said)));
    assert.deepEqual(
      replies.map(({ status }) => status),
      ["rejected", "rejected", "rejected"],
    );
    assert.deepEqual(desk.handed, []);
  });

  test("of which nothing could be told was never said: the next one's, whoever gives it, is handed over", async () => {
    const desk = new Desk();
    desk.ask(permission);
    desk.untold = "t1/0";
    await assert.rejects(desk.answers.answer("phone", { ask: "t1/0", decision: "allow" }), /log is full/);
    desk.untold = undefined;
    await desk.answers.answer("desk", { ask: "t1/0", decision: "deny" });
    assert.deepEqual(desk.story, ["t1/0=deny by desk", "synced", "handed deny"]);
  });

  test("of which nothing could be told is denied by the deadline", async () => {
    const desk = new Desk();
    desk.ask(permission);
    desk.untold = "t1/0";
    await assert.rejects(desk.answers.answer("phone", { ask: "t1/0", decision: "allow" }), /log is full/);
    desk.untold = undefined;
    desk.clock.pass(60_000);
    await turn();
    assert.deepEqual(desk.story, ["t1/0=deny by deadline", "synced", "handed deny"]);
    assert.equal(desk.interrupts, 0);
  });

  test("told by half stands: the rest is told, once, before Claude has the whole", async () => {
    const desk = new Desk();
    desk.ask(question("q/0", { of: 2 }), question("q/1", { of: 2 }));
    await desk.answers.answer("x", { ask: "q/0", choices: ["Red"] });
    desk.untold = "q/1";
    await assert.rejects(desk.answers.answer("x", { ask: "q/1", choices: ["Blue"] }), /log is full/);
    assert.deepEqual([desk.story, desk.handed], [["q/0=Red by x"], []]);
    desk.untold = undefined;
    assert.equal((await desk.answers.answer("x", { ask: "q/1", choices: ["Blue"] })).state, "settled");
    assert.deepEqual(desk.story, ["q/0=Red by x", "q/1=Blue by x", "synced", "handed allow"]);
    assert.deepEqual(desk.handed[0]?.[1], {
      behavior: "allow",
      answers: { "which? q/0": "Red", "which? q/1": "Blue" },
    });
  });
});

describe("the deadline", () => {
  test("stands in the question and denies it when nobody answers", async () => {
    const desk = new Desk();
    desk.ask(permission);
    assert.equal(desk.tail.asks.get("t1/0")?.expires_at, desk.clock.now() + 60_000);
    desk.clock.pass(59_999);
    await turn();
    assert.deepEqual(desk.story, []);
    desk.clock.pass(1);
    await turn();
    assert.deepEqual(desk.story, ["t1/0=deny by deadline", "synced", "handed deny"]);
    assert.deepEqual(desk.handed, [["t1", { behavior: "deny", message: "nobody answered within 60 s" }]]);
    await assert.rejects(desk.answers.answer("late", { ask: "t1/0", decision: "allow" }), refused("ask_settled"));
  });

  test("forgets what was kept of a call that stayed incomplete", async () => {
    const desk = new Desk();
    desk.ask(question("q/0", { of: 2 }), question("q/1", { of: 2 }));
    await desk.answers.answer("x", { ask: "q/0", choices: [0] });
    desk.clock.pass(60_000);
    await turn();
    assert.deepEqual(desk.story, ["q/0=deny by deadline", "q/1=deny by deadline", "synced", "handed deny"]);
  });

  test("presses Esc where the question stands at the terminal alone", async () => {
    const desk = new Desk();
    desk.ask(permission);
    desk.held.clear();
    desk.clock.pass(60_000);
    await turn();
    assert.equal(desk.interrupts, 1);
    assert.deepEqual(desk.faults, []);
  });

  test("interrupts nobody who was a moment faster at the terminal", async () => {
    const desk = new Desk();
    desk.ask(permission);
    desk.terminalFirst = true;
    desk.clock.pass(60_000);
    await turn();
    assert.deepEqual(desk.story, ["t1/0=deny by deadline", "synced"]);
    assert.equal(desk.interrupts, 0);
    assert.deepEqual(desk.faults, []);
  });

  test("is called off when someone settles it", async () => {
    const desk = new Desk();
    desk.ask(permission);
    desk.tell({ type: "ask.answer", id: "t1/0", answer: "allow", by: "terminal" });
    assert.equal(desk.clock.timers, 0);
  });
});

test("whatever devices say in whatever order, each call is handed over at most once, and only what is on disk", async () => {
  const who = fc.constantFrom("a", "b", "c");
  const said = fc.oneof(
    fc.record({ choices: fc.array(fc.nat(4), { minLength: 1, maxLength: 2 }) }),
    fc.record({ decision: fc.constantFrom("allow" as const, "deny" as const) }),
    fc.record({ text: fc.constantFrom("x", "y") }),
  );
  const step = fc.record({
    who,
    ask: fc.constantFrom("p/0", "q/0", "q/1"),
    said,
    full: fc.constantFrom("", "disk", "log"),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
      const desk = new Desk();
      desk.ask({ ...permission, id: "p/0" }, question("q/0", { of: 2, multiSelect: true }), question("q/1", { of: 2 }));
      let full = "";
      desk.sync = async () => {
        if (full === "disk") throw new Error("no room");
      };
      await Promise.allSettled(
        steps.map(async (each) => {
          full = each.full;
          desk.untold = full === "log" ? each.ask : undefined;
          await desk.answers.answer(each.who, { ask: each.ask, ...each.said });
        }),
      );
      const groups = desk.handed.map(([group]) => group);
      assert.equal(new Set(groups).size, groups.length);
      let synced = 0;
      for (const event of desk.story) {
        if (event === "synced") synced++;
        if (event.startsWith("handed")) assert.ok(synced-- > 0, desk.story.join("; "));
      }
      const told = desk.story.filter((event) => event.includes(" by ")).map((event) => event.split("=")[0]);
      assert.equal(new Set(told).size, told.length);
    }),
  );
});
