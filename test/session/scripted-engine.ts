/** A scripted engine: a Claude that a test can follow word for word, and that hangs, dies, refuses or forgets to answer when told to. */
import type {
  Agent,
  AgentEvents,
  AgentSpec,
  Call,
  Claim,
  Engine,
  Exit,
  Judgement,
  Position,
  Setting,
  Settlement,
} from "../../src/agent/agent.ts";
import { CibError } from "../../src/errors.ts";
import type { FrameBody, SessionId } from "../../src/frame/frame.ts";

/**
 * What a prompt leads to. `answer`: a whole turn. `hang`: a turn that begins and does not end. `die`: Claude ends before
 * it has the text, `die after`: right after, `lose`: after taking it and before writing it down. `refuse`: the text is not taken, `forget`: it is, but nobody is told.
 * `wait`: nothing happens until the agent is told to `go`.
 */
export type Behaviour = "answer" | "hang" | "die" | "die after" | "lose" | "refuse" | "forget" | "wait";

export class ScriptedEngine implements Engine {
  /** Every prompt in Claude's transcript, by session, across restarts: the oracle for "once". */
  readonly transcripts = new Map<SessionId, string[]>();
  /** What each start was asked for, in order. */
  readonly starts: AgentSpec[] = [];
  readonly #agents = new Map<SessionId, ScriptedAgent>();
  behaviour: (text: string) => Behaviour = () => "answer";
  /** Thrown by the next starts. */
  refusesStart: Error | undefined;
  /** What a switch leads to. */
  switches: (what: Setting, value: string, signal: AbortSignal) => Promise<string> = async (_what, value) => value;
  /** How the next agents get ready. */
  ready: () => Promise<void> = () => Promise.resolve();

  async start(spec: AgentSpec, events: AgentEvents): Promise<Agent> {
    this.starts.push(structuredClone(spec)); // as it was: what was seen goes on growing
    if (this.refusesStart !== undefined) throw this.refusesStart;
    const transcript = this.transcripts.get(spec.session) ?? [];
    this.transcripts.set(spec.session, transcript);
    const agent = new ScriptedAgent(this, spec.session, transcript, events);
    this.#agents.set(spec.session, agent);
    events.frame({ type: "meta", version: agent.version });
    return agent;
  }

  async shows(at: Position, text: string): Promise<boolean> {
    return (this.transcripts.get(at.file as SessionId) ?? []).includes(text, at.offset);
  }

  /** The session's latest Claude. */
  agent(session: SessionId): ScriptedAgent {
    const agent = this.#agents.get(session);
    if (agent === undefined) throw new Error(`no agent for ${session}`);
    return agent;
  }

  prompts(session: SessionId): readonly string[] {
    return this.transcripts.get(session) ?? [];
  }
}

export class ScriptedAgent implements Agent {
  terminal = true;
  readonly version = "0.0.1";
  readonly pid = process.pid;
  readonly ready: Promise<void>;
  /** Bytes written to the terminal. */
  readonly typed: Uint8Array[] = [];
  readonly sizes: (readonly [number, number])[] = [];
  /** Texts that submit was called with and has not answered: never more than one. */
  submitting = 0;
  mostSubmitting = 0;
  /** What `interrupt` answers. */
  obeys = true;
  /** What is told between `ending` and `exited`. */
  lastFrames: FrameBody[] = [];
  #over = false;
  #then: Behaviour = "answer";
  #go: (() => void) | undefined;
  #lost: ((error: Error) => void) | undefined;
  readonly #engine: ScriptedEngine;
  readonly #session: SessionId;
  readonly #transcript: string[];
  readonly #events: AgentEvents;

  constructor(engine: ScriptedEngine, session: SessionId, transcript: string[], events: AgentEvents) {
    this.#engine = engine;
    this.#session = session;
    this.#transcript = transcript;
    this.#events = events;
    this.ready = engine.ready();
    this.ready.catch(() => undefined); // the session listens
  }

  get at(): Position {
    return { file: this.#session, offset: this.#transcript.length };
  }

  /** Frames as if Claude had made them, in order; a stop stores the position, as the real engine does. */
  tell(...bodies: FrameBody[]): void {
    for (const body of bodies) {
      if (this.#over) return;
      this.#events.frame(body);
      if (body.type === "stop") this.#events.position(this.at);
    }
  }

  /** Begins a turn that hangs, as a prompt does. */
  begin(text: string): void {
    this.tell({ type: "status", state: "working", elapsed_ms: 0 }, { type: "text.delta", text: `heard: ${text}` });
  }

  /** Ends the turn that hangs. */
  finish(): void {
    this.tell(
      { type: "usage", input: 3, output: 2, cache_read: 1, cache_write: 0 },
      { type: "stop", reason: "end_turn" },
      { type: "status", state: "idle", elapsed_ms: 1 },
    );
  }

  /** Lets a text that waits through. */
  go(): void {
    this.#go?.();
  }

  /** Takes a text that waits as one whose turn hangs. */
  hang(): void {
    this.#then = "hang";
    this.#go?.();
  }

  async submit(text: string, _signal: AbortSignal, taken: () => void): Promise<void> {
    this.submitting++;
    this.mostSubmitting = Math.max(this.mostSubmitting, this.submitting);
    try {
      await this.#take(text, this.#engine.behaviour(text), taken);
    } finally {
      this.submitting--;
    }
  }

  async #take(text: string, behaviour: Behaviour, taken: () => void): Promise<void> {
    switch (behaviour) {
      case "wait":
        await new Promise<void>((go, lost) => {
          this.#go = go;
          this.#lost = lost;
        });
        return this.#take(text, this.#then, taken);
      case "refuse":
        throw new CibError("claude_failed", "the prompt was not taken");
      case "forget":
        this.#transcript.push(text);
        throw new CibError("claude_failed", "the prompt was not confirmed");
      case "die":
      case "die after":
      case "lose":
        if (behaviour !== "die") taken();
        if (behaviour === "die after") this.#transcript.push(text);
        this.die({ code: 1, signal: undefined });
        throw new CibError("claude_failed", "claude ended");
      case "hang":
      case "answer":
        taken();
        this.#transcript.push(text);
        if (this.#then === "hang") return this.begin(text);
        // The prompt is confirmed by Claude's hook, what it says comes later.
        setImmediate(() => {
          this.begin(text);
          if (behaviour === "answer") this.finish();
        });
        return;
    }
  }

  /** Claude ends by itself. */
  die(how: Exit): void {
    if (this.#over) return;
    this.#events.ending(how);
    for (const body of this.lastFrames) this.#events.frame(body);
    this.#over = true;
    this.#events.exited(how);
    this.#lost?.(new CibError("claude_failed", "claude ended"));
  }

  write(bytes: Uint8Array): void {
    this.typed.push(bytes);
    this.#events.terminal(bytes);
  }

  resize(cols: number, rows: number): void {
    this.sizes.push([cols, rows]);
  }

  async interrupt(): Promise<boolean> {
    if (this.obeys)
      this.tell({ type: "stop", reason: "interrupted" }, { type: "status", state: "idle", elapsed_ms: 1 });
    return this.obeys;
  }

  /** Questions that Claude waits on, by group; `claim` takes one. */
  readonly held = new Set<string>();
  /** What was handed to Claude, by group. */
  readonly settled = new Map<string, Settlement>();
  /** Someone at the terminal is faster than every release. */
  terminalFirst = false;
  /** What a switch leads to. */
  switches: ScriptedEngine["switches"] = (...all) => this.#engine.switches(...all);

  claim(group: string): Claim | undefined {
    if (!this.held.delete(group)) return undefined;
    return {
      release: (decision) => {
        if (!this.terminalFirst) this.settled.set(group, decision);
        return !this.terminalFirst;
      },
    };
  }

  switch(what: Setting, value: string, signal: AbortSignal): Promise<string> {
    return this.switches(what, value, signal);
  }

  /** As Claude's hooks do: what becomes of this call. */
  judge(call: Call): Judgement | Promise<Judgement> {
    return this.#events.judge(call);
  }

  async stop(): Promise<void> {
    this.die({ code: 0, signal: undefined });
  }
}
