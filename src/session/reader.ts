/** Reader: follows the log's files line by line for any number of cursors, in constant memory and without an open file between reads. */
import { isUtf8 } from "node:buffer";
import { Encoded, SEQ_AT } from "../frame/codec.ts";
import type { Frame, Seq, SessionId } from "../frame/frame.ts";
import type { Disk } from "./disk.ts";
import { CHUNK_BYTES, MAX_FRAME_BYTES, type Segment, seek } from "./segment.ts";

const NEWLINE = 10;

/** One reader's place: the next seq it wants, and where the file reader left off for it. */
export class Cursor {
  next: Seq;
  segment: Segment | undefined = undefined;
  offset = 0;

  constructor(next: Seq) {
    this.next = next;
  }
}

export class Reader {
  readonly #disk: Disk;
  readonly #session: SessionId;
  readonly #tell: (path: string) => void;
  /** Oldest first; the last one is being written. */
  readonly #segments: readonly Segment[];
  /** The last chunk read: clients that replay in step, and small turns of one client, share it. */
  #chunk: Buffer | undefined;
  #chunkOf: Segment | undefined;
  #chunkAt = 0;
  /** Lines skipped because they are no frames of ours. */
  damaged = 0;

  /** `tell`: called once, with the path of the first file in which damage is met. */
  constructor(disk: Disk, session: SessionId, segments: readonly Segment[], tell: (path: string) => void) {
    this.#disk = disk;
    this.#session = session;
    this.#tell = tell;
    this.#segments = segments;
  }

  /**
   * The first frame at or after the cursor, which moves behind it; undefined at the end of the files. A line that claims
   * a number above `last` is damage. Throws what the disk throws.
   */
  take(cursor: Cursor, last: Seq): Encoded | undefined {
    let segment = this.#place(cursor);
    while (segment !== undefined) {
      const line = this.#line(segment, cursor);
      if (line === undefined) {
        segment = this.#segments[this.#segments.indexOf(segment) + 1];
        cursor.segment = segment;
        cursor.offset = 0;
        continue;
      }
      const frame = this.#frame(segment, line);
      if (frame === undefined || frame.seq < cursor.next) continue;
      if (frame.seq > last) {
        this.#damage(segment);
        continue;
      }
      cursor.next = frame.seq + 1;
      return frame;
    }
    return undefined;
  }

  /** Lets go of the chunk: nobody reads from the disk now. */
  rest(): void {
    this.#chunk = undefined;
    this.#chunkOf = undefined;
  }

  #place(cursor: Cursor): Segment | undefined {
    if (cursor.segment !== undefined && !cursor.segment.gone) return cursor.segment;
    const segments = this.#segments;
    let i = segments.length - 1;
    while (i > 0 && (segments[i] as Segment).first > cursor.next) i--;
    const segment = segments[i];
    if (segment === undefined) return undefined;
    cursor.offset = segment.first >= cursor.next ? 0 : seek(this.#disk, segment, cursor.next);
    cursor.segment = segment;
    return segment;
  }

  /** The line at the cursor's offset, which moves behind it. */
  #line(segment: Segment, cursor: Cursor): Buffer | undefined {
    while (cursor.offset < segment.bytes) {
      const at = this.#chunkOf === segment ? cursor.offset - this.#chunkAt : -1;
      const chunk = this.#chunk;
      let left = 0;
      if (chunk !== undefined && at >= 0 && at < chunk.length) {
        const end = chunk.indexOf(NEWLINE, at);
        if (end >= 0) {
          cursor.offset += end + 1 - at;
          return chunk.subarray(at, end);
        }
        left = chunk.length - at;
        if (left > MAX_FRAME_BYTES || this.#chunkAt + chunk.length >= segment.bytes) {
          // No line of ours is this long, and the file ends with a newline: what we see is damage.
          cursor.offset += left;
          this.#damage(segment);
          continue;
        }
      }
      this.#load(segment, cursor.offset, Math.max(CHUNK_BYTES, left * 2));
    }
    return undefined;
  }

  #load(segment: Segment, offset: number, most: number): void {
    const want = Math.min(most, segment.bytes - offset);
    const chunk = Buffer.allocUnsafeSlow(want); // frames keep pointing into it: never reused
    const fd = this.#disk.openRead(segment.path);
    try {
      const got = this.#disk.read(fd, chunk, offset);
      if (got < want)
        throw new Error(`log: ${segment.path} is shorter than it was: expected ${want} bytes at ${offset}, got ${got}`);
    } finally {
      this.#disk.close(fd);
    }
    this.#chunk = chunk;
    this.#chunkOf = segment;
    this.#chunkAt = offset;
  }

  #frame(segment: Segment, line: Buffer): Encoded | undefined {
    try {
      // { and :. A client that gets a line which is no JSON, or no UTF-8, breaks off, comes back and gets it again.
      if (line[0] === 0x7b && line[SEQ_AT - 1] === 0x3a && isUtf8(line)) {
        const encoded = Encoded.fromLine(line);
        const { session, seq } = encoded.frame() as Frame;
        if (session === this.#session && seq === encoded.seq) return encoded;
      }
    } catch (thrown) {
      if (!(thrown instanceof SyntaxError)) throw thrown;
    }
    this.#damage(segment);
    return undefined;
  }

  #damage(segment: Segment): void {
    if (this.damaged++ === 0) this.#tell(segment.path);
  }
}
