/** Socket: the part of the browser's WebSocket that the client uses; Node's, `ws`, and NodeSocket all have it. */

export interface SocketLike {
  binaryType: string;
  onopen: (() => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null;
  onerror: (() => void) | null;
  send(data: string | Uint8Array): void;
  close(code?: number, reason?: string): void;
}

/** Injected by tests. */
export interface Timers {
  /** Calls `then` after that time, unless the returned function is called first. */
  after(ms: number, then: () => void): () => void;
  /** 0 ≤ x < 1. */
  random(): number;
}

/** A constructor of sockets: `WebSocket` itself fits. */
export type SocketClass = new (url: string, protocols: string[]) => SocketLike;
