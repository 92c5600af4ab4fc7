/** Packets: MQTT 3.1.1 on the wire, for the bridge: whole packets out of a stream, none larger than we take, and back to bytes. */
import { generate, type Packet, type Parser, parser } from "mqtt-packet";

/** Longest fixed header: type and flags, and four bytes of length (MQTT 3.1.1 §2.2.3). */
const MAX_HEADER_BYTES = 5;
/** Type of a PUBLISH in the upper half of the first byte (MQTT 3.1.1 §2.2.1). */
const PUBLISH = 3;

/** A PUBLISH that was larger than we take, without its payload: it must still be acknowledged, or it would come for ever. */
export interface TooLarge {
  readonly cmd: "too large";
  readonly topic: string;
  readonly qos: number;
  readonly messageId: number | undefined;
}

export type Arrived = Packet | TooLarge;

export type { Packet };

/** The bytes of a packet. */
export function bytesOf(packet: Packet): Buffer {
  return generate(packet);
}

/** One direction of one connection. What does not fit is dropped while it arrives, never held. */
export class Packets {
  readonly #most: number;
  readonly #parser: Parser;
  #parsed: Packet[] = [];
  #failure: Error | undefined;
  /** The fixed header so far. */
  #header: number[] = [];
  /** The packet under way, once its header is known; `at`: bytes of it that are there. */
  #packet: Buffer | undefined;
  #at = 0;
  #large: Large | undefined;

  /** `most`: bytes of the largest packet that is taken, its fixed header left out. */
  constructor(most: number) {
    this.#most = most;
    this.#parser = parser({ protocolVersion: 4 });
    this.#parser.on("packet", (packet) => this.#parsed.push(packet));
    this.#parser.on("error", (failure: Error) => {
      this.#failure = failure;
    });
  }

  /** What these bytes complete. Throws SyntaxError on what is no MQTT; nothing may be taken after that. */
  take(chunk: Buffer): Arrived[] {
    const arrived: Arrived[] = [];
    for (let at = 0; at < chunk.length; ) {
      if (this.#large !== undefined) at += this.#drop(this.#large, chunk.subarray(at), arrived);
      else if (this.#packet !== undefined) at += this.#fill(this.#packet, chunk, at);
      else this.#begin(chunk[at++] as number);
      if (this.#packet !== undefined && this.#at === this.#packet.length) this.#finish(this.#packet, arrived);
    }
    return arrived;
  }

  #begin(byte: number): void {
    this.#header.push(byte);
    const bytes = this.#header.length;
    if (bytes === 1 || byte >= 0x80) {
      if (bytes === MAX_HEADER_BYTES) throw new SyntaxError("mqtt: a length of more than four bytes");
      return;
    }
    const length = this.#header.slice(1).reduce((sum, digit, i) => sum + (digit & 0x7f) * 128 ** i, 0);
    const first = this.#header[0] as number;
    if (length > this.#most) {
      if (first >> 4 !== PUBLISH) throw new SyntaxError(`mqtt: a packet of ${length} bytes`);
      this.#large = { left: length, head: Buffer.alloc(0), qos: (first >> 1) & 3 };
    } else {
      this.#packet = Buffer.allocUnsafe(bytes + length);
      this.#packet.set(this.#header);
      this.#at = bytes;
    }
    this.#header = [];
  }

  #fill(packet: Buffer, chunk: Buffer, from: number): number {
    const copied = chunk.copy(packet, this.#at, from);
    this.#at += copied;
    return copied;
  }

  #finish(packet: Buffer, arrived: Arrived[]): void {
    this.#packet = undefined;
    try {
      this.#parser.parse(packet);
    } catch (thrown) {
      // It reads past the end of some malformed packets.
      throw new SyntaxError(`mqtt: ${(thrown as Error).message}`);
    }
    if (this.#failure !== undefined) throw new SyntaxError(`mqtt: ${this.#failure.message}`);
    arrived.push(...this.#parsed);
    this.#parsed = [];
  }

  /** Keeps the topic and the packet id (MQTT 3.1.1 §3.3.2) and lets the rest go by. */
  #drop(large: Large, bytes: Buffer, arrived: Arrived[]): number {
    const taken = bytes.subarray(0, large.left);
    const missing = headBytes(large) - large.head.length;
    if (missing > 0) large.head = Buffer.concat([large.head, taken.subarray(0, missing)]);
    // The length of the topic may have come just now, and with it how much is missing.
    const more = headBytes(large) - large.head.length;
    if (missing > 0 && more > 0) large.head = Buffer.concat([large.head, taken.subarray(missing, missing + more)]);
    large.left -= taken.length;
    if (large.left === 0) {
      this.#large = undefined;
      arrived.push(tooLarge(large));
    }
    return taken.length;
  }
}

interface Large {
  /** Bytes still to come. */
  left: number;
  head: Buffer;
  readonly qos: number;
}

function headBytes({ head, qos }: Large): number {
  return head.length < 2 ? 2 : 2 + head.readUInt16BE(0) + (qos > 0 ? 2 : 0);
}

function tooLarge(large: Large): TooLarge {
  const { head, qos } = large;
  if (head.length < headBytes(large)) throw new SyntaxError("mqtt: a topic longer than its packet");
  const end = 2 + head.readUInt16BE(0);
  return {
    cmd: "too large",
    topic: head.toString("utf8", 2, end),
    qos,
    messageId: qos > 0 ? head.readUInt16BE(end) : undefined,
  };
}
