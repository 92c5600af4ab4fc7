/** Client: the reference client. Commands with their replies and sessions to follow, over one connection that comes back by itself. */

import type { Provider } from "../crypto/aead.ts";
import { CibError, ERRORS, type ErrorCode } from "../errors.ts";
import { hexOf } from "../frame/bytes.ts";
import type { Body, Frame, FrameTypeName, PtyFrame, SessionId } from "../frame/frame.ts";
import { type Command, Connection, type Format, type Message } from "./connection.ts";
import { Feed, type FeedOptions, type GapMark, type Item, type VerdictMark } from "./feed.ts";
import { type DeviceKey, Linker } from "./link-socket.ts";
import { call, type SocketClass, type SocketLike, type Timers } from "./socket.ts";

// This file is the package's door: what others have to name in their own code stands in it, too.
export type {
  Body,
  Command,
  DeviceKey,
  ErrorCode,
  Feed,
  FeedOptions,
  Format,
  Frame,
  FrameTypeName,
  GapMark,
  Item,
  Message,
  Provider,
  PtyFrame,
  SessionId,
  SocketClass,
  SocketLike,
  Timers,
  VerdictMark,
};
export { CibError };

/** Bytes of chance in a command id: 64 bits, in 16 characters. */
const ID_BYTES = 8;

export interface ClientOptions {
  /** Base URL of the box: "http://box.local:8080"; with a key also "tcp://box.local:8081". */
  readonly url: string;
  /** Travels as a WebSocket subprotocol, never in the URL. Either this or `key`. */
  readonly token?: string;
  /** A device key instead of a token: a sealed link, which needs no TLS. One client a key: a second one ends the first. */
  readonly key?: DeviceKey;
  /** With a key: forward secrecy; "offer" unless said otherwise. */
  readonly x25519?: "offer" | "require" | "off";
  /** With a key: who computes; noble unless said otherwise, in Node nodeProvider is faster. */
  readonly provider?: Provider;
  /** With a key and a tcp: address: NodeTcp. */
  readonly Tcp?: SocketClass;
  /** "json" unless said otherwise; a link is always CBOR. */
  readonly format?: Format;
  /** The global one where there is one; on Node 20 pass NodeSocket. */
  readonly WebSocket?: SocketClass;
  readonly timers?: Timers;
  /** Told each time the connection opens or is lost, for a status line; and why, where that is known: "ECONNREFUSED". */
  readonly onState?: (state: "open" | "lost", why?: string) => void;
}

/** The connection was lost, or closed, before the reply came: the command may or may not have been carried out. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
}

export interface Client {
  /**
   * Runs one command and resolves with the fields of its reply. Rejects with CibError as the box says, or ConnectionLost.
   * Commands that the box carries out exactly once (inputs of text, creations, sends) get an id and are repeated
   * after a lost connection, until there is a reply; others are not.
   */
  run(command: Command, signal?: AbortSignal): Promise<Message>;
  /** Sends a command and waits for nothing: keystrokes. False when there is no connection. */
  post(command: Command): boolean;
  /** Follows a session across lost connections: each frame once, in order. Ends when the iteration is left or the client closed. */
  attach(session: string, options?: FeedOptions): Feed;
  /** Ends everything that runs and every feed. */
  close(): void;
}

/** Connects, and keeps connecting. Throws TypeError when there is no WebSocket to use. */
export function connect(options: ClientOptions): Client {
  return new SocketClient(options);
}

interface Owed {
  readonly command: Command & { readonly id: string };
  /** The box recognises it when it comes twice. */
  readonly repeatable: boolean;
  sent: boolean;
  /** A promise's reader would come to know of it too late. */
  readonly atOnce: ((reply: Message) => void) | undefined;
  resolve(reply: Message): void;
  reject(why: unknown): void;
}

const REPEATABLE: ReadonlySet<string> = new Set([
  "sessions.create",
  "sessions.resume",
  "send",
  "tokens.create",
  "answer",
]);

class SocketClient implements Client {
  readonly #connection: Connection;
  readonly #owed = new Map<string, Owed>();
  readonly #feeds = new Map<string, Feed>();
  readonly #timers: Timers;
  readonly #onState: ClientOptions["onState"];
  #over: Error | undefined;

  constructor(options: ClientOptions) {
    const timers = options.timers ?? TIMERS;
    const dial = dialOf(options, timers);
    this.#timers = timers;
    this.#onState = options.onState;
    this.#connection = new Connection(
      {
        dial,
        format: options.key ? "cbor" : (options.format ?? "json"),
        timers,
      },
      {
        opened: () => this.#opened(),
        message: (message) => this.#message(message),
        frame: (frame) => this.#frame(frame),
        lost: (error, why) => this.#lost(error, why),
      },
    );
  }

  run(command: Command, signal?: AbortSignal): Promise<Message> {
    return this.#run(command, { signal });
  }

  #run(
    command: Command,
    { signal, atOnce }: { signal?: AbortSignal | undefined; atOnce?: Owed["atOnce"] },
  ): Promise<Message> {
    if (this.#over !== undefined) return Promise.reject(this.#over);
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const id = typeof command["id"] === "string" ? command["id"] : newId();
      const text = command.cmd === "input" && typeof command["text"] === "string";
      const settle = () => {
        this.#owed.delete(id);
        signal?.removeEventListener("abort", aborted);
      };
      const aborted = () => {
        settle();
        reject(signal?.reason);
      };
      const owed: Owed = {
        command: { ...command, id },
        repeatable: text || REPEATABLE.has(command.cmd),
        sent: false,
        atOnce,
        resolve: (reply) => {
          settle();
          resolve(reply);
        },
        reject: (why) => {
          settle();
          reject(why);
        },
      };
      signal?.addEventListener("abort", aborted);
      this.#owed.set(id, owed);
      this.#send(owed);
    });
  }

  post(command: Command): boolean {
    return this.#over === undefined && this.#connection.send(command);
  }

  attach(session: string, options: FeedOptions = {}): Feed {
    if (this.#feeds.has(session)) throw new CibError("conflict", "session: this client follows it already");
    const feed: Feed = new Feed(session as SessionId, options, {
      open: () => this.#connection.open,
      run: (command, atOnce) => this.#run(command, { atOnce }),
      detach: () => this.post({ cmd: "detach", session }),
      after: (ms, then) => this.#timers.after(ms, then),
      ended: () => {
        if (this.#feeds.get(session) === feed) this.#feeds.delete(session);
      },
    });
    this.#feeds.set(session, feed);
    if (this.#over !== undefined) feed.fail(this.#over);
    else if (this.#connection.open) feed.opened();
    return feed;
  }

  close(): void {
    this.#end(new ConnectionLost("the client is closed"));
    this.#connection.close();
  }

  #opened(): void {
    this.#tell("open");
    for (const owed of [...this.#owed.values()]) this.#send(owed);
    for (const feed of this.#feeds.values()) feed.opened();
  }

  /** A status line that fails must not cost anyone a reply. */
  #tell(state: "open" | "lost", why?: string): void {
    call(() => this.#onState?.(state, why));
  }

  #send(owed: Owed): void {
    try {
      owed.sent = this.#connection.send(owed.command);
    } catch (thrown) {
      // Too long for a link: it was not sent, and never will be.
      owed.reject(thrown);
    }
  }

  #message(message: Message): void {
    const { re, session } = message;
    if (typeof re === "string") {
      const owed = this.#owed.get(re);
      if (owed === undefined) return;
      if (message["ok"] !== true) owed.reject(asError(message["error"]));
      else {
        owed.atOnce?.(message);
        owed.resolve(message);
      }
      return;
    }
    const feed = typeof session === "string" ? this.#feeds.get(session) : undefined;
    const gap = message["gap"];
    if (Array.isArray(gap)) feed?.gap(Number(gap[0]), Number(gap[1]));
    // A reader cut off for being slow comes back from where it is; any other end of one session is not ours to undo.
    if (typeof message["detached"] === "string") feed?.detached(message["detached"]);
  }

  #frame(frame: Frame | PtyFrame): void {
    this.#feeds.get(frame.session)?.frame(frame);
  }

  #lost(error: CibError | undefined, why: string): void {
    // What ends it for good is told to whoever waits; a connection that was closed here is not lost.
    if (this.#over === undefined) this.#tell("lost", error === undefined ? why : undefined);
    if (error !== undefined) {
      this.#end(error);
      return;
    }
    for (const feed of this.#feeds.values()) feed.lost();
    for (const owed of [...this.#owed.values()]) {
      if (owed.sent && !owed.repeatable)
        owed.reject(new ConnectionLost(`${owed.command.cmd}: the connection was lost before the reply`));
    }
  }

  #end(why: Error): void {
    this.#over ??= why;
    for (const owed of [...this.#owed.values()]) owed.reject(why);
    for (const feed of [...this.#feeds.values()]) {
      if (why instanceof CibError) feed.fail(why);
      else feed.end();
    }
  }
}

function dialOf(options: ClientOptions, timers: Timers): () => SocketLike {
  const { url, token, key, x25519, provider, format = "json" } = options;
  if ((token === undefined) === (key === undefined))
    throw new TypeError("connect: expected a token or a key, one of them");
  const tcp = /^tcp:/.test(url);
  const Socket = tcp ? options.Tcp : (options.WebSocket ?? (globalThis as { WebSocket?: SocketClass }).WebSocket);
  if (tcp && key === undefined) throw new TypeError("url: tcp: takes a key, a token would travel in the clear");
  if (Socket === undefined)
    throw new TypeError(
      tcp
        ? "Tcp: pass NodeTcp (client/node-tcp.ts)"
        : "WebSocket: this runtime has none; pass NodeSocket (client/node-socket.ts)",
    );
  const address = tcp ? url : `${url.replace(/^http/, "ws").replace(/\/$/, "")}/ws`;
  if (key === undefined) return () => new Socket(address, [`cib.v1.${format}`, `bearer.${token}`]);
  const linker = new Linker({ key, x25519, provider, timers, carrier: tcp ? "stream" : "socket" });
  return () => linker.over(new Socket(address, tcp ? [] : ["cib.v1.link"]));
}

const TIMERS: Timers = {
  after(ms, then) {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
  random: Math.random,
};

function newId(): string {
  return hexOf(crypto.getRandomValues(new Uint8Array(ID_BYTES)));
}

/** An error body from the wire; a code of a later version counts as `internal`. */
function asError(body: unknown): CibError {
  const { code, message } = (body ?? {}) as { code?: unknown; message?: unknown };
  const known = typeof code === "string" && Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : "internal";
  return new CibError(known, typeof message === "string" ? message : "the box gave no reason");
}
