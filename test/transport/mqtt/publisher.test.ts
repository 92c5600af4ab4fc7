import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Control, Principal, SessionInfo, Watcher } from "../../../src/control/control.ts";
import { CibError } from "../../../src/errors.ts";
import { Encoded } from "../../../src/frame/codec.ts";
import type { Frame, FrameBody, SessionId } from "../../../src/frame/frame.ts";
import type { Sink } from "../../../src/frame/sink.ts";
import { FIRST_WAIT_MS, LONGEST_WAIT_MS, Publisher } from "../../../src/transport/mqtt/publisher.ts";
import { Hands } from "../hands.ts";

const ONE = "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId;
const TWO = "0190f0c2-7a11-7c33-9a55-1234567890ac" as SessionId;
const WHO: Principal = {
  name: "mqtt",
  label: "mqtt",
  scopes: new Set(["sessions:read"]),
  ended: new AbortController().signal,
};
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Control as far as the publisher asks it, driven by the test. */
class Desk implements Pick<Control, "watch" | "attach"> {
  watcher: Watcher | undefined;
  readonly follows = new Map<SessionId, { sink: Sink; from: number | undefined; drained: number }>();
  readonly faults: unknown[] = [];
  readonly sent: [string, string, boolean][] = [];
  readonly wants = new Set<string>();
  room = true;
  seq = 0;
  refuses: unknown;
  readonly hands = new Hands();
  readonly publisher: Publisher;

  constructor(root?: string) {
    this.publisher = new Publisher({
      control: this,
      who: WHO,
      ...(root !== undefined && { root }),
      wants: {
        wanted: (topic) => this.wants.has(topic),
        within: (prefix) => [...this.wants].some((topic) => topic.startsWith(`${prefix}/`)),
      },
      publish: (topic, payload, retain) => {
        this.sent.push([topic, payload.toString("latin1"), retain]);
        return this.room;
      },
      fault: (thrown) => this.faults.push(thrown),
      timers: this.hands,
    });
    this.publisher.start();
  }

  watch(_who: Principal, watcher: Watcher): Disposable {
    this.watcher = watcher;
    return { [Symbol.dispose]: () => (this.watcher = undefined) };
  }

  attach(_who: Principal, raw: Readonly<Record<string, unknown>>, sink: Sink) {
    if (this.refuses !== undefined) throw this.refuses;
    const session = raw["session"] as SessionId;
    const follow = { sink, from: raw["from"] as number | undefined, drained: 0 };
    this.follows.set(session, follow);
    return {
      verdict: { session, epoch: 1, first: 1, last: 0, from: 1, verdict: "ok" as const },
      drained: () => void follow.drained++,
      [Symbol.dispose]: () => void this.follows.delete(session),
    };
  }

  async want(...topics: string[]): Promise<void> {
    for (const topic of topics) this.wants.add(topic);
    this.publisher.wantsChanged();
    await turn();
  }

  say(session: SessionId, body: FrameBody): "ok" | "full" | "gone" | undefined {
    const frame = Encoded.of({ session, seq: ++this.seq, ts: 1, ...body } as Frame);
    return this.follows.get(session)?.sink.write(frame);
  }

  tell(session: SessionId, fields: object = {}): void {
    this.watcher?.changed({ session, state: "idle", model: "sonnet", ...fields } as SessionInfo);
  }
}

const text = { type: "text.delta", text: "x" } as const;

describe("the publisher", () => {
  test("a session is followed while somebody wants its frames, and only then", async () => {
    const desk = new Desk();
    desk.tell(ONE);
    desk.tell(TWO);
    await turn();
    assert.equal(desk.follows.size, 0);
    await desk.want(`cib/${ONE}/json/text.delta`);
    assert.deepEqual([...desk.follows.keys()], [ONE]);
    desk.say(ONE, text);
    desk.say(ONE, { type: "stop", reason: "end_turn" });
    assert.deepEqual(
      desk.sent.map(([topic]) => topic),
      [`cib/${ONE}/json/text.delta`],
    );
    desk.wants.clear();
    await desk.want();
    assert.equal(desk.follows.size, 0);
  });

  test("who begins to listen hears what is new; a session that comes later is heard from its first frame", async () => {
    const desk = new Desk();
    desk.tell(ONE);
    await turn();
    await desk.want(`cib/${ONE}/frames/stop`, `cib/${TWO}/frames/stop`);
    desk.tell(TWO);
    assert.equal(desk.follows.get(ONE)?.from, undefined);
    assert.equal(desk.follows.get(TWO)?.from, 1);
  });

  test("a status is published when something in it has changed, and taken back when the session goes", async () => {
    const desk = new Desk();
    await desk.want(`cib/${ONE}/status`);
    desk.tell(ONE, { title: "a" });
    desk.tell(ONE, { title: "a", usage: { input: 5 } });
    desk.tell(ONE, { title: "a", waiting: 2, state: "waiting_for_input" });
    desk.watcher?.gone(ONE);
    desk.watcher?.gone(ONE);
    const topic = `cib/${ONE}/status`;
    assert.deepEqual(desk.sent, [
      [topic, '{"state":"idle","model":"sonnet","title":"a","waiting":0}', true],
      [topic, '{"state":"waiting_for_input","model":"sonnet","title":"a","waiting":2}', true],
      [topic, "", true],
    ]);
  });

  test("what is retained is encoded when it is asked for", () => {
    const desk = new Desk("cib/kitchen");
    desk.tell(ONE, { title: "a" });
    assert.deepEqual(desk.sent, []);
    const [only] = [...desk.publisher.retained()];
    assert.equal(only?.topic, `cib/kitchen/${ONE}/status`);
    assert.equal(JSON.parse(only?.payload().toString() ?? "").title, "a");
  });

  test("where nothing more fits it stops, and goes on when there is room", async () => {
    const desk = new Desk();
    desk.tell(ONE);
    await desk.want(`cib/${ONE}/frames/text.delta`, `cib/${ONE}/json/text.delta`);
    assert.equal(desk.say(ONE, text), "ok");
    desk.room = false;
    assert.equal(desk.say(ONE, text), "full");
    assert.equal(desk.sent.length, 4);
    const follow = desk.follows.get(ONE);
    desk.publisher.drained();
    desk.publisher.drained();
    assert.equal(follow?.drained, 1);
  });

  test("ended by a fault it goes on at the next frame; ended with the daemon it does not", async () => {
    const desk = new Desk();
    desk.tell(ONE);
    await desk.want(`cib/${ONE}/frames/text.delta`);
    desk.say(ONE, text);
    const first = desk.follows.get(ONE);
    desk.follows.delete(ONE);
    first?.sink.close("detached");
    desk.hands.advance(FIRST_WAIT_MS);
    assert.equal(desk.follows.get(ONE)?.from, 2);
    const second = desk.follows.get(ONE);
    desk.follows.delete(ONE);
    second?.sink.close("stopping");
    desk.hands.advance(LONGEST_WAIT_MS);
    assert.equal(desk.follows.size, 0);
  });

  test("a log that stays broken is tried less and less often, a whole one at once again, and one that nobody wants never", async () => {
    const desk = new Desk();
    desk.tell(ONE);
    await desk.want(`cib/${ONE}/frames/text.delta`);
    desk.say(ONE, text);
    const breaks = () => {
      const follow = desk.follows.get(ONE);
      if (follow !== undefined && desk.follows.delete(ONE)) follow.sink.close("detached");
      return follow !== undefined;
    };
    const times: number[] = [];
    for (let i = 0; i < 1000; i++) {
      if (breaks()) times.push(desk.hands.now);
      await desk.want();
      desk.hands.advance(FIRST_WAIT_MS);
    }
    assert.deepEqual(times.slice(0, 5), [0, 100, 300, 700, 1500]);
    assert.ok(times.length < 12, `${times.length} tries in 100 s`);
    desk.hands.advance(LONGEST_WAIT_MS);
    desk.say(ONE, text);
    breaks();
    desk.hands.advance(FIRST_WAIT_MS);
    assert.equal(desk.follows.get(ONE)?.from, 3);
    breaks();
    desk.wants.clear();
    await desk.want();
    desk.hands.advance(LONGEST_WAIT_MS);
    assert.equal(desk.hands.waiting, 0);
    assert.equal(desk.follows.size, 0);
  });

  test("a refusal of control is told elsewhere, a fault is told here", async () => {
    const desk = new Desk();
    desk.refuses = new CibError("not_found", "gone");
    desk.tell(ONE);
    await desk.want(`cib/${ONE}/frames/stop`);
    assert.deepEqual(desk.faults, []);
    desk.refuses = new TypeError("broken");
    await desk.want(`cib/${ONE}/frames/text.delta`);
    assert.equal(desk.faults.length, 1);
  });

  test("at its end it follows nothing and watches nobody", async () => {
    const desk = new Desk();
    desk.tell(ONE);
    await desk.want(`cib/${ONE}/frames/stop`);
    desk.publisher[Symbol.dispose]();
    assert.deepEqual([desk.follows.size, desk.watcher], [0, undefined]);
  });
});
