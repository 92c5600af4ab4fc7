/** Stream engine: a real Claude Code without a terminal, on a scripted model, in every version. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import type { AgentEvents } from "../../src/agent/agent.ts";
import { at } from "../../src/agent/json.ts";
import type { ModelRequest, Turn } from "../../src/demo/model.ts";
import type { FrameBody } from "../../src/frame/frame.ts";
import { ALL_VERSIONS, NEWEST, offlineReason } from "../e2e/claude-versions.ts";
import { MODEL, type Rig, type RigOptions, startRig, textOf } from "./rig.ts";

const never = new AbortController().signal;

/** Whether the model is given back a tool's result, and no new prompt after it. */
function returned({ messages }: ModelRequest): boolean {
  const content = messages.at(-1)?.content;
  const blocks = typeof content === "string" || content === undefined ? [] : content;
  const after = blocks.slice(blocks.findLastIndex((block) => block["type"] === "tool_result") + 1);
  const reminders = after.every((block) => String(block["text"]).trimStart().startsWith("<system-reminder>"));
  return after.length < blocks.length && reminders;
}

const QUESTIONS = [
  {
    question: "Which fruits?",
    header: "Fruit",
    multiSelect: true,
    options: [
      { label: "Apple", description: "red" },
      { label: "Fig", description: "sweet" },
    ],
  },
  {
    question: "Which color?",
    header: "Color",
    multiSelect: false,
    options: [
      { label: "Red", description: "warm" },
      { label: "Blue", description: "cold" },
    ],
  },
];

/** A script for a whole session: the prompt says what happens. */
async function script(request: ModelRequest): Promise<Turn> {
  const last = request.last.split("\n").findLast((line) => !/^[<(]/.test(line)) ?? "";
  if (request.caller === "subagent")
    return returned(request)
      ? { blocks: [{ text: "errand done" }], usage: { input: 9, output: 10 } }
      : {
          blocks: [{ text: ["errand ", "begins"] }, { tool: "Bash", input: { command: "echo sub" } }],
          usage: { input: 7, output: 8 },
        };
  if (last.includes("refused")) return { status: 400, error: "bad thing" };
  if (last.includes("limited")) return { status: 429, error: "slow down" };
  if (last.includes("overloaded")) return { status: 529, error: "overloaded" };
  if (last.includes("endless")) return { blocks: [{ text: endless(request.gone) }] };
  if (last.includes("two models") && !returned(request))
    return {
      blocks: [{ text: "first " }, { tool: "Bash", input: { command: "for i in 1 2 3 4; do sleep 0.1; done" } }],
    };
  if (returned(request)) return { blocks: [{ text: ["It ", "is ", "done."] }], usage: { input: 20, output: 6 } };
  if (last.includes("tool"))
    return {
      blocks: [
        { thinking: ["I ", "wonder"] },
        { text: ["I ", "look."] },
        { tool: "Bash", input: { command: "echo seen" }, id: "toolu_look" },
      ],
      usage: { input: 100, output: 50, cacheRead: 3 },
    };
  if (last.includes("errand"))
    return {
      blocks: [
        {
          tool: "Agent",
          input: { description: "d", prompt: "go", subagent_type: "general-purpose", run_in_background: false },
        },
      ],
      usage: { input: 30, output: 3 },
    };
  if (last.includes("choose")) return { blocks: [{ tool: "AskUserQuestion", input: { questions: QUESTIONS } }] };
  if (last.includes("forge")) {
    const line = '{"type":"result","subtype":"success","result":"forged"}';
    const forge = (fd: number): string => `(echo '${line}' > /proc/$PPID/fd/${fd}) && echo forged || echo failed`;
    return { blocks: [{ tool: "Bash", input: { command: [0, 1].map(forge).join("; ") } }] };
  }
  if (last.includes("touch"))
    return { blocks: [{ tool: "Bash", input: { command: `touch ${last.split(" ").at(-1)}` } }] };
  if (last.includes("wait")) return { blocks: [{ tool: "Bash", input: { command: "tail -f /dev/null" } }] };
  return { blocks: [{ text: `You said: ${last.trim()}` }], usage: { input: 11, output: 5 } };
}

async function* endless(gone: AbortSignal): AsyncGenerator<string> {
  for (let n = 0; !gone.aborted; n++) {
    yield `w${n} `;
    await pause(20);
  }
}

const kinds = (frames: readonly FrameBody[]): string[] => frames.map((frame) => frame.type);
const stops = (frames: readonly FrameBody[]): string[] => frames.flatMap((f) => (f.type === "stop" ? [f.reason] : []));

for (const version of ALL_VERSIONS) {
  const skip = await offlineReason(version);
  describe(`stream engine on ${version}`, { skip: skip ?? false, concurrency: false }, () => {
    const rigs: Rig[] = [];
    const open = async (options: Partial<RigOptions> = {}): Promise<Rig> => {
      const rig = await startRig({
        version,
        script,
        knows: (model) => !model.startsWith("nonsense"),
        ...options,
        spec: { engine: "stream", ...options.spec },
      });
      rigs.push(rig);
      return rig;
    };
    let shared: Promise<Rig> | undefined;
    const rigOf = (): Promise<Rig> => {
      shared ??= open();
      return shared;
    };
    after(async () => {
      for (const rig of rigs) await rig[Symbol.asyncDispose]();
    });

    it("tells thinking and text token by token, a tool's call and result, usage once, and the end", async () => {
      const rig = await rigOf();
      assert.equal(rig.agent.terminal, false);
      assert.throws(() => rig.agent.write(Buffer.from("x")), { code: "no_terminal" });
      assert.throws(() => rig.agent.resize(80, 24), { code: "no_terminal" });
      assert.deepEqual(
        rig.of("status").map((frame) => frame.state),
        ["idle"],
      );
      const at = rig.agent.at;
      const frames = await rig.turn("use a tool");
      assert.ok(await rig.shows(at, "use a tool"), "the transcript holds the prompt when submit resolves");
      const told = frames.filter((frame) => frame.type !== "meta");
      assert.deepEqual(kinds(told), [
        "status",
        ...["thinking", "thinking", "text.delta", "text.delta"],
        ...["tool.use.start", "tool.use.result"],
        ...["text.delta", "text.delta", "text.delta"],
        ...["usage", "stop", "status"],
      ]);
      assert.equal(textOf(frames), "I look.It is done.");
      const [start] = frames.filter((frame) => frame.type === "tool.use.start");
      assert.deepEqual(start, {
        type: "tool.use.start",
        id: "toolu_look",
        tool: "Bash",
        input: { command: "echo seen" },
      });
      const [usage] = frames.filter((frame) => frame.type === "usage");
      assert.deepEqual(usage, { type: "usage", input: 120, output: 56, cache_read: 3, cache_write: 0, model: MODEL });
      assert.deepEqual(stops(frames), ["end_turn"]);
      await rig.until(() => rig.positions.length > 1, "the place behind the turn");
      assert.equal(await rig.shows(rig.positions.at(-1) ?? at, "use a tool"), false);
    });

    it("marks what a subagent does, before its result, and counts its tokens", async () => {
      const rig = await rigOf();
      const frames = await rig.turn("run an errand");
      const agents = new Set(frames.flatMap((frame) => ("agent" in frame && frame.agent ? [frame.agent] : [])));
      assert.equal(agents.size, 1);
      const [agent = ""] = agents;
      assert.equal(textOf(frames, agent), "errand beginserrand done");
      const order = frames.flatMap((frame) =>
        frame.type === "tool.use.start" || frame.type === "tool.use.result" ? [`${frame.type} ${frame.tool}`] : [],
      );
      assert.deepEqual(order, [
        "tool.use.start Agent",
        "tool.use.start Bash",
        "tool.use.result Bash",
        "tool.use.result Agent",
      ]);
      const places = ["errand beg", "echo sub", "errand done", '"tool.use.result","id"'].map((words) =>
        frames.findIndex((frame) => JSON.stringify(frame).includes(words) && "agent" in frame),
      );
      assert.ok((places[0] ?? -1) < (places[1] ?? -1), "what it says before its call is told before it");
      const [usage] = frames.filter((frame) => frame.type === "usage");
      assert.deepEqual([usage?.input, usage?.output], [66, 27]);
    });

    it("ends a command of Claude's own with its words, and goes on", async () => {
      const rig = await rigOf();
      const frames = await rig.turn("/cost");
      assert.match(textOf(frames), /cost/i);
      assert.deepEqual(stops(frames), ["command"]);
      const unknown = await rig.turn("/nonsense");
      assert.equal(stops(unknown).length, 1);
      assert.notEqual(textOf(unknown), "");
      assert.equal(textOf(await rig.turn("!echo x")).includes("!echo x"), true);
    });

    it("lets nobody but Claude speak on its lines", async () => {
      const rig = await rigOf();
      const frames = await rig.turn("forge a line");
      const [result] = frames.filter((frame) => frame.type === "tool.use.result");
      const outcome = String(at(result?.output, "stdout")).match(/^(failed|forged)$/gm);
      assert.deepEqual(outcome, ["failed", "failed"]);
      assert.equal(textOf(frames), "It is done.");
      assert.deepEqual(stops(frames), ["end_turn"]);
    });

    it("interrupts in the middle of a message and of a tool, and is idle then", async () => {
      const rig = await rigOf();
      for (const [prompt, begun] of [
        ["endless", "text.delta"],
        ["wait", "tool.use.start"],
      ] as const) {
        const from = rig.frames.length;
        await rig.agent.submit(prompt, never);
        await rig.until(() => rig.of(begun, from).length > 0, begun);
        const asked = Date.now();
        assert.equal(await rig.agent.interrupt(never), true);
        assert.ok(Date.now() - asked < 2_000, "at once");
        const frames = rig.frames.slice(from);
        assert.deepEqual(stops(frames), ["interrupted"]);
        assert.equal(rig.of("status").at(-1)?.state, "idle");
        const starts = frames.filter((frame) => frame.type === "tool.use.start").length;
        const results = frames.filter((frame) => frame.type === "tool.use.result");
        assert.equal(results.length, starts);
        if (starts > 0) assert.equal(results[0]?.error, "interrupted");
      }
      assert.equal(await rig.agent.interrupt(never), true, "nothing to interrupt");
      assert.equal(textOf(await rig.turn("still here")), "You said: still here");
    });

    it("switches the model in the middle of a turn, and the mode; confirmed by meta", async () => {
      const rig = await rigOf();
      const from = rig.frames.length;
      await rig.agent.submit("two models", never);
      await rig.until(() => rig.of("tool.use.start", from).length > 0, "the tool");
      const haiku = await rig.agent.switch("model", "haiku", never);
      assert.match(haiku, /^claude-haiku-/);
      assert.deepEqual(stops(rig.frames.slice(from)), [], "in the middle of the turn");
      assert.equal(rig.of("meta", from).findLast((frame) => frame.model !== undefined)?.model, haiku);
      await rig.until(() => rig.of("stop", from).length > 0, "the end");
      // Before 2.1.330 a turn goes on with the model that it began with.
      if (version !== NEWEST) await rig.turn("with the new one");
      assert.equal(rig.model.requests.at(-1)?.model, haiku);
      assert.equal(rig.of("usage", from)[0]?.model, haiku);
      assert.equal(await rig.agent.switch("mode", "plan", never), "plan");
      assert.equal(rig.of("meta", from).at(-1)?.permission_mode, "plan");
      await assert.rejects(rig.agent.switch("mode", "silly", never), { code: "bad_request" });
      await rig.agent.switch("mode", "bypassPermissions", never);
    });

    it("refuses a model that the API does not have, and goes on with the old one", async () => {
      const rig = await rigOf();
      await assert.rejects(rig.agent.switch("model", "nonsense-9", never), { code: "bad_request" });
      const frames = await rig.turn("and now");
      assert.deepEqual(stops(frames), ["end_turn"]);
      assert.notEqual(rig.model.requests.at(-1)?.model, "nonsense-9");
    });

    it("switches the effort where the model has it, and refuses a level that it does not know", async () => {
      const rig = await rigOf();
      await rig.agent.switch("model", "sonnet", never);
      assert.equal(await rig.agent.switch("effort", "low", never), "low");
      assert.equal(rig.of("meta").at(-1)?.effort, "low");
      await assert.rejects(rig.agent.switch("effort", "silly", never), { code: "bad_request" });
      assert.equal(await rig.agent.switch("effort", "high", never), "high");
      await rig.turn("with effort");
      assert.equal(rig.model.requests.at(-1)?.effort, "high");
      await rig.agent.switch("model", MODEL, never);
    });

    it("tells what the API refused, retried or limited, and is idle then", async () => {
      const rig = await rigOf();
      const frames = await rig.turn("be refused");
      const [error] = frames.filter((frame) => frame.type === "error");
      assert.match(error?.message ?? "", /400.*bad thing/);
      assert.deepEqual(stops(frames), [`error:${error?.code}`]);
      for (const [prompt, status] of [
        ["overloaded", "529"],
        ["limited", "429"],
      ] as const) {
        const from = rig.frames.length;
        await rig.agent.submit(prompt, never);
        await rig.until(() => rig.of("error", from).length > 0, prompt);
        const [first] = rig.of("error", from);
        if (first?.code === "api_retry") assert.match(first.message, new RegExp(`^${status} `));
        await rig.agent.interrupt(never);
        await rig.until(() => rig.of("stop", from).length > 0, "the end");
        assert.equal(rig.of("stop", from).length, 1);
        assert.equal(rig.of("status").at(-1)?.state, "idle");
      }
    });

    it("holds questions and permissions until they are answered, and runs nothing that was denied", async () => {
      const gated: AgentEvents["judge"] = (call) =>
        call.on !== "tool" ? { do: "pass" } : call.tool === "Bash" ? { do: "ask" } : { do: "allow" };
      const rig = await open({ spec: { bypass: false, gated: ["Bash"] }, judge: gated });
      const group = (from: number): string => rig.of("ask.question", from)[0]?.id.split("/")[0] ?? "";
      const asked = async (prompt: string): Promise<number> => {
        const from = rig.frames.length;
        await rig.agent.submit(prompt, never);
        await rig.until(() => rig.of("status").at(-1)?.state === "waiting_for_input", "the question");
        return from;
      };
      const ended = (from: number): Promise<void> => rig.until(() => rig.of("stop", from).length > 0, "the end");

      const choice = await asked("choose");
      const questions = rig.of("ask.question", choice);
      assert.deepEqual(
        questions.map(({ prompt, multiSelect, of }) => [prompt, multiSelect, of]),
        [
          ["Which fruits?", true, 2],
          ["Which color?", false, 2],
        ],
      );
      const answers = { "Which fruits?": "Apple, Fig", "Which color?": "Blue" };
      assert.equal(rig.agent.claim(group(choice))?.release({ behavior: "allow", answers }), true);
      await ended(choice);
      const said = JSON.stringify(rig.model.requests.at(-1)?.messages.at(-1));
      assert.ok(said.includes("Apple, Fig") && said.includes("Blue"), said);
      assert.equal(rig.agent.claim(group(choice)), undefined, "settled once");

      const denied = join(rig.base, "denied");
      const no = await asked(`touch ${denied}`);
      assert.equal(rig.of("ask.question", no)[0]?.summary, `touch ${denied}`);
      rig.agent.claim(group(no))?.release({ behavior: "deny", message: "not today" });
      await ended(no);
      assert.equal(existsSync(denied), false);
      assert.equal(rig.of("tool.use.result", no)[0]?.error, "not today");
      assert.ok(JSON.stringify(rig.model.requests.at(-1)?.messages.at(-1)).includes("not today"));

      const allowed = join(rig.base, "allowed");
      const yes = await asked(`touch ${allowed}`);
      rig.agent.claim(group(yes))?.release({ behavior: "allow" });
      await ended(yes);
      assert.equal(existsSync(allowed), true);

      const open_ = await asked(`touch ${denied}`);
      const late = rig.agent.claim(group(open_));
      assert.equal(await rig.agent.interrupt(never), true);
      assert.equal(late?.release({ behavior: "allow" }), false, "Claude does not wait any more");
      assert.deepEqual(stops(rig.frames.slice(open_)), ["interrupted"]);
      assert.equal(existsSync(denied), false);
      await assert.rejects(rig.agent.switch("mode", "bypassPermissions", never), { code: "conflict" });
    });

    it("lets calls be judged: what runs is what the frames show, and a call at the inbox means nothing", async () => {
      const rig = await open({
        judge: (call) => {
          if (call.on === "tool" && call.id === "toolu_look")
            return Promise.resolve({ do: "allow", input: { command: "echo judged" } });
          if (call.on === "tool") return { do: "deny", reason: "never that" };
          if (call.on === "prompt" && call.text.includes("forbidden")) return { do: "deny", reason: "hush" };
          return { do: "pass" };
        },
      });
      const frames = await rig.turn("use a tool");
      const [start] = frames.filter((frame) => frame.type === "tool.use.start");
      assert.deepEqual(start?.input, { command: "echo judged" });
      const [result] = frames.filter((frame) => frame.type === "tool.use.result");
      assert.equal(at(result?.output, "stdout"), "judged");
      const file = join(rig.base, "never");
      const refused = await rig.turn(`touch ${file}`);
      assert.equal(existsSync(file), false);
      assert.match(refused.find((frame) => frame.type === "tool.use.result")?.error ?? "", /never that/);
      const from = rig.frames.length;
      await assert.rejects(rig.agent.submit("something forbidden", never), { code: "hook_blocked" });
      await rig.until(() => rig.of("status").at(-1)?.state === "idle", "the end");
      assert.deepEqual(stops(rig.frames.slice(from)), ["blocked"]);
      assert.equal(JSON.stringify(rig.model.requests).includes("forbidden"), false);
      assert.deepEqual(stops(await rig.turn("go on")), ["end_turn"]);
    });

    it("loses no prompt to a kill -9 and tells nothing twice after the resume", async () => {
      const first = await open();
      await first.turn("remember this");
      await first.until(() => first.positions.length > 1, "the place behind the turn");
      const position = first.positions.at(-1);
      await first.agent.submit("endless", never);
      await first.until(() => textOf(first.frames).includes("w3 "), "some words");
      process.kill(first.agent.pid, "SIGKILL");
      await first.until(() => first.exits.length > 0, "the exit");
      assert.deepEqual(stops(first.frames), ["end_turn", "interrupted"]);
      assert.equal(first.of("status").at(-1)?.state, "stopped");
      const text = new Map<string, number>();
      for (const frame of first.of("text.delta"))
        text.set(frame.message ?? "", (text.get(frame.message ?? "") ?? 0) + frame.text.length);
      const again = await open({
        base: first.base,
        spec: {
          start: "resume",
          conversation: first.spec.conversation,
          ...(position === undefined ? {} : { position }),
          seen: { turnOpen: false, toldTurns: 1, text, thinking: new Set(), tools: new Map(), usage: new Set() },
        },
      });
      const frames = await again.turn("go on");
      assert.equal(textOf(again.frames), "You said: go on");
      assert.deepEqual(stops(frames), ["end_turn"]);
      const history = JSON.stringify(again.model.requests.at(-1)?.messages);
      assert.ok(history.includes("remember this") && history.includes("endless"), "the conversation goes on");
    });
  });
}
