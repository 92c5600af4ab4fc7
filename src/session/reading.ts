/** Reading: what a client says to a question, checked against it and put into the words of its frame. */
import { CibError } from "../errors.ts";
import type { Body } from "../frame/frame.ts";

type Question = Body<"ask.question">;

/** What a client says to one question; control has checked its shape. */
export interface Said {
  readonly ask: string;
  readonly choices?: readonly (string | number)[] | undefined;
  readonly text?: string | undefined;
  readonly decision?: "allow" | "deny" | undefined;
  readonly message?: string | undefined;
}

export interface Reading {
  /** What the frame says: "allow", "deny", or the chosen words. */
  readonly answer: string;
  /** Why it is refused, for Claude. */
  readonly denied?: string;
}

/** An answer checked against its question. Throws `bad_request`. */
export function read(question: Question, said: Said): Reading {
  const refused = { answer: "deny", denied: said.message ?? "the person declined" };
  if (said.decision === "deny") return refused;
  const chosen = (said.choices ?? []).map((choice) => labelOf(question, choice));
  if (question.kind === "permission") {
    if (said.text !== undefined) throw new CibError("bad_request", "text: a permission takes decision allow or deny");
    const [word = said.decision === "allow" ? "Allow" : undefined, ...more] = chosen;
    if (word === undefined || more.length > 0)
      throw new CibError("bad_request", `choices: expected one of ${labels(question)}, got ${chosen.length}`);
    return word === "Deny" ? refused : { answer: "allow" };
  }
  if (said.decision !== undefined)
    throw new CibError(
      "bad_request",
      `decision: a question takes choices (${labels(question)}), text, or decision deny`,
    );
  const words = said.text === undefined ? chosen : [...chosen, said.text];
  if (words.length > 1 && !question.multiSelect)
    throw new CibError("bad_request", `choices: this question takes one, got ${words.length}`);
  // Claude's own notation for several.
  return { answer: words.join(", ") };
}

function labelOf(question: Question, choice: string | number): string {
  const option =
    typeof choice === "number" ? question.options[choice] : question.options.find(({ label }) => label === choice);
  if (option === undefined)
    throw new CibError(
      "bad_request",
      `choices: expected ${labels(question)}, got ${JSON.stringify(choice).slice(0, 60)}`,
    );
  return option.label;
}

function labels(question: Question): string {
  return question.options.map(({ label }) => JSON.stringify(label)).join(", ") || "text";
}
