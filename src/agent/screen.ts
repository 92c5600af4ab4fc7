/** Screen: what an agent remembers of its terminal's output: when the last came, how often, and the last words. */

import { Grid } from "./grid.ts";

/** Enough of the screen to say why Claude would not start. */
const WORDS_BYTES = 8 * 1024;
const WORDS_CHARS = 500;

/** Terminal output goes through here on its way to a person who waits for an echo: each byte is copied once, nothing is allocated. */
export class Screen {
  /** A ring: the oldest byte stands at `#next` once it is full. */
  readonly #ring = Buffer.alloc(WORDS_BYTES);
  #next = 0;
  #full = false;
  #writes = 0;
  #lastWrite = 0;
  readonly #grids = new Set<Grid>();

  /** Output that came at this time (ms since 1970). */
  push(bytes: Uint8Array, now: number): void {
    this.#writes++;
    this.#lastWrite = now;
    for (const grid of this.#grids) grid.push(bytes);
    const kept = bytes.length > WORDS_BYTES ? bytes.subarray(-WORDS_BYTES) : bytes;
    const room = WORDS_BYTES - this.#next;
    this.#ring.set(kept.length > room ? kept.subarray(0, room) : kept, this.#next);
    if (kept.length > room) this.#ring.set(kept.subarray(room), 0);
    this.#full ||= kept.length >= room;
    this.#next = (this.#next + kept.length) % WORDS_BYTES;
  }

  /** How often Claude has written. */
  get writes(): number {
    return this.#writes;
  }

  /** When it last did, ms since 1970; 0 before the first time. */
  get lastWrite(): number {
    return this.#lastWrite;
  }

  /** What is drawn from now on, cell by cell, until it is disposed of; a terminal of this size. */
  look(cols: number, rows: number): Disposable & { lines(): readonly string[] } {
    const grid = new Grid(cols, rows);
    this.#grids.add(grid);
    return { lines: () => grid.lines(), [Symbol.dispose]: () => this.#grids.delete(grid) };
  }

  /** The end of what stands there, as plain words. */
  words(): string {
    const newer = this.#ring.subarray(0, this.#next);
    return plain(this.#full ? Buffer.concat([this.#ring.subarray(this.#next), newer]) : newer).slice(-WORDS_CHARS);
  }
}

function plain(bytes: Buffer): string {
  return (
    bytes
      .toString("utf8")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is removed
      .replace(/\x1b\][^\x07\x1b]*(\x07|\x1b\\)/g, "")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: as above; cursor moves stand for spaces
      .replace(/\x1b\[[0-9;?<>=]*[ -/]*[@-~]/g, " ")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: as above
      .replace(/[\x00-\x1f\x7f─-╿]+/g, " ")
      .replace(/\s+/g, " ")
      .trim()
  );
}
