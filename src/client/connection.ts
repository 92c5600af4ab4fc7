/** Connection: one socket to a box, kept alive: commands with their replies, frames to whoever follows their session. */
import { CibError, ERRORS, type ErrorCode } from "../errors.ts";
import { decodeValue, encodeValue, frameOf } from "../frame/codec.ts";
import type { Frame, PtyFrame } from "../frame/frame.ts";
import type { SocketLike, Timers } from "./socket.ts";

/** First wait before coming back, doubled each time up to the longest; half of each wait is chance, so that clients do not come back together. */
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 15_000;

export type Format = "json" | "cbor";

export interface ConnectionOptions {
  /** A new socket, or a link that behaves like one. */
  dial(): SocketLike;
  readonly format: Format;
  readonly timers: Timers;
}

/** A command as it travels: docs/PROTOCOL.md names them and their fields. */
export type Command = { readonly cmd: string } & Readonly<Record<string, unknown>>;

/** A message from the box that is no frame: a reply (has `re`) or a notice (`bye`, `detached`, `gap`). */
export type Message = Readonly<Record<string, unknown>>;

export interface ConnectionEvents {
  /** A socket is open: attach again, repeat what is owed. */
  opened(): void;
  message(message: Message): void;
  frame(frame: Frame | PtyFrame): void;
  /** The socket is gone; with an error for good, without one it will be opened again. `why`: as the socket tells it, often "". */
  lost(error: CibError | undefined, why: string): void;
}

/** Close codes that no new try can mend: the token, the request, the address are wrong. */
const FATAL: ReadonlyMap<number, ErrorCode> = new Map(
  (["bad_request", "unauthorized", "forbidden", "not_found", "conflict"] as const).map((code) => [
    ERRORS[code].close,
    code,
  ]),
);

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #events: ConnectionEvents;
  #socket: SocketLike | undefined;
  #open = false;
  #wait = FIRST_WAIT_MS;
  #cancelWait: (() => void) | undefined;
  #closed = false;

  constructor(options: ConnectionOptions, events: ConnectionEvents) {
    this.#options = options;
    this.#events = events;
    this.#dial();
  }

  get open(): boolean {
    return this.#open;
  }

  /** Sends a command; false when there is no open socket. Throws CibError `too_large` when it does not fit a link. */
  send(command: object): boolean {
    if (!this.#open || this.#socket === undefined) return false;
    this.#socket.send(this.#options.format === "cbor" ? encodeValue(command) : JSON.stringify(command));
    return true;
  }

  close(): void {
    this.#closed = true;
    this.#cancelWait?.();
    this.#socket?.close(1000, "");
  }

  #dial(): void {
    const socket = this.#options.dial();
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.onopen = () => {
      this.#open = true;
      this.#events.opened();
    };
    socket.onmessage = ({ data }) => {
      // Back to short waits only once the box speaks: one that accepts and cuts at once is not well.
      this.#wait = FIRST_WAIT_MS;
      this.#take(data);
    };
    // What went wrong comes with the close that follows.
    socket.onerror = () => {};
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
  }

  #take(data: unknown): void {
    if (typeof data === "string") {
      const message = JSON.parse(data) as Message;
      if ("type" in message) this.#events.frame(plainFrame(message as unknown as Frame | PtyFrame));
      else this.#events.message(message);
      return;
    }
    const value = decodeValue(data instanceof Uint8Array ? data : new Uint8Array(data as ArrayBuffer));
    if (!Array.isArray(value)) {
      this.#events.message(value as Message);
      return;
    }
    const frame = frameOf(value);
    if (frame !== undefined) this.#events.frame(frame);
  }

  #lost(code: number, reason: string): void {
    this.#open = false;
    this.#socket = undefined;
    const fatal = FATAL.get(code);
    if (fatal !== undefined) this.#closed = true;
    this.#events.lost(fatal === undefined ? undefined : new CibError(fatal, reason), reason);
    if (this.#closed) return;
    const wait = this.#wait * (0.5 + this.#options.timers.random() / 2);
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT_MS);
    this.#cancelWait = this.#options.timers.after(wait, () => this.#dial());
  }
}

/** Terminal bytes travel as base64 in JSON. */
function plainFrame(frame: Frame | PtyFrame): Frame | PtyFrame {
  if (frame.type !== "pty.raw") return frame;
  const text = atob(String(frame.data));
  return { ...frame, data: Uint8Array.from(text, (c) => c.charCodeAt(0)) };
}
