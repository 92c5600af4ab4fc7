/** Open socket: a WebSocket of the listener, safe to use after its end; the library's own is freed by then. */
import type { RawSocket } from "./peer.ts";

/** What is used of the library's WebSocket. */
interface Native {
  /** 1 sent, 0 waiting, 2 dropped. */
  send(message: Buffer | string, binary: boolean): number;
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

  send(message: Buffer | string, binary: boolean): boolean {
    return this.#ws !== undefined && this.#ws.send(message, binary) !== 2;
  }

  buffered(): number {
    return this.#ws?.getBufferedAmount() ?? 0;
  }

  cork(body: () => void): void {
    if (this.#ws === undefined) body();
    else this.#ws.cork(body);
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
}
