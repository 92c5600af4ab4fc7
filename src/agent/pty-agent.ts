/** Pty agent: the live interactive Claude Code in its terminal; what goes in, and how it begins and ends. */
import { setTimeout as pause } from "node:timers/promises";
import { deadline } from "../deadline.ts";
import { CibError } from "../errors.ts";
import { Turnstile } from "../turnstile.ts";
import type { Agent, AgentEvents, AgentSpec, Claim, Exit, Position, Setting } from "./agent.ts";
import type { Launch } from "./command.ts";
import type { Json } from "./json.ts";
import { Porter } from "./porter.ts";
import { endTree, sessionMarker } from "./process-tree.ts";
import { type Pty, spawnPty } from "./pty.ts";
import { Questions } from "./questions.ts";
import { Senses, type SensesOptions } from "./senses.ts";
import type { State } from "./state.ts";
import { type Bench, endLimitOptions, switchTo } from "./switches.ts";
import type { Heard } from "./tap-stream.ts";
import { type Desk, emptyBox, Submission, typeText } from "./typist.ts";
import { keepingDefaults } from "./user-settings.ts";
import { View } from "./view.ts";

/** Ready in 0.6 s (native) or 1 s (JavaScript) on a desktop; a Raspberry Pi 2 with a cold SD card takes up to a minute. */
const START_DEADLINE_MS = 120_000;
/** The contract of interrupt(). */
const INTERRUPT_DEADLINE_MS = 5_000;
/** The transcript is written in batches 100 ms apart; a prompt that was interrupted before its first word may never stand there. */
const KEEP_DEADLINE_MS = 5_000;

/** From its effect to the line that ends it, a command of Claude's own takes 0.2 s on a desktop; a loaded Raspberry Pi ten times that. */
const COMMAND_OVER_MS = 2_000;
/** A command that works this long without a turn is not waited for. */
const COMMAND_WORKS_MS = 60_000;

/** Commands that Claude saves as the default of every session of this configuration. */
const SAVES = /^\/(model|effort)\s+\S/;

/** Measured within 0.3 s on a desktop; a machine that was slow to interrupt is slow at this too. */
const PUT_BACK_MS = 500;

/** Claude offers what to do about a usage limit 0.1 s after the turn on a desktop. */
const LIMIT_OPTIONS_MS = 10_000;

/** Everything the engine has prepared for one start. */
export interface AgentStart extends SensesOptions {
  readonly launch: Launch;
  readonly version: string;
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
  readonly #senses: Senses;
  readonly #questions: Questions;
  readonly #porter: Porter;
  readonly #pty: Pty;
  readonly #ended: Promise<void>;
  #end: () => void = () => undefined;
  readonly #typing = new Turnstile();
  readonly #view: View;
  /** Settled when what Claude offers after a usage limit is closed. */
  #offer: Promise<void> = Promise.resolve();
  /** By then an interrupted prompt is back in the input box, ms since 1970. */
  #backAt = 0;
  #lastText = "";
  #draft = false;
  #stopping = false;
  #exit: Exit | undefined;

  constructor(start: AgentStart) {
    const { spec } = start;
    this.#spec = spec;
    this.#events = start.events;
    this.version = start.version;
    this.#state = start.state;
    this.#now = start.now;
    this.#fault = start.fault;
    this.#ended = new Promise((done) => {
      this.#end = done;
    });
    const events: AgentEvents = {
      ...start.events,
      frame: (body) => {
        start.events.frame(body);
        if (body.type === "ask.question" || body.type === "ask.answer") this.#questions.sweep();
        if (body.type === "error" && body.code === "usage_limit") this.#afterLimit();
      },
    };
    this.#senses = new Senses({ ...start, events });
    const { now, state } = start;
    this.#questions = new Questions({ asks: state.asks, feed: (source) => this.#senses.feed(source), now });
    this.#porter = new Porter({
      spec,
      row: state.row,
      judge: (call) => start.events.judge(call),
      questions: this.#questions,
      senses: this.#senses,
      now,
      fault: start.fault,
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
        data: (bytes) => this.#senses.output(bytes),
        exit: (code, signal) => void this.#onExit(code, signal).catch(this.#fault),
      },
    );
    this.#view = new View(this.#pty, this.#senses.screen);
    this.#senses.attend(this.#pty.pid);
    this.ready = this.#untilReady();
    this.ready.catch(() => undefined);
  }

  get pid(): number {
    return this.#pty.pid;
  }

  get at(): Position {
    return this.#senses.at;
  }

  /** One hook call, from the inbox. */
  hook(event: string, body: Json, gone: AbortSignal): object | Promise<object> {
    return this.#porter.take(event, body, gone);
  }

  /** What the tap overheard. */
  heard(heard: Heard, agent: string | undefined): void {
    this.#senses.heard(heard, agent);
  }

  submit(prompt: string, signal: AbortSignal, taken: () => void = () => undefined): Promise<void> {
    const typed = (): Promise<void> => this.#submit(prompt, signal, taken);
    return this.#typing.pass(SAVES.test(prompt) ? () => keepingDefaults(this.#spec, typed) : typed);
  }

  async #submit(prompt: string, signal: AbortSignal, taken: () => void): Promise<void> {
    await this.#offer;
    this.#alive();
    // A prompt that was interrupted comes back into the box after Claude is idle: emptied before, it would be full again.
    const back = this.#backAt - this.#now();
    if (this.#draft && back > 0) await pause(back, undefined, { signal });
    if (this.#draft) await emptyBox(this.#desk(), this.#lastText);
    this.#draft = false;
    // A dialog has just been closed: the end of the command that opened it is told first.
    if (this.#state.commandOwed) await this.#senses.until(() => !this.#state.commandOwed, COMMAND_OVER_MS, signal);
    const submission = new Submission(prompt, taken);
    this.#senses.submission = submission;
    if (submission.isCommand) this.#senses.feed({ src: "command", at: this.#now() });
    this.#lastText = prompt;
    try {
      using typing = deadline(START_DEADLINE_MS, signal);
      await typeText(this.#desk(), submission, typing.signal);
      // Claude shows a prompt to its hooks before it writes it down; killed in between, it would forget it.
      if (submission.isCommand) await this.#commandOver(submission, signal);
      else await this.#senses.until(() => submission.kept, KEEP_DEADLINE_MS, signal);
      const over = submission.taken && this.#exit?.code === 0 && !this.#stopping;
      // A command that ended Claude has done what it should; another text may be lost with it.
      if (!submission.kept && !over) this.#alive();
    } catch (failure) {
      // What is not sent stands in the box again.
      if (submission.refused !== undefined) this.#draft = true;
      throw failure;
    } finally {
      // A command whose Enter did nothing stands in the box: it must not begin the next text.
      if (!submission.taken) this.#draft = true;
      this.#senses.submission = undefined;
    }
  }

  /** The end of a command is told before the next text is typed. One that nothing tells of, an unknown one, is over when nothing follows. */
  async #commandOver(submission: Submission, signal: AbortSignal): Promise<void> {
    const state = this.#state;
    const known = () => submission.over || state.turn !== undefined || state.claude === "waiting";
    if (await this.#senses.until(known, submission.taken ? COMMAND_OVER_MS : 0, signal)) return;
    if (state.claude === "busy") {
      await this.#senses.until(() => known() || state.claude !== "busy", COMMAND_WORKS_MS, signal);
      if (await this.#senses.until(known, COMMAND_OVER_MS, signal)) return;
    }
    if (state.claude === "idle" && this.#exit === undefined)
      this.#senses.feed({ src: "command-over", at: this.#now() });
  }

  write(bytes: Uint8Array): void {
    this.#alive();
    this.#draft = true;
    this.#senses.touched();
    this.#pty.write(bytes);
  }

  resize(cols: number, rows: number): void {
    this.#view.resize(cols, rows);
  }

  async interrupt(signal: AbortSignal): Promise<boolean> {
    this.#alive();
    if (this.#state.limit !== undefined) this.#senses.feed({ src: "limit-over", at: this.#now() });
    if (this.#atRest()) return true;
    const turn = this.#state.turn;
    // In an idle Claude Esc would open a menu.
    const working =
      (turn !== undefined && turn.ending === undefined) ||
      this.#state.claude === "busy" ||
      this.#state.claude === "waiting";
    if (working) {
      this.#senses.feed({ src: "esc", at: this.#now() });
      this.#pty.write("\x1b");
      // An interrupt before the first word puts the prompt back into the input box.
      this.#draft = true;
    }
    const began = this.#now();
    const idle = await this.#senses.until(() => this.#atRest(), INTERRUPT_DEADLINE_MS, signal);
    const now = this.#now();
    this.#backAt = now + Math.max(PUT_BACK_MS, 2 * (now - began));
    return idle;
  }

  claim(group: string): Claim | undefined {
    return this.#questions.claim(group);
  }

  switch(what: Setting, value: string, signal: AbortSignal): Promise<string> {
    return this.#typing.pass(() => switchTo(this.#bench(), what, value, signal));
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

  async #onExit(code: number | undefined, signal: number | undefined): Promise<void> {
    const words = this.#stopping || code === 0 ? undefined : this.#senses.screen.words();
    await this.#senses.drain();
    if (code === 0 && !this.#stopping) this.#senses.endedWell();
    this.#exit = {
      code,
      signal: signal === undefined ? undefined : String(signal),
      ...(words === undefined ? {} : { words }),
    };
    this.#senses.end();
    this.#questions.end();
    try {
      this.#events.ending(this.#exit);
      this.#senses.feed({ src: "exit", at: this.#now() });
      // What Claude leaves behind (a tool in a session of its own, after kill -9) ends with it.
      await endTree(sessionMarker(this.#spec.session), undefined, "term", this.#spec.user).catch(this.#fault);
      this.#events.exited(this.#exit);
    } finally {
      this.#end();
    }
  }

  async #untilReady(): Promise<void> {
    const ready = () => this.#senses.started && this.#state.claude === "idle";
    await this.#senses.until(ready, START_DEADLINE_MS);
    if (ready()) return;
    const why =
      this.#exit === undefined ? `did not get ready within ${START_DEADLINE_MS / 1000} s` : "ended while starting";
    throw new CibError("claude_failed", `claude ${why}: ${this.#senses.screen.words() || "it said nothing"}`);
  }

  #atRest(): boolean {
    return this.#state.turn === undefined && this.#state.claude === "idle";
  }

  #desk(): Desk {
    const state = this.#state;
    const screen = this.#senses.screen;
    const now = this.#now;
    return {
      type: (keys) => this.#pty.write(keys),
      get quietMs() {
        return now() - screen.lastWrite;
      },
      get writes() {
        return screen.writes;
      },
      words: () => screen.words(),
      marksPastes: state.row.marksPastes,
      get engaged() {
        return state.claude !== "idle" || state.turn !== undefined;
      },
    };
  }

  /** Nothing is typed before the dialog that Claude opens then is closed. */
  #afterLimit(): void {
    const deadline = AbortSignal.timeout(LIMIT_OPTIONS_MS);
    // From now on: it may be drawn before the turn is told to have ended, and is not drawn again for Ctrl+L.
    const look = this.#view.look();
    const end = async (): Promise<void> => {
      await this.#senses.until(() => this.#state.turn === undefined, LIMIT_OPTIONS_MS, deadline);
      if (this.#exit === undefined) await endLimitOptions(this.#bench(), look, deadline);
    };
    // Not through the turnstile: a switch may wait there for Claude to be idle, which that dialog prevents.
    this.#offer = end()
      .catch(this.#fault)
      .finally(() => look[Symbol.dispose]());
  }

  #bench(): Bench {
    const gone = (): boolean => this.#exit !== undefined || this.#stopping;
    const draft = (): boolean => this.#draft;
    const leave = (is: boolean): void => {
      this.#draft = is;
    };
    return {
      spec: this.#spec,
      state: this.#state,
      offer: () => this.#offer,
      get gone() {
        return gone();
      },
      get draft() {
        return draft();
      },
      set draft(is) {
        leave(is);
      },
      type: (keys) => this.#pty.write(keys),
      look: () => this.#view.look(),
      check: () => this.#senses.check(),
      feed: (source) => this.#senses.feed(source),
      now: this.#now,
      until: (condition, ms, aborted) => this.#senses.until(condition, ms, aborted),
    };
  }

  #alive(): void {
    if (this.#exit !== undefined) throw new CibError("conflict", "session: claude has ended");
  }
}
