/** Senses: all that Claude tells of itself (hooks, transcript, status file, terminal), joined into one stream of frames. */
import { join, sep } from "node:path";
import type { AgentEvents, AgentSpec, Position } from "./agent.ts";
import { type Json, text } from "./json.ts";
import { promptOf } from "./prompts.ts";
import { Screen } from "./screen.ts";
import type { Source } from "./source.ts";
import { isStart, takeStarts } from "./starts.ts";
import type { State } from "./state.ts";
import { type ClaudeState, readSessionFile, readTitle, sessionFile, TitleScanner } from "./status.ts";
import type { Heard } from "./tap-stream.ts";
import { sizeOf, Transcript } from "./transcript.ts";
import { deadline, translate } from "./translate.ts";
import type { Submission } from "./typist.ts";
import { Waits } from "./waits.ts";
import { FolderWatch } from "./watch.ts";

/** Where no event tells of changed files, terminal output does: at most so often. */
const LOOK_AFTER_OUTPUT_MS = 250;

export interface SensesOptions {
  readonly spec: AgentSpec;
  readonly events: AgentEvents;
  readonly state: State;
  /** Where reading begins. */
  readonly from: Position;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly fault: (fault: unknown) => void;
  /** Gets every source event, in order. */
  readonly record: (source: Source) => void;
}

export class Senses {
  readonly screen = new Screen();
  readonly #options: SensesOptions;
  readonly #state: State;
  readonly #transcript: Transcript;
  readonly #titles = new TitleScanner();
  readonly #waits = new Waits();
  #watches: readonly FolderWatch[] = [];
  #pid = 0;
  #timer: NodeJS.Timeout | undefined;
  #lookTimer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #submission: Submission | undefined;
  #fileState = false;
  #started = false;
  #ended = false;

  constructor(options: SensesOptions) {
    const { spec, now } = options;
    this.#options = options;
    this.#state = options.state;
    const since = spec.start === "new" ? 0 : now();
    this.#transcript = new Transcript(spec.projectsDir, options.from, since, {
      line: (line, agent) => this.#line(line, agent),
      skipped: (bytes) => this.feed({ src: "skipped", at: now(), bytes }),
      fault: options.fault,
    });
  }

  /** Claude runs as this process: its files are watched from now on. */
  attend(pid: number): void {
    const { spec } = this.#options;
    this.#pid = pid;
    this.#watches = [
      new FolderWatch(join(spec.configDir, "sessions"), (name) => name === `${pid}.json` && this.#look()),
      new FolderWatch(spec.runDir, (name) => isStart(name) && this.#look()),
    ];
  }

  /** Claude has said that it started. */
  get started(): boolean {
    return this.#started;
  }

  /** What it has read of the transcript. */
  get at(): Position {
    return this.#transcript.at;
  }

  /** What is being typed hears what Claude makes of it. */
  set submission(submission: Submission | undefined) {
    this.#submission = submission;
  }

  /** Whether this prompt, which Claude is about to send, is the one that is being typed. */
  isSubmission(prompt: string): boolean {
    return this.#submission?.is(prompt) ?? false;
  }

  /** A person typed into the terminal. */
  touched(): void {
    if (this.#submission !== undefined) this.#submission.touched = true;
  }

  /** Claude ended by itself, and well: some texts ask for that. */
  endedWell(): void {
    this.#submission?.ended();
  }

  /** Waits for a condition that sources change, or for Claude's end; false when `ms` are over. */
  until(condition: () => boolean, ms: number, signal?: AbortSignal): Promise<boolean> {
    return this.#waits.until(() => condition() || this.#ended, ms, signal);
  }

  /** One source event becomes frames. */
  feed(source: Source): void {
    const { events, record } = this.#options;
    record(source);
    const frames = translate(this.#state, source);
    for (const frame of frames) {
      if (frame.type === "stop") this.#submission?.stopping();
      events.frame(frame);
      if (frame.type === "stop") events.position(this.at);
    }
    this.#setTimer();
    this.#waits.wake();
  }

  /** One hook call, from the inbox. `held`: its answer waits for a person. `blocked`: why the prompt is not sent. */
  hook(event: string, body: Json, how: { readonly held?: number; readonly blocked?: string } = {}): void {
    if (this.#ended) return;
    const { held, blocked } = how;
    const agent = text(body["agent_id"]);
    if (event === "SubagentStart" && agent !== undefined) this.#transcript.agent(agent);
    if (event === "UserPromptSubmit" && agent === undefined) this.#prompt(text(body["prompt"]) ?? "", blocked);
    if (event === "PreCompact") this.#submission?.effect();
    const more = { ...(held !== undefined && { held }), ...(blocked !== undefined && { blocked: true as const }) };
    this.feed({ src: "hook", at: this.#options.now(), event, body, ...more });
    if (event === "SessionEnd" || event === "SubagentStop" || event === "Stop") this.#look();
  }

  /** What the tap overheard. */
  heard(heard: Heard, agent: string | undefined): void {
    if (!this.#ended)
      this.feed({ src: "tap", at: this.#options.now(), heard, ...(agent === undefined ? {} : { agent }) });
  }

  #prompt(said: string, blocked: string | undefined): void {
    if (blocked === undefined) this.#submission?.said(said, false);
    else if (this.isSubmission(said)) this.#submission?.refuse(blocked);
  }

  /** Looks at Claude's files soon. */
  check(): void {
    if (!this.#ended) this.#lookSoon();
  }

  /** Terminal bytes. */
  output(bytes: Uint8Array): void {
    // A person may wait for the echo of a key: that goes first.
    this.#options.events.terminal(bytes);
    this.screen.push(bytes, this.#options.now());
    this.#titles.push(bytes, (raw) => this.#title(raw));
    this.#lookSoon();
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
    for (const watch of this.#watches) watch[Symbol.dispose]();
    this.#transcript[Symbol.dispose]();
  }

  #setTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const due = deadline(this.#state);
    if (due === undefined || this.#ended) return;
    const { fault, now } = this.#options;
    this.#timer = setTimeout(() => void this.#onDue().catch(fault), Math.max(0, due - now()));
  }

  /** What the transcript has by now counts before the time does. */
  async #onDue(): Promise<void> {
    await this.#transcript.drain();
    if (!this.#ended) this.feed({ src: "tick", at: this.#options.now() });
  }

  #line(line: Json, agent: string | undefined): void {
    const said = agent === undefined ? promptOf(line) : undefined;
    if (said !== undefined) this.#submission?.said(said, true);
    this.feed({ src: "line", at: this.#options.now(), line, ...(agent === undefined ? {} : { agent }) });
  }

  #title(raw: string): void {
    const title = readTitle(raw);
    if (title === undefined) return;
    if (!this.#fileState) this.#setState(title.state);
    if (!title.text.startsWith("Claude Code")) this.feed({ src: "title", at: this.#options.now(), title: title.text });
  }

  #setState(state: ClaudeState, since?: number): void {
    if (state === this.#state.claude) return;
    if (state !== "idle") this.#submission?.effect();
    this.feed({ src: "state", at: this.#options.now(), state, ...(since === undefined ? {} : { since }) });
  }

  #lookSoon(): void {
    this.#lookTimer ??= setTimeout(() => {
      this.#lookTimer = undefined;
      this.#look();
    }, LOOK_AFTER_OUTPUT_MS);
  }

  /** Looks at every file that Claude may have changed. Calls during a look are answered by the next. */
  #look(): void {
    if (this.#looking !== undefined) {
      this.#lookSoon();
      return;
    }
    this.#looking = this.#readAll()
      .catch(this.#options.fault)
      .finally(() => {
        this.#looking = undefined;
      });
  }

  async #readAll(): Promise<void> {
    const { spec } = this.#options;
    for (const watch of this.#watches) watch.retry();
    for await (const told of takeStarts(spec.runDir)) await this.#sessionStart(told);
    await this.#transcript.drain();
    if (!this.#state.row.statusFile) return;
    const file = await readSessionFile(sessionFile(spec.configDir, this.#pid));
    if (file?.state === undefined || this.#ended) return;
    this.#fileState = true;
    this.#setState(file.state, file.since);
  }

  async #sessionStart(told: Json): Promise<void> {
    const { spec, events, now } = this.#options;
    const body = this.#started ? told : this.#ownStart(told);
    const file = inProjects(spec, text(body["transcript_path"]));
    this.#started = true;
    if (body["source"] === "clear") this.#submission?.effect();
    // A conversation picked up again has a past that is not news.
    if (file !== undefined) await this.#transcript.follow(file, body["source"] === "resume" ? await sizeOf(file) : 0);
    this.feed({ src: "hook", at: now(), event: "SessionStart", body });
    events.position(this.at);
    await this.#transcript.drain();
  }

  /** A fork's first SessionStart still names the conversation it came from. */
  #ownStart(body: Json): Json {
    const { start, conversation } = this.#options.spec;
    if (typeof start === "string" || body["session_id"] !== start.fork) return body;
    return { ...body, session_id: conversation, transcript_path: this.at.file };
  }
}

/** Claude names the file below its own configuration; the folder of all conversations may be another. */
function inProjects({ configDir, projectsDir }: AgentSpec, file: string | undefined): string | undefined {
  const own = join(configDir, "projects") + sep;
  return file?.startsWith(own) ? join(projectsDir, file.slice(own.length)) : file;
}
