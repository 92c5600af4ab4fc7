/** Connection: one WebSocket or sealed link: its commands and replies, and the sessions that it follows. */
import { parseAttach } from "../control/commands.ts";
import type { Control, Principal, Verdict } from "../control/control.ts";
import { asCibError, CibError, ERRORS, errorBody } from "../errors.ts";
import type { SessionId } from "../frame/frame.ts";
import type { CloseReason } from "../frame/sink.ts";
import { checkSize, Feed, type FeedHost } from "./feed.ts";
import { refusal, reOf, runRequest } from "./requests.ts";
import type { Socket, SocketEvents } from "./socket.ts";
import { soon } from "./soon.ts";
import { type Format, pack, unpack } from "./values.ts";

/** Where the cursors go on. */
const LOW_WATER_BYTES = 16 * 1024;
/** Replies that nobody reads: beyond this the socket is closed as too far behind. */
const MAX_UNREAD_BYTES = 4 * 1024 * 1024;
/** A reply to a keystroke waits so long for its echo: they leave together. */
const REPLY_DELAY_MS = 5;
/** Commands of one socket under way at once. */
export const MAX_COMMANDS = 32;
/** Sessions that one socket may follow. */
export const MAX_ATTACHMENTS = 64;
/** Messages that are no command at all, until the socket is closed. */
export const MAX_MALFORMED = 8;

/** What a connection needs of control. */
export type Acts = Pick<Control, "run" | "attach"> & {
  /** Aborts when the caller is gone, where somebody knows it already. */
  readonly signal?: AbortSignal;
};

export class Connection implements SocketEvents, FeedHost {
  readonly #socket: Socket;
  readonly #format: Format;
  readonly #who: Principal;
  readonly #control: Acts;
  readonly #fault: (thrown: unknown) => void;
  readonly #forget: () => void;
  readonly #feeds = new Map<SessionId, Feed>();
  /** For commands under way; it comes to be with the first of them: an idle reader does not need its 2 KB. */
  #gone: AbortController | undefined;
  #open = true;
  readonly #onEnded = () => this.bye(this.#who.ended.reason === "expired" ? "expired" : "revoked");
  #running = 0;
  #malformed = 0;
  /** What is due; undefined: nothing. */
  #pending: Buffer[] | undefined;
  #pendingBytes = 0;
  /** Ever, to tell what has been read from what waits. */
  #sentBytes = 0;
  #flushing = false;
  #late: NodeJS.Timeout | undefined;
  /** One for good: a frame a turn to fifty devices would make a closure for each. */
  readonly #flushNow = () => this.#flush();

  constructor(
    socket: Socket,
    format: Format,
    who: Principal,
    control: Acts,
    fault: (thrown: unknown) => void,
    forget: () => void,
  ) {
    this.#socket = socket;
    this.#format = format;
    this.#who = who;
    this.#control = control;
    this.#fault = fault;
    this.#forget = forget;
  }

  begin(attach: Readonly<Record<string, unknown>> | undefined): void {
    this.#who.ended.addEventListener("abort", this.#onEnded);
    if (this.#who.ended.aborted) this.#onEnded();
    if (attach === undefined || !this.#open) return;
    try {
      this.#tell({ re: null, ok: true, ...this.#attach(attach) });
    } catch (thrown) {
      const error = this.#told(thrown);
      this.#tell({ re: null, ok: false, error: errorBody(error) });
      this.#close(error.row.close, error.code);
    }
  }

  message(bytes: Buffer, binary: boolean): void {
    if (!this.#open) return;
    if (this.buffered() > MAX_UNREAD_BYTES) {
      this.bye("too_far_behind");
      return;
    }
    let message: Record<string, unknown>;
    try {
      message = this.#read(bytes, binary);
    } catch (thrown) {
      this.refuse(null, thrown);
      if (++this.#malformed >= MAX_MALFORMED) this.#close(ERRORS.bad_request.close, "bad_request");
      return;
    }
    void this.command(message);
  }

  /** Runs one that has been read; never rejects. Its reply is on its way when it resolves. */
  command(message: Readonly<Record<string, unknown>>): Promise<void> {
    const re = reOf(message["id"]);
    if (this.#running >= MAX_COMMANDS) {
      this.refuse(
        re,
        new CibError("overloaded", `commands: ${MAX_COMMANDS} are under way on this socket; wait for replies`),
      );
      return Promise.resolve();
    }
    this.#running++;
    const keystroke = message["cmd"] === "input" && message["text"] === undefined;
    return this.#run(message)
      .then((body) => {
        const reply = pack({ ...body, re, ok: true }, this.#format);
        this.#checkRoom(reply);
        if (keystroke) this.#pushSoon(reply);
        else this.push(reply);
      })
      .catch((thrown: unknown) => this.refuse(re, thrown))
      .finally(() => {
        this.#running--;
      });
  }

  drained(): void {
    if (this.#socket.buffered() > LOW_WATER_BYTES) return;
    for (const feed of this.#feeds.values()) feed.drained();
  }

  closed(): void {
    if (!this.#open) return;
    this.#open = false;
    // Only where somebody waits: an error with its trace is a tenth of a short request.
    if (this.#running > 0) this.#gone?.abort(new CibError("internal", "the socket is closed"));
    this.#who.ended.removeEventListener("abort", this.#onEnded);
    for (const feed of this.#feeds.values()) feed.dispose();
    this.#feeds.clear();
    this.#pending = undefined;
    clearTimeout(this.#late);
    this.#forget();
  }

  /** The last word, and the close code that goes with it. */
  bye(reason: CloseReason): void {
    this.#tell({ bye: reason });
    this.#close(closeCode(reason), reason);
  }

  /** The end of one who has said everything and is told nothing more. */
  finish(): void {
    this.#close(1000, "");
  }

  get open(): boolean {
    return this.#open;
  }

  buffered(): number {
    return this.#socket.buffered() + this.#pendingBytes;
  }

  taken(): number {
    return this.#socket.taken?.() ?? this.#sentBytes - this.#socket.buffered();
  }

  /** Queues bytes until the running turn is over, so that its frames leave in one system call. */
  push(bytes: Buffer): void {
    if (!this.#open) return;
    this.#hold(bytes);
    if (this.#flushing) return;
    this.#flushing = true;
    soon(this.#flushNow);
  }

  /** The same for what nobody waits for: it goes with what comes next. A key's echo must not queue behind its reply. */
  #pushSoon(bytes: Buffer): void {
    if (!this.#open) return;
    this.#hold(bytes);
    this.#late ??= setTimeout(() => this.#flush(), REPLY_DELAY_MS);
  }

  #hold(bytes: Buffer): void {
    if (this.#pending === undefined) this.#pending = [bytes];
    else this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
  }

  /** A feed was ended from inside: the last one takes the socket with it, for the reason is the socket's. */
  ended(feed: Feed, session: SessionId, reason: CloseReason): void {
    if (this.#feeds.get(session) !== feed) return;
    this.#feeds.delete(session);
    feed.dispose();
    const all = reason === "stopping" || reason === "revoked" || reason === "expired";
    if (all || (reason === "too_far_behind" && this.#feeds.size === 0)) this.bye(reason);
    else this.#tell({ detached: reason, session });
  }

  gap(session: SessionId, from: number, to: number): void {
    this.#tell({ gap: [from, to], session });
  }

  #flush(): void {
    this.#flushing = false;
    if (this.#late !== undefined) clearTimeout(this.#late);
    this.#late = undefined;
    const messages = this.#pending;
    if (!this.open || messages === undefined) return;
    this.#sentBytes += this.#pendingBytes;
    this.#pending = undefined;
    this.#pendingBytes = 0;
    if (!this.#socket.send(messages, this.#format === "cbor")) this.#overrun();
    // All of it went out: no drain event will come. In a later turn, so that one fast reader starves nobody.
    if (this.#socket.buffered() <= LOW_WATER_BYTES) {
      for (const feed of this.#feeds.values()) if (feed.full) setImmediate(() => feed.drained());
    }
  }

  /** The cursors stop at HIGH_WATER_BYTES, so a refused message is a fault of ours: the socket must not go on without it. */
  #overrun(): void {
    if (!this.open) return;
    this.#fault(new Error(`websocket: a message was dropped with ${this.#socket.buffered()} bytes waiting`));
    this.#socket.end(closeCode("too_far_behind"), "too_far_behind");
  }

  #read(bytes: Buffer, binary: boolean): Record<string, unknown> {
    if (binary !== (this.#format === "cbor")) {
      throw new CibError(
        "bad_request",
        `message: this socket speaks ${this.#format}; got a ${binary ? "binary" : "text"} message`,
      );
    }
    const value = unpack(bytes, this.#format, "message");
    if (typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value)) {
      return value as Record<string, unknown>;
    }
    throw new CibError("bad_request", "message: expected a command, a map with cmd");
  }

  async #run(message: Readonly<Record<string, unknown>>): Promise<object> {
    const { cmd } = message;
    if (cmd === "attach" || cmd === "detach") {
      const { id: _id, cmd: _cmd, ...args } = message;
      return cmd === "attach" ? this.#attach(args) : this.#detach(args);
    }
    return runRequest(this.#control, this.#who, message, this.#control.signal ?? this.#untilGone());
  }

  #untilGone(): AbortSignal {
    this.#gone ??= new AbortController();
    return this.#gone.signal;
  }

  #attach(args: Readonly<Record<string, unknown>>): Verdict {
    const want = parseAttach(args);
    checkSize(want.max_bytes, this.#format);
    if (this.#feeds.has(want.session))
      throw new CibError("conflict", "session: this socket follows it already; detach first");
    if (this.#feeds.size >= MAX_ATTACHMENTS)
      throw new CibError("overloaded", `session: one socket follows at most ${MAX_ATTACHMENTS}`);
    const maxBytes = Math.min(
      want.max_bytes ?? Number.POSITIVE_INFINITY,
      this.#socket.room ?? Number.POSITIVE_INFINITY,
    );
    const feed = new Feed(this, want.session, this.#format, Number.isFinite(maxBytes) ? maxBytes : undefined);
    feed.attachment = this.#control.attach(this.#who, want, feed);
    this.#feeds.set(want.session, feed);
    return feed.attachment.verdict;
  }

  #detach(args: Readonly<Record<string, unknown>>): object {
    const { session } = parseAttach(args);
    const feed = this.#feeds.get(session);
    if (feed === undefined) throw new CibError("not_found", "session: this socket does not follow it");
    this.#feeds.delete(session);
    feed.dispose();
    return { session };
  }

  #tell(message: object): void {
    this.push(pack(message, this.#format));
  }

  /** The reply of a command that does not come so far, or failed. */
  refuse(re: string | number | null, thrown: unknown): void {
    if (!this.open) return;
    this.push(refusal(re, this.#told(thrown), this.#format, this.#socket.room));
  }

  /** What the peer cannot take whole is no reply: it is told so, and may ask for less. */
  #checkRoom(reply: Buffer): void {
    const { room } = this.#socket;
    if (room !== undefined && reply.length > room)
      throw new CibError("too_large", `reply: ${reply.length} bytes, this link takes ${room}; ask for less at once`);
  }

  #told(thrown: unknown): CibError {
    const error = asCibError(thrown);
    if (error.code === "internal") this.#fault(error.cause ?? error);
    return error;
  }

  #close(code: number, reason: string): void {
    this.#flush();
    this.#socket.end(code, reason);
  }
}

/** Close codes are rows of the error table (4000 + status); a reason without a row ends in an orderly 1000. */
function closeCode(reason: CloseReason): number {
  if (reason === "revoked" || reason === "expired") return ERRORS.unauthorized.close;
  if (reason === "stopping" || reason === "too_far_behind") return ERRORS[reason].close;
  return 1000;
}
