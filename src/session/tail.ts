/** Tail: what the end of a log says about the turn that was open when the daemon ended. */
import type { Seen } from "../agent/agent.ts";
import type { Body, Frame, FrameBody, SessionState } from "../frame/frame.ts";
import { Limit } from "./limit.ts";

/** Frames looked back over at a start: a longer turn is closed all the same, only its oldest texts may be told again. */
export const TAIL_FRAMES = 4096;

interface OpenTool {
  readonly tool: string;
  readonly at: number;
}

/** A question that has been settled: what it was, what was said, and by whom. */
export interface Settled {
  readonly question: Body<"ask.question"> | undefined;
  readonly answer: unknown;
  readonly by: string;
}

/** Messages and tools remembered: the latest turns, whose lines in Claude's transcript may lie behind the stored position. */
const SEEN = 256;

/** What a session must remember of its own frames; fed with each one, live and at a start. */
export class Tail {
  state: SessionState = "stopped";
  /** A turn has begun and no stop has followed. */
  turnOpen = false;
  /** When the current or last turn began, ms since 1970; 0 before the first. */
  turnAt = 0;
  readonly tools = new Map<string, OpenTool>();
  /** Questions that wait, by id. */
  readonly asks = new Map<string, Body<"ask.question">>();
  /** Those settled last, by id. */
  readonly settled = new Map<string, Settled>();
  /** The usage limit that it waits for, if any. */
  readonly limit = new Limit();
  /** Reason of the last stop, until something follows it. */
  lastStop: string | undefined;
  /** Turns that have ended, since the beginning of the tail. */
  turns = 0;
  /** Inputs told to be delivered or failed. */
  readonly told = new Map<string, "delivered" | "failed">();
  readonly #text = new Map<string, number>();
  readonly #thinking = new Map<string, true>();
  readonly #seenTools = new Map<string, { tool: string; done: boolean }>();

  /** Takes one frame, in order. */
  take(body: FrameBody, ts: number): void {
    // What a hook says of a stop does not follow it.
    if (body.type !== "hook") this.lastStop = undefined;
    switch (body.type) {
      case "hook":
        this.#hooked(body);
        break;
      case "text.delta":
        this.#openTurn(ts);
        if (body.message) remember(this.#text, body.message, (this.#text.get(body.message) ?? 0) + body.text.length);
        break;
      case "thinking":
        if (body.message) remember(this.#thinking, body.message, true);
        break;
      case "tool.use.start":
        this.#openTurn(ts);
        this.tools.set(body.id, { tool: body.tool, at: ts });
        remember(this.#seenTools, body.id, { tool: body.tool, done: false });
        break;
      case "tool.use.result":
        this.tools.delete(body.id);
        remember(this.#seenTools, body.id, { tool: body.tool, done: true });
        break;
      case "ask.question":
        this.asks.set(body.id, body);
        break;
      case "ask.answer":
        remember(this.settled, body.id, { question: this.asks.get(body.id), answer: body.answer, by: body.by });
        this.asks.delete(body.id);
        break;
      case "status":
        this.limit.take(body);
        if (body.state === "working" && this.state !== "waiting_for_input") this.#openTurn(ts);
        this.state = body.state;
        break;
      case "input":
        if (body.input !== undefined && body.state !== "accepted") remember(this.told, body.input, body.state);
        break;
      case "stop":
        this.turnOpen = false;
        this.tools.clear();
        this.turns++;
        this.lastStop = body.reason;
        break;
    }
  }

  /** A hook changed or blocked what Claude said: it counts as told all the same, as long as Claude had said it. */
  #hooked({ event, payload, result }: Body<"hook">): void {
    const { verdict } = (result ?? {}) as { readonly verdict?: unknown };
    const { message, id, tool, was, is } = (payload ?? {}) as Readonly<Record<string, unknown>>;
    if (typeof message === "string" && typeof was === "number" && typeof is === "number") {
      if (event === "thinking") remember(this.#thinking, message, true);
      else remember(this.#text, message, (this.#text.get(message) ?? 0) + was - is);
    }
    if (verdict !== "block" || typeof id !== "string" || typeof tool !== "string") return;
    const done = event === "tool.use.result";
    // Blocked at Claude itself, the tool is told and its result follows: only what is missing is added.
    if (done) this.tools.delete(id);
    if (done || !this.#seenTools.has(id)) remember(this.#seenTools, id, { tool, done });
  }

  /** What Claude's transcript must not make us tell again. `toldTurns`: those that ended after the stored position. */
  seen(toldTurns: number): Seen {
    const { turnOpen, turnAt } = this;
    const thinking = new Set(this.#thinking.keys());
    // A usage frame sums up a turn that is over: no message of an open one has been counted.
    return { turnOpen, turnAt, toldTurns, text: this.#text, thinking, tools: this.#seenTools, usage: new Set() };
  }

  /** The frames that end what is open, for a session whose Claude is no more. */
  closing(reason: string, now: number): FrameBody[] {
    const bodies: FrameBody[] = [];
    for (const [id, { tool, at }] of this.tools) {
      bodies.push({
        type: "tool.use.result",
        id,
        tool,
        output: null,
        error: reason,
        duration_ms: Math.max(0, now - at),
      });
    }
    for (const id of this.asks.keys()) bodies.push({ type: "ask.answer", id, answer: null, by: "lost" });
    if (this.turnOpen) bodies.push({ type: "stop", reason });
    return bodies;
  }

  /** How long the current turn has taken, or the last one and the time since; 0 before the first. */
  elapsed(now: number): number {
    return this.turnAt === 0 ? 0 : Math.max(0, now - this.turnAt);
  }

  #openTurn(ts: number): void {
    if (this.turnOpen) return;
    this.turnOpen = true;
    this.turnAt = ts;
  }
}

function remember<V>(map: Map<string, V>, key: string, value: V): void {
  map.set(key, value);
  if (map.size <= SEEN) return;
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
}

/** The tail of frames already logged, oldest first; `mark` is called before the first frame beyond `seq`. */
export function tailOf(frames: Iterable<Frame>, seq: number, mark: (tail: Tail) => void): Tail {
  const tail = new Tail();
  let marked = false;
  for (const frame of frames) {
    if (!marked && frame.seq > seq) {
      marked = true;
      mark(tail);
    }
    tail.take(frame, frame.ts);
  }
  if (!marked) mark(tail);
  return tail;
}
