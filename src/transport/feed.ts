/** Feed: one session on a connection, a sink that cuts its frames to what the client takes. */
import type { Attachment } from "../control/control.ts";
import { CibError } from "../errors.ts";
import type { Encoded } from "../frame/codec.ts";
import { fit, MIN_CBOR_BYTES, MIN_JSON_BYTES } from "../frame/fit.ts";
import type { SessionId } from "../frame/frame.ts";
import type { CloseReason, Sink } from "../frame/sink.ts";
import type { Format } from "./values.ts";

/** Bytes that may wait for a reader before its cursors stop: two full TCP windows of a small board. */
export const HIGH_WATER_BYTES = 64 * 1024;

/** The connection, as its feeds see it. */
export interface FeedHost {
  readonly open: boolean;
  buffered(): number;
  /** Grows while the peer reads. */
  taken(): number;
  push(bytes: Buffer): void;
  ended(feed: Feed, session: SessionId, reason: CloseReason): void;
  gap(session: SessionId, from: number, to: number): void;
}

/** One session on a socket: a sink. */
export class Feed implements Sink {
  readonly #connection: FeedHost;
  readonly #session: SessionId;
  readonly #format: Format;
  readonly #maxBytes: number | undefined;
  attachment: Attachment | undefined;
  full = false;

  constructor(connection: FeedHost, session: SessionId, format: Format, maxBytes: number | undefined) {
    this.#connection = connection;
    this.#session = session;
    this.#format = format;
    this.#maxBytes = maxBytes;
  }

  write(frame: Encoded): "ok" | "full" | "gone" {
    if (!this.#connection.open) return "gone";
    const whole = this.#format === "cbor" ? frame.cbor() : frame.json();
    if (this.#maxBytes === undefined || whole.length <= this.#maxBytes) this.#connection.push(whole);
    else for (const piece of fit(frame, this.#maxBytes, this.#format)) this.#connection.push(piece);
    this.full = this.#connection.buffered() > HIGH_WATER_BYTES;
    return this.full ? "full" : "ok";
  }

  gap(from: number, to: number): void {
    this.#connection.gap(this.#session, from, to);
  }

  close(reason: CloseReason): void {
    this.#connection.ended(this, this.#session, reason);
  }

  taken(): number {
    return this.#connection.taken();
  }

  drained(): void {
    if (!this.full) return;
    this.full = false;
    this.attachment?.drained();
  }

  dispose(): void {
    this.attachment?.[Symbol.dispose]();
    this.attachment = undefined;
  }
}

/** Refuses a max_bytes that not every frame can fit. */
export function checkSize(maxBytes: number | undefined, format: Format): void {
  const least = format === "json" ? MIN_JSON_BYTES : MIN_CBOR_BYTES;
  if (maxBytes !== undefined && maxBytes < least) {
    throw new CibError("bad_request", `max_bytes: expected at least ${least} for ${format}, got ${maxBytes}`);
  }
}
