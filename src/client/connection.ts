/** Connection: one socket to a box, kept alive: commands with their replies, frames to whoever follows their session. */
import { CibError, ERRORS, type ErrorCode } from "../errors.ts";
import { base64Bytes } from "../frame/bytes.ts";
import { fromCbor, toCbor } from "../frame/cbor.ts";
import type { Frame, PtyFrame } from "../frame/frame.ts";
import { frameOf } from "../frame/item.ts";
import type { SocketLike, Timers } from "./socket.ts";

/** First wait before coming back, doubled each time up to the longest; half of each wait is chance, so that clients do not come back together. */
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 15_000;

/** A page is told nothing of a connection that never was: neither a box that is away nor one that refuses it. */
const UNSEEN = "no answer: the box is away, or refuses this page's origin (CIB_HOSTS) or its key";

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
    this.#socket.send(this.#options.format === "cbor" ? toCbor(command) : JSON.stringify(command));
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
    const wait = this.#wait;
    socket.onopen = () => {
      this.#open = true;
      this.#events.opened();
    };
    socket.onmessage = ({ data }) => {
      let arrived: Arrived;
      try {
        arrived = read(data);
      } catch {
        // No message of the protocol, so what follows it would follow a hole: the next connection goes on from before. It
        // may meet the same one, so what was said well does not shorten the wait.
        this.#wait = wait;
        socket.onmessage = null;
        socket.close(1000, "");
        return;
      }
      // Back to short waits only once the box speaks: one that accepts and cuts at once is not well.
      this.#wait = FIRST_WAIT_MS;
      if (arrived.frame !== undefined) this.#events.frame(arrived.frame);
      if (arrived.message !== undefined) this.#events.message(arrived.message);
    };
    // What went wrong comes with the close that follows.
    socket.onerror = () => {};
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
  }

  #lost(code: number, reason: string): void {
    const why = reason === "" && !this.#open && "location" in globalThis ? UNSEEN : reason;
    this.#open = false;
    this.#socket = undefined;
    const fatal = FATAL.get(code);
    if (fatal !== undefined) this.#closed = true;
    this.#events.lost(fatal === undefined ? undefined : new CibError(fatal, reason), why);
    if (this.#closed) return;
    const wait = this.#wait * (0.5 + this.#options.timers.random() / 2);
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT_MS);
    this.#cancelWait = this.#options.timers.after(wait, () => this.#dial());
  }
}

/** One of them, or neither: a frame of a later version. */
interface Arrived {
  readonly frame?: Frame | PtyFrame | undefined;
  readonly message?: Message;
}

/** Throws whatever its parsers throw, on anything else. */
function read(data: unknown): Arrived {
  const text = typeof data === "string";
  const value: unknown = text
    ? JSON.parse(data)
    : fromCbor(data instanceof Uint8Array ? data : new Uint8Array(data as ArrayBuffer));
  if (typeof value !== "object" || value === null) throw new SyntaxError("message: neither a frame nor a map");
  if (Array.isArray(value)) return { frame: frameOf(value) };
  return text && "type" in value ? { frame: plainFrame(value as Frame | PtyFrame) } : { message: value as Message };
}

/** Terminal bytes travel as base64 in JSON. */
function plainFrame(frame: Frame | PtyFrame): Frame | PtyFrame {
  if (frame.type !== "pty.raw") return frame;
  return { ...frame, data: base64Bytes(String(frame.data)) };
}
