/** Peer: what the listener hands out, requests, streams and sockets, without a word of the library behind it. */
import type { Socket, SocketEvents } from "../socket.ts";

/** One request, copied: uWebSockets.js frees its own when the handler returns. */
export interface Request {
  /** Upper case. */
  readonly method: string;
  /** Path and query exactly as sent: "/aes?" is not "/aes". */
  readonly target: string;
  /** Raw path, and raw query without "?". */
  readonly path: string;
  readonly query: string;
  /** By lower-case name; repeated headers joined by ", ". */
  readonly headers: ReadonlyMap<string, string>;
  /** Bytes of all header names and values. */
  readonly headerBytes: number;
  /** Remote address as text: "127.0.0.1", "fe80::1". */
  readonly address: string;
}

/** A response that goes on: server-sent events, sealed records. */
export interface Stream {
  /** False: taken, but the peer is slow; wait for `drained`. */
  write(chunk: Buffer | string): boolean;
  /** Grows while the peer reads what it was too slow for. */
  readonly taken: number;
  end(last?: Buffer | string): void;
}

export interface StreamEvents {
  /** What may stand anywhere in this stream and means nothing; not empty. */
  nothing(): Buffer | string;
  drained(): void;
  closed(): void;
}

/** A WebSocket, which can also be cut without a word. */
export interface RawSocket extends Socket {
  cut(): void;
}

/** What an upgrade gets: the subprotocol to name, and who speaks once the socket is open. */
export interface Upgrade {
  readonly protocol: string;
  open(socket: RawSocket): SocketEvents;
}

/** 4 or 16 bytes as text; IPv4 inside IPv6 (RFC 4291 §2.5.5.2) as IPv4. */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) return "";
  const mapped = bytes.subarray(0, 10).every((b) => b === 0) && bytes[10] === 255 && bytes[11] === 255;
  if (mapped) return bytes.subarray(12).join(".");
  const groups = Buffer.from(bytes).toString("hex").match(/.{4}/g) ?? [];
  // The URL parser writes the shortest form (RFC 5952).
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}
