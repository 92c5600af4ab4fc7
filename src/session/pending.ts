/** Pending: frames that have a number and wait to be written, in order, the first of them perhaps half written. */
import type { Encoded } from "../frame/codec.ts";

const NEWLINE = 10;

export class Pending {
  #frames: Encoded[] = [];
  #bytes = 0;
  #torn = 0;

  /** Bytes of all their lines. */
  get bytes(): number {
    return this.#bytes;
  }

  get empty(): boolean {
    return this.#frames.length === 0;
  }

  /** Bytes of the first line that are on disk already. */
  get torn(): number {
    return this.#torn;
  }

  add(frame: Encoded): void {
    this.#frames.push(frame);
    this.#bytes += frame.json().length + 1;
  }

  /** The first lines, from the beginning of the first one: `most` bytes and a line at most. */
  lines(most: number): Buffer {
    let count = 0;
    let total = 0;
    while (count < this.#frames.length && total < most) total += (this.#frames[count++] as Encoded).json().length + 1;
    const bytes = Buffer.allocUnsafe(total);
    let at = 0;
    for (let i = 0; i < count; i++) {
      at += (this.#frames[i] as Encoded).json().copy(bytes, at);
      bytes[at++] = NEWLINE;
    }
    return bytes;
  }

  /** `taken` bytes of the lines are on disk: the frames that are whole there, which wait no longer; the rest of a half one comes next. */
  wrote(taken: number): readonly Encoded[] {
    let count = 0;
    for (
      let frame = this.#frames[count];
      frame !== undefined && frame.json().length < taken;
      frame = this.#frames[++count]
    ) {
      const line = frame.json().length + 1;
      taken -= line;
      this.#bytes -= line;
    }
    this.#torn = taken;
    if (count < this.#frames.length) return this.#frames.splice(0, count);
    const all = this.#frames;
    this.#frames = [];
    return all;
  }
}
