/** Bridge: what stands between a board's serial line and the box: a TCP connection that comes back in silence. */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** What passes, both ways; it may be changed, held back, or cut. */
export interface Passage {
  /** A connection to the box has come about: nothing of the one before is on its way any more. */
  opened?(): void;
  /** Bytes from the board: those to pass on. */
  up?(bytes: Buffer): Buffer;
  /** Bytes from the box. */
  down?(bytes: Buffer): void;
}

export class Bridge implements AsyncDisposable {
  passage: Passage = {};
  readonly #server: Server;
  readonly #box: number;
  #board: Socket | undefined;
  #line: Socket | undefined;
  /** Connections to the box that there were. */
  opened = 0;

  private constructor(server: Server, box: number) {
    this.#server = server;
    this.#box = box;
    server.on("connection", (board: Socket) => {
      this.#board?.destroy();
      this.#board = board;
      board.on("error", () => {});
      board.on("data", (bytes: Buffer) => {
        const passed = this.passage.up === undefined ? bytes : this.passage.up(bytes);
        if (passed.length > 0) this.send(passed);
      });
    });
  }

  /** `box`: the port of the box's listener. */
  static async open(box: number): Promise<Bridge> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Bridge(server, box);
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  /** To the box, over a connection that is made where there is none: the board never hears of it. */
  send(bytes: Buffer): void {
    this.#line ??= this.#dial();
    this.#line.write(bytes);
  }

  /** To the board. */
  give(bytes: Buffer): void {
    this.#board?.write(bytes);
  }

  /** The connection to the box is gone, with all that was on its way. */
  cut(): void {
    this.#line?.destroy();
    this.#line = undefined;
  }

  #dial(): Socket {
    const line = connect(this.#box, "127.0.0.1");
    this.opened++;
    this.passage.opened?.();
    line.on("error", () => {});
    line.on("data", (bytes: Buffer) => {
      if (this.#line !== line) return;
      if (this.passage.down === undefined) this.give(bytes);
      else this.passage.down(bytes);
    });
    line.on("close", () => {
      if (this.#line === line) this.#line = undefined;
    });
    return line;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#board?.destroy();
    this.#server.close();
  }
}
