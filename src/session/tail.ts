/** Tail: what the end of a log says about the turn that was open when the daemon ended. */
import type { Seen } from "../agent/agent.ts";
import type { Frame, FrameBody, SessionState } from "../frame/frame.ts";

/** Frames looked back over at a start: a longer turn is closed all the same, only its oldest texts may be told again. */
export const TAIL_FRAMES = 4096;

interface OpenTool {
  readonly tool: string;
  readonly at: number;
}

/** What a session must remember of its own frames; fed with each one, live and at a start. */
export class Tail {
  state: SessionState = "stopped";
  /** A turn has begun and no stop has followed. */
  turnOpen = false;
  /** When the current or last turn began, ms since 1970; 0 before the first. */
  turnAt = 0;
  readonly tools = new Map<string, OpenTool>();
  /** Questions that wait, by id. */
  readonly asks = new Set<string>();
  /** Inputs told to be delivered or failed. */
  readonly told = new Set<string>();
  readonly #text = new Map<string, number>();
  readonly #thinking = new Set<string>();
  readonly #seenTools = new Map<string, { tool: string; done: boolean }>();

  /** Takes one frame, in order. */
  take(body: FrameBody, ts: number): void {
    switch (body.type) {
      case "text.delta":
        this.#openTurn(ts);
        if (body.message) this.#text.set(body.message, (this.#text.get(body.message) ?? 0) + body.text.length);
        break;
      case "thinking":
        if (body.message) this.#thinking.add(body.message);
        break;
      case "tool.use.start":
        this.#openTurn(ts);
        this.tools.set(body.id, { tool: body.tool, at: ts });
        this.#seenTools.set(body.id, { tool: body.tool, done: false });
        break;
      case "tool.use.result":
        this.tools.delete(body.id);
        this.#seenTools.set(body.id, { tool: body.tool, done: true });
        break;
      case "ask.question":
        this.asks.add(body.id);
        break;
      case "ask.answer":
        this.asks.delete(body.id);
        break;
      case "status":
        if (body.state === "working" && this.state !== "waiting_for_input") this.#openTurn(ts);
        this.state = body.state;
        break;
      case "input":
        if (body.input !== undefined && body.state !== "accepted") this.told.add(body.input);
        break;
      case "stop":
        this.#forget();
        break;
    }
  }

  /** What Claude's transcript must not make us say again. */
  seen(): Seen {
    return { text: this.#text, thinking: this.#thinking, tools: this.#seenTools, usage: new Set() };
  }

  /** The frames that end what is open, for a session whose Claude is no more. */
  closing(reason: string, now: number): FrameBody[] {
    const bodies: FrameBody[] = [];
    for (const [id, { tool, at }] of this.tools) {
      bodies.push({ type: "tool.use.result", id, tool, output: null, error: reason, duration_ms: Math.max(0, now - at) });
    }
    for (const id of this.asks) bodies.push({ type: "ask.answer", id, answer: null, by: "lost" });
    if (this.turnOpen) bodies.push({ type: "stop", reason });
    return bodies;
  }

  #openTurn(ts: number): void {
    if (this.turnOpen) return;
    this.turnOpen = true;
    this.turnAt = ts;
  }

  #forget(): void {
    this.turnOpen = false;
    this.tools.clear();
    this.#text.clear();
    this.#thinking.clear();
    this.#seenTools.clear();
  }
}

/** The tail of frames already logged, oldest first. */
export function tailOf(frames: Iterable<Frame>): Tail {
  const tail = new Tail();
  for (const frame of frames) tail.take(frame, frame.ts);
  return tail;
}
