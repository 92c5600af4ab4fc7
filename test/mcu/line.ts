/** A line to the box through a loopback proxy that the test can silence: it then takes everything and passes nothing, and closes nothing. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { Random } from "../e2e/randomness.ts";

/** A rough line cuts a connection after so many bytes at least: the longest greeting, and some frames. */
const LEAST_BYTES = 1024;
const MOST_BYTES = 8 * 1024;
/** Longest delay of one piece. */
const MAX_DELAY_MS = 4;

interface Carried {
  readonly near: Socket;
  readonly far: Socket;
  /** Nothing passes any more, and nobody is told. */
  silent: boolean;
  /** Of a rough line: bytes until it is cut. */
  left: number;
}

export class Line implements AsyncDisposable {
  /** Connections that came, and those that were cut by chance. */
  connections = 0;
  cuts = 0;
  readonly #server: Server;
  readonly #target: () => number;
  readonly #random: Random | undefined;
  readonly #open = new Set<Carried>();

  private constructor(server: Server, target: () => number, random: Random | undefined) {
    this.#server = server;
    this.#target = target;
    this.#random = random;
    server.on("connection", (near) => this.#carry(near));
  }

  /** To a port of loopback that may be another one after a restart. With `random` it is rough: it delays, splits and cuts. */
  static async open(target: () => number, random?: Random): Promise<Line> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Line(server, target, random);
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** What is open is dead from now on, without a word to either side; what comes anew passes. */
  silence(): void {
    for (const carried of this.#open) carried.silent = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const carried of this.#open) end(carried);
    this.#server.close();
    await once(this.#server, "close");
  }

  #carry(near: Socket): void {
    this.connections++;
    const far = connect(this.#target(), "127.0.0.1");
    const left =
      this.#random === undefined ? Number.POSITIVE_INFINITY : LEAST_BYTES + this.#random(MOST_BYTES - LEAST_BYTES);
    const carried: Carried = { near, far, silent: false, left };
    this.#open.add(carried);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.setNoDelay(true);
      one.on("error", () => undefined);
      one.on("close", () => {
        // A silent line does not even tell that the other side is gone.
        if (!carried.silent) end(carried);
        if (near.destroyed && far.destroyed) this.#open.delete(carried);
      });
      void this.#pass(carried, one, other);
    }
  }

  async #pass(carried: Carried, from: Socket, to: Socket): Promise<void> {
    const random = this.#random;
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        const at = random === undefined ? chunk.length : 1 + random(chunk.length);
        for (const piece of [chunk.subarray(0, at), chunk.subarray(at)]) {
          if (random !== undefined) await new Promise((resolve) => setTimeout(resolve, random(MAX_DELAY_MS + 1)));
          if (carried.silent || piece.length === 0) continue;
          to.write(piece.subarray(0, carried.left));
          carried.left -= piece.length;
          if (carried.left > 0) continue;
          this.cuts++;
          end(carried);
        }
      }
    } catch {
      // Reset by one side: "close" says so.
    }
  }
}

function end({ near, far }: Carried): void {
  near.destroy();
  far.destroy();
}
