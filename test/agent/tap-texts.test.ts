import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Source } from "../../src/agent/source.ts";
import { newState, reopen, type State } from "../../src/agent/state.ts";
import type { Heard } from "../../src/agent/tap-stream.ts";
import { displayed, hear, heard, newTexts, renewed, unhear, written } from "../../src/agent/texts.ts";
import { translate } from "../../src/agent/translate.ts";
import { rowFor } from "../../src/agent/versions.ts";
import type { FrameBody } from "../../src/frame/frame.ts";
import { textOf } from "./rig.ts";

const state = (version = "2.1.197"): State => newState(rowFor(version).row, true);
const hook = (event: string, body: Readonly<Record<string, unknown>> = {}, at = 0): Source => ({
  src: "hook",
  at,
  event,
  body,
});
const tap = (one: Heard, agent?: string): Source => ({
  src: "tap",
  at: 0,
  heard: one,
  ...(agent === undefined ? {} : { agent }),
});
const begin = (message: string, agent?: string): Source => tap({ tell: "begin", message, model: "m" }, agent);
const said = (message: string, text: string, agent?: string): Source => tap({ tell: "text", message, text }, agent);
const line = (id: string, ...content: object[]): Source => ({
  src: "line",
  at: 0,
  line: { type: "assistant", message: { id, model: "m", content } },
});
const text = (words: string): object => ({ type: "text", text: words });
const play = (to: State, ...sources: Source[]): FrameBody[] => sources.flatMap((source) => translate(to, source));
const types = (frames: readonly FrameBody[]): string[] => frames.map((frame) => frame.type).filter((t) => t !== "meta");
const PROMPT = hook("UserPromptSubmit");
const display = (id: string, index: number, delta: string): Source =>
  hook("MessageDisplay", { message_id: id, index, delta });

describe("three accounts of a message", () => {
  it("tell it once, wherever the tap breaks off, may not speak or missed it, and whatever the display loses", () => {
    const message = fc.array(fc.string({ unit: fc.constantFrom("a", "ä", "\n", "🙂"), minLength: 1, maxLength: 6 }), {
      minLength: 1,
      maxLength: 6,
    });
    fc.assert(
      fc.property(
        fc.array(fc.record({ pieces: message, tap: fc.constantFrom("whole", "cut", "lost", "none") }), {
          minLength: 1,
          maxLength: 4,
        }),
        fc.infiniteStream(fc.nat(9)),
        (script, dice) => {
          const roll = (): number => dice.next().value ?? 0;
          const texts = newTexts();
          const got: string[] = [];
          const wanted: string[] = [];
          for (const [n, one] of script.entries()) {
            const id = `msg_${n}`;
            const said = [`${n}:`, ...one.pieces];
            const breaks = one.tap === "whole" ? said.length : roll() % said.length;
            // An interrupted message has no more than what passed; Claude writes that down under an id of its own.
            const pieces = one.tap === "cut" ? said.slice(0, breaks) : said;
            const whole = pieces.join("");
            const writtenId = one.tap === "cut" ? `own_${n}` : id;
            wanted.push(whole);
            const told: string[] = [];
            const take = (piece: { text: string } | undefined): void => void told.push(piece?.text ?? "");
            const rest = [...whole.split(/(?<=\n)/).entries()].filter(() => roll() > 1);
            let passed = "";
            if (one.tap !== "none") hear(texts, id);
            for (const [i, piece] of pieces.entries()) {
              if (one.tap !== "none") {
                if (i === breaks && one.tap === "lost") unhear(texts, id, "lost");
                if (i < breaks || one.tap === "lost") take(heard(texts, id, piece, roll() > 2));
              }
              passed += piece;
              // The display follows what has passed, now or later.
              while (rest[0] !== undefined && roll() > 3) {
                const [index, delta] = rest[0];
                if (
                  !passed.startsWith(
                    whole
                      .split(/(?<=\n)/)
                      .slice(0, index + 1)
                      .join(""),
                  )
                )
                  break;
                rest.shift();
                take(displayed(texts, `d${n}`, index, delta));
              }
            }
            if (one.tap === "whole" || one.tap === "cut") unhear(texts, id, one.tap);
            const late = roll() > 4;
            if (!late && whole !== "") take(written(texts, writtenId, whole));
            for (const [index, delta] of rest) take(displayed(texts, `d${n}`, index, delta));
            if (late && whole !== "") take(written(texts, writtenId, whole));
            got.push(told.join(""));
          }
          assert.deepEqual(got, wanted);
        },
      ),
      { numRuns: 500 },
    );
  });

  it("agree though the display shows other words than were said", () => {
    const texts = newTexts();
    hear(texts, "msg_1");
    assert.equal(heard(texts, "msg_1", "\n\nHello", true)?.text, "\n\nHello");
    assert.equal(displayed(texts, "d", 0, "Hello and more"), undefined);
    assert.equal(heard(texts, "msg_1", " you", true)?.text, " you");
    unhear(texts, "msg_1", "whole");
    assert.equal(written(texts, "msg_1", "Hello you, as Claude likes to write it down"), undefined);
  });

  it("leave a message that was cut and asked for again apart from its second try", () => {
    const texts = newTexts();
    hear(texts, "msg_1");
    assert.equal(heard(texts, "msg_1", "Hello wo", true)?.text, "Hello wo");
    unhear(texts, "msg_1", "cut");
    // The second try passed outside the tap.
    assert.equal(displayed(texts, "d", 0, "Hello world.\n"), undefined);
    assert.deepEqual(written(texts, "msg_2", "Hello world.\n"), { key: "msg_2", text: "Hello world.\n" });
  });

  it("know an interrupted message again, which Claude writes down under an id of its own", () => {
    const texts = newTexts();
    hear(texts, "msg_1");
    heard(texts, "msg_1", "Line A.\nhalf", true);
    assert.equal(displayed(texts, "d", 0, "Line A.\n"), undefined);
    unhear(texts, "msg_1", "cut");
    assert.equal(written(texts, "uuid", "Line A.\nhalf"), undefined);
    assert.equal(displayed(texts, "d", 1, "half"), undefined);
  });

  it("survive the begin of a turn as far as the tap still listens", () => {
    let texts = newTexts();
    hear(texts, "msg_1");
    heard(texts, "msg_1", "Ear", false);
    hear(texts, "msg_0");
    unhear(texts, "msg_0", "whole");
    texts = renewed(texts);
    assert.deepEqual(heard(texts, "msg_1", "ly", true), { key: "msg_1", text: "Early" });
    assert.equal(heard(texts, "msg_0", "x", true), undefined);
  });
});

describe("what the tap hears", () => {
  it("becomes frames token by token, thinking before text, and a tool starts as soon as Claude says so", () => {
    const to = state();
    play(to, PROMPT);
    const frames = play(
      to,
      begin("msg_1"),
      tap({ tell: "thinking", message: "msg_1", text: "Hm" }),
      tap({ tell: "thinking", message: "msg_1", text: "m." }),
      said("msg_1", "Lo"),
      display("d", 0, "Look."),
      said("msg_1", "ok."),
      tap({ tell: "tool", message: "msg_1", tool: "t" }),
      tap({ tell: "end", message: "msg_1" }),
      hook("PreToolUse", { tool_use_id: "t", tool_name: "Bash", tool_input: {} }),
      line("msg_1", { type: "thinking", thinking: "Hmm." }),
      line("msg_1", text("Look.")),
      line("msg_1", { type: "tool_use", id: "t", name: "Bash", input: {} }),
    );
    assert.deepEqual(types(frames), ["thinking", "thinking", "text.delta", "text.delta", "tool.use.start"]);
    assert.equal(textOf(frames), "Look.");
  });

  it("of a broken stream is completed by the transcript, thinking too", () => {
    const to = state("2.1.112");
    play(to, PROMPT, begin("msg_1"), tap({ tell: "thinking", message: "msg_1", text: "Hm" }));
    const frames = play(
      to,
      tap({ tell: "lost", message: "msg_1" }),
      said("msg_1", "not at its place"),
      line("msg_1", { type: "thinking", thinking: "Hmm." }),
      line("msg_1", text("Look.")),
    );
    assert.deepEqual(
      frames.filter((f) => f.type !== "meta"),
      [
        { type: "thinking", text: "m.", message: "msg_1" },
        { type: "text.delta", text: "Look.", message: "msg_1" },
      ],
    );
  });

  it("is not told where Claude asks for its own ends: while it compacts, between turns, when a turn is over", () => {
    const to = state();
    const summary = [begin("msg_s"), said("msg_s", "Summary."), tap({ tell: "end", message: "msg_s" })];
    assert.deepEqual(play(to, hook("PreCompact"), ...summary, hook("PostCompact"), ...summary), []);
    play(to, PROMPT);
    assert.deepEqual(play(to, hook("PreCompact"), ...summary), []);
    assert.equal(textOf(play(to, hook("PostCompact"), begin("msg_1"), said("msg_1", "On."))), "On.");
    play(to, hook("Stop"));
    assert.deepEqual(play(to, begin("msg_2"), said("msg_2", "Suggestion?")), []);
  });

  it("of a turn that a display call opens is told from its beginning", () => {
    const to = state();
    const frames = play(to, begin("msg_1"), said("msg_1", "One.\nTw"), display("d", 0, "One.\n"), said("msg_1", "o."));
    assert.deepEqual(types(frames), ["status", "text.delta", "text.delta"]);
    assert.equal(textOf(frames), "One.\nTwo.");
  });

  it("of the next turn waits for the end of this one", () => {
    const to = state();
    play(to, PROMPT, hook("Stop"), PROMPT);
    assert.deepEqual(play(to, begin("msg_1"), said("msg_1", "Next.")), []);
    const frames = play(to, { src: "line", at: 0, line: { type: "system", subtype: "stop_hook_summary" } });
    assert.deepEqual(types(frames), ["stop", "status", "status", "text.delta"]);
  });

  it("of a subagent is told once, and only of one that Claude has told of", () => {
    const to = state();
    play(to, PROMPT);
    const agentLine: Source = { ...line("msg_1", text("Sub.")), agent: "a1" } as Source;
    assert.deepEqual(play(to, begin("msg_0", "a0"), said("msg_0", "Who?", "a0")), []);
    play(to, hook("SubagentStart", { agent_id: "a1" }));
    const frames = play(to, begin("msg_1", "a1"), said("msg_1", "Sub.", "a1"));
    assert.deepEqual(frames, [{ type: "text.delta", text: "Sub.", message: "msg_1", agent: "a1" }]);
    // A background agent outlives the turn: its lines may come after the end.
    play(to, hook("Stop"), { src: "line", at: 0, line: { type: "system", subtype: "stop_hook_summary" } });
    assert.deepEqual(types(play(to, agentLine)), []);
  });

  it("and the log holds is not told again after a restart", () => {
    const to = state();
    const seen = { turnOpen: true, toldTurns: 0, tools: new Map(), usage: new Set<string>() };
    reopen(to, { ...seen, text: new Map([["msg_1", 5]]), thinking: new Set(["msg_1"]) }, 0);
    const frames = play(to, line("msg_1", { type: "thinking", thinking: "Hm." }), line("msg_1", text("Seen, unseen.")));
    assert.equal(textOf(frames), " unseen.");
    assert.equal(types(frames).includes("thinking"), false);
  });
});
