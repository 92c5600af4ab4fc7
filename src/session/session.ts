/** One session: its Claude, its log and what a client may do to them. */
import { join } from "node:path";
import type { Agent, AgentEvents, Exit } from "../agent/agent.ts";
import { deadline } from "../deadline.ts";
import { asCibError, CibError } from "../errors.ts";
import type { Body, FrameBody, SessionId, SessionState } from "../frame/frame.ts";
import { Turnstile } from "../turnstile.ts";
import type { Answers } from "./answers.ts";
import type { Box, Secrets } from "./box.ts";
import { furnish } from "./desk.ts";
import { Ending, lastFrames } from "./ending.ts";
import type { Fanout } from "./fanout.ts";
import { Hooked } from "./hooked.ts";
import { type Info, infoOf } from "./info.ts";
import { GO_ON } from "./limit.ts";
import type { Log } from "./log.ts";
import { addUsage, learned, type Meta, unnamed } from "./meta.ts";
import { MetaFile } from "./meta-file.ts";
import type { Patience } from "./patience.ts";
import { Place } from "./place.ts";
import type { PtyLane } from "./pty-lane.ts";
import type { Queue } from "./queue.ts";
import { launchOf, specOf } from "./spec.ts";
import type { Switches } from "./switches.ts";
import { TAIL_FRAMES, type Tail, tailOf } from "./tail.ts";

/** A session's files and streams, opened by sessions.ts. */
export interface Parts {
  readonly folder: string;
  readonly log: Log;
  readonly lane: PtyLane;
  readonly fanout: Fanout;
}

const DEFAULT_COLS = 120;
const DEFAULT_ROWS = 40;
/** A text is typed and taken within 0.3 s on a desktop; ten times that on a loaded Raspberry Pi. */
const TYPING_MS = 3_000;

export class Session {
  readonly id: SessionId;
  readonly log: Log;
  readonly lane: PtyLane;
  readonly fanout: Fanout;
  readonly queue: Queue;
  readonly answers: Answers;
  readonly switches: Switches;
  readonly hooks: Hooked;
  readonly #box: Box;
  readonly #patience: Patience;
  readonly #meta: MetaFile;
  #agent: Agent | undefined;
  #ready = false;
  #tail: Tail;
  readonly #ending = new Ending();
  #size = { cols: DEFAULT_COLS, rows: DEFAULT_ROWS };
  readonly #place: Place;
  /** Starts and stops happen one after the other. */
  readonly #turnstile = new Turnstile();

  constructor(box: Box, meta: Meta, parts: Parts) {
    this.id = meta.id;
    this.#box = box;
    this.log = parts.log;
    // A full disk must not end the session: the next change writes everything again.
    this.#meta = new MetaFile(join(parts.folder, "meta.json"), meta, (failure) => box.fault("meta.json", failure));
    this.lane = parts.lane;
    this.fanout = parts.fanout;
    let storedTurns = 0;
    this.#tail = tailOf(this.log.frames(this.#tailFrom()), meta.position?.seq ?? 0, (tail) => {
      storedTurns = tail.turns;
    });
    this.#place = new Place(this.log, this.#meta, storedTurns, (thrown) => box.fault(`log ${this.id}`, thrown));
    const append = (body: FrameBody, own: boolean): number => this.append(body, own);
    this.hooks = new Hooked(box, this.#meta, parts.fanout, append, () => this.queue.wake());
    const desk = furnish({
      box,
      meta: this.#meta,
      log: this.log,
      tail: this.#tail,
      agent: () => this.#agent,
      running: (what) => this.#running(what),
      free: () => (this.#takes() ? this.#agent : undefined),
      append: (body) => this.append(body),
      limitOver: () => this.#limitOver(),
    });
    this.queue = desk.queue;
    this.answers = desk.answers;
    this.switches = desk.switches;
    this.#patience = desk.patience;
  }

  get meta(): Meta {
    return this.#meta.value;
  }

  get state(): SessionState {
    return this.#tail.state === "stopped" && this.#agent !== undefined ? "working" : this.#tail.state;
  }

  get running(): boolean {
    return this.#agent !== undefined;
  }

  /** Questions that wait for a person, oldest first. */
  get asks(): readonly Body<"ask.question">[] {
    return [...this.#tail.asks.values()];
  }

  /** Numbers and logs one frame; the session learns from it like any client. `own`: the agent did not tell it. */
  append(told: FrameBody, own = true): number {
    const body = told.type === "ask.question" ? this.answers.opened(told) : told;
    const seq = this.log.append(body);
    this.#tail.take(body, this.#box.now());
    this.#learn(body);
    this.hooks.told(body, own);
    return seq;
  }

  info(): Info {
    const { state, log, meta } = this;
    const [elapsedMs, waiting, queued] = [this.#elapsed(), this.#tail.asks.size, this.queue.size];
    return infoOf(meta, { state, elapsedMs, waiting, queued, defaultModel: this.#box.settings.model, log });
  }

  /** Starts Claude, or resumes it where it stopped. No effect when it runs. Throws `claude_failed`, `conflict`. */
  async start(secrets?: Secrets): Promise<void> {
    await this.#turnstile.pass(async () => {
      if (this.#agent !== undefined) return;
      const { credential, env } = launchOf(this.meta, this.#box, secrets);
      if (!this.meta.wanted) this.#meta.change({ wanted: true });
      const seen = this.#tail.seen(this.#place.turnsSince(this.#tail.turns));
      this.#goOn ||= this.#tail.limit.over(this.#box.now());
      const { resetsAt } = this.#tail.limit;
      const spec = specOf(this.meta, this.#box.settings, { credential, env, size: this.#size, seen, resetsAt });
      const agent = await this.#box.engine.start(spec, this.#events());
      this.#agent = agent;
      this.#meta.change({ started: true, version: agent.version });
      agent.ready
        .then(
          () => this.hooks.after(() => this.#takesInput(agent)),
          (failure: unknown) => this.#cannotStart(agent, failure),
        )
        .catch((thrown: unknown) => this.#box.fault(`start ${this.id}`, thrown));
    });
  }

  /** Ends Claude with its whole process tree; the log stays. `wanted`: whether it should run again after a restart. */
  async stop(signal: "term" | "kill", options: { wanted: boolean; reason: string }): Promise<void> {
    await this.#turnstile.pass(async () => {
      if (this.meta.wanted !== options.wanted) this.#meta.change({ wanted: options.wanted });
      const agent = this.#agent;
      if (agent === undefined) return;
      this.#ending.stopping = options.reason;
      try {
        await agent.stop(signal);
        await this.hooks.settled();
      } finally {
        this.#ending.stopping = undefined;
      }
      if (this.#agent === agent) this.#ended({ code: undefined, signal: undefined }, options.reason);
      await this.hooks.rest();
    });
  }

  /** Stops, and writes what must survive: the log's clean mark, the terminal ring. The session cannot be used any more. */
  async close(reason: string): Promise<void> {
    await this.stop("term", { wanted: this.meta.wanted, reason });
    await this.hooks.close();
    this.#patience.end();
    this.fanout.close("stopping");
    await this.#place.kept();
    await this.#meta.saved();
    await this.log.close();
    await this.lane.spill();
  }

  /**
   * The log has no room for more. Going on would mean to forget frames: better an honest end. What Claude says until
   * then is not taken; its transcript has it, and it is told after the next start.
   */
  overflow(): void {
    this.#ending.deaf = true;
    const stopped = this.stop("term", { wanted: true, reason: "disk_full" });
    stopped.catch((thrown: unknown) => this.#box.fault("session.stop", thrown));
  }

  terminal(): Agent {
    const agent = this.#running("be typed into");
    if (!agent.terminal) throw new CibError("no_terminal", `session ${this.id} has no terminal`);
    return agent;
  }

  /** Terminal size in characters: the last one to ask wins, also across restarts of Claude. */
  resize(cols: number, rows: number): void {
    this.terminal().resize(cols, rows);
    this.#size = { cols, rows };
  }

  /** True when Claude is idle again; false when it did not confirm in time. */
  async interrupt(signal: AbortSignal): Promise<boolean> {
    const agent = this.#agent;
    if (agent === undefined)
      throw new CibError("conflict", `session ${this.id} is stopped; there is nothing to interrupt`);
    // A text that is being typed is meant too: once it is taken, there is something to interrupt.
    using typing = deadline(TYPING_MS, signal);
    if (this.state === "idle") await this.queue.settled(typing.signal);
    return this.#agent !== agent || (this.state === "idle" && this.hooks.calm) || agent.interrupt(signal);
  }

  #events(): AgentEvents {
    this.hooks.begin();
    return {
      frame: (body) => this.#told(body),
      // Nobody may see it, and nobody shall find it later.
      terminal: (bytes) => this.hooks.hidesTerminal || this.lane.write(bytes),
      position: (at) => this.hooks.after(() => this.#ending.deaf || this.#place.keep(at, this.#tail.turns)),
      judge: (call) => this.hooks.judge(call),
      ending: (how) => {
        this.#ready = false;
        this.#ending.begins(how);
      },
      exited: (how) => {
        const { reason } = this.#ending;
        this.hooks.after(() => this.#ended(how, reason));
      },
    };
  }

  #told(said: FrameBody): void {
    const taken = this.#ending.takes(said);
    const body = taken !== undefined && this.meta.named ? unnamed(taken) : taken;
    if (body !== undefined) this.hooks.frame(body);
  }

  #running(what: string): Agent {
    if (this.#agent === undefined)
      throw new CibError("conflict", `session ${this.id} is stopped and cannot ${what}; resume it first`);
    return this.#agent;
  }

  #takesInput(agent: Agent): void {
    if (this.#agent !== agent) return;
    this.#ready = true;
    // The turn that the last daemon left open ended with it; what Claude's transcript still had has just been told.
    if (this.#restarted) for (const body of this.#tail.closing("daemon_restart", this.#box.now())) this.append(body);
    const rests = this.#tail.state === "stopped" || (this.#restarted && this.#tail.state !== "idle");
    if (rests && this.#tail.limit.due === undefined)
      this.append({ type: "status", state: "idle", elapsed_ms: this.#elapsed() });
    this.#restarted = false;
    this.switches.restore(this.meta.mode);
    if (this.#goOn) this.#goesOn();
    this.queue.wake();
  }

  /** The usage limit is over: whoever wants that goes on where it stopped. */
  #limitOver(): void {
    if (this.#agent === undefined) return;
    this.append({ type: "status", state: "idle", elapsed_ms: this.#elapsed() });
    this.#goesOn();
  }

  #goesOn(): void {
    this.#goOn = false;
    if (!this.meta.auto_continue || this.queue.size > 0) return;
    const queued = this.queue.accept({ who: "box", text: GO_ON });
    queued.catch((thrown: unknown) => this.#box.fault(`session ${this.id}`, thrown));
  }
  /** A limit was over before Claude could be told to go on. */
  #goOn = false;

  /** The turn found open in the log when the daemon started. */
  #restarted = false;

  /** Once, at the daemon's start and before `start`: what is open in the log belongs to a Claude that is gone. */
  recover(): void {
    this.#restarted = true;
    for (const id of [...this.#tail.asks.keys()]) this.append({ type: "ask.answer", id, answer: null, by: "lost" });
    this.queue.recover(this.#tail.told, this.#tailFrom());
  }

  /** A turn has begun and has not been told to have ended. */
  get turnOpen(): boolean {
    return this.#tail.turnOpen;
  }

  /** Closes what a previous daemon left open, for a session that is not resumed. */
  settle(): void {
    if (this.#tail.state === "stopped" && !this.#tail.turnOpen) return;
    for (const body of this.#tail.closing("daemon_restart", this.#box.now())) this.append(body);
    this.append({ type: "status", state: "stopped", elapsed_ms: this.#elapsed() });
    this.#restarted = false;
  }

  #cannotStart(agent: Agent, failure: unknown): void {
    if (this.#agent !== agent) return;
    const { code, message } = asCibError(failure);
    this.append({ type: "error", code, message });
    this.stop("kill", { wanted: false, reason: "failed" }).catch((thrown: unknown) =>
      this.#box.fault("session.stop", thrown),
    );
  }

  #ended(how: Exit, reason: string): void {
    if (this.#agent === undefined) return;
    this.#agent = undefined;
    this.#ready = false;
    this.#restarted = false;
    this.#ending.over();
    for (const body of lastFrames(this.#tail, how, reason, this.#box.now())) this.append(body);
    this.hooks.rest().catch((thrown: unknown) => this.#box.fault("hooks", thrown));
    // A Claude that ended by itself stays ended: starting it again and again would only hide why.
    if (this.#ending.stopping === undefined) this.#meta.change({ wanted: false });
    else this.#meta.save();
  }

  #takes(): boolean {
    const idle = this.state === "idle" && this.#tail.asks.size === 0 && this.hooks.calm;
    return this.#ready && idle && !this.switches.busy;
  }

  #learn(body: FrameBody): void {
    switch (body.type) {
      case "status":
        this.#patience.arm();
        if (body.state === "idle") this.queue.wake();
        break;
      case "ask.answer":
        this.answers.closed(body.id);
        this.queue.wake();
        break;
      case "usage":
        this.#meta.note({ usage: addUsage(this.meta.usage, body) });
        break;
      case "meta":
        this.#meta.change(learned(body));
        break;
    }
  }

  #tailFrom(): number {
    return Math.max(this.log.first, this.log.last - TAIL_FRAMES + 1);
  }

  #elapsed(): number {
    return this.#tail.elapsed(this.#box.now());
  }
}
