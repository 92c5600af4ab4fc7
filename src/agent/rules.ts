/** Rules: Claude's own, for a session whose tools wait for a person, so that a daemon that is gone leaves a dialog and never a running tool. */
import type { AgentSpec } from "./agent.ts";
import { pattern } from "./verdicts.ts";

/** Claude's own tools on all tested versions: 2.1.112 knows no `*` in a rule, so that one is written out. */
const TOOLS: readonly string[] = [
  "Agent",
  "AskUserQuestion",
  "Bash",
  "BashOutput",
  "Edit",
  "EnterPlanMode",
  "EnterWorktree",
  "ExitPlanMode",
  "Glob",
  "Grep",
  "KillShell",
  "LS",
  "LSP",
  "ListMcpResourcesTool",
  "Monitor",
  "MultiEdit",
  "NotebookEdit",
  "NotebookRead",
  "PowerShell",
  "Read",
  "ReadMcpResourceTool",
  "SendMessage",
  "Skill",
  "Task",
  "TaskCreate",
  "TaskOutput",
  "TaskStop",
  "TaskUpdate",
  "TodoWrite",
  "ToolSearch",
  "WebFetch",
  "WebSearch",
  "Write",
];

/** Settings of a session with a gate, or without bypass; no mode that a person or the model switches to opens it. */
export function guarded({ bypass, gated }: Pick<AgentSpec, "bypass" | "gated">): object {
  if (gated === undefined) return bypass ? {} : { permissions: { disableBypassPermissionsMode: "disable" } };
  return {
    permissions: {
      ask: rulesFor(gated),
      disableBypassPermissionsMode: "disable",
      disableAutoMode: "disable",
    },
    disableAutoMode: "disable",
  };
}

/** The gated tools, and every known one that a `*` among them stands for. */
export function rulesFor(gated: readonly string[]): string[] {
  const known = gated
    .filter((name) => name.includes("*"))
    .flatMap((name) => TOOLS.filter((tool) => pattern(name).test(tool)));
  return [...new Set([...gated, ...known])];
}
