/** Agent: one live Claude Code, whichever engine runs it. The session speaks to this and to nothing behind it. */
import type { FrameBody, SessionId } from "../frame/frame.ts";

/** A place in one of Claude's own transcript files: everything before `offset` (bytes) has been read. */
export interface Position {
  readonly file: string;
  readonly offset: number;
}

/** What pays for the session's model calls. */
export type Credential =
  | { readonly mode: "api_key"; readonly key: string }
  | { readonly mode: "subscription"; readonly token?: string };

/** Everything an engine needs to start Claude Code for one session. */
export interface AgentSpec {
  readonly session: SessionId;
  /** Claude's own conversation id (UUID); after /clear it changes and comes back through `meta.claude_session`. */
  readonly conversation: string;
  /** `new`: --session-id; `resume`: --resume; `fork`: --resume `from` --fork-session --session-id `conversation`. */
  readonly start: "new" | "resume" | { readonly fork: string };
  readonly workdir: string;
  readonly model: string;
  readonly effort?: string;
  /** What runs Claude: `pty` has a terminal, `stream` speaks stream-json both ways. */
  readonly engine: "pty" | "stream";
  /** Run without permission prompts. Never together with `gated`. */
  readonly bypass: boolean;
  /**
   * Claude tools (names, perhaps with `*`) that wait for a person: the events' `judge` says which call of them does.
   * Undefined: no gate. Claude's own rules then ask for these too, so that a daemon that is gone lets nothing run.
   */
  readonly gated?: readonly string[];
  /** Claude waits this long for the answer to a question or permission, in seconds; the session denies before. */
  readonly askTimeoutS: number;
  readonly cols: number;
  readonly rows: number;
  /** CLAUDE_CONFIG_DIR of this session: seeded before the start. One for each credential. */
  readonly configDir: string;
  /** Where Claude keeps all conversations; `projects` in configDir is this folder or a link to it. */
  readonly projectsDir: string;
  /** HOME of the session. */
  readonly home: string;
  /** 0700 folder of this session, readable by the session's uid, for settings that must not be in argv. */
  readonly runDir: string;
  /** Run as this user; undefined: as the daemon. */
  readonly user?: { readonly uid: number; readonly gid: number };
  readonly credential: Credential;
  /** Further variables that the creator asked for. */
  readonly env: Readonly<Record<string, string>>;
  /** ANTHROPIC_BASE_URL, when not Anthropic's own. */
  readonly baseUrl?: string;
  readonly thinking: boolean;
  /** Read text and thinking token by token on the way from the API (pty engine). */
  readonly tap?: boolean;
  /** A usage limit that resets then, ms since 1970, is still waited for: instead of idle, until that time or an interrupt. */
  readonly limitResetsAt?: number;
  /**
   * On resume: where an earlier run stopped reading. Lines after it that the log does not hold yet
   * (`seen`) become frames; lines before it never do.
   */
  readonly position?: Position;
  readonly seen?: Seen;
}

/** What the session's log already holds of the latest turns: what Claude's transcript must not make us tell again. */
export interface Seen {
  /** The log's last turn has no stop yet. */
  readonly turnOpen: boolean;
  /** When that turn was told to begin, ms since 1970: what Claude wrote before closes an earlier one. */
  readonly turnAt?: number;
  /** Turns that ended after `position` was stored: their prompts stand behind it and are told already. */
  readonly toldTurns: number;
  /** Characters of text already framed, by Claude's message id. */
  readonly text: ReadonlyMap<string, number>;
  readonly thinking: ReadonlySet<string>;
  /** Tool use ids with a start frame; true where the result is framed too. Tool name kept for closing it. */
  readonly tools: ReadonlyMap<string, { readonly tool: string; readonly done: boolean }>;
  /** Message ids whose usage is counted. */
  readonly usage: ReadonlySet<string>;
}

/** How Claude ended. */
export interface Exit {
  readonly code: number | undefined;
  readonly signal: string | undefined;
  /** The last words on its terminal, for a person, when it ended by itself with an error. */
  readonly words?: string;
}

/** A call of Claude's own hooks that may be judged before Claude goes on. */
export type Call =
  /** A tool is about to run. */
  | {
      readonly on: "tool";
      readonly id: string;
      readonly tool: string;
      readonly input: unknown;
      readonly agent?: string;
    }
  /** It has run; what Claude is about to read. */
  | {
      readonly on: "result";
      readonly id: string;
      readonly tool: string;
      readonly input: unknown;
      readonly output: unknown;
      readonly agent?: string;
    }
  /** A prompt is about to be sent. `ours`: one that `submit` brought, judged when it was accepted. */
  | { readonly on: "prompt"; readonly text: string; readonly ours: boolean };

/** What becomes of a call. Whatever fails on the way is `ask` for a gated tool, never `allow`. */
export type Judgement =
  /** Claude goes on as it would. */
  | { readonly do: "pass" }
  /** The tool runs without a question, perhaps with another input. */
  | { readonly do: "allow"; readonly input?: unknown }
  /** A person is asked first, perhaps about another input. */
  | { readonly do: "ask"; readonly input?: unknown }
  /** The tool does not run, the prompt is not sent. */
  | { readonly do: "deny"; readonly reason: string }
  /** The result that Claude reads, where this version lets it be changed; the frame shows it in any case. */
  | { readonly do: "rewrite"; readonly output: unknown };

/** What was decided of a question or permission. `answers`: by prompt, several choices joined with ", ". */
export type Settlement =
  | { readonly behavior: "allow"; readonly answers?: Readonly<Record<string, string>> }
  | { readonly behavior: "deny"; readonly message: string };

/** A question or permission taken hold of: nobody else settles it. */
export interface Claim {
  /** Hands Claude the decision. False when Claude had closed the connection by then: someone at the terminal was first. */
  release(decision: Settlement): boolean;
}

/** What can be switched while Claude runs. */
export type Setting = "model" | "effort" | "mode";

/** What an agent tells its session; called in order, never concurrently, never after `exited`. */
export interface AgentEvents {
  /** A frame body, including status, stop, usage and meta. */
  frame(body: FrameBody): void;
  /** Terminal bytes; the buffer is not kept by the agent. */
  terminal(bytes: Uint8Array): void;
  /** Claude has read its transcript up to here and owes nothing before it: safe to store at the end of a turn. */
  position(at: Position): void;
  /** Claude has ended; what it leaves open is told next, then `exited` comes. */
  ending(how: Exit): void;
  exited(how: Exit): void;
  /** Whether and how Claude goes on. `pass` at once (no promise) where nobody cares: Claude waits for the answer. */
  judge(call: Call): Judgement | Promise<Judgement>;
}

export interface Agent {
  readonly terminal: boolean;
  /** Detected version, "2.1.197". */
  readonly version: string;
  /** Process id of Claude, for accounting. */
  readonly pid: number;
  /** Resolves when Claude takes input; rejects with `claude_failed` and what it said when it cannot start. */
  readonly ready: Promise<void>;
  /** Where the next prompt will appear in Claude's transcript; store it before `submit`. */
  readonly at: Position;
  /**
   * Types one text and submits it. `taken` is called when Claude has taken it as a prompt (hook or transcript), before
   * anything that follows from it is told; resolves when Claude's transcript holds it, so that a kill cannot undo it.
   * Call only when idle and with no question open. Rejects with `claude_failed` after its deadline.
   */
  submit(text: string, signal: AbortSignal, taken?: () => void): Promise<void>;
  /** Raw bytes to the terminal. Throws `no_terminal`. */
  write(bytes: Uint8Array): void;
  /** Terminal size; clamped to 2×2 … 1000×1000. Throws `no_terminal`. */
  resize(cols: number, rows: number): void;
  /** Esc, and resolves true when Claude is idle again with open tool frames closed; false after 5 s. */
  interrupt(signal: AbortSignal): Promise<boolean>;
  /**
   * Takes hold of an open question or permission. `group`: the part of its id before "/". Undefined when Claude does
   * not wait for it any more, or only at its terminal.
   */
  claim(group: string): Claim | undefined;
  /**
   * Switches once Claude can take it (the pty engine waits for the end of the turn). Resolves with what Claude says it
   * has now, after `meta` has told it; rejects with `bad_request` where Claude knows no such value, `claude_failed`
   * where it does not obey, `conflict` where this session must not have it.
   */
  switch(what: Setting, value: string, signal: AbortSignal): Promise<string>;
  /** Ends Claude and every process below it; resolves when none is left. */
  stop(signal: "term" | "kill"): Promise<void>;
}

/** The engines, as daemon.ts wires them: what a session may ask before it has an agent. */
export interface Engine {
  start(spec: AgentSpec, events: AgentEvents): Promise<Agent>;
  /** Whether Claude's transcript shows `text` as a prompt at or after `at`; follows no file but `at.file` and its successors in the folder. */
  shows(at: Position, text: string): Promise<boolean>;
}
