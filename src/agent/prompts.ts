/** Prompts: whether a transcript line, or a hook, shows a given text as something the user said. */
import { at, type Json, list, text, words } from "./json.ts";

const INTERRUPTED = "[Request interrupted by user";

/** Claude turns tabs into spaces, trims ends, unifies line ends, and 2.1.330 marks long pastes: only the words count. */
export function normal(prompt: string): string {
  return prompt
    .replace(/<\/?pasted_content id="[^"]*">/g, " ")
    .replace(/\s+/gu, " ")
    .trim();
}

/** What a transcript line shows as said by the user: a prompt, a `/command`, a `!command`, a queued text; else undefined. */
export function promptOf(line: Json): string | undefined {
  if (line["type"] === "queue-operation") return line["operation"] === "enqueue" ? text(line["content"]) : undefined;
  if (line["type"] === "system")
    return line["subtype"] === "local_command" ? commandOf(words(line["content"])) : undefined;
  if (line["type"] === "attachment")
    return at(line["attachment"], "type") === "queued_command" ? words(at(line["attachment"], "prompt")) : undefined;
  if (
    line["type"] !== "user" ||
    line["isMeta"] === true ||
    line["isSidechain"] === true ||
    line["isCompactSummary"] === true
  )
    return undefined;
  const content = at(line["message"], "content");
  if (list(content).some((block) => block["type"] === "tool_result")) return undefined;
  const said = words(content);
  if (said.trimStart().startsWith("<pasted_content ")) return said;
  if (said.startsWith("<")) return commandOf(said) ?? bangOf(said) ?? (isEcho(said) ? undefined : said);
  return said === "" || said.startsWith(INTERRUPTED) ? undefined : said;
}

/** Whether the line says that what it follows was interrupted. */
export function isInterruptMark(line: Json): boolean {
  return line["type"] === "user" && words(at(line["message"], "content")).startsWith(INTERRUPTED);
}

/** Whether `said` (from `promptOf` or UserPromptSubmit) is the prompt `wanted`. */
export function isPrompt(said: string, wanted: string): boolean {
  return normal(said) === normal(wanted);
}

function commandOf(said: string): string | undefined {
  const name = /<command-name>([^<]*)<\/command-name>/.exec(said)?.[1];
  if (name === undefined) return undefined;
  const args = /<command-args>([\s\S]*)<\/command-args>/.exec(said)?.[1] ?? "";
  return `${name} ${args}`.trim();
}

function bangOf(said: string): string | undefined {
  const command = /^<bash-input>([\s\S]*)<\/bash-input>/.exec(said)?.[1];
  return command === undefined ? undefined : `!${command}`;
}

function isEcho(said: string): boolean {
  return /^<(local-command-|bash-stdout|bash-stderr|system-reminder)/.test(said);
}
