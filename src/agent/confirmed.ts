/** Confirmed: what Claude's answer to /model and /effort says, in the words of three versions. */
import type { FrameBody } from "../frame/frame.ts";
import { meta } from "./frames.ts";
import type { State } from "./state.ts";

/** Claude's own words for a person, without bold type. */
export function plainWords(said: string): string {
  return (
    said
      // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is removed
      .replace(/\x1b\[[0-9;]*m/g, "")
      .replace(/<\/?local-command-std(out|err)>/g, "")
      .replace(/[`]/g, "")
      .trim()
  );
}

/** What Claude has set; `undefined`: it has not. */
export interface Set {
  readonly model?: string;
  readonly effort?: string;
}

/** `/model X` and what Claude said to it. The name is ours: what it shows ("Haiku 4.5") is no name that --model knows. */
export function setBy(command: string, said: string): Set | undefined {
  const words = plainWords(said);
  const wanted = /^\/(?:model|effort) (\S+)$/.exec(command)?.[1];
  if (command.startsWith("/model") && words.startsWith("Set model to ")) {
    const effort = /^Set model to [^\n]* with (\w+) effort/.exec(words)?.[1];
    return { ...(wanted === undefined ? {} : { model: wanted }), ...(effort === undefined ? {} : { effort }) };
  }
  if (!command.startsWith("/effort")) return undefined;
  const effort = /^(?:Set effort level to|Effort level set to) (\w+)/.exec(words)?.[1];
  return effort === undefined ? undefined : { effort };
}

/** Claude has answered one of its own commands. */
export function commandSaid(state: State, words: string, out: FrameBody[]): void {
  state.said = { command: state.command, words: plainWords(words) };
  const set = setBy(state.command, words);
  if (set !== undefined) meta(state, { ...set }, out);
}
