/** WS stream: a WebSocket as a stream of bytes; where its messages begin and end means nothing (MQTT 3.1.1 §6). */
import { Duplex } from "node:stream";
import type { Socket, SocketEvents } from "../socket.ts";
import { MAX_WAITING_BYTES } from "./bounded.ts";
import type { Arrival } from "./ports.ts";
import { MAX_PACKET_BYTES } from "./wire.ts";

/** Bytes that came and were not read: the broker reads at once, so this is two packets more than it should ever be. */
const MAX_UNREAD_BYTES = 2 * MAX_PACKET_BYTES;

/** A socket that can also be cut without a word. */
export interface WebSocket extends Socket {
  cut(): void;
}

/** The socket as an arrival, and what the socket's events go to. */
export function overWebSocket(
  socket: WebSocket,
  { address, encrypted }: { readonly address: string; readonly encrypted: boolean },
): { readonly arrival: Arrival; readonly events: SocketEvents } {
  const stream = new SocketStream(socket);
  const arrival = { stream, address, encrypted, waiting: () => socket.buffered() + stream.writableLength };
  const events: SocketEvents = {
    message: (bytes, binary) => stream.came(bytes, binary),
    drained: () => void stream.emit("drain"),
    closed: () => void stream.destroy(),
  };
  return { arrival, events };
}

/** Never reports full, and is destroyed where its peer does not read, as `bounded` sockets are. */
class SocketStream extends Duplex {
  readonly #socket: WebSocket;

  constructor(socket: WebSocket) {
    super({ writableHighWaterMark: 2 * MAX_WAITING_BYTES, readableHighWaterMark: MAX_UNREAD_BYTES });
    this.#socket = socket;
  }

  came(bytes: Buffer, binary: boolean): void {
    if (this.destroyed) return;
    // MQTT-6.0.0-1: a text message ends the connection.
    if (!binary || this.readableLength + bytes.length > MAX_UNREAD_BYTES) this.destroy();
    else this.push(bytes);
  }

  override _read(): void {
    // It is pushed as it comes: the socket cannot be paused.
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (failure?: Error | null) => void): void {
    this.#send(chunk);
    done();
  }

  /** What was written in one turn is one message. */
  override _writev(chunks: readonly { chunk: Buffer }[], done: (failure?: Error | null) => void): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)));
    done();
  }

  override _final(done: (failure?: Error | null) => void): void {
    this.#socket.end(1000, "");
    done();
  }

  override _destroy(failure: Error | null, done: (failure?: Error | null) => void): void {
    this.#socket.cut();
    done(failure);
  }

  #send(bytes: Buffer): void {
    if (this.destroyed) return;
    const sent = this.#socket.send([bytes], true);
    if (!sent || this.#socket.buffered() > MAX_WAITING_BYTES) this.destroy();
  }
}
