/** Pty agent: the live interactive Claude Code; terminal, hooks, transcript and status joined into one stream of frames. */
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { CibError } from "../errors.ts";
import type { Agent, AgentEvents, AgentSpec, Exit, Position } from "./agent.ts";
import { type Launch, START_FILE } from "./command.ts";
import { type Json, object, text } from "./json.ts";
import { endTree, sessionMarker } from "./process-tree.ts";
import { promptOf } from "./prompts.ts";
import { type Pty, spawnPty } from "./pty.ts";
import { type ClaudeState, readSessionFile, readTitle, sessionFile, TitleScanner } from "./status.ts";
import { sizeOf, Transcript } from "./transcript.ts";
import { deadline, type Source, type State, translate } from "./translate.ts";
import { type Desk, emptyBox, Submission, typeText } from "./typist.ts";
import { FolderWatch } from "./watch.ts";

/** Ready in 0.6 s (native) or 1 s (JavaScript) on a desktop; a Raspberry Pi 2 with a cold SD card takes up to a minute. */
const START_DEADLINE_MS = 120_000;
/** The contract of interrupt(). */
const INTERRUPT_DEADLINE_MS = 5_000;
/** The transcript is written in batches 100 ms apart; a prompt that was interrupted before its first word may never stand there. */
const KEEP_DEADLINE_MS = 5_000;
/** Where no event tells of changed files, terminal output does: at most so often. */
const LOOK_AFTER_OUTPUT_MS = 250;
/** Enough of the screen to say why Claude would not start. */
const WORDS_BYTES = 8 * 1024;
const WORDS_CHARS = 500;
/** Longest body of a SessionStart file. */
const MAX_START_BYTES = 64 * 1024;

/** Everything the engine has prepared for one start. */
export interface PtyStart {
  readonly spec: AgentSpec;
  readonly events: AgentEvents;
  readonly launch: Launch;
  readonly version: string;
  readonly state: State;
  /** Where reading begins. */
  readonly from: Position;
  readonly now: () => number;
  readonly fault: (fault: unknown) => void;
  readonly record: (source: Source) => void;
}

export class PtyAgent implements Agent {
  readonly terminal = true;
  readonly version: string;
  readonly ready: Promise<void>;
  readonly #spec: AgentSpec;
  readonly #events: AgentEvents;
  readonly #state: State;
  readonly #now: () => number;
  readonly #fault: (fault: unknown) => void;
  readonly #record: (source: Source) => void;
  readonly #pty: Pty;
  readonly #transcript: Transcript;
  readonly #titles = new TitleScanner();
  readonly #watches: FolderWatch[];
  readonly #waiters = new Set<() => void>();
  readonly #ended: Promise<void>;
  #end: () => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  #lookTimer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #words = Buffer.alloc(0);
  #writes = 0;
  #lastWrite = 0;
  #submission: Submission | undefined;
  #lastText = "";
  #draft = false;
  #fileState = false;
  #started = false;
  #stopping = false;
  #exit: Exit | undefined;

  constructor(start: PtyStart) {
    const { spec } = start;
    this.#spec = spec;
    this.#events = start.events;
    this.version = start.version;
    this.#state = start.state;
    this.#now = start.now;
    this.#fault = start.fault;
    this.#record = start.record;
    this.#ended = new Promise((done) => {
      this.#end = done;
    });
    const since = spec.start === "new" ? 0 : this.#now();
    const projects = join(spec.configDir, "projects");
    this.#transcript = new Transcript(projects, start.from, since, {
      line: (line, agent) => this.#line(line, agent),
      skipped: (bytes) => this.#feed({ src: "skipped", at: this.#now(), bytes }),
      fault: this.#fault,
    });
    this.#pty = spawnPty(
      {
        ...start.launch,
        cwd: spec.workdir,
        cols: spec.cols,
        rows: spec.rows,
        ...(spec.user === undefined ? {} : { user: spec.user }),
      },
      {
        data: (bytes) => this.#output(bytes),
        exit: (code, signal) => void this.#onExit(code, signal).catch(this.#fault),
      },
    );
    this.#watches = [
      new FolderWatch(join(spec.configDir, "sessions"), (name) => name === `${this.#pty.pid}.json` && this.#look()),
      new FolderWatch(spec.runDir, (name) => START_FILE.test(name ?? "") && this.#look()),
    ];
    this.ready = this.#untilReady();
    this.ready.catch(() => undefined);
  }

  get pid(): number {
    return this.#pty.pid;
  }

  get at(): Position {
    return this.#transcript.at;
  }

  /** One hook call, from the inbox. */
  hook(event: string, body: Json): void {
    if (this.#exit !== undefined) return;
    const agent = text(body["agent_id"]);
    if (event === "SubagentStart" && agent !== undefined) this.#transcript.agent(agent);
    if (event === "UserPromptSubmit" && agent === undefined) this.#submission?.said(text(body["prompt"]) ?? "", false);
    if (event === "PreCompact") this.#submission?.effect();
    this.#feed({ src: "hook", at: this.#now(), event, body });
    if (event === "SessionEnd" || event === "SubagentStop" || event === "Stop") this.#look();
  }

  async submit(prompt: string, signal: AbortSignal, taken: () => void = () => undefined): Promise<void> {
    this.#alive();
    if (this.#draft) await emptyBox(this.#desk(), this.#lastText);
    this.#draft = false;
    const submission = new Submission(prompt, taken);
    this.#submission = submission;
    this.#lastText = prompt;
    try {
      await typeText(this.#desk(), submission, AbortSignal.any([signal, AbortSignal.timeout(START_DEADLINE_MS)]));
      // Claude shows a prompt to its hooks before it writes it down; killed in between, it would forget it.
      if (!submission.isCommand)
        await this.#until(() => submission.kept || this.#exit !== undefined, KEEP_DEADLINE_MS, signal);
      if (!submission.kept) this.#alive();
    } finally {
      this.#submission = undefined;
    }
  }

  write(bytes: Uint8Array): void {
    this.#alive();
    this.#draft = true;
    this.#pty.write(bytes);
  }

  resize(cols: number, rows: number): void {
    this.#pty.resize(cols, rows);
  }

  async interrupt(signal: AbortSignal): Promise<boolean> {
    this.#alive();
    if (this.#atRest()) return true;
    const turn = this.#state.turn;
    // In an idle Claude Esc would open a menu.
    const working =
      (turn !== undefined && turn.ending === undefined) ||
      this.#state.claude === "busy" ||
      this.#state.claude === "waiting";
    if (working) {
      this.#feed({ src: "esc", at: this.#now() });
      this.#pty.write("\x1b");
      // An interrupt before the first word puts the prompt back into the input box.
      this.#draft = true;
    }
    return this.#until(() => this.#atRest() || this.#exit !== undefined, INTERRUPT_DEADLINE_MS, signal);
  }

  async stop(signal: "term" | "kill"): Promise<void> {
    this.#stopping = true;
    await endTree(
      sessionMarker(this.#spec.session),
      this.#exit === undefined ? this.pid : undefined,
      signal,
      this.#spec.user,
    );
    await this.#ended;
  }

  // Sources

  #feed(source: Source): void {
    this.#record(source);
    const frames = translate(this.#state, source);
    for (const frame of frames) {
      this.#events.frame(frame);
      if (frame.type === "stop") this.#events.position(this.#transcript.at);
    }
    this.#setTimer();
    for (const waiter of [...this.#waiters]) waiter();
  }

  #setTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const due = deadline(this.#state);
    if (due === undefined || this.#exit !== undefined) return;
    this.#timer = setTimeout(() => void this.#onDue().catch(this.#fault), Math.max(0, due - this.#now()));
  }

  /** What the transcript has by now counts before the time does. */
  async #onDue(): Promise<void> {
    await this.#transcript.drain();
    if (this.#exit === undefined) this.#feed({ src: "tick", at: this.#now() });
  }

  #line(line: Json, agent: string | undefined): void {
    const said = agent === undefined ? promptOf(line) : undefined;
    if (said !== undefined) this.#submission?.said(said, true);
    this.#feed({ src: "line", at: this.#now(), line, ...(agent === undefined ? {} : { agent }) });
  }

  #output(bytes: Buffer): void {
    this.#writes++;
    this.#lastWrite = this.#now();
    this.#words = Buffer.concat([this.#words, bytes]).subarray(-WORDS_BYTES);
    this.#events.terminal(bytes);
    this.#titles.push(bytes, (raw) => this.#title(raw));
    this.#lookTimer ??= setTimeout(() => {
      this.#lookTimer = undefined;
      this.#look();
    }, LOOK_AFTER_OUTPUT_MS);
  }

  #title(raw: string): void {
    const title = readTitle(raw);
    if (title === undefined) return;
    if (!this.#fileState) this.#setState(title.state);
    if (!title.text.startsWith("Claude Code")) this.#feed({ src: "title", at: this.#now(), title: title.text });
  }

  #setState(state: ClaudeState, since?: number): void {
    if (state === this.#state.claude) return;
    if (state !== "idle") this.#submission?.effect();
    this.#feed({ src: "state", at: this.#now(), state, ...(since === undefined ? {} : { since }) });
  }

  /** Looks at every file that Claude may have changed. Calls during a look are answered by the next. */
  #look(): void {
    if (this.#looking !== undefined) {
      this.#lookTimer ??= setTimeout(() => {
        this.#lookTimer = undefined;
        this.#look();
      }, LOOK_AFTER_OUTPUT_MS);
      return;
    }
    this.#looking = this.#readAll()
      .catch(this.#fault)
      .finally(() => {
        this.#looking = undefined;
      });
  }

  async #readAll(): Promise<void> {
    for (const watch of this.#watches) watch.retry();
    await this.#readStarts();
    await this.#transcript.drain();
    if (!this.#state.row.statusFile) return;
    const file = await readSessionFile(sessionFile(this.#spec.configDir, this.pid));
    if (file?.state === undefined || this.#exit !== undefined) return;
    this.#fileState = true;
    this.#setState(file.state, file.since);
  }

  /** SessionStart leaves files: http hooks are skipped for it. */
  async #readStarts(): Promise<void> {
    const names = (await readdir(this.#spec.runDir).catch(() => [])).filter((name) => START_FILE.test(name));
    for (const name of names) {
      const path = join(this.#spec.runDir, name);
      const body = await readFile(path, "utf8").then(startBody, () => undefined);
      await rm(path, { force: true });
      if (body !== undefined) await this.#sessionStart(body);
    }
  }

  async #sessionStart(told: Json): Promise<void> {
    const body = this.#started ? told : this.#ownStart(told);
    const file = text(body["transcript_path"]);
    this.#started = true;
    if (body["source"] === "clear") this.#submission?.effect();
    // A conversation picked up again has a past that is not news.
    if (file !== undefined) await this.#transcript.follow(file, body["source"] === "resume" ? await sizeOf(file) : 0);
    this.#feed({ src: "hook", at: this.#now(), event: "SessionStart", body });
    this.#events.position(this.#transcript.at);
    await this.#transcript.drain();
  }

  /** A fork's first SessionStart still names the conversation it came from. */
  #ownStart(body: Json): Json {
    const { start, conversation } = this.#spec;
    if (typeof start === "string" || body["session_id"] !== start.fork) return body;
    return { ...body, session_id: conversation, transcript_path: this.at.file };
  }

  // Ends

  async #onExit(code: number | undefined, signal: number | undefined): Promise<void> {
    const words = this.#stopping || code === 0 ? undefined : lastWords(this.#words);
    await this.#transcript.drain().catch(this.#fault);
    this.#exit = {
      code,
      signal: signal === undefined ? undefined : String(signal),
      ...(words === undefined ? {} : { words }),
    };
    clearTimeout(this.#timer);
    clearTimeout(this.#lookTimer);
    for (const watch of this.#watches) watch[Symbol.dispose]();
    this.#transcript[Symbol.dispose]();
    try {
      this.#events.ending(this.#exit);
      this.#feed({ src: "exit", at: this.#now() });
      // What Claude leaves behind (a tool in a session of its own, after kill -9) ends with it.
      await endTree(sessionMarker(this.#spec.session), undefined, "term", this.#spec.user).catch(this.#fault);
      this.#events.exited(this.#exit);
    } finally {
      this.#end();
    }
  }

  async #untilReady(): Promise<void> {
    const ready = () => this.#started && this.#state.claude === "idle";
    const came = await this.#until(
      () => ready() || this.#exit !== undefined,
      START_DEADLINE_MS,
      new AbortController().signal,
    );
    if (came && ready()) return;
    const why =
      this.#exit === undefined ? `did not get ready within ${START_DEADLINE_MS / 1000} s` : "ended while starting";
    throw new CibError("claude_failed", `claude ${why}: ${lastWords(this.#words) || "it said nothing"}`);
  }

  #atRest(): boolean {
    return this.#state.turn === undefined && this.#state.claude === "idle";
  }

  /** Waits for a condition that sources change; false when the time is over. */
  #until(condition: () => boolean, ms: number, signal: AbortSignal): Promise<boolean> {
    if (condition()) return Promise.resolve(true);
    return new Promise((done, fail) => {
      const finish = (answer: boolean): void => {
        this.#waiters.delete(check);
        clearTimeout(timer);
        signal.removeEventListener("abort", abort);
        done(answer);
      };
      const check = (): void => {
        if (condition()) finish(true);
      };
      const abort = (): void => {
        finish(false);
        fail(signal.reason);
      };
      const timer = setTimeout(() => finish(false), ms);
      this.#waiters.add(check);
      signal.addEventListener("abort", abort);
    });
  }

  #desk(): Desk {
    const agent = this;
    return {
      type: (keys) => agent.#pty.write(keys),
      get quietMs() {
        return agent.#now() - agent.#lastWrite;
      },
      get writes() {
        return agent.#writes;
      },
      marksPastes: agent.#state.row.marksPastes,
      get engaged() {
        return agent.#state.claude !== "idle" || agent.#state.turn !== undefined;
      },
    };
  }

  #alive(): void {
    if (this.#exit !== undefined) throw new CibError("conflict", "session: claude has ended");
  }
}

function startBody(raw: string): Json | undefined {
  if (raw.length > MAX_START_BYTES) return undefined;
  try {
    return object(JSON.parse(raw));
  } catch {
    return undefined;
  }
}

/** The end of what stands on the screen, as plain words. */
function lastWords(bytes: Uint8Array): string {
  const plain = Buffer.from(bytes)
    .toString("utf8")
    // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is removed
    .replace(/\x1b\][^\x07\x1b]*(\x07|\x1b\\)/g, "")
    // biome-ignore lint/suspicious/noControlCharactersInRegex: as above; cursor moves stand for spaces
    .replace(/\x1b\[[0-9;?<>=]*[ -/]*[@-~]/g, " ")
    // biome-ignore lint/suspicious/noControlCharactersInRegex: as above
    .replace(/[\x00-\x1f\x7f─-╿]+/g, " ")
    .replace(/\s+/g, " ")
    .trim();
  return plain.slice(-WORDS_CHARS);
}
