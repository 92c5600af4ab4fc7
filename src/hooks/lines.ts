/** Lines: streamed text gathered into whole lines, so that a rule sees a word as a whole and not in two halves. */
import type { Body, FrameBody } from "../frame/frame.ts";

/** A line longer than this is judged in pieces: nothing Claude writes for people is. In UTF-16 units. */
export const MAX_HELD_CHARS = 64 * 1024;

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
    let at = text.lastIndexOf("\n") + 1;
    if (at > 0) out.push({ ...piece, text: text.slice(0, at) });
    while (text.length - at > MAX_HELD_CHARS) {
      const end = wholeChars(text, at + MAX_HELD_CHARS);
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

/** Not between the two halves of a character. */
function wholeChars(text: string, end: number): number {
  const code = text.charCodeAt(end - 1);
  return code >= 0xd800 && code <= 0xdbff ? end - 1 : end;
}
