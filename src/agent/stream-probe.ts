/** Stream probe: one word to a model, in a Claude of its own, to learn whether the API has it. */
import { execFile } from "node:child_process";
import { asUser } from "../as-user.ts";
import type { AgentSpec } from "./agent.ts";
import type { Launch } from "./command.ts";
import { count, object, text } from "./json.ts";

/** A start takes 1 s, an answer of one word another; a Raspberry Pi 2 takes up to a minute. */
const PROBE_DEADLINE_MS = 120_000;

/** Why there was no answer. `unknown`: it is about the model; else another try may succeed. */
export interface Refusal {
  readonly unknown: boolean;
  readonly words: string;
}

/**
 * What the interactive Claude does for /model with a name that it does not know, and headless Claude does not: ten tokens
 * to the API, no tools, nothing kept. Resolves with what the API has against it; undefined when it answered.
 */
export function modelProbe(
  spec: AgentSpec,
  launch: Launch,
): (model: string, signal: AbortSignal) => Promise<Refusal | undefined> {
  const command = launch.argv.slice(0, launch.argv.indexOf("-p"));
  return (model, signal) => {
    const argv = [
      ...command,
      ...["-p", "--output-format", "json", "--model", model, "--max-turns", "1", "--no-session-persistence"],
      ...["--setting-sources", "", "--tools", "", "--system-prompt", "Say hi.", "--", "Hi"],
    ];
    const [file = "claude", ...args] = asUser(argv, spec.user);
    const direct = file === argv[0];
    return new Promise((done) => {
      const child = execFile(
        file,
        args,
        {
          cwd: spec.workdir,
          env: { ...launch.env, CLAUDE_CODE_MAX_RETRIES: "1" },
          timeout: PROBE_DEADLINE_MS,
          signal,
          ...(direct && spec.user !== undefined ? { uid: spec.user.uid, gid: spec.user.gid } : {}),
        },
        (fault, out, err) => {
          const failed = fault === null ? undefined : { unknown: false, words: err.trim() || "claude did not try it" };
          done(refusalOf(out) ?? failed);
        },
      );
      child.stdin?.end();
    });
  };
}

function refusalOf(out: string): Refusal | undefined {
  try {
    const result = object(JSON.parse(out));
    if (result?.["is_error"] !== true) return undefined;
    const status = count(result["api_error_status"]);
    return {
      // 400 and 403 are how gateways say it.
      unknown: status === 400 || status === 403 || status === 404,
      words: text(result["result"]) ?? "the API refused it",
    };
  } catch {
    return undefined;
  }
}
