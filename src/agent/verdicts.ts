/**
 * Verdicts: what was judged of calls that have not returned. Claude asks for a gated tool in any case, since its own
 * rules outrank a hook's "allow": a call that was judged to be outside the gate is let through here, on the very
 * connection that asks.
 */
import { createHash } from "node:crypto";
import { fits } from "../wildcard.ts";
import { at, type Json, text } from "./json.ts";

/** Calls under way at a time, subagents included; a flood forgets the oldest, which is then asked about. */
const MAX_VERDICTS = 1024;

/** Claude's own safety questions about files that steer it, or a shell, stay a person's: their names begin with a dot. */
const STEERING = /(^|\/)\./;

export class Verdicts {
  readonly #gated: readonly string[];
  /** By tool use and words: a second account of a call never takes the first one's place. `what`: a digest of the words. */
  readonly #calls = new Map<string, { readonly id: string; readonly what: string; readonly allowed: boolean }>();

  /** `gated`: tools that Claude's rules ask for because we told it so, perhaps with `*`. */
  constructor(gated: readonly string[] | undefined) {
    this.#gated = gated ?? [];
  }

  /** A call was judged; `body`: as it will run. */
  note(body: Json, allowed: boolean): void {
    const id = text(body["tool_use_id"]);
    if (id === undefined || !this.#isGated(text(body["tool_name"]) ?? "")) return;
    const what = digest(body);
    this.#calls.set(`${what} ${id}`, { id, what, allowed });
    const [oldest] = this.#calls.keys();
    if (this.#calls.size > MAX_VERDICTS && oldest !== undefined) this.#calls.delete(oldest);
  }

  /** The call has returned. */
  over(body: Json): void {
    const id = text(body["tool_use_id"]);
    for (const [key, call] of this.#calls) if (call.id === id) this.#calls.delete(key);
  }

  /** No call is under way. */
  clear(): void {
    this.#calls.clear();
  }

  /** Whether this request is for what was judged to need nobody: every open call of the same words was. */
  allows(request: Json): boolean {
    const name = text(request["tool_name"]) ?? "";
    if (this.#calls.size === 0 || !this.#isGated(name)) return false;
    if (name !== "Read" && STEERING.test(fileOf(request))) return false;
    const what = digest(request);
    const same = [...this.#calls.values()].filter((call) => call.what === what);
    return same.length > 0 && same.every((call) => call.allowed);
  }

  #isGated(tool: string): boolean {
    return this.#gated.some((name) => fits(name, tool));
  }
}

/** Below the working folder, where it is there. */
function fileOf(request: Json): string {
  const input = request["tool_input"];
  const file = text(at(input, "file_path")) ?? text(at(input, "notebook_path")) ?? "";
  const folder = `${text(request["cwd"]) ?? ""}/`;
  return file.startsWith(folder) ? file.slice(folder.length) : file;
}

function digest(body: Json): string {
  const words = JSON.stringify([body["agent_id"], body["tool_name"], body["tool_input"]]);
  return createHash("sha256").update(words).digest("base64");
}
