/** Lines of a growing file: reads on from an offset, whole lines only, in bounded memory. */
import { constants, type FileHandle, open } from "node:fs/promises";

/**
 * Longest line that is kept, in bytes. The largest useful lines hold one tool result (Claude cuts Bash at 30 KB)
 * or one pasted picture (5 MB in base64 is 6.7 MB). Longer ones are passed over in constant memory and counted.
 */
export const MAX_LINE_BYTES = 8 * 1024 * 1024;
/** One read; a line is put together from as many as it takes. */
const CHUNK_BYTES = 64 * 1024;
const NEWLINE = 0x0a;

/** Cuts bytes into lines; the end of the last whole line is known in bytes, so half a line is never one. */
export class LineCutter {
  #parts: Buffer[] = [];
  #held = 0;
  #skipping = false;
  /** Offset behind the last newline seen. */
  offset: number;

  constructor(offset: number) {
    this.offset = offset;
  }

  /** `line` is called with each whole line, without its newline; `skipped` with the length of each that was too long. */
  push(bytes: Buffer, line: (text: string) => void, skipped: (bytes: number) => void): void {
    let from = 0;
    for (;;) {
      const at = bytes.indexOf(NEWLINE, from);
      if (at < 0) break;
      this.#keep(bytes.subarray(from, at));
      const length = this.#held;
      const text = this.#skipping ? undefined : Buffer.concat(this.#parts).toString("utf8");
      this.offset += length + 1;
      this.#parts = [];
      this.#held = 0;
      this.#skipping = false;
      from = at + 1;
      if (text === undefined) skipped(length);
      else if (text.trim() !== "") line(text);
    }
    // A copy: the caller reads into the same buffer again.
    this.#keep(Buffer.from(bytes.subarray(from)));
  }

  #keep(part: Buffer): void {
    this.#held += part.length;
    if (this.#held > MAX_LINE_BYTES) {
      this.#skipping = true;
      this.#parts = [];
    } else if (!this.#skipping && part.length > 0) this.#parts.push(part);
  }
}

/** Follows one file from an offset. Nothing is watched here: whoever knows of a change calls `drain`. */
export class Tail {
  readonly file: string;
  readonly #cutter: LineCutter;
  readonly #line: (text: string) => void;
  readonly #skipped: (bytes: number) => void;
  #read: number;
  #buffer: Buffer | undefined;
  #running: Promise<void> | undefined;
  #again = false;

  constructor(
    file: string,
    offset: number,
    line: (text: string) => void,
    skipped: (bytes: number) => void = () => undefined,
  ) {
    this.file = file;
    this.#cutter = new LineCutter(offset);
    this.#read = offset;
    this.#line = line;
    this.#skipped = skipped;
  }

  /** Every line before it has been handed over. */
  get offset(): number {
    return this.#cutter.offset;
  }

  /** Reads to the present end of the file; a missing file has none. Calls during a read are answered by one more. */
  drain(): Promise<void> {
    if (this.#running !== undefined) {
      this.#again = true;
      return this.#running;
    }
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      this.#buffer = undefined;
    });
    return this.#running;
  }

  async #run(): Promise<void> {
    do {
      this.#again = false;
      await this.#readOn();
    } while (this.#again);
  }

  async #readOn(): Promise<void> {
    let handle: FileHandle;
    try {
      // The session writes this folder: no link is followed to where only the daemon may read, no pipe holds us up.
      handle = await open(this.file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (fault) {
      if ((fault as NodeJS.ErrnoException).code === "ENOENT") return;
      throw fault;
    }
    try {
      this.#buffer ??= Buffer.allocUnsafe(CHUNK_BYTES);
      for (;;) {
        const { bytesRead } = await handle.read(this.#buffer, 0, CHUNK_BYTES, this.#read);
        if (bytesRead === 0) return;
        this.#read += bytesRead;
        this.#cutter.push(this.#buffer.subarray(0, bytesRead), this.#line, this.#skipped);
      }
    } finally {
      await handle.close();
    }
  }
}
