/**
 * Bounded: a socket that never tells its writer to wait, and is destroyed where its peer does not read. aedes waits for a
 * full one for up to a minute, and lets everybody else wait with it.
 */
import type { Duplex } from "node:stream";

/** Bytes that may wait for one peer: the windows of every delivery (64 × 64 KiB), and as much for what is published to all. */
export const MAX_WAITING_BYTES = 8 * 1024 * 1024;

/** The same stream, with its `write` changed. "drain" still comes, when nothing waits any more. */
export function bounded<S extends Duplex>(stream: S, slow: () => void, most = MAX_WAITING_BYTES): S {
  const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
  stream.write = (...args: unknown[]): boolean => {
    write(...args);
    if (stream.writableLength > most && !stream.destroyed) {
      slow();
      stream.destroy();
    }
    return true;
  };
  return stream;
}
