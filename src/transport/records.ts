/** Records: messages packed into a link's records and out of them again; what is due in one turn travels together. */
import type { LinkPeer } from "../control/control.ts";
import { encodeValue } from "../frame/codec.ts";
import type { Socket } from "./socket.ts";

/** `{"bye": …}`: a map of one pair whose key is "bye" has this one beginning. */
const BYE = Buffer.from("a163627965", "hex");
const EMPTY = new Uint8Array();

/** What carries the records: a TCP socket, a topic, a WebSocket. */
export interface Carry {
  write(record: Uint8Array): void;
  /** Bytes that wait for the peer to read. */
  waiting(): number;
  /** Packs the writes of `body` together. */
  cork(body: () => void): void;
  /** What was written still goes out, then it closes. */
  end(): void;
}

/** A socket of a connection over a link. Messages are CBOR; none is longer than `room`. */
export class Records implements Socket {
  readonly room: number;
  readonly #peer: LinkPeer;
  readonly #carry: Carry;
  readonly #now: () => number;
  #due: Uint8Array[] = [];
  #dueBytes = 0;
  #corked = false;
  #ended = false;
  #saidBye = false;
  #sentAt: number;

  constructor(peer: LinkPeer, carry: Carry, now: () => number) {
    this.room = peer.room;
    this.#peer = peer;
    this.#carry = carry;
    this.#now = now;
    this.#sentAt = now();
  }

  /** When the last record went out, by the clock it was given. */
  get sentAt(): number {
    return this.#sentAt;
  }

  send(message: Buffer | string, _binary: boolean): boolean {
    if (!this.#open || typeof message === "string" || message.length > this.room) return false;
    // No item is cut across two records.
    if (this.#dueBytes + message.length > this.room) this.#seal();
    this.#due.push(message);
    this.#dueBytes += message.length;
    this.#saidBye = isBye(message);
    if (!this.#corked) this.#seal();
    return this.#open;
  }

  buffered(): number {
    return this.#carry.waiting() + this.#dueBytes;
  }

  cork(body: () => void): void {
    this.#carry.cork(() => {
      this.#corked = true;
      try {
        body();
      } finally {
        this.#corked = false;
        this.#seal();
      }
    });
  }

  /** An empty record: the link is alive, though nothing happens. */
  keepAlive(): void {
    if (this.#open) this.#write(EMPTY);
  }

  /** Ends with an authenticated bye, so that the client knows it for no truncation. */
  end(_code: number, reason: string): void {
    if (this.#ended) return;
    if (this.#open && !this.#saidBye) this.send(encodeValue({ bye: reason }), true);
    this.#seal();
    this.#ended = true;
    this.#carry.end();
  }

  /** The client may have ended the link, or a newer one have taken its place. */
  get #open(): boolean {
    return !this.#ended && this.#peer.state === "live";
  }

  #seal(): void {
    const due = this.#due;
    const only = due[0];
    if (only === undefined || !this.#open) return;
    const plaintext = due.length === 1 ? only : Buffer.concat(due, this.#dueBytes);
    this.#due = [];
    this.#dueBytes = 0;
    this.#write(plaintext);
  }

  #write(plaintext: Uint8Array): void {
    this.#sentAt = this.#now();
    this.#carry.write(this.#peer.seal(plaintext));
    // While there are records left to say it with.
    if (this.#peer.spent && !this.#saidBye) this.end(1000, "rekey");
  }
}

/** Whether an item is `{bye: reason}`. */
export function isBye(item: Uint8Array): boolean {
  // The first byte alone tells it from a frame.
  return item[0] === BYE[0] && item.length > BYE.length && BYE.every((byte, i) => item[i] === byte);
}
