/** WebSocket without TLS as a way in: `cib.v1.link`, each link with a device key of its own, for of one key only the newest lives. */
import { randomBytes } from "node:crypto";
import { NodeSocket } from "../../src/client/node-socket.ts";
import { nobleProvider } from "../../src/crypto/aead-noble.ts";
import { ClientLink } from "../../src/crypto/link-client.ts";
import { LinkKey } from "../../src/crypto/schedule.ts";
import { decodeValue, encodeValue, frameOf } from "../../src/frame/codec.ts";
import type { Frame } from "../../src/frame/frame.ts";
import { itemsOf } from "../../src/frame/sequence.ts";
import { keysOf, NOBODY } from "./keys.ts";
import type { Arrived, DeviceKey } from "./link-client.ts";
import { deviceKey } from "./tcp-way.ts";
import { Inbox, Refused, type Stream, type Verdict, type Want, type Way } from "./way.ts";

type Fields = Record<string, unknown>;

export const webSocketSealed: Way = {
  name: "WebSocket, CIB1",
  leastBytes: 128,
  connect: async (world, token) => {
    const keys = keysOf(world);
    const holder = token === world.master ? "master, webSocketSealed" : token;
    const master = token === world.master;
    if (master && !keys.has(holder)) keys.set(holder, await deviceKey(world));
    const main = await WsLinkClient.open(world.url, keys.get(holder) ?? NOBODY);
    const open = [main];
    return {
      run: async (command) => {
        const makes = command["cmd"] === "tokens.create";
        const reply = await main.ask(makes ? { device: true, ...command } : command);
        if (makes) keys.set(String(reply["token"]), reply["key"] as DeviceKey);
        return reply;
      },
      follow: async (want) => {
        if (!master) return follow(main, want);
        const client = await WsLinkClient.open(world.url, await deviceKey(world));
        open.push(client);
        return follow(client, want);
      },
      close: () => {
        for (const client of open) client.socket.terminate();
      },
    };
  },
};

async function follow(client: WsLinkClient, want: Want): Promise<Stream> {
  return {
    verdict: (await client.ask({ cmd: "attach", ...want })) as unknown as Verdict,
    next: () => client.frames.take(),
    ended: client.ended,
    stall: () => client.socket.pause(),
    resume: () => client.socket.resume(),
    cut: () => client.socket.terminate(),
  };
}

let connections = 0;

/** A link of a device that speaks through messages, for the tests of the daemon: nothing of the reference client's in it. */
export class WsLinkClient {
  readonly socket: NodeSocket;
  readonly link: ClientLink;
  readonly frames = new Inbox<Arrived>();
  /** Every message as it came. */
  readonly raw: Uint8Array[] = [];
  /** Why the box ended it: its bye, or "cut". */
  readonly ended: Promise<string>;
  readonly #owed = new Map<string, { resolve(reply: Fields): void; reject(why: Error): void }>();
  #asked = 0;
  #bye = "cut";

  private constructor(url: string, key: DeviceKey, accepts: number, up: (why?: Error) => void) {
    this.link = new ClientLink({
      provider: nobleProvider,
      carrier: "socket",
      accepts,
      key: new LinkKey(nobleProvider, Buffer.from(key.secret, "hex")),
      keyId: Buffer.from(key.id, "hex"),
      fresh: { boot: 1, counter: connections++, random: randomBytes(16) },
      random: (size) => randomBytes(size),
    });
    this.socket = new NodeSocket(`${url}/ws`, ["cib.v1.link"]);
    this.socket.onopen = () => this.socket.send(this.link.hello);
    this.socket.onmessage = ({ data }) => {
      this.raw.push(data as Uint8Array);
      const taken = this.link.take(data as Uint8Array);
      if (taken.kind === "greeted") {
        this.socket.send(this.link.seal(new Uint8Array()));
        up();
      }
      if (taken.kind === "record") for (const item of itemsOf(taken.plaintext)) this.#item(item);
    };
    this.ended = new Promise((resolve) => {
      this.socket.onclose = () => {
        const why = gone(this.#bye);
        this.frames.end(why);
        up(why);
        resolve(this.#bye);
      };
    });
  }

  static open(url: string, key: DeviceKey, accepts = 65_535): Promise<WsLinkClient> {
    return new Promise((resolve, reject) => {
      const client: WsLinkClient = new WsLinkClient(url, key, accepts, (why) =>
        why === undefined ? resolve(client) : reject(why),
      );
    });
  }

  send(...messages: readonly object[]): void {
    this.socket.send(this.link.seal(Buffer.concat(messages.map((message) => encodeValue(message)))));
  }

  ask(command: Readonly<Record<string, unknown>>): Promise<Fields> {
    return new Promise((resolve, reject) => {
      // Also where it had ended before.
      void this.ended.then((bye) => reject(gone(bye)));
      const own = typeof command["id"] === "string" ? command["id"] : undefined;
      // Without an id of the test's own the command must not count as exactly-once.
      const once = ["input", "sessions.create", "tokens.create", "send"].includes(String(command["cmd"]));
      const id = own ?? (once ? "null" : `ask-${this.#asked++}`);
      this.#owed.set(id, { resolve, reject });
      this.send(own !== undefined || once ? command : { ...command, id });
    });
  }

  #item(item: Uint8Array): void {
    const value = decodeValue(item);
    if (Array.isArray(value)) {
      this.frames.put({ frame: frameOf(value) as Frame, bytes: item.length });
      return;
    }
    const { re, ok, error, ...fields } = value as Fields;
    if (typeof fields["bye"] === "string") this.#bye = fields["bye"];
    const waiting = this.#owed.get(String(re));
    this.#owed.delete(String(re));
    if (ok === true) waiting?.resolve(fields);
    else waiting?.reject(new Refused(error));
  }
}

function gone(bye: string): Refused {
  return new Refused({ code: "unauthorized", message: `the link has ended: ${bye}`, retryable: false });
}
