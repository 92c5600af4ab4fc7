/** A client of a sealed link over raw TCP, for tests. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { LinkStream } from "../../src/crypto/stream.ts";
import { clientLink, type DeviceKey, LinkClient, type LinkWish } from "./link-client.ts";

export class TcpLinkClient extends LinkClient {
  readonly socket: Socket;

  private constructor(socket: Socket, key: DeviceKey, wish: LinkWish) {
    super(clientLink(key, "stream", wish));
    this.socket = socket.setNoDelay(true);
    const stream = new LinkStream(this.link);
    socket.on("error", () => {});
    socket.on("close", () => this.over());
    socket.on("data", (chunk) => {
      for (const taken of stream.take(chunk)) this.take(taken);
    });
    socket.write(this.link.hello);
  }

  static async open(port: number, key: DeviceKey, wish: LinkWish = {}): Promise<TcpLinkClient> {
    const socket = connect(port, "127.0.0.1");
    await once(socket, "connect");
    const client = new TcpLinkClient(socket, key, wish);
    await client.greeted;
    client.write(client.link.seal(new Uint8Array()));
    return client;
  }

  protected write(record: Uint8Array): void {
    this.socket.write(record);
  }

  stall(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  cut(): void {
    this.socket.destroy();
  }
}
