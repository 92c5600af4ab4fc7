/** The demo's script: what the scripted model says, so that every kind of frame shows once without an account. */
import type { Message, ModelRequest, Script, Turn } from "./model.ts";

export const DEMO_PROMPT = "Look around in this folder and tell me what you find.";

/** A word every 40 ms: about the pace of a real model. */
const WORD_MS = 40;
const words = (text: string) => ({ text: text.split(/(?<=\s)/), everyMs: WORD_MS });

const QUESTION = {
  question: "Which light shall I switch on?",
  header: "Light",
  multiSelect: false,
  options: [
    { label: "Green", description: "all is well" },
    { label: "Red", description: "somebody is needed" },
  ],
};

/** Steps of the demo's turn; after each the tool results come back. */
const STEPS: readonly ((tools: readonly string[]) => Turn)[] = [
  () => ({
    blocks: [
      { thinking: "A new folder. I look before I speak.", everyMs: WORD_MS },
      words("I will have a look.\n"),
      { tool: "Bash", input: { command: "pwd; ls -la; uname -sm", description: "Look around" } },
    ],
    usage: { input: 1200, output: 60, cacheWrite: 900 },
  }),
  (tools) => ({ blocks: plan(tools), usage: { input: 1300, output: 40, cacheRead: 900 } }),
  () => ({
    blocks: [
      words(
        "This is the workspace of your box.\nEverything you just saw, the words, the command, its output, went over the wire as numbered frames.\nNow try the commands below.\n",
      ),
    ],
    usage: { input: 1500, output: 50, cacheRead: 900 },
  }),
];

export const demoScript: Script = (request) => {
  if (!promptOf(request).includes(DEMO_PROMPT)) return echo(request);
  const step = STEPS[Math.min(rounds(request.messages), STEPS.length - 1)];
  return step === undefined ? { status: 500 } : step(request.tools);
};

/** Whichever way this version keeps a task list; one without gets another command. */
function plan(tools: readonly string[]): Extract<Turn, { blocks: unknown }>["blocks"] {
  if (tools.includes("TaskCreate"))
    return [{ tool: "TaskCreate", input: { subject: "Say what is here", description: "Say what is here" } }];
  if (tools.includes("TodoWrite")) {
    const todo = { content: "Say what is here", status: "in_progress", activeForm: "Saying what is here" };
    return [{ tool: "TodoWrite", input: { todos: [todo] } }];
  }
  return [{ tool: "Bash", input: { command: "date", description: "Look at the clock" } }];
}

/** Whatever else is typed into a demo session: "Run date" calls a tool, "Ask me" asks, so that both can be answered from afar. */
function echo(request: ModelRequest): Turn {
  const begins = rounds(request.messages) === 0;
  const command = /^run (.{1,200})$/im.exec(promptOf(request))?.[1];
  if (begins && command !== undefined)
    return {
      blocks: [{ tool: "Bash", input: { command, description: "What you said" } }],
      usage: { input: 20, output: 20 },
    };
  if (begins && /^ask me$/im.test(promptOf(request)) && request.tools.includes("AskUserQuestion"))
    return {
      blocks: [{ tool: "AskUserQuestion", input: { questions: [QUESTION] } }],
      usage: { input: 20, output: 20 },
    };
  if (!begins) return { blocks: [words("That was it.\n")], usage: { input: 40, output: 10 } };
  const heard = promptOf(request).trim().slice(0, 200);
  return {
    blocks: [
      words(
        `You said: ${heard}\nI am the demo's scripted model and know no more than that. npm start runs the real one.\n`,
      ),
    ],
    usage: { input: 20, output: 30 },
  };
}

/** Answers given since the last prompt: how far the turn is. */
function rounds(messages: readonly Message[]): number {
  return messages.slice(lastPrompt(messages) + 1).filter(({ role }) => role === "assistant").length;
}

function promptOf({ messages, last }: ModelRequest): string {
  const prompt = messages[lastPrompt(messages)];
  return prompt === undefined ? last : textOf(prompt);
}

/** A user message that is no tool result. */
function lastPrompt(messages: readonly Message[]): number {
  return messages.findLastIndex(
    ({ role, content }) =>
      role === "user" && (typeof content === "string" || !content.some(({ type }) => type === "tool_result")),
  );
}

function textOf({ content }: Message): string {
  if (typeof content === "string") return content;
  const texts = content.filter(({ type }) => type === "text").map(({ text }) => String(text));
  return texts.filter((text) => !text.trimStart().startsWith("<system-reminder>")).join("\n");
}
