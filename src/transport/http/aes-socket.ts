/** AES socket: what a connection speaks through inside one sealed response: held until it is whole, or streamed record by record. */
import type { OpenedEnvelope } from "../../control/control.ts";
import { encodeValue } from "../../frame/codec.ts";
import { isBye } from "../records.ts";
import type { Socket } from "../socket.ts";
import { nextOf, sealedRecords } from "./aes-records.ts";
import type { Exchange } from "./listener.ts";
import type { Stream } from "./peer.ts";
import { head } from "./wire.ts";

/** The length's top bit marks the last record: 15 bits are left. */
export const MAX_PLAINTEXT_BYTES = 2 ** 15 - 1;
/** What a device is given that says nothing of its own buffer: the body of one HTTP answer on a small board. */
export const DEFAULT_PLAINTEXT_BYTES = 4096;
/** A response ends before its 2^24 records are used up, with room for what one turn may still say. */
const SPENT_RECORDS = 2 ** 24 - 2 ** 16;

const EMPTY = new Uint8Array();

/** Messages are CBOR; none is longer than `room`, and none is cut across two records. */
export class AesSocket implements Socket {
  /** Largest plaintext of a record, in bytes. */
  room = DEFAULT_PLAINTEXT_BYTES;
  readonly #exchange: Exchange;
  readonly #envelope: OpenedEnvelope;
  readonly #over: () => void;
  #due: Buffer[];
  #dueBytes = 0;
  #records = 0;
  #stream: Stream | undefined;
  /** Written since the stream was last known to be empty. */
  #waiting = 0;
  #full = false;
  #ended = false;

  /** `over`: told once, when the last record has been handed over. */
  constructor(exchange: Exchange, envelope: OpenedEnvelope, over: () => void) {
    this.#exchange = exchange;
    this.#envelope = envelope;
    this.#over = over;
    this.#due = [nextOf(envelope)];
  }

  /** From here on it is a stream: what is held goes out, and then each turn's messages as they come. */
  begin(drained: () => void): void {
    const first = Buffer.concat([this.#envelope.random, ...this.#sealed(false)]);
    this.#stream = this.#exchange.stream(head("application/octet-stream"), first, {
      nothing: () => Buffer.from(this.#seal(EMPTY, false)),
      drained: () => {
        this.#full = false;
        this.#waiting = 0;
        drained();
      },
      closed: () => undefined,
    });
  }

  send(messages: readonly Buffer[], _binary: boolean): boolean {
    const taken = messages.every((message) => this.#hold(message));
    this.#flush();
    return taken;
  }

  buffered(): number {
    return this.#waiting + this.#dueBytes;
  }

  taken(): number {
    return this.#stream?.taken ?? 0;
  }

  /** An empty record: somebody is still there. A full stream has bytes on the way anyway. */
  beat(): void {
    if (this.#stream !== undefined && !this.#ended && !this.#full) this.#write([this.#seal(EMPTY, false)]);
  }

  /** The last record; with a reason that has not been said it says so. */
  end(_code: number, reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    if (reason !== "" && !this.#saidBye) this.#due.push(encodeValue({ bye: reason }));
    const records = this.#sealed(true);
    if (this.#stream !== undefined) this.#stream.end(Buffer.concat(records));
    else
      this.#exchange.respond(200, head("application/octet-stream"), Buffer.concat([this.#envelope.random, ...records]));
    this.#over();
  }

  #hold(message: Buffer): boolean {
    if (this.#ended || message.length > this.room) return false;
    this.#due.push(message);
    this.#dueBytes += message.length;
    return true;
  }

  get #saidBye(): boolean {
    const last = this.#due.at(-1);
    return last !== undefined && isBye(last);
  }

  #flush(): void {
    // A goodbye waits for the end that follows it: it is the last record, and marked so.
    if (this.#stream === undefined || this.#ended || this.#due.length === 0 || this.#saidBye) return;
    this.#write(this.#sealed(false));
    if (this.#records >= SPENT_RECORDS) this.end(1000, "rekey");
  }

  #write(records: readonly Uint8Array[]): void {
    const bytes = Buffer.concat(records);
    this.#full = this.#stream?.write(bytes) === false;
    if (this.#full) this.#waiting += bytes.length;
  }

  /** What is due, in as few records as hold it; at least one when it is the last. */
  #sealed(last: boolean): Uint8Array[] {
    const records = sealedRecords(this.#envelope, this.#due, this.room, last);
    this.#records += records.length;
    this.#due = [];
    this.#dueBytes = 0;
    return records;
  }

  #seal(plaintext: Uint8Array, last: boolean): Uint8Array {
    this.#records++;
    return this.#envelope.seal(plaintext, last);
  }
}
