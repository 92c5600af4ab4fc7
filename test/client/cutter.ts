/** Cutter: a line between client and box that breaks where a test wants it. */
import { once } from "node:events";
import { type AddressInfo, createServer, connect as dial, type Socket } from "node:net";

/** Carries bytes to the box and cuts each connection after so many bytes of its way back, until the cuts are used up. */
export class Cutter implements AsyncDisposable {
  readonly #server = createServer((socket) => this.#carry(socket));
  readonly #open = new Set<Socket>();
  readonly #cuts: number[];
  readonly #target: () => number;

  constructor(target: () => number, cuts: readonly number[]) {
    this.#target = target;
    this.#cuts = [...cuts];
  }

  /** Cuts that have not come about. */
  get left(): number {
    return this.#cuts.length;
  }

  async listen(): Promise<number> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return (this.#server.address() as AddressInfo).port;
  }

  #carry(near: Socket): void {
    const far = dial(this.#target(), "127.0.0.1");
    let left = this.#cuts.shift() ?? Number.POSITIVE_INFINITY;
    for (const socket of [near, far]) {
      this.#open.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#open.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.on("data", (chunk) => far.write(chunk));
    far.on("data", (chunk) => {
      near.write(chunk.subarray(0, Math.min(left, chunk.length)));
      left -= chunk.length;
      // What had arrived by then has arrived; the rest is lost, and so is what was on its way to the box.
      if (left <= 0) near.end(() => near.destroy());
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}
