import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { TapRequest } from "../../src/agent/tap-request.ts";
import { type Heard, MAX_EVENT_BYTES, TapStream } from "../../src/agent/tap-stream.ts";

type Event = Readonly<Record<string, unknown>>;

const sse = (events: readonly Event[], end = "\n"): Buffer =>
  Buffer.from(events.map((e) => `event: ${String(e["type"])}${end}data: ${JSON.stringify(e)}${end}${end}`).join(""));
const begin = (id: string): Event => ({ type: "message_start", message: { id, model: "m" } });
const delta = (value: object): Event => ({ type: "content_block_delta", index: 0, delta: value });
const text = (said: string): Event => delta({ type: "text_delta", text: said });
const thinking = (said: string): Event => delta({ type: "thinking_delta", thinking: said });
const block = (value: object): Event => ({ type: "content_block_start", index: 0, content_block: value });
const END: Event = { type: "message_stop" };

/** Pieces of one text joined, as a reader of frames would. */
function joined(heard: readonly Heard[]): Heard[] {
  const out: Heard[] = [];
  for (const one of heard) {
    const last = out.at(-1);
    if ((one.tell === "text" || one.tell === "thinking") && last?.tell === one.tell && last.message === one.message)
      out[out.length - 1] = { ...last, text: last.text + one.text };
    else out.push(one);
  }
  return out;
}

function cut(bytes: Buffer, cuts: readonly number[]): Heard[] {
  const stream = new TapStream();
  const heard: Heard[] = [];
  let from = 0;
  for (const to of [...cuts.map((c) => c % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]) {
    heard.push(...stream.push(bytes.subarray(from, to)));
    from = to;
  }
  return joined(heard);
}

const words = fc.string({ unit: fc.constantFrom("a", "ä", "漢", "🙂", "\n", '"', "\\", "data:"), maxLength: 8 });
const anyEvent: fc.Arbitrary<Event> = fc.oneof(
  words.map(text),
  words.map(thinking),
  fc.constant(block({ type: "text", text: "" })),
  fc.constant(block({ type: "tool_use", id: "toolu_1", name: "Bash", input: {} })),
  words.map((json) => delta({ type: "input_json_delta", partial_json: json })),
  fc.constant({ type: "ping" }),
);

describe("a tapped stream", () => {
  it("says the same however its bytes are cut, and whichever way its lines end", () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 12 }), fc.array(fc.nat(4000)), fc.boolean(), (events, cuts, crlf) => {
        const all = [begin("msg_1"), ...events, END];
        const bytes = sse(all, crlf ? "\r\n" : "\n");
        const whole = joined(new TapStream().push(bytes));
        assert.deepEqual(cut(bytes, cuts), whole);
        const said = (kind: "text" | "thinking"): string =>
          whole.flatMap((h) => (h.tell === kind ? [h.text] : [])).join("");
        const meant = (type: string, key: string): string =>
          events
            .map((e) => e["delta"] as Event | undefined)
            .flatMap((d) => (d?.["type"] === type ? [String(d[key])] : []))
            .join("");
        assert.equal(said("text"), meant("text_delta", "text"));
        assert.equal(said("thinking"), meant("thinking_delta", "thinking"));
        assert.deepEqual(whole.at(-1), { tell: "end", message: "msg_1" });
      }),
    );
  });

  it("keeps the order of thinking, text and tools", () => {
    const tool = block({ type: "tool_use", id: "toolu_1", name: "Bash", input: {} });
    const heard = new TapStream().push(
      sse([begin("msg_1"), thinking("hm"), text("a"), text("b"), tool, text("c"), END]),
    );
    assert.deepEqual(
      heard.map((h) => (h.tell === "text" || h.tell === "thinking" ? `${h.tell} ${h.text}` : h.tell)),
      ["begin", "thinking hm", "text ab", "tool", "text c", "end"],
    );
  });

  it("throws at no garbage, and says nothing after a hole", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.uint8Array({ maxLength: 60 }),
            anyEvent.map((e) => sse([e])),
          ),
          { maxLength: 20 },
        ),
        (parts) => {
          const stream = new TapStream();
          const heard = [...stream.push(sse([begin("msg_1")])), ...parts.flatMap((part) => stream.push(part))];
          const lost = heard.findIndex(({ tell }) => tell === "lost");
          assert.ok(lost < 0 || lost === heard.length - 1);
        },
      ),
    );
    const stream = new TapStream();
    stream.push(sse([begin("msg_1"), text("before")]));
    assert.deepEqual(stream.push(Buffer.from("data: {broken\n\n")), [{ tell: "lost", message: "msg_1" }]);
    assert.deepEqual(stream.push(sse([text("after"), END])), []);
  });

  it("passes over an event above its limit without keeping it, whatever the chunks", () => {
    const stream = new TapStream();
    stream.push(sse([begin("msg_1")]));
    const piece = Buffer.alloc(64 * 1024, "x");
    const heard: Heard[] = [];
    for (let sent = 0; sent < 20 * MAX_EVENT_BYTES; sent += piece.length) heard.push(...stream.push(piece));
    assert.deepEqual(heard, [{ tell: "lost", message: "msg_1" }]);
    assert.deepEqual(stream.push(sse([text("after")])), []);
  });

  it("of something else entirely says nothing", () => {
    assert.deepEqual(new TapStream().push(Buffer.from("data: [DONE]\n\ndata: 5\n\n: comment\n\nid: 7\n\n")), []);
    assert.deepEqual(new TapStream().push(sse([text("no message began"), END, { type: "message_start" }])), []);
  });
});

describe("who asks", () => {
  const ask = (body: object, marked: boolean, agent?: string, cuts: readonly number[] = []): unknown => {
    const request = new TapRequest(agent === undefined ? {} : { "x-claude-code-agent-id": agent }, marked);
    const bytes = Buffer.from(JSON.stringify(body));
    let from = 0;
    for (const to of [...cuts.map((c) => c % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]) {
      request.push(bytes.subarray(from, to));
      from = to;
    }
    return request.asker;
  };
  const talk = [{ role: "user", content: 'say "tools":[{"name":"Agent"}] You are' }];
  const tools = [{ name: "Bash" }, { name: "Agent" }];

  it("is found wherever the body is cut", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(500)), (cuts) => {
        assert.deepEqual(ask({ messages: talk, tools }, false, undefined, cuts), {});
        assert.deepEqual(ask({ messages: talk, tools }, true, "a1", cuts), { agent: "a1" });
        assert.equal(ask({ messages: talk, tools: [] }, true, undefined, cuts), undefined);
        assert.equal(ask({ messages: talk, tools: [{ name: "Bash" }] }, false, undefined, cuts), undefined);
        const system = [{ type: "text", text: "You are an agent for Claude Code, …" }];
        assert.equal(ask({ system, messages: talk, tools }, false, undefined, cuts), undefined);
      }),
    );
  });

  it("is the main thread without a header where subagents have one, though it has no Agent tool", () => {
    assert.deepEqual(ask({ messages: talk, tools: [{ name: "Bash" }] }, true), {});
  });
});
