/** Stream feed: what a Claude without a terminal tells (its messages, and its transcript for what was kept), as one stream of frames. */

import type { Position } from "./agent.ts";
import { type Json, object, text } from "./json.ts";
import { promptOf } from "./prompts.ts";
import type { SensesOptions } from "./senses.ts";
import type { Source } from "./source.ts";
import { Transcript } from "./transcript.ts";
import { deadline, translate } from "./translate.ts";
import type { Submission } from "./typist.ts";
import { Waits } from "./waits.ts";

/** Where no event tells of changed files, messages do: at most so often. */
const LOOK_MS = 250;
/** The transcript is written in batches 100 ms apart; on a loaded Raspberry Pi it may take ten times that. */
const WRITTEN_MS = 3_000;

export class StreamFeed {
  /** What is being sent hears what Claude makes of it. */
  submission: Submission | undefined;
  readonly #options: SensesOptions;
  readonly #transcript: Transcript;
  readonly #waits = new Waits();
  /** What stood last on stdout and shall stand in the transcript: a message's id or a line's uuid, and how often. */
  #last: { readonly key: string; readonly times: number } | undefined;
  readonly #written = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #lookTimer: NodeJS.Timeout | undefined;
  #stops = 0;
  #following: Promise<void> = Promise.resolve();
  #ended = false;

  constructor(options: SensesOptions) {
    const { spec, now } = options;
    this.#options = options;
    const since = spec.start === "new" ? 0 : now();
    this.#transcript = new Transcript(spec.projectsDir, options.from, since, {
      line: (line, agent) => this.#line(line, agent),
      // Of the conversation itself stdout has told everything.
      skipped: (bytes, agent) => {
        if (agent !== undefined) this.feed({ src: "skipped", at: now(), bytes });
      },
      fault: options.fault,
    });
  }

  /** What it has read of the transcript. */
  get at(): Position {
    return this.#transcript.at;
  }

  /** Waits for a condition that sources change, or for Claude's end; false when `ms` are over. */
  until(condition: () => boolean, ms: number, signal?: AbortSignal): Promise<boolean> {
    return this.#waits.until(() => condition() || this.#ended, ms, signal);
  }

  /** One source event becomes frames. */
  feed(source: Source): void {
    const { events, record, state } = this.#options;
    record(source);
    for (const frame of translate(state, source)) {
      if (frame.type === "stop") this.submission?.stopping();
      events.frame(frame);
      if (frame.type === "stop") this.#stopped();
    }
    this.#setTimer();
    this.#waits.wake();
  }

  /** One message from Claude. */
  message(message: Json, held?: number): void {
    this.#note(message);
    this.feed({ src: "message", at: this.#options.now(), message, ...(held === undefined ? {} : { held }) });
    this.#lookSoon();
  }

  /** A subagent was started: where stdout does not bring its words, its own file does. */
  agent(id: string): void {
    if (!this.#options.state.row.tellsSubagents) this.#transcript.agent(id);
  }

  /** Claude goes on in another conversation, whose file lies beside this one. */
  follow(conversation: string): void {
    const { file } = this.at;
    const next = file.replace(/[^/]+\.jsonl$/, `${conversation}.jsonl`);
    if (next !== file) this.#following = this.#transcript.follow(next, 0).catch(this.#options.fault);
  }

  /** The place of what comes next is known: a new conversation's file is being read. */
  followed(): Promise<void> {
    return this.#following;
  }

  /** Claude has ended: reads what it wrote last. */
  async drain(): Promise<void> {
    await this.#transcript.drain().catch(this.#options.fault);
  }

  /** Looks at nothing any more; what is fed still becomes frames. */
  end(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#lookTimer);
    this.#transcript[Symbol.dispose]();
    this.#waits.wake();
  }

  /** The place is told once the transcript holds the turn: stdout is ahead of it, and what stands behind the place is told again. */
  #stopped(): void {
    const stop = ++this.#stops;
    const { events, state, fault } = this.#options;
    const written = (): boolean =>
      this.#last === undefined || (this.#written.get(this.#last.key) ?? 0) >= this.#last.times;
    const tell = (): void => {
      if (stop !== this.#stops || state.turn !== undefined || this.#ended) return;
      this.#written.clear();
      this.#last = undefined;
      events.position(this.at);
    };
    this.until(written, WRITTEN_MS).then(tell).catch(fault);
  }

  /** Only what Claude writes down under the same name: its own words on the side get another. */
  #note(message: Json): void {
    if (message["parent_tool_use_id"] !== null || message["isReplay"] === true) return;
    const inner = object(message["message"]);
    const assistant = message["type"] === "assistant" && inner?.["model"] !== "<synthetic>";
    const key = assistant ? text(inner?.["id"]) : message["type"] === "user" ? text(message["uuid"]) : undefined;
    if (key === undefined) return;
    this.#last = { key, times: this.#last?.key === key ? this.#last.times + 1 : 1 };
  }

  #line(line: Json, agent: string | undefined): void {
    const { now } = this.#options;
    if (agent !== undefined) {
      this.feed({ src: "line", at: now(), line: uncounted(line), agent });
      return;
    }
    const message = object(line["message"]);
    for (const key of [text(message?.["id"]), text(line["uuid"])])
      if (key !== undefined) this.#written.set(key, (this.#written.get(key) ?? 0) + 1);
    const said = promptOf(line);
    if (said !== undefined) this.submission?.said(said, true);
    if (line["type"] === "ai-title") this.feed({ src: "title", at: now(), title: text(line["aiTitle"]) ?? "" });
    this.#waits.wake();
  }

  #setTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const due = deadline(this.#options.state);
    if (due === undefined || !Number.isFinite(due) || this.#ended) return;
    const { now } = this.#options;
    this.#timer = setTimeout(() => this.feed({ src: "tick", at: now() }), Math.max(0, due - now()));
  }

  #lookSoon(): void {
    this.#lookTimer ??= setTimeout(() => {
      this.#lookTimer = undefined;
      void this.drain();
    }, LOOK_MS);
  }
}

/** The result counts a subagent's tokens: its own lines must not do so again. */
function uncounted(line: Json): Json {
  const message = object(line["message"]);
  return message === undefined ? line : { ...line, message: { ...message, usage: undefined } };
}
