/** Stream agent: Claude Code without a terminal, spoken to in stream-json both ways with its control protocol. */
import { randomUUID } from "node:crypto";
import { CibError } from "../errors.ts";
import type { Agent, AgentEvents, AgentSpec, Claim, Exit, Position, Setting } from "./agent.ts";
import { type Json, text } from "./json.ts";
import { endTree, sessionMarker } from "./process-tree.ts";
import type { AgentStart } from "./pty-agent.ts";
import type { State } from "./state.ts";
import { StreamControl } from "./stream-control.ts";
import { hookWishes, StreamDesk } from "./stream-desk.ts";
import { StreamFeed } from "./stream-feed.ts";
import { modelProbe } from "./stream-probe.ts";
import { type StreamProcess, spawnStream } from "./stream-process.ts";
import { StreamSwitch } from "./stream-switch.ts";
import { Submission } from "./typist.ts";

/** The first answer comes after 0.8 s (native) or 1.3 s (JavaScript) on a desktop; a Raspberry Pi 2 with a cold SD card takes up to a minute. */
const START_DEADLINE_MS = 120_000;
/** Claude takes a prompt within 50 ms, a loaded Raspberry Pi within seconds. */
const TAKE_DEADLINE_MS = 30_000;
/** The contract of interrupt(). */
const INTERRUPT_DEADLINE_MS = 5_000;
/** An interrupt that comes while Claude prepares a turn finds nothing to end: it is sent again. */
const INTERRUPT_AGAIN_MS = 500;
/** The transcript is written in batches 100 ms apart. */
const KEEP_DEADLINE_MS = 5_000;
/** A command that works this long is not waited for: its end is told when it comes. */
const COMMAND_WORKS_MS = 60_000;

export class StreamAgent implements Agent {
  readonly terminal = false;
  readonly version: string;
  readonly ready: Promise<void>;
  /** Lines of Claude's that were no messages. */
  garbled = 0;
  readonly #spec: AgentSpec;
  readonly #events: AgentEvents;
  readonly #state: State;
  readonly #now: () => number;
  readonly #fault: (fault: unknown) => void;
  readonly #feed: StreamFeed;
  readonly #desk: StreamDesk;
  readonly #control: StreamControl;
  readonly #switch: StreamSwitch;
  readonly #process: StreamProcess;
  readonly #ended: Promise<void>;
  #end: () => void = () => undefined;
  #stopping = false;
  #exit: Exit | undefined;

  constructor(start: AgentStart) {
    const { spec, events, state, now, fault, launch } = start;
    this.#spec = spec;
    this.#events = events;
    this.version = start.version;
    this.#state = state;
    this.#now = now;
    this.#fault = fault;
    this.#ended = new Promise((done) => {
      this.#end = done;
    });
    this.#feed = new StreamFeed(start);
    this.#control = new StreamControl((message) => this.#process.write(message));
    this.#desk = new StreamDesk({ ...start, feed: this.#feed, control: this.#control });
    this.#switch = new StreamSwitch({
      spec,
      control: this.#control,
      feed: (source) => this.#feed.feed(source),
      now,
      probe: modelProbe(spec, launch),
    });
    this.#process = spawnStream(
      { ...launch, cwd: spec.workdir, ...(spec.user === undefined ? {} : { user: spec.user }) },
      {
        message: (message) => this.#onMessage(message),
        skipped: (bytes) => this.#onSkipped(bytes),
        exit: (code, signal) => void this.#onExit(code, signal).catch(fault),
      },
    );
    this.ready = this.#untilReady();
    this.ready.catch(() => undefined);
  }

  get pid(): number {
    return this.#process.pid;
  }

  get at(): Position {
    return this.#feed.at;
  }

  /** Claude's hooks come over its own lines here: whoever calls the inbox is someone else. */
  hook(_event: string, _body: Json, _gone: AbortSignal): object {
    return {};
  }

  async submit(prompt: string, signal: AbortSignal, taken: () => void = () => undefined): Promise<void> {
    this.#alive();
    const submission = new Submission(prompt, taken);
    submission.entered = true;
    this.#feed.submission = submission;
    const uuid = randomUUID();
    try {
      const command = prompt.startsWith("/");
      // Of a command Claude tells nothing before its end.
      if (command) submission.effect();
      this.#feed.feed({ src: "sent", at: this.#now(), command });
      this.#process.write({
        type: "user",
        uuid,
        message: { role: "user", content: [{ type: "text", text: prompt }] },
        parent_tool_use_id: null,
        session_id: this.#state.meta["claude_session"] ?? this.#spec.conversation,
      });
      const known = (): boolean => submission.taken || submission.refused !== undefined;
      await this.#feed.until(known, TAKE_DEADLINE_MS, signal);
      if (submission.refused !== undefined) throw new CibError("hook_blocked", `text: not sent: ${submission.refused}`);
      if (!known()) await this.#takeBack(uuid);
      // Claude shows a prompt to its hooks before it writes it down; killed in between, it would forget it.
      // A command is over with its end, one that is a prompt with its first word; also where its words change on the way.
      const kept = (): boolean =>
        command ? submission.over || (submission.kept && !this.#state.talk.command) : submission.kept;
      await this.#feed.until(kept, command ? COMMAND_WORKS_MS : KEEP_DEADLINE_MS, signal);
      if (!kept()) this.#alive();
      if (command) await this.#feed.followed();
    } finally {
      this.#feed.submission = undefined;
    }
  }

  /** A text that was not taken must not be taken later, when somebody sends it again. */
  async #takeBack(uuid: string): Promise<never> {
    this.#alive();
    await this.#control.request({ subtype: "cancel_async_message", message_uuid: uuid });
    throw new CibError("claude_failed", `claude did not take the text as a prompt within ${TAKE_DEADLINE_MS / 1000} s`);
  }

  write(): void {
    throw new CibError("no_terminal", "this session has no terminal");
  }

  resize(): void {
    throw new CibError("no_terminal", "this session has no terminal");
  }

  async interrupt(signal: AbortSignal): Promise<boolean> {
    this.#alive();
    const rest = (): boolean => this.#state.turn === undefined;
    if (rest()) return true;
    this.#feed.feed({ src: "esc", at: this.#now() });
    const deadline = this.#now() + INTERRUPT_DEADLINE_MS;
    while (!rest() && this.#now() < deadline && !signal.aborted && this.#exit === undefined) {
      this.#control.request({ subtype: "interrupt" }).catch(() => undefined);
      await this.#feed.until(rest, INTERRUPT_AGAIN_MS, signal);
    }
    return rest();
  }

  claim(group: string): Claim | undefined {
    return this.#desk.claim(group);
  }

  async switch(what: Setting, value: string, signal: AbortSignal): Promise<string> {
    this.#alive();
    return this.#switch.set(what, value, signal);
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

  #onMessage(message: Json): void {
    const type = message["type"];
    if (type === "control_response") this.#control.answered(message);
    else if (type === "control_request") this.#desk.request(message);
    else if (type === "control_cancel_request") this.#desk.cancel(text(message["request_id"]) ?? "");
    else {
      // /clear goes on in another file.
      if (type === "system" && message["subtype"] === "init") this.#feed.follow(text(message["session_id"]) ?? "");
      this.#feed.message(message);
    }
    this.#desk.told(message);
  }

  #onSkipped(bytes: number): void {
    this.garbled++;
    if (bytes > 0) this.#feed.feed({ src: "skipped", at: this.#now(), bytes });
  }

  async #untilReady(): Promise<void> {
    const hello = this.#control.request({
      subtype: "initialize",
      hooks: hookWishes(this.#spec),
      forwardSubagentText: true,
    });
    const why = `did not get ready within ${START_DEADLINE_MS / 1000} s`;
    try {
      this.#switch.initialized(await hello);
    } catch (thrown) {
      const said = this.#process.words || (thrown instanceof Error ? thrown.message : why);
      throw new CibError("claude_failed", `claude ended while starting: ${said}`, { cause: thrown });
    }
    const { conversation } = this.#spec;
    this.#feed.feed({ src: "set", at: this.#now(), set: { claude_session: conversation } });
    this.#feed.feed({ src: "state", at: this.#now(), state: "idle" });
    this.#events.position(this.at);
  }

  async #onExit(code: number | undefined, signal: number | undefined): Promise<void> {
    const words = this.#stopping || code === 0 ? "" : this.#process.words;
    this.#control.end();
    this.#desk.end();
    await this.#feed.drain();
    this.#exit = {
      code,
      signal: signal === undefined ? undefined : String(signal),
      ...(words === "" ? {} : { words }),
    };
    this.#feed.end();
    try {
      this.#events.ending(this.#exit);
      this.#feed.feed({ src: "exit", at: this.#now() });
      this.#events.position(this.at);
      // What Claude leaves behind (a tool in a session of its own, after kill -9) ends with it.
      await endTree(sessionMarker(this.#spec.session), undefined, "term", this.#spec.user).catch(this.#fault);
      this.#events.exited(this.#exit);
    } finally {
      this.#end();
    }
  }

  #alive(): void {
    if (this.#exit !== undefined) throw new CibError("conflict", "session: claude has ended");
  }
}
