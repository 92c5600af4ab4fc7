/** A rough link: a proxy on loopback that delays what passes, breaks it into other pieces, and cuts each connection after some bytes. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { Random } from "./randomness.ts";

/** A connection carries at least this: the longest greeting (a WebSocket upgrade, 500 bytes) and some frames. */
const LEAST_BYTES = 1024;
/** And at most this: about twenty frames of 250 bytes in JSON. */
const MOST_BYTES = 6 * 1024;
/** Longest delay of one piece. */
const MAX_DELAY_MS = 4;

export class RoughLink implements AsyncDisposable {
  /** Connections that it has cut. */
  cuts = 0;
  readonly #server: Server;
  readonly #target: number;
  readonly #random: Random;
  readonly #open = new Set<Socket>();

  private constructor(server: Server, target: number, random: Random) {
    this.#server = server;
    this.#target = target;
    this.#random = random;
    server.on("connection", (socket) => this.#carry(socket));
  }

  /** Listens, and carries every connection to this port of loopback. */
  static async open(target: number, random: Random): Promise<RoughLink> {
    const server = createServer({ allowHalfOpen: false }).listen(0, "127.0.0.1");
    await once(server, "listening");
    return new RoughLink(server, target, random);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  #carry(near: Socket): void {
    const far = connect(this.#target, "127.0.0.1");
    const left = { bytes: LEAST_BYTES + this.#random(MOST_BYTES - LEAST_BYTES) };
    const ends = [near, far];
    const end = () => {
      for (const each of ends) each.destroy();
    };
    for (const each of ends) {
      this.#open.add(each);
      each.setNoDelay(true);
      each.on("error", end);
      each.on("close", () => {
        this.#open.delete(each);
        end();
      });
    }
    const cut = () => {
      if (near.destroyed) return;
      this.cuts++;
      // As a router that forgets, or as one that says so.
      if (this.#random(2) === 0) for (const each of ends) each.resetAndDestroy();
      else end();
    };
    this.#pass(near, far, left, cut);
    this.#pass(far, near, left, cut);
  }

  /** One piece after the other: the next is read when this one is gone. */
  #pass(from: Socket, to: Socket, left: { bytes: number }, cut: () => void): void {
    from.on("data", (chunk) => {
      from.pause();
      const at = 1 + this.#random(chunk.length);
      const pieces = [chunk.subarray(0, at), chunk.subarray(at)].filter(({ length }) => length > 0);
      const next = () => {
        const piece = pieces.shift();
        if (piece === undefined) {
          from.resume();
          return;
        }
        setTimeout(
          () => {
            if (to.destroyed) return;
            const part = piece.subarray(0, left.bytes);
            left.bytes -= part.length;
            to.write(part, () => (left.bytes <= 0 ? cut() : next()));
          },
          this.#random(MAX_DELAY_MS + 1),
        );
      };
      next();
    });
  }
}
