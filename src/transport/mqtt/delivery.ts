/** Delivery: one session's frames to one MQTT client at QoS 1, no faster than it acknowledges: the log is the queue, not the broker. */
import type { Attachment } from "../../control/control.ts";
import type { Encoded } from "../../frame/codec.ts";
import { fit } from "../../frame/fit.ts";
import type { CloseReason, Sink } from "../../frame/sink.ts";
import { type Format, pack } from "../values.ts";
import type { Outlet } from "./ports.ts";
import { Window, type WindowLimits } from "./window.ts";

export interface DeliveryOptions {
  readonly outlet: Outlet;
  /** `cib/client/<client id>/<session>` */
  readonly topic: string;
  readonly format: Format;
  /** Longest payload that the client takes, in bytes, at least what `fit` allows; undefined: any. */
  readonly maxBytes: number | undefined;
  /** The daemon has ended it: forget it. Not called when it is disposed of. */
  ended(): void;
  readonly limits?: WindowLimits;
}

/** A sink. Its verdict is the reply to the attach; notices of gaps and the end come on the frames' own topic, in their order. */
export class Delivery implements Sink, Disposable {
  /** To be set before the first frame, which control writes in a later turn of the loop. */
  attachment: Attachment | undefined;
  readonly #options: DeliveryOptions;
  readonly #window: Window;
  /** The fan-out was told "full", and waits for `drained`. */
  #full = false;
  #over = false;

  constructor(options: DeliveryOptions) {
    this.#options = options;
    this.#window = new Window(options.outlet, options.topic, options.limits);
  }

  write(frame: Encoded): "ok" | "full" | "gone" {
    if (this.#over) return "gone";
    const { format, maxBytes } = this.#options;
    const pieces =
      maxBytes === undefined ? [format === "cbor" ? frame.cbor() : frame.json()] : fit(frame, maxBytes, format);
    for (const piece of pieces) if (!this.#window.push(piece)) return "gone";
    this.#full = this.#window.full;
    return this.#full ? "full" : "ok";
  }

  gap(from: number, to: number): void {
    if (!this.#over) this.#window.push(this.#notice({ gap: [from, to], ...this.#session }));
  }

  /** The last word waits for no acknowledgement. Pieces of a frame that are still held are lost: the client resumes after its last whole frame. */
  close(reason: CloseReason): void {
    if (this.#over) return;
    this.#over = true;
    const all = reason === "stopping" || reason === "revoked" || reason === "expired";
    this.#window.last(this.#notice(all ? { bye: reason } : { detached: reason, ...this.#session }));
    this.attachment = undefined;
    this.#options.ended();
  }

  taken(): number {
    return this.#window.taken();
  }

  /** A PUBACK. Whether the packet was of this delivery. */
  acknowledged(packetId: number): boolean {
    if (!this.#window.acknowledged(packetId)) return false;
    this.#goOn();
    return true;
  }

  /** The connection has room again. */
  drained(): void {
    if (this.#over) return;
    this.#window.pump();
    this.#goOn();
  }

  /** Nothing is acknowledged any more: the last word goes at QoS 0. */
  lost(): void {
    const { outlet, topic } = this.#options;
    outlet.publish(topic, this.#notice({ detached: "detached", ...this.#session }));
    this[Symbol.dispose]();
  }

  /** Ends it without a word: the client has asked for it, or is gone. */
  [Symbol.dispose](): void {
    this.#over = true;
    this.#window.drop();
    this.attachment?.[Symbol.dispose]();
    this.attachment = undefined;
  }

  #goOn(): void {
    if (!this.#full || this.#over || !this.#window.open) return;
    this.#full = false;
    this.attachment?.drained();
  }

  get #session(): object {
    const session = this.attachment?.verdict.session;
    return session === undefined ? {} : { session };
  }

  #notice(message: object): Buffer {
    return pack(message, this.#options.format);
  }
}
