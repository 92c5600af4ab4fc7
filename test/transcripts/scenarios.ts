/** Scenarios: what is recorded of every version of Claude Code, and replayed by the golden test. */
import type { AgentSpec } from "../../src/agent/agent.ts";
import type { ModelRequest, Script, Turn } from "../../src/demo/model.ts";
import type { Rig } from "../agent/rig.ts";
import { JS_VERSION } from "../e2e/claude-versions.ts";

export interface Scenario {
  readonly name: string;
  readonly script: Script;
  readonly spec?: Partial<AgentSpec>;
  readonly without?: readonly string[];
  /** An earlier run in the same folders, which is not recorded. */
  readonly prelude?: (rig: Rig) => Promise<unknown>;
  readonly run: (rig: Rig) => Promise<unknown>;
}

const NOW = new AbortController().signal;
const say = (text: string): Turn => ({ blocks: [{ text }] });
const usage = { input: 11, output: 22, cacheRead: 5, cacheWrite: 6 };

/** `first` answers the prompt, everything after it (tool results, other prompts) gets "Done." */
const answering =
  (words: string, first: (request: ModelRequest) => Turn): Script =>
  (request) =>
    request.last.includes(words) ? first(request) : say("Done.");

async function* hanging(request: ModelRequest, ...pieces: string[]): AsyncGenerator<string> {
  yield* pieces;
  await new Promise<void>((done) => request.gone.addEventListener("abort", () => done()));
}

const question = {
  question: "Which color?",
  header: "Color",
  multiSelect: false,
  options: [
    { label: "Red", description: "warm" },
    { label: "Blue", description: "cold" },
  ],
};
const todos = [
  { content: "Dig", status: "in_progress", activeForm: "Digging" },
  { content: "Fill", status: "pending", activeForm: "Filling" },
];
const LOOP = "for i in 1 2 3 4 5 6 7 8 9; do sleep 5; done";
const big = Array.from({ length: 1400 }, (_, i) => `Line ${i}: ${"word ".repeat(10)}äö`).join("\n");

export const SCENARIOS: readonly Scenario[] = [
  {
    name: "text",
    script: () => ({
      blocks: [{ text: ["Line one.\nLine ", "two: äöü 漢字 🙂.\n\n", "The last."], everyMs: 60 }],
      usage,
    }),
    run: (rig) => rig.turn("say lines"),
  },
  {
    name: "thinking",
    script: () => ({ blocks: [{ thinking: ["Let me ", "think."], everyMs: 60 }, { text: "Thought." }], usage }),
    run: (rig) => rig.turn("think"),
  },
  {
    name: "bash",
    script: answering("run", () => ({
      blocks: [{ text: "I run it." }, { tool: "Bash", input: { command: "echo out" } }],
    })),
    run: (rig) => rig.turn("run it"),
  },
  {
    name: "bash-failure",
    script: answering("run", () => ({ blocks: [{ tool: "Bash", input: { command: "echo bad >&2; exit 3" } }] })),
    run: (rig) => rig.turn("run it"),
  },
  {
    name: "parallel-tools",
    script: answering("run", () => ({
      blocks: [
        { text: "Two at once.\nNow" },
        { tool: "Bash", input: { command: "sleep 0.2; echo one-out" } },
        { tool: "Bash", input: { command: "echo two-out" } },
      ],
    })),
    run: (rig) => rig.turn("run both"),
  },
  {
    name: "tasks",
    script: (request) => {
      const rounds = request.messages.filter((m) => m.role === "assistant").length;
      if (rounds === 0)
        return {
          blocks: [{ tool: "TaskCreate", input: { subject: "Dig", description: "dig", activeForm: "Digging" } }],
        };
      if (rounds === 1) return { blocks: [{ tool: "TaskUpdate", input: { taskId: "1", status: "in_progress" } }] };
      if (rounds === 2) return { blocks: [{ tool: "TaskUpdate", input: { taskId: "1", status: "completed" } }] };
      return say("Planned.");
    },
    run: (rig) => rig.turn("plan"),
  },
  {
    name: "todo-write",
    without: [JS_VERSION],
    spec: { env: { CLAUDE_CODE_ENABLE_TASKS: "0" } },
    script: answering("plan", () => ({ blocks: [{ tool: "TodoWrite", input: { todos } }] })),
    run: (rig) => rig.turn("plan"),
  },
  {
    name: "question",
    script: answering("quiz", () => ({ blocks: [{ tool: "AskUserQuestion", input: { questions: [question] } }] })),
    async run(rig) {
      await rig.agent.submit("quiz", NOW);
      await rig.until(() => rig.of("status").at(-1)?.state === "waiting_for_input", "the question");
      await rig.agent.interrupt(NOW);
    },
  },
  {
    name: "subagent",
    script: (request) => {
      if (request.caller === "subagent")
        return request.last.includes("sub-out")
          ? say("Sub done.")
          : { blocks: [{ text: "Sub works." }, { tool: "Bash", input: { command: "echo sub-out" } }] };
      const delegate = {
        tool: "Agent",
        input: { description: "look", prompt: "look around", subagent_type: "general-purpose" },
      };
      return request.last.includes("delegate") ? { blocks: [{ text: "Asking." }, delegate] } : say("All done.");
    },
    async run(rig) {
      await rig.turn("delegate");
      const inBackground = rig
        .of("tool.use.result")
        .some((f) => f.tool === "Agent" && JSON.stringify(f.output).includes("async_launched"));
      if (inBackground) await rig.until(() => rig.of("stop").length === 2, "the turn after the subagent's end");
    },
  },
  {
    name: "clear",
    script: answering("first", () => say("One.")),
    async run(rig) {
      await rig.turn("first");
      await rig.turn("/clear");
      await rig.turn("second");
    },
  },
  {
    name: "resume",
    script: answering("first", () => say("One.")),
    prelude: (rig) => rig.turn("first"),
    run: (rig) => rig.turn("second"),
  },
  {
    name: "interrupt",
    script: answering("hang", (request) => ({ blocks: [{ text: hanging(request, "Line A.\n", "half") }] })),
    async run(rig) {
      await rig.agent.submit("hang on", NOW);
      await rig.until(() => rig.model.requests.length > 0, "the request");
      await new Promise((done) => setTimeout(done, 500));
      await rig.agent.interrupt(NOW);
    },
  },
  {
    name: "interrupt-tool",
    script: answering("hang", () => ({ blocks: [{ text: "Go." }, { tool: "Bash", input: { command: LOOP } }] })),
    async run(rig) {
      await rig.agent.submit("hang on", NOW);
      await rig.until(() => rig.of("tool.use.start").length === 1, "the tool");
      await rig.agent.interrupt(NOW);
    },
  },
  {
    name: "api-error",
    script: (request) =>
      request.last.includes("bad")
        ? { status: 400, error: "scripted refusal" }
        : request.nth === 0
          ? { status: 529, error: "busy" }
          : say("Got through."),
    async run(rig) {
      await rig.turn("hello");
      await rig.turn("bad");
    },
  },
  { name: "84-kilobytes", script: () => say(big), run: (rig) => rig.turn("much") },
];
