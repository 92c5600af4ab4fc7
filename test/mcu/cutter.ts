/** A line that loses words: a proxy on loopback that, once told, cuts when the client says something, before or after the box has heard it. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

export class Cutter implements AsyncDisposable {
  connections = 0;
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  #loses: "words" | "answer" | undefined;

  private constructor(server: Server, target: () => number) {
    this.#server = server;
    server.on("connection", (client) => this.#carry(client, target()));
  }

  static async open(target: () => number): Promise<Cutter> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Cutter(server, target);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The next words of a client are the last of its connection: either they are lost, or the box's answer to them. */
  lose(what: "words" | "answer"): void {
    this.#loses = what;
  }

  #carry(client: Socket, port: number): void {
    this.connections++;
    let cuts = false;
    const box = connect(port, "127.0.0.1");
    const end = (): void => {
      client.destroy();
      box.destroy();
    };
    for (const each of [client, box]) {
      this.#open.add(each);
      each.setNoDelay(true).on("error", end);
      each.on("close", () => {
        this.#open.delete(each);
        end();
      });
    }
    client.on("data", (bytes) => {
      const loses = this.#loses;
      this.#loses = undefined;
      if (loses === "words") {
        end();
        return;
      }
      cuts ||= loses === "answer";
      box.write(bytes);
    });
    box.on("data", (bytes) => (cuts ? end() : client.write(bytes)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const each of this.#open) each.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}
