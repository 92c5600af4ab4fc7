/** One session: its Claude, its log and what a client may do to them. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { Agent, AgentEvents, AgentSpec, Credential, Exit } from "../agent/agent.ts";
import { asCibError, CibError } from "../errors.ts";
import type { Body, FrameBody, SessionId, SessionState } from "../frame/frame.ts";
import type { Fanout } from "./fanout.ts";
import type { Box, Secrets } from "./box.ts";
import type { Log } from "./log.ts";
import type { Meta } from "./meta.ts";
import { MetaFile } from "./meta-file.ts";
import type { PtyLane } from "./pty-lane.ts";
import { Queue } from "./queue.ts";
import { TAIL_FRAMES, Tail, tailOf } from "./tail.ts";

/** A session's files and streams, opened by sessions.ts. */
export interface Parts {
  readonly folder: string;
  readonly log: Log;
  readonly lane: PtyLane;
  readonly fanout: Fanout;
}

/** What `sessions.get` tells. */
export type Info = Readonly<Record<string, unknown>> & { readonly session: SessionId; readonly state: SessionState };

const DEFAULT_COLS = 120;
const DEFAULT_ROWS = 40;

export class Session {
  readonly id: SessionId;
  readonly log: Log;
  readonly lane: PtyLane;
  readonly fanout: Fanout;
  readonly queue: Queue;
  readonly #box: Box;
  readonly #meta: MetaFile;
  #agent: Agent | undefined;
  #ready = false;
  #tail: Tail;
  #size = { cols: DEFAULT_COLS, rows: DEFAULT_ROWS };
  /** Turns that had ended when the position in meta.json was taken (tail.ts counts them). */
  #storedTurns = 0;
  /** Starts and stops happen one after the other. */
  #turnstile: Promise<unknown> = Promise.resolve();

  constructor(box: Box, meta: Meta, parts: Parts) {
    this.id = meta.id;
    this.#box = box;
    this.log = parts.log;
    this.#meta = new MetaFile(join(parts.folder, "meta.json"), meta, {
      // The position must never be ahead of the log: what lies between would be told by nobody.
      before: () => this.log.flush(),
      // A full disk must not end the session: the next change writes everything again.
      failed: (failure) => box.fault("meta.json", failure),
    });
    this.lane = parts.lane;
    this.fanout = parts.fanout;
    this.#tail = tailOf(this.log.frames(this.#tailFrom()), meta.position?.seq ?? 0, (tail) => {
      this.#storedTurns = tail.turns;
    });
    this.queue = new Queue({
      session: this.id,
      ledger: box.ledger,
      engine: box.engine,
      log: this.log,
      free: () => (this.#takes() ? this.#agent : undefined),
      alive: () => this.#agent,
      append: (body) => this.append(body),
      fault: box.fault,
    });
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

  /** Numbers and logs one frame; the session learns from it like any client. */
  append(body: FrameBody): number {
    const seq = this.log.append(body);
    this.#tail.take(body, this.#box.now());
    this.#learn(body);
    return seq;
  }

  info(): Info {
    const meta = this.meta;
    return {
      session: this.id,
      state: this.state,
      elapsed_ms: this.#elapsed(),
      ...(this.#tail.asks.size > 0 && { waiting: this.#tail.asks.size }),
      ...(meta.title !== undefined && { title: meta.title }),
      model: meta.running_model ?? (meta.model || this.#box.settings.model),
      workdir: meta.workdir,
      engine: meta.engine,
      bypass: meta.bypass,
      auth: meta.auth,
      ...(meta.version !== undefined && { version: meta.version }),
      created_at: meta.created_at,
      by: meta.by,
      epoch: this.log.epoch,
      first: this.log.first,
      last: this.log.last,
      queued: this.queue.size,
      usage: meta.usage,
    };
  }

  /** Starts Claude, or resumes it where it stopped. No effect when it runs. Throws `claude_failed`, `conflict`. */
  async start(secrets?: Secrets): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#agent !== undefined) return;
      const kept = this.meta.sealed === undefined ? {} : this.#box.unseal(this.meta.sealed, this.id);
      if (kept === undefined && secrets === undefined) {
        throw new CibError("conflict", "this session's key is sealed under an earlier CIB_AUTH_TOKEN; set CIB_AUTH_TOKEN_PREVIOUS, or create a new session");
      }
      const { key, env = {} } = { ...kept, ...secrets };
      const credential = this.#box.credential(this.meta.auth, key);
      if (!this.meta.wanted) this.#meta.change({ wanted: true });
      const agent = await this.#box.engine.start(this.#spec(credential, env), this.#events());
      this.#agent = agent;
      this.#meta.change({ started: true, version: agent.version });
      agent.ready.then(
        () => this.#takesInput(agent),
        (failure: unknown) => this.#cannotStart(agent, failure),
      );
    });
  }

  /** Ends Claude with its whole process tree; the log stays. `wanted`: whether it should run again after a restart. */
  async stop(signal: "term" | "kill", options: { wanted: boolean; reason: string }): Promise<void> {
    await this.#inTurn(async () => {
      if (this.meta.wanted !== options.wanted) this.#meta.change({ wanted: options.wanted });
      const agent = this.#agent;
      if (agent === undefined) return;
      this.#stopping = options.reason;
      try {
        await agent.stop(signal);
      } finally {
        this.#stopping = undefined;
      }
      if (this.#agent === agent) this.#ended({ code: undefined, signal: undefined }, options.reason);
    });
  }
  #stopping: string | undefined;

  /** Stops, and writes what must survive: the log's clean mark, the terminal ring. The session cannot be used any more. */
  async close(reason: string): Promise<void> {
    await this.stop("term", { wanted: this.meta.wanted, reason });
    this.fanout.close("stopping");
    await this.#meta.saved();
    await this.log.close();
    await this.lane.spill();
  }

  terminal(): Agent {
    const agent = this.#agent;
    if (agent === undefined) throw new CibError("conflict", `session ${this.id} is stopped; resume it first`);
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
    if (agent === undefined) throw new CibError("conflict", `session ${this.id} is stopped; there is nothing to interrupt`);
    return this.state === "idle" ? true : agent.interrupt(signal);
  }

  #spec(credential: Credential, env: Readonly<Record<string, string>>): AgentSpec {
    const meta = this.meta;
    const { home, thinking, baseUrl, user } = this.#box.settings;
    const fork = meta.started ? undefined : meta.fork_of;
    return {
      session: this.id,
      conversation: meta.conversation,
      start: fork === undefined ? (meta.started ? "resume" : "new") : { fork },
      workdir: meta.workdir,
      model: meta.model || this.#box.settings.model,
      ...(meta.effort !== undefined && { effort: meta.effort }),
      bypass: meta.bypass,
      ...this.#size,
      home,
      configDir: join(home, ".claude"),
      runDir: join(home, ".claude-in-box", this.id),
      ...(user && { user }),
      credential,
      env,
      ...(baseUrl !== undefined && { baseUrl }),
      thinking,
      ...(meta.position && { position: meta.position }),
      seen: this.#tail.seen(this.#tail.turns - this.#storedTurns),
    };
  }

  #events(): AgentEvents {
    return {
      frame: (body) => this.#told(body),
      terminal: (bytes) => this.lane.write(bytes),
      position: ({ file, offset }) => {
        this.#meta.change({ position: { file, offset, seq: this.log.numbered } });
        this.#storedTurns = this.#tail.turns;
      },
      ending: (how) => {
        this.#ready = false;
        this.#exit = this.#stopping ?? (how.code === 0 ? "exit" : "crashed");
      },
      exited: (how) => this.#ended(how, this.#exit ?? "crashed"),
    };
  }

  /** A frame from the agent. While Claude ends, the turn's end is told with the session's reason, and no state but stopped. */
  #told(body: FrameBody): void {
    try {
      if (this.#exit === undefined) this.append(body);
      else if (body.type === "stop") this.append({ type: "stop", reason: this.#exit });
      else if (body.type !== "status") this.append(body);
    } catch (failure) {
      this.#box.fault(`log ${this.id}`, failure);
    }
  }
  /** Why Claude ends, from the moment it does. */
  #exit: string | undefined;

  #takesInput(agent: Agent): void {
    if (this.#agent !== agent) return;
    this.#ready = true;
    // The turn that the last daemon left open ended with it; what Claude's transcript still had has just been told.
    for (const body of this.#interruptedTurn()) this.append(body);
    if (this.#tail.state === "stopped" || this.#restarted) this.append({ type: "status", state: "idle", elapsed_ms: this.#elapsed() });
    this.#restarted = false;
    this.queue.wake();
  }
  /** The turn found open in the log when the daemon started. */
  #restarted = false;

  #interruptedTurn(): FrameBody[] {
    return this.#restarted ? this.#tail.closing("daemon_restart", this.#box.now()) : [];
  }

  /** Once, at the daemon's start and before `start`: what is open in the log belongs to a Claude that is gone. */
  recover(): void {
    this.#restarted = true;
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
    this.stop("kill", { wanted: false, reason: "failed" }).catch((thrown: unknown) => this.#box.fault("session.stop", thrown));
  }

  #ended(how: Exit, reason: string): void {
    if (this.#agent === undefined) return;
    this.#agent = undefined;
    this.#ready = false;
    this.#restarted = false;
    this.#exit = undefined;
    for (const body of this.#tail.closing(reason, this.#box.now())) this.append(body);
    if (this.#tail.lastStop !== reason) this.append({ type: "stop", reason });
    if (how.words) this.append({ type: "error", code: "claude_failed", message: how.words });
    this.append({ type: "status", state: "stopped", elapsed_ms: this.#elapsed() });
    // A Claude that ended by itself stays ended: starting it again and again would only hide why.
    if (this.#stopping === undefined) this.#meta.change({ wanted: false });
    else this.#meta.save();
  }

  #takes(): boolean {
    return this.#ready && this.state === "idle" && this.#tail.asks.size === 0;
  }

  #learn(body: FrameBody): void {
    switch (body.type) {
      case "status":
        if (body.state === "idle") this.queue.wake();
        break;
      case "ask.answer":
        this.queue.wake();
        break;
      case "usage":
        this.#count(body);
        break;
      case "meta":
        this.#meta.change({
          ...(body.model !== undefined && { running_model: body.model }),
          ...(body.title !== undefined && { title: body.title }),
          ...(body.version !== undefined && { version: body.version }),
          ...(body.claude_session !== undefined && { conversation: body.claude_session }),
        });
        break;
    }
  }

  #count({ input, output, cache_read, cache_write, cost_usd }: Body<"usage">): void {
    const sum = this.meta.usage;
    const usage = {
      input: sum.input + input,
      output: sum.output + output,
      cache_read: sum.cache_read + cache_read,
      cache_write: sum.cache_write + cache_write,
      turns: sum.turns + 1,
      ...((sum.cost_usd !== undefined || cost_usd !== undefined) && { cost_usd: (sum.cost_usd ?? 0) + (cost_usd ?? 0) }),
    };
    this.#meta.note({ usage });
  }

  #tailFrom(): number {
    return Math.max(this.log.first, this.log.last - TAIL_FRAMES + 1);
  }

  #elapsed(): number {
    return this.#tail.turnAt === 0 ? 0 : Math.max(0, this.#box.now() - this.#tail.turnAt);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turnstile.then(work, work);
    this.#turnstile = mine.catch(() => undefined);
    return mine;
  }
}

/** A new session's id; Claude's first conversation carries the same. */
export function newSessionId(): SessionId {
  return randomUUID() as SessionId;
}
