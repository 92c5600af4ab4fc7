/** A client over raw TCP for tests: the noble side of a link, with commands, frames and everything an attacker may want to do to it. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { nobleProvider } from "../../src/crypto/aead-noble.ts";
import { ClientLink } from "../../src/crypto/link-client.ts";
import { LinkKey } from "../../src/crypto/schedule.ts";
import { LinkStream } from "../../src/crypto/stream.ts";
import { decodeValue, encodeValue, frameOf } from "../../src/frame/codec.ts";
import type { Frame } from "../../src/frame/frame.ts";
import { itemsOf } from "../../src/frame/sequence.ts";
import { Inbox, Refused } from "./way.ts";

type Fields = Record<string, unknown>;

export interface DeviceKey {
  readonly id: string;
  readonly secret: string;
}

export interface Arrived {
  readonly frame: Frame;
  readonly bytes: number;
}

let connections = 0;

export class LinkClient {
  readonly socket: Socket;
  readonly link: ClientLink;
  readonly frames = new Inbox<Arrived>();
  /** Why the box ended it: its bye, or "cut". */
  readonly ended: Promise<string>;
  /** Hears of every reply. */
  told: (re: unknown, error: unknown) => void = () => {};
  readonly #stream: LinkStream<ClientLink>;
  readonly #owed = new Map<string, { resolve(reply: Fields): void; reject(why: Error): void }>();
  readonly #greeted: Promise<void>;
  #asked = 0;
  #bye = "cut";
  #over: Refused | undefined;

  private constructor(socket: Socket, key: DeviceKey, x25519: "offer" | "require" | undefined, accepts: number) {
    this.socket = socket.setNoDelay(true);
    this.link = new ClientLink({
      provider: nobleProvider,
      carrier: "stream",
      accepts,
      key: new LinkKey(nobleProvider, Buffer.from(key.secret, "hex")),
      keyId: Buffer.from(key.id, "hex"),
      fresh: { boot: 1, counter: connections++, random: randomBytes(16) },
      random: (size) => randomBytes(size),
      x25519,
    });
    this.#stream = new LinkStream(this.link);
    let greeted = () => {};
    let failed: (why: Error) => void = () => {};
    this.#greeted = new Promise((resolve, reject) => {
      greeted = resolve;
      failed = reject;
    });
    this.ended = new Promise((resolve) => {
      socket.on("error", () => {});
      socket.on("close", () => {
        const why = new Refused({
          code: "unauthorized",
          message: `the link has ended: ${this.#bye}`,
          retryable: false,
        });
        this.#over = why;
        for (const each of this.#owed.values()) each.reject(why);
        this.frames.end(why);
        failed(why);
        resolve(this.#bye);
      });
    });
    socket.on("data", (chunk) => {
      for (const taken of this.#stream.take(chunk)) {
        if (taken.kind === "greeted") greeted();
        if (taken.kind === "record") for (const item of itemsOf(Buffer.from(taken.plaintext))) this.#item(item);
      }
    });
    socket.write(this.link.hello);
  }

  static async open(
    port: number,
    key: DeviceKey,
    { x25519, accepts = 65_535 }: { x25519?: "offer" | "require"; accepts?: number } = {},
  ): Promise<LinkClient> {
    const socket = connect(port, "127.0.0.1");
    await once(socket, "connect");
    const client = new LinkClient(socket, key, x25519, accepts);
    await client.#greeted;
    client.socket.write(client.link.seal(new Uint8Array()));
    return client;
  }

  send(...messages: readonly object[]): void {
    this.socket.write(this.link.seal(Buffer.concat(messages.map((message) => encodeValue(message)))));
  }

  ask(command: Readonly<Record<string, unknown>>): Promise<Fields> {
    return new Promise((resolve, reject) => {
      if (this.#over !== undefined) {
        reject(this.#over);
        return;
      }
      const own = typeof command["id"] === "string" ? command["id"] : undefined;
      // Without an id of the test's own the command must not count as exactly-once.
      const once = ["input", "sessions.create", "tokens.create", "send"].includes(String(command["cmd"]));
      const id = own ?? (once ? "null" : `ask-${this.#asked++}`);
      this.#owed.set(id, { resolve, reject });
      this.send(own !== undefined || once ? command : { ...command, id });
    });
  }

  #item(item: Buffer): void {
    const value = decodeValue(item);
    if (Array.isArray(value)) {
      this.frames.put({ frame: frameOf(value) as Frame, bytes: item.length });
      return;
    }
    const { re, ok, error, ...fields } = value as Fields;
    if (typeof fields["bye"] === "string") this.#bye = fields["bye"];
    if (re !== undefined) this.told(re, error);
    const waiting = this.#owed.get(String(re));
    this.#owed.delete(String(re));
    if (ok === true) waiting?.resolve(fields);
    else waiting?.reject(new Refused(error));
  }
}
