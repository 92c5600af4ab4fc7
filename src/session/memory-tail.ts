/** Memory tail: the latest frames of a log, so that live readers never touch the disk. */
import type { Encoded } from "../frame/codec.ts";

export class MemoryTail {
  readonly #maxBytes: number;
  /** Contiguous; those before #start are let go. */
  #frames: Encoded[] = [];
  #start = 0;
  #held = 0;

  /** The latest frame is kept whatever its size. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** How many frames it holds. */
  get size(): number {
    return this.#frames.length - this.#start;
  }

  /** The n-th of those it holds, from 0. */
  at(n: number): Encoded | undefined {
    return this.#frames[this.#start + n];
  }

  /** Takes the frames that follow the ones it has, and lets the oldest go. */
  add(frames: readonly Encoded[]): void {
    for (const frame of frames) {
      this.#frames.push(frame);
      this.#held += frame.json().length + 1;
    }
    while (this.#held > this.#maxBytes && this.#start < this.#frames.length - 1) {
      this.#held -= (this.#frames[this.#start++] as Encoded).json().length + 1;
    }
    // Moving the rest down costs no more than what was let go.
    if (this.#start > this.#frames.length / 2) {
      this.#frames = this.#frames.slice(this.#start);
      this.#start = 0;
    }
  }
}
