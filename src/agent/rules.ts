/** Rules: Claude's own, for a session whose tools wait for a person, so that a daemon that is gone leaves a dialog and never a running tool. */

import { fits } from "../wildcard.ts";
import type { AgentSpec } from "./agent.ts";

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

/**
 * Settings that are written while Claude runs do not reach it: 2.1.197 and 2.1.330 load hooks from them at once, and one
 * for PermissionRequest would open the gate. A command, so that it holds without a daemon; exit code 2 says no.
 */
export const FROZEN: object = {
  type: "command",
  command: "echo 'this session has a gate: changed settings wait for its next start' >&2; exit 2",
  timeout: 30,
};

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
  const known = gated.filter((name) => name.includes("*")).flatMap((name) => TOOLS.filter((tool) => fits(name, tool)));
  return [...new Set([...gated, ...known])];
}
