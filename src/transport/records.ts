/** Records: messages packed into a link's records; what is due in one turn travels together. */
import type { LinkPeer } from "../control/control.ts";
import { encodeValue } from "../frame/codec.ts";
import { packed } from "./packed.ts";
import type { Socket } from "./socket.ts";

/** `{"bye": …}`: a map of one pair whose key is "bye" has this one beginning. */
const BYE = Buffer.from("a163627965", "hex");
const EMPTY = new Uint8Array();

/** What carries the records: a TCP socket, a topic, a WebSocket. */
export interface Carry {
  /** In as few system calls as hold them. */
  write(records: readonly Uint8Array[]): void;
  /** Bytes that wait for the peer to read. */
  waiting(): number;
  /** Grows while the peer reads; undefined or left out: `waiting` says it all. */
  taken?(): number | undefined;
  /** What was written still goes out, then it closes. */
  end(): void;
}

/** A socket of a connection over a link. Messages are CBOR; none is longer than `room`. */
export class Records implements Socket {
  readonly room: number;
  readonly #peer: LinkPeer;
  readonly #carry: Carry;
  readonly #now: () => number;
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

  send(messages: readonly Buffer[], _binary: boolean): boolean {
    if (!this.#open) return false;
    const plaintexts = packed(messages, this.room);
    const records: Uint8Array[] = [];
    for (const plaintext of plaintexts) {
      if (plaintext.length > this.room) break;
      records.push(this.#peer.seal(plaintext));
      // While there are records left to say goodbye with.
      if (this.#peer.spent) break;
    }
    const all = records.length === plaintexts.length;
    const last = messages.at(-1);
    this.#saidBye = all && last !== undefined && isBye(last);
    this.#write(records);
    return all && this.#open;
  }

  buffered(): number {
    return this.#carry.waiting();
  }

  taken(): number | undefined {
    return this.#carry.taken?.();
  }

  /** An empty record: the link is alive, though nothing happens. */
  keepAlive(): void {
    if (this.#open) this.#write([this.#peer.seal(EMPTY)]);
  }

  /** Ends with an authenticated bye, so that the client knows it for no truncation. */
  end(_code: number, reason: string): void {
    if (this.#ended) return;
    if (this.#open && !this.#saidBye) this.send([encodeValue({ bye: reason })], true);
    this.#ended = true;
    this.#carry.end();
  }

  /** The client may have ended the link, or a newer one have taken its place. */
  get #open(): boolean {
    return !this.#ended && this.#peer.state === "live";
  }

  #write(records: readonly Uint8Array[]): void {
    if (records.length === 0) return;
    this.#sentAt = this.#now();
    this.#carry.write(records);
    if (this.#peer.spent && !this.#saidBye) this.end(1000, "rekey");
  }
}

/** Whether an item is `{bye: reason}`. */
export function isBye(item: Uint8Array): boolean {
  // The first byte alone tells it from a frame.
  return item[0] === BYE[0] && item.length > BYE.length && BYE.every((byte, i) => item[i] === byte);
}
