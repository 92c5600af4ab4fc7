/** A client of a sealed link for tests, whatever carries it: the noble side, with commands, frames and everything an attacker may want to do to it. */
import { randomBytes } from "node:crypto";
import { nobleProvider } from "../../src/crypto/aead-noble.ts";
import type { Carrier } from "../../src/crypto/link.ts";
import { ClientLink } from "../../src/crypto/link-client.ts";
import { LinkKey } from "../../src/crypto/schedule.ts";
import { decodeValue, encodeValue } from "../../src/frame/codec.ts";
import type { Frame } from "../../src/frame/frame.ts";
import { frameOf } from "../../src/frame/item.ts";
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

export interface LinkWish {
  readonly x25519?: "offer" | "require" | undefined;
  /** Largest plaintext that the client takes. */
  readonly accepts?: number;
}

/** Commands that count as exactly-once where they have an id. */
const ONCE = ["input", "sessions.create", "tokens.create", "send"];

let connections = 0;

/** The client's side of a link. */
export function clientLink(key: DeviceKey, carrier: Carrier, { x25519, accepts = 65_535 }: LinkWish = {}): ClientLink {
  return new ClientLink({
    provider: nobleProvider,
    carrier,
    accepts,
    key: linkKey(key),
    keyId: Buffer.from(key.id, "hex"),
    fresh: { boot: 1, counter: connections++, random: randomBytes(16) },
    random: (size) => randomBytes(size),
    x25519,
  });
}

export function linkKey(key: DeviceKey): LinkKey {
  return new LinkKey(nobleProvider, Buffer.from(key.secret, "hex"));
}

/** What is said once the link is there. The carriers' own classes bring the records. */
export abstract class LinkClient {
  readonly link: ClientLink;
  readonly frames = new Inbox<Arrived>();
  /** Why the box ended it: its bye, or "cut". */
  readonly ended: Promise<string>;
  /** Hears of every reply. */
  told: (re: unknown, error: unknown) => void = () => {};
  /** Rejects when the link ends before it is greeted. */
  protected readonly greeted: Promise<void>;
  readonly #greet: () => void;
  readonly #end: (bye: string) => void;
  readonly #owed = new Map<string, { resolve(reply: Fields): void; reject(why: Error): void }>();
  #asked = 0;
  #bye = "cut";
  #over: Refused | undefined;

  protected constructor(link: ClientLink) {
    this.link = link;
    let end: (bye: string) => void = () => {};
    this.ended = new Promise((resolve) => {
      end = resolve;
    });
    this.#end = end;
    let greet = () => {};
    this.greeted = new Promise((resolve, reject) => {
      greet = resolve;
      void this.ended.then(() => reject(this.#over));
    });
    this.#greet = greet;
    this.greeted.catch(() => {});
  }

  /** Sends a record. */
  protected abstract write(record: Uint8Array): void;
  /** Stops reading. */
  abstract stall(): void;
  abstract resume(): void;
  /** Cuts the connection without a word. */
  abstract cut(): void;

  send(...messages: readonly object[]): void {
    this.write(this.link.seal(Buffer.concat(messages.map((message) => encodeValue(message)))));
  }

  ask(command: Readonly<Record<string, unknown>>): Promise<Fields> {
    return new Promise((resolve, reject) => {
      if (this.#over !== undefined) {
        reject(this.#over);
        return;
      }
      const own = typeof command["id"] === "string" ? command["id"] : undefined;
      // Without an id of the test's own the command must not count as exactly-once.
      const once = ONCE.includes(String(command["cmd"]));
      const id = own ?? (once ? "null" : `ask-${this.#asked++}`);
      this.#owed.set(id, { resolve, reject });
      this.send(own !== undefined || once ? command : { ...command, id });
    });
  }

  /** What the link made of what came. */
  protected take(taken: ReturnType<ClientLink["take"]>): void {
    if (taken.kind === "greeted") this.#greet();
    if (taken.kind === "record") for (const item of itemsOf(taken.plaintext)) this.#item(item);
  }

  /** The box has said its last word; where the connection stays, the link is over all the same. */
  protected said(_bye: string): void {}

  /** The link is over. */
  protected over(): void {
    this.#over ??= new Refused({
      code: "unauthorized",
      message: `the link has ended: ${this.#bye}`,
      retryable: false,
    });
    for (const each of this.#owed.values()) each.reject(this.#over);
    this.frames.end(this.#over);
    this.#end(this.#bye);
  }

  #item(item: Uint8Array): void {
    const value = decodeValue(item);
    if (Array.isArray(value)) {
      this.frames.put({ frame: frameOf(value) as Frame, bytes: item.length });
      return;
    }
    const { re, ok, error, ...fields } = value as Fields;
    if (typeof fields["bye"] === "string") {
      this.#bye = fields["bye"];
      this.said(this.#bye);
    }
    if (re !== undefined) this.told(re, error);
    const waiting = this.#owed.get(String(re));
    this.#owed.delete(String(re));
    if (ok === true) waiting?.resolve(fields);
    else waiting?.reject(new Refused(error));
  }
}
