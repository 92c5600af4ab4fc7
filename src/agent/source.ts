/** Source: one thing that Claude, the clock or we did, as the translation takes it. */
import type { Json } from "./json.ts";
import type { ClaudeState } from "./status.ts";
import type { Heard } from "./tap-stream.ts";

/** One thing that happened, with the time it was noticed (ms since 1970). */
export type Source = { readonly at: number } & (
  | { readonly src: "hook"; readonly event: string; readonly body: Json }
  | { readonly src: "line"; readonly line: Json; readonly agent?: string }
  /** `since`: when Claude entered it, where it says so. */
  | { readonly src: "state"; readonly state: ClaudeState; readonly since?: number }
  | { readonly src: "title"; readonly title: string }
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
