/** What each tested version of Claude Code has: the one table by which hooks, flags and sources are chosen. */
import { execFile } from "node:child_process";
import { stat } from "node:fs/promises";
import { CibError } from "../errors.ts";

/** Hook events that 2.1.112 has and that we listen to; WorktreeCreate is left out: registering it replaces the creation. */
const OLD_HOOKS = [
  "PreToolUse",
  "PostToolUse",
  "PostToolUseFailure",
  "PermissionRequest",
  "UserPromptSubmit",
  "Stop",
  "StopFailure",
  "SubagentStart",
  "SubagentStop",
  "SessionEnd",
  "PreCompact",
  "PostCompact",
] as const;

/** One tested version. An unknown hook event opens a blocking dialog, so the list is exact per version. */
export interface VersionRow {
  readonly version: string;
  readonly hooks: readonly string[];
  /** MessageDisplay delivers text line by line. */
  readonly display: boolean;
  /** PostToolUse may change what Claude reads of a result. */
  readonly rewritesResults: boolean;
  /** sessions/<pid>.json carries `status`; without it the terminal title tells. */
  readonly statusFile: boolean;
  /** A `!command` is followed by an answer of the model. */
  readonly bangAnswers: boolean;
  /** A paste of more than three lines or 800 characters is marked `<pasted_content>` for the model, which may then not obey it. */
  readonly marksPastes: boolean;
  /** `auth login` reads the code from a pipe and keeps the login; without it `setup-token` prints a token on a terminal. */
  readonly pastesLogin: boolean;
  /** A subagent's calls of the API carry its id in a header. */
  readonly marksAgents: boolean;
  /** The messages of `claude -p` carry what subagents say. */
  readonly tellsSubagents: boolean;
}

const NEW_HOOKS = [...OLD_HOOKS, "PostToolBatch", "MessageDisplay"] as const;

/** Oldest first. */
export const VERSIONS: readonly VersionRow[] = [
  {
    version: "2.1.112",
    hooks: OLD_HOOKS,
    display: false,
    rewritesResults: false,
    statusFile: false,
    bangAnswers: false,
    marksPastes: false,
    pastesLogin: false,
    marksAgents: false,
    tellsSubagents: false,
  },
  {
    version: "2.1.197",
    hooks: NEW_HOOKS,
    display: true,
    rewritesResults: true,
    statusFile: true,
    bangAnswers: true,
    marksPastes: false,
    pastesLogin: true,
    marksAgents: true,
    tellsSubagents: true,
  },
  {
    version: "2.1.330",
    hooks: NEW_HOOKS,
    display: true,
    rewritesResults: true,
    statusFile: true,
    bangAnswers: true,
    marksPastes: true,
    pastesLogin: true,
    marksAgents: true,
    tellsSubagents: true,
  },
];

/** The newest row that `version` is not older than, and a note for people where the version itself was never tested. */
export function rowFor(version: string): { readonly row: VersionRow; readonly note?: string } {
  const row = VERSIONS.findLast((candidate) => compare(version, candidate.version) >= 0) ?? VERSIONS[0];
  if (row === undefined) throw new Error("versions: the table is empty");
  if (row.version === version) return { row };
  return { row, note: `Claude Code ${version} was never tested with this build; it is treated as ${row.version}` };
}

/** Numeric comparison of dotted versions: "2.1.112" is newer than "2.1.97". */
export function compare(a: string, b: string): number {
  const [left, right] = [a, b].map((v) => v.split(".").map((part) => Number.parseInt(part, 10) || 0));
  for (let i = 0; i < 3; i++) {
    const difference = (left?.[i] ?? 0) - (right?.[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Longest wait for `claude --version`: 2.1.112 takes 1 s on a desktop and about 12 s on a Raspberry Pi 2. */
const VERSION_DEADLINE_MS = 30_000;

const detected = new Map<string, Promise<string>>();

/** Asks the command for its version, once per installed file. Rejects with `claude_failed`. */
export async function detectVersion(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<string> {
  const key = JSON.stringify([command, await stampOf(command)]);
  const known = detected.get(key);
  if (known !== undefined) return known;
  const asked = ask(command, env);
  detected.set(key, asked);
  asked.catch(() => detected.delete(key));
  return asked;
}

/** An update in place changes the file and so the key. */
async function stampOf(command: readonly string[]): Promise<number> {
  const file = command.findLast((part) => part.startsWith("/"));
  if (file === undefined) return 0;
  return stat(file).then(
    (found) => found.mtimeMs,
    () => 0,
  );
}

function ask(command: readonly string[], env: Readonly<Record<string, string>>): Promise<string> {
  const [file = "claude", ...args] = command;
  return new Promise((done, fail) => {
    execFile(file, [...args, "--version"], { env, timeout: VERSION_DEADLINE_MS }, (fault, out) => {
      const version = /(\d+\.\d+\.\d+)/.exec(out)?.[1];
      if (version !== undefined && fault === null) done(version);
      else
        fail(
          new CibError("claude_failed", `claude: "${file} --version" did not answer with a version`, { cause: fault }),
        );
    });
  });
}
