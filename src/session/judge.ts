/** Judge: what becomes of a call of Claude's own hooks: the user's hooks first, then the session's gate. */
import type { Call, Judgement } from "../agent/agent.ts";
import { deadline } from "../deadline.ts";
import type { Body } from "../frame/frame.ts";
import type { HookGate, Passed } from "../hooks/gate.ts";
import type { Intake } from "./intake.ts";
import { isGated } from "./permit.ts";

/** The agent gives a call up after 600 s: the rules' `fail` speaks long before. Five rules of the slowest kind, 60 s each. */
export const CALL_DEADLINE_MS = 300_000;

export interface JudgeOptions {
  readonly hooks: Pick<HookGate, "cares" | "filter" | "told">;
  readonly intake: Pick<Intake, "judged" | "after">;
  /** Tools that wait for a person; undefined: no gate. */
  readonly gate: readonly string[] | undefined;
  readonly bypass: boolean;
  readonly append: (hook: Body<"hook">) => void;
}

type Of<On extends Call["on"]> = Extract<Call, { on: On }>;

/** At once where no rule is about the call. */
export function judge(o: JudgeOptions, call: Call): Judgement | Promise<Judgement> {
  switch (call.on) {
    case "tool":
      return onTool(o, call);
    case "result":
      return onResult(o, call);
    case "prompt":
      return onPrompt(o, call);
  }
}

function onTool(o: JudgeOptions, call: Of<"tool">): Judgement | Promise<Judgement> {
  if (!o.hooks.cares("tool.use.start")) return permit(o, call.tool, call.input);
  const { on: _on, ...start } = call;
  return passed(o, { type: "tool.use.start", ...start }, ({ subject, hooks, blocked }) => {
    o.intake.judged("tool.use.start", call.id, hooks);
    if (subject === undefined) return { do: "deny", reason: `${blocked?.name}: ${blocked?.reason}` };
    return subject.input === call.input ? permit(o, call.tool, call.input) : permit(o, call.tool, subject.input, true);
  });
}

/** The gate looks at what will run. */
function permit({ gate, bypass }: JudgeOptions, tool: string, input: unknown, changed = false): Judgement {
  const what = changed ? { input } : {};
  if (gate !== undefined) return { do: isGated(gate, tool, input) ? "ask" : "allow", ...what };
  return changed ? { do: bypass ? "allow" : "ask", input } : { do: "pass" };
}

function onResult(o: JudgeOptions, call: Of<"result">): Judgement | Promise<Judgement> {
  if (!o.hooks.cares("tool.use.result")) return { do: "pass" };
  const { on: _on, input: _input, ...result } = call;
  return passed(o, { type: "tool.use.result", ...result, duration_ms: 0 }, ({ subject, hooks, blocked }) => {
    o.intake.judged("tool.use.result", call.id, hooks);
    if (subject === undefined)
      return { do: "rewrite", output: emptied(call.output, `hidden by ${blocked?.name}: ${blocked?.reason}`) };
    return subject.output === call.output ? { do: "pass" } : { do: "rewrite", output: subject.output };
  });
}

function onPrompt(o: JudgeOptions, call: Of<"prompt">): Judgement | Promise<Judgement> {
  if (call.ours) return { do: "pass" };
  const prompt: Body<"input"> = { type: "input", by: "terminal", text: call.text, state: "accepted" };
  if (!o.hooks.cares("input")) {
    o.hooks.told(prompt, false);
    return { do: "pass" };
  }
  return passed(
    o,
    prompt,
    ({ subject, hooks, blocked }) => {
      o.intake.after(() => {
        for (const hook of hooks) o.append(hook);
      });
      if (subject === undefined) return { do: "deny", reason: `${blocked?.name}: ${blocked?.reason}` };
      o.hooks.told(prompt, false);
      return { do: "pass" };
    },
    true,
  );
}

function passed<S extends Exclude<Parameters<HookGate["filter"]>[0], never>>(
  { hooks }: JudgeOptions,
  subject: S,
  then: (passed: Passed<S>) => Judgement,
  fixed = false,
): Judgement | Promise<Judgement> {
  const late = deadline(CALL_DEADLINE_MS);
  const passing = hooks.filter(subject, { call: true, fixed, hurry: late.signal });
  if (passing instanceof Promise) return passing.finally(() => late[Symbol.dispose]()).then(then);
  late[Symbol.dispose]();
  return then(passing);
}

/** In the tool's own shape, so that Claude can read it: the words in place of the first text, nothing in the others. */
function emptied(output: unknown, words: string): unknown {
  let said = false;
  const empty = (value: unknown): unknown => {
    if (typeof value === "string") {
      const text = said ? "" : words;
      said = true;
      return text;
    }
    if (Array.isArray(value)) return value.map(empty);
    if (typeof value === "object" && value !== null)
      return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, empty(each)]));
    return value;
  };
  const hidden = empty(output);
  return said ? hidden : words;
}
