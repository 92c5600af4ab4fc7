/** Node TCP: raw TCP as the client wants it, for links to tcp://host:port. */
import { connect, type Socket } from "node:net";
import type { SocketLike } from "./socket.ts";

/** What was written goes out within this time, or not at all. */
const CLOSE_GRACE_MS = 1_000;
const OPEN_DEADLINE_MS = 10_000;
/** No close frame came (RFC 6455 §7.1.5): TCP has none. */
const ABNORMAL = 1006;

/** A TCP connection with the WebSocket's events. Messages are chunks, cut wherever TCP cuts. */
export class NodeTcp implements SocketLike {
  binaryType = "arraybuffer";
  onopen: (() => void) | null = null;
  onmessage: ((event: { readonly data: unknown }) => void) | null = null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  readonly #socket: Socket;

  /** `url`: tcp://host:port. Throws TypeError on anything else. */
  constructor(url: string) {
    const { protocol, hostname, port } = new URL(url);
    if (protocol !== "tcp:" || port === "") throw new TypeError(`url: expected tcp://host:port, got "${url}"`);
    this.#socket = connect({ host: hostname.replace(/^\[|\]$/g, ""), port: Number(port), noDelay: true });
    // Said of a connection that never was; one that breaks is as silent as WebSocket's.
    let why = "ETIMEDOUT";
    const late = setTimeout(() => this.#socket.destroy(), OPEN_DEADLINE_MS);
    this.#socket.on("connect", () => {
      clearTimeout(late);
      why = "";
      this.onopen?.();
    });
    this.#socket.on("data", (data) => this.onmessage?.({ data }));
    // What follows an error is a close, and that says enough.
    this.#socket.on("error", ({ code, message }: NodeJS.ErrnoException) => {
      if (why !== "") why = code ?? message;
      this.onerror?.();
    });
    this.#socket.on("close", () => {
      clearTimeout(late);
      this.onclose?.({ code: ABNORMAL, reason: why });
    });
  }

  send(data: string | Uint8Array): void {
    if (this.#socket.writable) this.#socket.write(data);
  }

  close(): void {
    this.#socket.end();
    const late = setTimeout(() => this.#socket.destroy(), CLOSE_GRACE_MS);
    this.#socket.once("close", () => clearTimeout(late));
  }

  /** Stops reading: what the box sends from now on waits at its side. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Cuts the connection without a word. */
  terminate(): void {
    this.#socket.destroy();
  }
}
