/** Socket: the part of the browser's WebSocket that the client uses; Node's, `ws`, and NodeSocket all have it. */

/** What is called with an event. A method, so that a handler of more than the part that is named here fits: MessageEvent, CloseEvent. */
type Handler<Event> = { handle(event: Event): void }["handle"];

export interface SocketLike {
  binaryType: string;
  onopen: Handler<never> | null;
  onmessage: Handler<{ readonly data: unknown }> | null;
  onclose: Handler<{ readonly code: number; readonly reason: string }> | null;
  onerror: Handler<never> | null;
  /** Not of shared memory: browsers refuse that. */
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
}

/** Calls what somebody else has written as browsers call a handler: what it throws is nobody's but its own, told as uncaught. */
export function call(handler: () => void): void {
  try {
    handler();
  } catch (thrown) {
    queueMicrotask(() => {
      throw thrown;
    });
  }
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
