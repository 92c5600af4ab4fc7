/** Lines: streamed text gathered into whole lines, so that a rule sees a word as a whole and not in two halves. */
import type { Body, FrameBody } from "../frame/frame.ts";

/** Judged at once, in UTF-16 units: 16 Ki × 4 bytes at most fit into an answer of 64 KiB. No line for people is longer. */
export const MAX_HELD_CHARS = 16 * 1024;

type Delta = Body<"text.delta"> | Body<"thinking">;

/** Types that belong to one agent's stream: they do not touch what another agent is saying. */
const OF_AGENT: ReadonlySet<string> = new Set(["text.delta", "thinking", "tool.use.start", "tool.use.result"]);

export class Lines {
  /** What waits for the end of its line, by agent. */
  readonly #held = new Map<string | undefined, Delta>();

  /** Nothing is held. */
  get empty(): boolean {
    return this.#held.size === 0;
  }

  /** Takes a piece of text; gives the lines that are whole by now, after the rest of what its agent said before. */
  take(piece: Delta): FrameBody[] {
    const held = this.#held.get(piece.agent);
    this.#held.delete(piece.agent);
    const goesOn = held !== undefined && held.type === piece.type && held.message === piece.message;
    const out: FrameBody[] = held === undefined || goesOn ? [] : [held];
    const text = (goesOn ? held.text : "") + piece.text;
    let at = 0;
    for (let end = endOf(text, 0); end > at; end = endOf(text, at)) {
      out.push({ ...piece, text: text.slice(at, end) });
      at = end;
    }
    if (at < text.length) this.#held.set(piece.agent, { ...piece, text: text.slice(at) });
    return out;
  }

  /** What must go before this frame: its own agent's text; everything, before a frame that is no agent's. */
  before(frame: FrameBody): FrameBody[] {
    if (!OF_AGENT.has(frame.type)) return this.flush();
    const { agent } = frame as Delta;
    const held = this.#held.get(agent);
    this.#held.delete(agent);
    return held === undefined ? [] : [held];
  }

  /** All of it, oldest first. */
  flush(): FrameBody[] {
    const out = [...this.#held.values()];
    this.#held.clear();
    return out;
  }
}

/** Where the lines that are whole end, seen from `at`; where a line is too long, its first part. `at` when none is whole. */
function endOf(text: string, at: number): number {
  if (text.length - at <= MAX_HELD_CHARS) return Math.max(at, text.lastIndexOf("\n") + 1);
  const end = text.lastIndexOf("\n", at + MAX_HELD_CHARS - 1) + 1;
  return end > at ? end : wholeChars(text, at + MAX_HELD_CHARS);
}

/** Not between the two halves of a character. */
function wholeChars(text: string, end: number): number {
  const code = text.charCodeAt(end - 1);
  return code >= 0xd800 && code <= 0xdbff ? end - 1 : end;
}
