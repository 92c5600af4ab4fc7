/** Taken: how far a socket's peer has come, also within one long write, of which Node's own counts tell only the end. */
import type { Socket } from "node:net";

/** What Node itself tells a slow peer from one that does not read by (lib/net.js, `_onTimeout`). */
interface Handle {
  /** Bytes ever given to it, */
  readonly bytesWritten?: unknown;
  /** and those of them that the kernel has not taken yet. */
  readonly writeQueueSize?: unknown;
}

/** Bytes that the kernel has taken from a socket, which it does as the peer reads. Grows only. */
export function bytesTaken(socket: Socket): number {
  const { bytesWritten, writeQueueSize } = (socket as { readonly _handle?: Handle | null })._handle ?? {};
  if (typeof bytesWritten === "number" && typeof writeQueueSize === "number") return bytesWritten - writeQueueSize;
  return socket.bytesWritten - socket.writableLength;
}
