/** Asks: questions and permissions that wait for a person, shown once and settled once. */
import type { Body, FrameBody, Option } from "../frame/frame.ts";
import { at, list, text } from "./json.ts";

interface Ask {
  readonly kind: "question" | "permission";
  /** Prompt texts, by which Claude names the answers. */
  readonly prompts: readonly string[];
  /** Claude went on working: a person has decided, the result will tell how. */
  passed: boolean;
}

/** Open asks by tool use. */
export type Asks = Map<string, Ask>;

export function newAsks(): Asks {
  return new Map();
}

export function waitsForPerson(asks: Asks): boolean {
  return [...asks.values()].some((ask) => !ask.passed);
}

/** The questions of one AskUserQuestion call; none when they were shown before. */
export function askFrames(asks: Asks, id: string, input: unknown): Body<"ask.question">[] {
  const questions = list(at(input, "questions"));
  if (asks.has(id) || questions.length === 0) return [];
  const prompts = questions.map((question) => text(question["question"]) ?? "");
  asks.set(id, { kind: "question", prompts, passed: false });
  return questions.map((question, n) => ({
    type: "ask.question",
    id: `${id}/${n}`,
    of: questions.length,
    kind: "question",
    prompt: prompts[n] ?? "",
    options: list(question["options"]).map(optionOf),
    multiSelect: question["multiSelect"] === true,
    tool: "AskUserQuestion",
  }));
}

/** One permission for one tool use. */
export function permissionFrame(asks: Asks, id: string, tool: string, input: unknown): Body<"ask.question"> {
  const prompt = `Allow ${tool}?`;
  asks.set(id, { kind: "permission", prompts: [prompt], passed: false });
  return {
    type: "ask.question",
    id: `${id}/0`,
    of: 1,
    kind: "permission",
    prompt,
    options: [{ label: "Allow" }, { label: "Deny" }],
    multiSelect: false,
    tool,
    input,
  };
}

/** The tool returned, so the ask is settled. `by` names where: nothing else can answer yet but the terminal. */
export function settleAsk(
  asks: Asks,
  id: string,
  outcome: {
    readonly output?: unknown;
    readonly error?: string;
    readonly input?: unknown;
    readonly rejected?: boolean;
  },
  by: string,
): FrameBody[] {
  const ask = asks.get(id);
  if (ask === undefined) return [];
  asks.delete(id);
  const answers = at(outcome.output, "answers") ?? at(outcome.input, "answers");
  return ask.prompts.map((prompt, n) => {
    const answer = ask.kind === "permission" ? (outcome.rejected ? "deny" : "allow") : (at(answers, prompt) ?? null);
    return { type: "ask.answer", id: `${id}/${n}`, answer, by };
  });
}

/** Nobody will answer any more. */
export function settleAll(asks: Asks, by: string): FrameBody[] {
  const frames: FrameBody[] = [];
  for (const [id, ask] of asks)
    for (const n of ask.prompts.keys()) frames.push({ type: "ask.answer", id: `${id}/${n}`, answer: null, by });
  asks.clear();
  return frames;
}

function optionOf(option: Readonly<Record<string, unknown>>): Option {
  const description = text(option["description"]);
  return { label: text(option["label"]) ?? "", ...(description === undefined ? {} : { description }) };
}
