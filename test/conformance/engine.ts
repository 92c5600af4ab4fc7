/** A scripted engine: answers every prompt with the same words in the same frames, at once, and says what a test tells it to say. */
import type {
  Agent,
  AgentEvents,
  AgentSpec,
  Claim,
  Engine,
  Position,
  Setting,
  Settlement,
} from "../../src/agent/agent.ts";
import type { FrameBody, SessionId } from "../../src/frame/frame.ts";

export class ScriptEngine implements Engine, AsyncDisposable {
  /** Every prompt that Claude would have taken, by session, across restarts: the oracle for "once". */
  readonly prompts = new Map<SessionId, string[]>();
  readonly #agents = new Map<SessionId, ScriptAgent>();

  async start(spec: AgentSpec, events: AgentEvents): Promise<Agent> {
    const prompts = this.prompts.get(spec.session) ?? [];
    this.prompts.set(spec.session, prompts);
    const agent = new ScriptAgent(prompts, events);
    this.#agents.set(spec.session, agent);
    // As the real one: Claude's own state is told once it takes input.
    setImmediate(() => agent.tell({ type: "status", state: "idle", elapsed_ms: 0 }));
    return agent;
  }

  async shows(at: Position, text: string): Promise<boolean> {
    const prompts = this.prompts.get(at.file as SessionId) ?? [...this.prompts.values()].flat();
    return prompts.includes(text, at.offset);
  }

  /** What Claude was handed for its questions, in order. */
  settled(session: SessionId): readonly [string, Settlement][] {
    return this.#agents.get(session)?.settled ?? [];
  }

  /** Frames as if Claude had made them. */
  say(session: SessionId, ...bodies: FrameBody[]): void {
    const agent = this.#agents.get(session);
    if (agent === undefined) throw new Error(`no agent for ${session}`);
    for (const body of bodies) agent.tell(body);
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

class ScriptAgent implements Agent {
  readonly terminal = true;
  readonly version = "0.0.0";
  readonly pid = process.pid;
  readonly ready = Promise.resolve();
  readonly #events: AgentEvents;
  readonly #prompts: string[];
  /** Questions that wait on this agent, by group, and what it was told of them. */
  readonly #held = new Set<string>();
  readonly settled: [string, Settlement][] = [];
  #over = false;

  constructor(prompts: string[], events: AgentEvents) {
    this.#prompts = prompts;
    this.#events = events;
  }

  /** A frame, unless Claude has ended. */
  tell(body: FrameBody): void {
    if (this.#over) return;
    if (body.type === "ask.question") this.#held.add(body.id.split("/")[0] ?? "");
    this.#events.frame(body);
  }

  get at(): Position {
    return { file: "script", offset: this.#prompts.length };
  }

  async submit(text: string): Promise<void> {
    this.#prompts.push(text);
    this.tell({ type: "status", state: "working", elapsed_ms: 0 });
    setImmediate(() => {
      this.tell({ type: "text.delta", text: `heard: ${text}` });
      this.tell({ type: "stop", reason: "end_turn" });
      this.tell({ type: "status", state: "idle", elapsed_ms: 1 });
    });
  }

  write(bytes: Uint8Array): void {
    this.#events.terminal(bytes);
  }

  resize(): void {}

  async interrupt(): Promise<boolean> {
    return true;
  }

  claim(group: string): Claim | undefined {
    if (!this.#held.delete(group)) return undefined;
    return {
      release: (decision) => {
        this.settled.push([group, decision]);
        this.tell({ type: "status", state: "working", elapsed_ms: 1 });
        return true;
      },
    };
  }

  async switch(_what: Setting, value: string): Promise<string> {
    return value;
  }

  async stop(): Promise<void> {
    this.#events.ending({ code: 0, signal: undefined });
    this.#over = true;
    this.#events.exited({ code: 0, signal: undefined });
  }
}
