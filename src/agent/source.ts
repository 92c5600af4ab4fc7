/** Source: one thing that Claude, the clock or we did, as the translation takes it. */
import type { Json } from "./json.ts";
import type { ClaudeState } from "./status.ts";
import type { Heard } from "./tap-stream.ts";

/** One thing that happened, with the time it was noticed (ms since 1970). */
export type Source = {
  readonly at: number;
} /** `held`: its answer waits for a person. `blocked`: the prompt was judged not to be sent. */ & (
  | {
      readonly src: "hook";
      readonly event: string;
      readonly body: Json;
      readonly held?: number;
      readonly blocked?: true;
    }
  /** A call is being judged: what it will run is not known before `until`, or its PreToolUse. */
  | { readonly src: "judging"; readonly id: string; readonly until: number }
  /** Someone takes hold of an ask, and what became of that; Claude closed the connection of one. */
  | { readonly src: "claim"; readonly group: string }
  | { readonly src: "release"; readonly group: string; readonly taken: boolean }
  | { readonly src: "let-go"; readonly held: number }
  | { readonly src: "line"; readonly line: Json; readonly agent?: string }
  /** `since`: when Claude entered it, where it says so. */
  | { readonly src: "state"; readonly state: ClaudeState; readonly since?: number }
  | { readonly src: "title"; readonly title: string }
  /** One message of the stream engine's Claude; `held`: where the decision that it asks for waits. */
  | { readonly src: "message"; readonly message: Json; readonly held?: number }
  /** A text went to the stream engine's Claude. */
  | { readonly src: "sent"; readonly command: boolean }
  /** The stream engine's Claude has confirmed what it was told to use. */
  | { readonly src: "set"; readonly set: Readonly<Record<string, string>> }
  /** The stream engine's Claude runs a tool: its PreToolUse, judged. */
  | { readonly src: "runs"; readonly body: Json }
  /** A line of this many bytes was too long to read. */
  | { readonly src: "skipped"; readonly bytes: number }
  /** Overheard between Claude and the API. */
  | { readonly src: "tap"; readonly heard: Heard; readonly agent?: string }
  /** We sent Esc. */
  | { readonly src: "esc" }
  /** A command of ours is being typed. */
  | { readonly src: "command" }
  /** We begin or end to switch a setting: what Claude shows meanwhile is no news. */
  | { readonly src: "switching"; readonly on: boolean }
  /** A usage limit is not waited for any more. */
  | { readonly src: "limit-over" }
  /** The screen shows this permission mode. */
  | { readonly src: "mode"; readonly mode: string }
  /** A command of ours is over, though Claude told nothing of it. */
  | { readonly src: "command-over" }
  /** `deadline(state)` has come. */
  | { readonly src: "tick" }
  /** The end of what happened while no daemon was there. */
  | { readonly src: "caught-up" }
  | { readonly src: "exit" }
);
