/** Pages: stretches of a log read at once, bounded, for those who do not follow it. */
import type { Encoded } from "../frame/codec.ts";
import type { Frame, Seq } from "../frame/frame.ts";
import { Cursor } from "./reader.ts";

/** Frames that one page looks at, wanted or not: 20,000 × 1 µs = 20 ms of the loop. */
const PAGE_SCAN_FRAMES = 20_000;
/** JSON bytes after which a page ends. */
const PAGE_BYTES = 1024 * 1024;

/** The next frame for a cursor; undefined at the end for now. */
export type Take = (cursor: Cursor) => Encoded | undefined;

/** A page of frames; `next` is where the following page begins. */
export interface Page {
  readonly frames: readonly Encoded[];
  readonly next: Seq;
}

/** Every frame from `from` on that may be read now. */
export function* framesFrom(take: Take, from: Seq): Generator<Frame> {
  const cursor = new Cursor(from);
  for (let frame = take(cursor); frame !== undefined; frame = take(cursor)) yield frame.frame() as Frame;
}

/** The frames from `from` on, `limit` at most. */
export function pageFrom(take: Take, from: Seq, limit: number): readonly Encoded[] {
  const cursor = new Cursor(from);
  const frames: Encoded[] = [];
  while (frames.length < limit) {
    const frame = take(cursor);
    if (frame === undefined) break;
    frames.push(frame);
  }
  return frames;
}

/** The frames of the wanted types: bounded in frames, bytes and work. It may be empty though more follows from `next`. */
export function selectFrom(take: Take, from: Seq, limit: number, mask: number): Page {
  const cursor = new Cursor(from);
  const frames: Encoded[] = [];
  let bytes = 0;
  for (let left = PAGE_SCAN_FRAMES; left > 0 && frames.length < limit && bytes < PAGE_BYTES; left--) {
    const frame = take(cursor);
    if (frame === undefined) break;
    if ((frame.bit & mask) === 0) continue;
    frames.push(frame);
    bytes += frame.json().length;
  }
  return { frames, next: cursor.next };
}
