/** State: everything the translation remembers of one Claude between two events. */
import type { FrameBody, SessionState } from "../frame/frame.ts";
import type { Seen } from "./agent.ts";
import { type Asks, newAsks } from "./asks.ts";
import type { Counts } from "./counts.ts";
import type { Source } from "./source.ts";
import type { ClaudeState } from "./status.ts";
import { newTalk, type Talk } from "./stream-talk.ts";
import type { Tasks } from "./tasks.ts";
import { newTexts, type Texts } from "./texts.ts";
import type { VersionRow } from "./versions.ts";

/** Frames to come: made when their time has come, so that a list is the list of then. */
export type Emission = (out: FrameBody[]) => void;

/** One call of a tool, by its id. */
export interface Tool {
  readonly tool: string;
  readonly input: unknown;
  readonly agent: string | undefined;
  readonly since: number;
  started: boolean;
  /** The transcript shows it: only its own turn, or a judgement, keeps it from being started. */
  due?: boolean;
  /** PreToolUse was there. */
  ready?: boolean;
  /** Another call is in front of it. */
  queued?: boolean;
  done: boolean;
  /** What waits for the start, and until when. */
  held: Emission[];
  until: number;
  /** PostToolBatch's word for the result. */
  fallback?: unknown;
}

/** From a prompt until Claude is idle again. */
export interface Turn {
  readonly since: number;
  /** When it really began, where an earlier start of the daemon told so. */
  readonly began?: number;
  ending?: { readonly reason: string; readonly since: number; readonly until: number; readonly firm: boolean };
  /** Something of its answer has been told. */
  spoke?: boolean;
  /** When we sent Esc, ms since 1970. */
  escAt?: number;
  /** It has met a usage limit; when that resets, as far as it is known. */
  limit?: { readonly resetsAt?: number };
  /** The last words by Stop's account. */
  owed?: string;
}

/** Everything the translation remembers; made by `newState`, changed by `translate` alone. */
export interface State {
  readonly row: VersionRow;
  readonly thinking: boolean;
  readonly meta: Record<string, string>;
  status: SessionState | undefined;
  claude: ClaudeState | undefined;
  turn: Turn | undefined;
  texts: Texts;
  readonly agentTexts: Map<string, Texts>;
  /** Thinking, of whomever: the tap's account and the transcript's. */
  thoughts: Texts;
  /** Subagents that Claude told of. */
  readonly agents: Set<string>;
  /** Tools whose calls the tap heard begin: everything said before them is told. */
  readonly announced: Set<string>;
  /** Claude asks the model for a summary: no answer to the user. */
  compacting: boolean;
  readonly tools: Map<string, Tool>;
  readonly asks: Asks;
  /** How many asks there were that no call's id could name. */
  asked: number;
  /** Calls that are being judged, and until when their start waits for that (ms since 1970). */
  readonly judging: Map<string, number>;
  readonly tasks: Tasks;
  /** What only the stream engine needs. */
  readonly talk: Talk;
  shownTasks: string;
  /** When a question was last settled: a state from before it is stale. */
  settledAt: number;
  readonly usage: Map<string, Counts>;
  readonly seen: { thinking: ReadonlySet<string>; usage: ReadonlySet<string> };
  /** Hooks of the next turn, while the transcript still completes this one. */
  waiting: Source[];
  catchingUp: boolean;
  /** A command's end was told before Claude wrote it down. */
  commandTold: boolean;
  /** A command's dialog was open: its end is told once it is written down. */
  commandOwed: boolean;
  /** When a dialog that is no question of Claude's will have stood long enough to be told of. */
  dialogAt: number | undefined;
  escaped: boolean;
  /** We switch a setting: a dialog that this opens is ours to answer. */
  switching: boolean;
  /** The latest of Claude's own commands, as its transcript shows it: "/model opus". */
  command: string;
  /** When the usage limit resets that is waited for, ms since 1970. */
  limit: number | undefined;
  /** The one in the last status that was told. */
  limitTold: number | undefined;
  /** What it said to a command since we began to switch. */
  said: { readonly command: string; readonly words: string } | undefined;
}

/** What is remembered of a Claude that has not begun. */
export function newState(row: VersionRow, thinking: boolean): State {
  return {
    row,
    thinking,
    meta: {},
    status: undefined,
    claude: undefined,
    turn: undefined,
    texts: newTexts(),
    agentTexts: new Map(),
    thoughts: newTexts(),
    agents: new Set(),
    announced: new Set(),
    compacting: false,
    tools: new Map(),
    asks: newAsks(),
    asked: 0,
    judging: new Map(),
    tasks: new Map(),
    talk: newTalk(),
    shownTasks: "[]",
    settledAt: 0,
    usage: new Map(),
    seen: { thinking: new Set(), usage: new Set() },
    waiting: [],
    catchingUp: false,
    commandTold: false,
    commandOwed: false,
    dialogAt: undefined,
    escaped: false,
    switching: false,
    command: "",
    limit: undefined,
    limitTold: undefined,
    said: undefined,
  };
}

/** After a restart: lines until `caught-up` belong to a turn of which `seen` is framed already. */
export function reopen(state: State, seen: Seen | undefined, now: number): void {
  state.catchingUp = true;
  if (seen === undefined) return;
  state.texts = newTexts(seen.text);
  state.seen.thinking = seen.thinking;
  state.seen.usage = seen.usage;
  for (const [id, { tool, done }] of seen.tools) {
    state.tools.set(id, {
      tool,
      input: undefined,
      agent: undefined,
      since: now,
      started: true,
      done,
      held: [],
      until: 0,
    });
  }
  if (seen.turnOpen) state.turn = { since: now, ...(seen.turnAt !== undefined && { began: seen.turnAt }) };
}
