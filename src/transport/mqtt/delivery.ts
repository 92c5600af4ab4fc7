/** Delivery: stands in until the real one is here. */
import type { Attachment } from "../../control/control.ts";
import type { Encoded } from "../../frame/codec.ts";
import type { CloseReason, Sink } from "../../frame/sink.ts";
import { type Format, pack } from "../values.ts";
import type { Outlet } from "./ports.ts";

export class Delivery implements Sink, Disposable {
  attachment: Attachment | undefined;
  readonly #o: { outlet: Outlet; topic: string; format: Format; maxBytes: number | undefined; ended: () => void };
  readonly #ids = new Set<number>();
  constructor(o: { outlet: Outlet; topic: string; format: Format; maxBytes: number | undefined; ended: () => void }) {
    this.#o = o;
  }
  write(frame: Encoded): "ok" | "full" | "gone" {
    const id = this.#o.outlet.nextPacketId();
    this.#ids.add(id);
    this.#o.outlet.publish(this.#o.topic, this.#o.format === "json" ? frame.json() : frame.cbor(), id);
    return "ok";
  }
  gap(): void {}
  close(reason: CloseReason): void {
    this.#o.outlet.publish(this.#o.topic, pack({ bye: reason }, this.#o.format));
    this.#o.ended();
  }
  acknowledged(id: number): boolean {
    return this.#ids.delete(id);
  }
  drained(): void {}
  [Symbol.dispose](): void {
    this.attachment?.[Symbol.dispose]();
  }
}
