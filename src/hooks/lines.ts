/** Lines: streamed text gathered into whole lines, so that a rule sees a word as a whole and not in two halves. */
import type { Body, FrameBody } from "../frame/frame.ts";

/** A line longer than this is judged in pieces: nothing Claude writes for people is. In UTF-16 units. */
export const MAX_HELD_CHARS = 64 * 1024;

type Delta = Body<"text.delta"> | Body<"thinking">;

/** Types that belong to one agent's stream; they do not touch what another agent is saying. */
const OF_AGENT: ReadonlySet<string> = new Set(["text.delta", "thinking", "tool.use.start", "tool.use.result"]);

export class Lines {
  /** What waits for the end of its line: one piece for each agent and type, oldest first. */
  readonly #held = new Map<string, Delta>();

  /** Nothing is held. */
  get empty(): boolean {
    return this.#held.size === 0;
  }

  /** Takes a piece of text; gives the lines that are whole by now, after the rest of a message that it ends. */
  take(piece: Delta): FrameBody[] {
    const key = `${piece.type} ${piece.agent ?? ""}`;
    const held = this.#held.get(key);
    this.#held.delete(key);
    const out: FrameBody[] = held !== undefined && held.message !== piece.message ? [held] : [];
    const text = (out.length > 0 ? "" : (held?.text ?? "")) + piece.text;
    let at = text.lastIndexOf("\n") + 1;
    if (at > 0) out.push({ ...piece, text: text.slice(0, at) });
    while (text.length - at > MAX_HELD_CHARS) {
      const end = wholeChars(text, at + MAX_HELD_CHARS);
      out.push({ ...piece, text: text.slice(at, end) });
      at = end;
    }
    if (at < text.length) this.#held.set(key, { ...piece, text: text.slice(at) });
    return out;
  }

  /** What must go before this frame: its own agent's text; everything, before a frame that is no agent's. */
  before(frame: FrameBody): FrameBody[] {
    if (!OF_AGENT.has(frame.type)) return this.flush();
    const agent = (frame as Delta).agent;
    return this.#release((held) => held.agent === agent);
  }

  /** All of it. */
  flush(): FrameBody[] {
    return this.#release(() => true);
  }

  #release(which: (held: Delta) => boolean): FrameBody[] {
    const out: FrameBody[] = [];
    for (const [key, held] of this.#held) {
      if (!which(held)) continue;
      this.#held.delete(key);
      out.push(held);
    }
    return out;
  }
}

/** Not between the two halves of a character. */
function wholeChars(text: string, end: number): number {
  const code = text.charCodeAt(end - 1);
  return code >= 0xd800 && code <= 0xdbff ? end - 1 : end;
}
