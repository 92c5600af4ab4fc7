/** Asks: questions and permissions that wait for a person, shown once and settled once. */
import type { Body, FrameBody, Option } from "../frame/frame.ts";
import { at, list, text } from "./json.ts";
import { summaryOf, visible } from "./summary.ts";

interface Ask {
  readonly kind: "question" | "permission";
  /** Prompt texts, by which Claude names the answers. */
  readonly prompts: readonly string[];
  /** The call whose result settles it, as far as one is known. */
  readonly tool: string | undefined;
  /** The connection on which Claude waits for the decision. */
  readonly held: number | undefined;
  /** Claude went on working: a person has decided, the result will tell how. */
  passed: boolean;
  /** Claude has closed the connection: without a result by then it is lost, ms since 1970. */
  until: number | undefined;
  /** Someone has taken hold of it: its answer is theirs to tell. */
  claimed: boolean;
  /** What was settled elsewhere meanwhile: told where the hold turns out to have come too late. */
  owed: readonly FrameBody[] | undefined;
}

/** Open asks by group: the part of their ids before the last "/". */
export type Asks = Map<string, Ask>;

export function newAsks(): Asks {
  return new Map();
}

export function waitsForPerson(asks: Asks): boolean {
  return [...asks.values()].some((ask) => !ask.passed && ask.until === undefined);
}

/** What a PermissionRequest asks for. `group` is free; `tool`: the call it is about, as far as one is known. */
export interface Request {
  readonly group: string;
  readonly name: string;
  readonly input: unknown;
  readonly tool: string | undefined;
  readonly held: number | undefined;
}

/** The questions of an AskUserQuestion call, or the one permission that any other tool needs. */
export function askFrames(asks: Asks, request: Request): Body<"ask.question">[] {
  const { group, name, input, tool, held } = request;
  const questions = name === "AskUserQuestion" ? list(at(input, "questions")) : [];
  const kind = questions.length > 0 ? "question" : "permission";
  const prompts =
    kind === "question" ? questions.map((one) => text(one["question"]) ?? "") : [`Allow ${visible(name)}?`];
  asks.set(group, { kind, prompts, tool, held, passed: false, until: undefined, claimed: false, owed: undefined });
  const common = { type: "ask.question", of: prompts.length, kind, tool: name } as const;
  if (kind === "permission") {
    const options = [{ label: "Allow" }, { label: "Deny" }];
    const prompt = prompts[0] ?? "";
    return [
      { ...common, id: `${group}/0`, prompt, options, multiSelect: false, input, summary: summaryOf(name, input) },
    ];
  }
  return questions.map((question, n) => ({
    ...common,
    id: `${group}/${n}`,
    prompt: prompts[n] ?? "",
    options: list(question["options"]).map(optionOf),
    multiSelect: question["multiSelect"] === true,
  }));
}

/** How the call of an ask ended. */
interface Outcome {
  readonly output?: unknown;
  readonly error?: string;
  readonly input?: unknown;
  readonly rejected?: boolean;
}

/** The call returned, so whatever asked for it is settled. `by` names where. */
export function settleAsks(asks: Asks, tool: string, outcome: Outcome, by: string): FrameBody[] {
  const answers = at(outcome.output, "answers") ?? at(outcome.input, "answers");
  const verdict = outcome.rejected ? "deny" : "allow";
  return [...asks].flatMap(([group, ask]) =>
    ask.tool === tool
      ? close(asks, group, (prompt) => (ask.kind === "permission" ? verdict : (at(answers, prompt) ?? null)), by)
      : [],
  );
}

/** Nobody will answer these any more. */
export function dropAsks(asks: Asks, by: string, which: (ask: Ask) => boolean = () => true): FrameBody[] {
  return [...asks].flatMap(([group, ask]) => (which(ask) ? close(asks, group, () => null, by) : []));
}

/** Someone takes hold of it. */
export function claimAsk(asks: Asks, group: string): void {
  const ask = asks.get(group);
  if (ask !== undefined) ask.claimed = true;
}

/** The hold is over. `taken`: Claude has the decision, and whoever decided tells it. */
export function releaseAsk(asks: Asks, group: string, taken: boolean): FrameBody[] {
  const ask = asks.get(group);
  if (ask === undefined) return [];
  ask.claimed = false;
  if (taken || ask.owed !== undefined) asks.delete(group);
  return taken ? [] : [...(ask.owed ?? [])];
}

function close(asks: Asks, group: string, answer: (prompt: string) => unknown, by: string): FrameBody[] {
  const ask = asks.get(group);
  if (ask === undefined || ask.owed !== undefined) return [];
  const frames = ask.prompts.map(
    (prompt, n): FrameBody => ({ type: "ask.answer", id: `${group}/${n}`, answer: answer(prompt), by }),
  );
  ask.passed = true;
  ask.owed = frames;
  if (ask.claimed) return [];
  asks.delete(group);
  return frames;
}

function optionOf(option: Readonly<Record<string, unknown>>): Option {
  const description = text(option["description"]);
  return { label: text(option["label"]) ?? "", ...(description === undefined ? {} : { description }) };
}
