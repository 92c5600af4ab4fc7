/** Judging: a call of Claude's own hooks as the session judges it, and the judgement in Claude's words. Both engines use it. */
import type { Call, Judgement } from "./agent.ts";
import { type Json, text } from "./json.ts";
import type { VersionRow } from "./versions.ts";

/** What the session is asked; undefined for events that nobody judges. `ours`: the prompt is one that `submit` brought. */
export function callOf(event: string, body: Json, ours: boolean): Call | undefined {
  if (event === "UserPromptSubmit") return { on: "prompt", text: text(body["prompt"]) ?? "", ours };
  if (event !== "PreToolUse" && event !== "PostToolUse") return undefined;
  const id = text(body["tool_use_id"]) ?? "";
  const agent = text(body["agent_id"]);
  const call = { id, tool: text(body["tool_name"]) ?? "", input: body["tool_input"] ?? {}, ...(agent && { agent }) };
  if (event === "PreToolUse") return { on: "tool", ...call };
  return { on: "result", ...call, output: body["tool_response"] ?? null };
}

/** The hook's answer. */
export function answerOf(event: string, judgement: Judgement, row: VersionRow): object {
  if (judgement.do === "pass") return {};
  if (event === "UserPromptSubmit")
    return judgement.do === "deny" ? { decision: "block", reason: judgement.reason } : {};
  if (event === "PostToolUse") {
    if (judgement.do !== "rewrite" || !row.rewritesResults) return {};
    return { hookSpecificOutput: { hookEventName: event, updatedToolOutput: judgement.output } };
  }
  return { hookSpecificOutput: { hookEventName: event, ...permission(judgement) } };
}

/** The hook call as the frames shall show it: what really runs, what Claude really reads. */
export function judgedBody(body: Json, judgement: Judgement): Json {
  if ((judgement.do === "allow" || judgement.do === "ask") && judgement.input !== undefined)
    return { ...body, tool_input: judgement.input };
  return judgement.do === "rewrite" ? { ...body, tool_response: judgement.output } : body;
}

function permission(judgement: Judgement): object {
  switch (judgement.do) {
    case "allow":
    case "ask":
      return {
        permissionDecision: judgement.do,
        ...(judgement.input !== undefined && { updatedInput: judgement.input }),
      };
    case "deny":
      return { permissionDecision: "deny", permissionDecisionReason: judgement.reason };
    default:
      return {};
  }
}
