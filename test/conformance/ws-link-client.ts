/** A client of a sealed link as messages of a WebSocket, for tests: nothing of the reference client's in it but its socket. */
import { NodeSocket } from "../../src/client/node-socket.ts";
import { clientLink, type DeviceKey, LinkClient, type LinkWish } from "./link-client.ts";

export class WsLinkClient extends LinkClient {
  readonly socket: NodeSocket;
  /** Every message as it came. */
  readonly raw: Uint8Array[] = [];

  private constructor(url: string, key: DeviceKey, wish: LinkWish) {
    super(clientLink(key, "socket", wish));
    this.socket = new NodeSocket(`${url}/ws`, ["cib.v1.link"]);
    this.socket.onopen = () => this.socket.send(this.link.hello);
    this.socket.onmessage = ({ data }) => {
      this.raw.push(data as Uint8Array);
      this.take(this.link.take(data as Uint8Array));
    };
    this.socket.onclose = () => this.over();
  }

  static async open(url: string, key: DeviceKey, wish: LinkWish = {}): Promise<WsLinkClient> {
    const client = new WsLinkClient(url, key, wish);
    await client.greeted;
    client.write(client.link.seal(new Uint8Array()));
    return client;
  }

  protected write(record: Uint8Array): void {
    this.socket.send(record);
  }

  stall(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  cut(): void {
    this.socket.terminate();
  }
}
