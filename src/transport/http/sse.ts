/** SSE: server-sent events, one session a stream; the verdict first, then frames, each with an id to come back with. */
import { parseAttach } from "../../control/commands.ts";
import type { Attachment, Control, Principal, Verdict } from "../../control/control.ts";
import { CibError } from "../../errors.ts";
import type { Encoded } from "../../frame/codec.ts";
import { fit } from "../../frame/fit.ts";
import type { CloseReason, Sink } from "../../frame/sink.ts";
import { checkSize } from "../feed.ts";
import type { Exchange } from "./listener.ts";
import type { Stream } from "./peer.ts";
import { head } from "./wire.ts";

/** Proxies cut what is silent for a minute or half: four heartbeats fit into one. */
export const HEARTBEAT_MS = 15_000;
const COMMENT = ":\n\n";
/** How long an EventSource waits before it comes back. */
const RETRY_MS = 2_000;

export interface EventsOptions {
  readonly control: Control;
  /** Streams and sockets that may be open together. */
  readonly room: () => boolean;
  /** Repeats `tick` until the returned function is called. Injected by tests. */
  readonly every?: (ms: number, tick: () => void) => () => void;
}

/** Every open stream, and the one heartbeat that they share; it beats only while there are any. */
export class Events {
  readonly #options: EventsOptions;
  readonly #open = new Set<Feed>();
  #still: (() => void) | undefined;

  constructor(options: EventsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Begins a stream. Throws what Control.attach throws, and `overloaded`. */
  begin(exchange: Exchange, who: Principal, query: Readonly<Record<string, unknown>>): void {
    if (!this.#options.room()) throw new CibError("overloaded", "connections: all are in use; close some");
    const want = parseAttach({ ...query, ...lastEventId(exchange) });
    checkSize(want.max_bytes, "json");
    const feed = new Feed(exchange, who, want.max_bytes, () => this.#forget(feed));
    if (exchange.request.method === "HEAD") {
      this.#options.control.attach(who, want, feed)[Symbol.dispose]();
      exchange.respond(200, head("text/event-stream"), "");
      return;
    }
    feed.begin(this.#options.control.attach(who, want, feed));
    this.#open.add(feed);
    this.#still ??= (this.#options.every ?? every)(HEARTBEAT_MS, () => {
      for (const each of this.#open) each.beat();
    });
  }

  /** Says goodbye to every stream. */
  stop(): void {
    for (const feed of [...this.#open]) feed.close("stopping");
  }

  #forget(feed: Feed): void {
    this.#open.delete(feed);
    if (this.#open.size > 0) return;
    this.#still?.();
    this.#still = undefined;
  }
}

/** One stream: a sink that writes events. */
class Feed implements Sink {
  readonly #exchange: Exchange;
  readonly #who: Principal;
  readonly #maxBytes: number | undefined;
  readonly #forget: () => void;
  readonly #onEnded = () => this.close(this.#who.ended.reason === "expired" ? "expired" : "revoked");
  #stream: Stream | undefined;
  #attachment: Attachment | undefined;
  #epoch = 0;
  #full = false;

  constructor(exchange: Exchange, who: Principal, maxBytes: number | undefined, forget: () => void) {
    this.#exchange = exchange;
    this.#who = who;
    this.#maxBytes = maxBytes;
    this.#forget = forget;
  }

  begin(attachment: Attachment): void {
    this.#attachment = attachment;
    const { verdict } = attachment;
    this.#epoch = verdict.epoch;
    this.#stream = this.#exchange.stream(head("text/event-stream"), opening(verdict), {
      nothing: () => COMMENT,
      drained: () => {
        this.#full = false;
        attachment.drained();
      },
      closed: () => this.#end(),
    });
    this.#who.ended.addEventListener("abort", this.#onEnded);
    if (this.#who.ended.aborted) this.#onEnded();
  }

  write(frame: Encoded): "ok" | "full" | "gone" {
    if (this.#stream === undefined) return "gone";
    this.#full = !this.#stream.write(this.#event(frame));
    return this.#full ? "full" : "ok";
  }

  gap(from: number, to: number): void {
    this.#stream?.write(
      `event: gap\ndata: ${JSON.stringify({ gap: [from, to], session: this.#attachment?.verdict.session })}\n\n`,
    );
  }

  close(reason: CloseReason): void {
    this.#stream?.end(`event: bye\ndata: ${JSON.stringify({ bye: reason })}\n\n`);
    this.#end();
  }

  taken(): number {
    return this.#stream?.taken ?? 0;
  }

  /** A comment keeps proxies awake; a full stream has bytes on the way anyway. */
  beat(): void {
    if (!this.#full) this.#full = this.#stream?.write(COMMENT) === false;
  }

  #end(): void {
    this.#stream = undefined;
    this.#who.ended.removeEventListener("abort", this.#onEnded);
    this.#attachment?.[Symbol.dispose]();
    this.#attachment = undefined;
    this.#forget();
  }

  /** Only the last piece of a frame carries the id: a client cut off in the middle gets the frame again, whole. */
  #event(frame: Encoded): Buffer {
    const id = frame.type === "pty.raw" ? "" : `id: ${this.#epoch}:${frame.seq}\n`;
    const pieces = this.#maxBytes === undefined ? [frame.json()] : fit(frame, this.#maxBytes, "json");
    const last = pieces.length - 1;
    return Buffer.concat(pieces.flatMap((piece, i) => [Buffer.from(`${i === last ? id : ""}data: `), piece, END]));
  }
}

const END = Buffer.from("\n\n");

function opening(verdict: Verdict): string {
  return `retry: ${RETRY_MS}\nevent: verdict\nid: ${verdict.epoch}:${verdict.from - 1}\ndata: ${JSON.stringify(verdict)}\n\n`;
}

/** `<epoch>:<seq>` of the last event seen beats `from`: the browser knows it, the page's URL does not. */
function lastEventId(exchange: Exchange): { from?: number; epoch?: number } {
  const value = exchange.request.headers.get("last-event-id");
  if (value === undefined || value === "") return {};
  const parts = /^(\d{1,15}):(\d{1,15})$/.exec(value);
  if (parts === null)
    throw new CibError(
      "bad_request",
      `last-event-id: expected <epoch>:<seq>, got ${JSON.stringify(value.slice(0, 40))}`,
    );
  return { epoch: Number(parts[1]), from: Number(parts[2]) + 1 };
}

/** Repeats until the returned function is called. */
export function every(ms: number, tick: () => void): () => void {
  const timer = setInterval(tick, ms);
  return () => clearInterval(timer);
}
