/** Open socket: a WebSocket of the listener, safe to use after its end; the library's own is freed by then. */
import type { RawSocket } from "./peer.ts";

/** What is used of the library's WebSocket. */
interface Native {
  /** 1 sent, 0 waiting, 2 dropped. */
  send(message: Buffer, binary: boolean): number;
  getBufferedAmount(): number;
  cork(body: () => void): unknown;
  end(code: number, reason: string): void;
  close(): void;
}

export class OpenSocket implements RawSocket {
  #ws: Native | undefined;

  constructor(ws: Native) {
    this.#ws = ws;
  }

  get isGone(): boolean {
    return this.#ws === undefined;
  }

  send(messages: readonly Buffer[], binary: boolean): boolean {
    const [only] = messages;
    // The library corks a lone message by itself, without a call back to here.
    if (only !== undefined && messages.length === 1) return this.#take(only, binary);
    let taken = false;
    this.#ws?.cork(() => {
      taken = messages.every((message) => this.#take(message, binary));
    });
    return taken;
  }

  buffered(): number {
    return this.#ws?.getBufferedAmount() ?? 0;
  }

  end(code: number, reason: string): void {
    this.#ws?.end(code, reason);
  }

  cut(): void {
    this.#ws?.close();
  }

  gone(): void {
    this.#ws = undefined;
  }

  #take(message: Buffer, binary: boolean): boolean {
    return this.#ws !== undefined && this.#ws.send(message, binary) !== 2;
  }
}
