/** A bad line for MQTT: it breaks off within a packet and comes back in silence, delays, and delivers whole packets again. */
import type { Bridge, Passage } from "./bridge.ts";

/** Of a hundred packets to the board: so many come again, break the line, wait. */
const [AGAIN, BREAK, DELAY] = [12, 2, 10];
const LONGEST_DELAY_MS = 20;
/** A packet that comes again comes behind at most so many others. */
const LATEST = 3;
/** The board finds out by silence, 3 s each time: more of it would prove nothing more. */
const MOST_BREAKS = 4;

const [CONNACK, PUBLISH, SUBSCRIBE] = [0x20, 0x30, 0x82];
const [QOS_1, DUP] = [0x02, 0x08];

export class BadLine implements Passage {
  breaks = 0;
  repeats = 0;
  /** CONNACKs that reached the board, and SUBSCRIBEs, two of which follow each: half a packet that was left behind must not swallow one. */
  welcomes = 0;
  subscribes = 0;
  readonly #bridge: Bridge;
  readonly #random: (below: number) => number;
  /** Whether to break behind this packet of the board's, besides. */
  readonly #breakAfter: (packet: Buffer) => boolean;
  /** Told of every packet that reached the board. */
  readonly #given: (packet: Buffer) => void;
  readonly #fromBoard = new Packets();
  #fromBox = new Packets();
  /** Towards the board, in order. */
  #queue: Buffer[] = [];
  #later: { packet: Buffer; behind: number }[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(bridge: Bridge, seed: number, breakAfter: (packet: Buffer) => boolean, given: (packet: Buffer) => void) {
    this.#bridge = bridge;
    this.#random = dice(seed);
    this.#breakAfter = breakAfter;
    this.#given = given;
  }

  opened(): void {
    this.#fromBox = new Packets();
    this.#queue = [];
    this.#later = [];
  }

  up(bytes: Buffer): Buffer {
    for (const packet of this.#fromBoard.take(bytes)) {
      this.#bridge.send(packet);
      if (packet[0] === SUBSCRIBE) this.subscribes++;
      if (isPublish(packet)) {
        this.#bridge.send(again(packet));
        this.repeats++;
      }
      if (this.#breakAfter(packet)) this.#break();
    }
    return Buffer.alloc(0);
  }

  down(bytes: Buffer): void {
    this.#queue.push(...this.#fromBox.take(bytes));
    this.#give();
  }

  #give(): void {
    while (this.#timer === undefined) {
      const packet = this.#queue.shift();
      if (packet === undefined) return;
      const cast = this.#random(100);
      if (cast < BREAK && this.breaks < MOST_BREAKS && isPublish(packet)) {
        this.#bridge.give(packet.subarray(0, 1 + this.#random(packet.length - 1)));
        this.#break();
        return;
      }
      this.#bridge.give(packet);
      this.#given(packet);
      if (packet[0] === CONNACK) this.welcomes++;
      this.#giveAgain(packet, cast);
      if (this.#random(100) < DELAY) this.#wait();
    }
  }

  #giveAgain(packet: Buffer, cast: number): void {
    for (const late of this.#later) if (late.behind-- === 0) this.#bridge.give(late.packet);
    this.#later = this.#later.filter(({ behind }) => behind >= 0);
    if (cast < 100 - AGAIN || !isPublish(packet)) return;
    this.#later.push({ packet: again(packet), behind: this.#random(LATEST) });
    this.repeats++;
  }

  #wait(): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#give();
    }, this.#random(LONGEST_DELAY_MS));
  }

  #break(): void {
    this.breaks++;
    this.opened();
    this.#bridge.cut();
  }
}

/** MQTT's packets out of bytes: first byte, length in up to four bytes of seven bits, rest. */
class Packets {
  #bytes = Buffer.alloc(0);

  take(bytes: Buffer): Buffer[] {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    const packets: Buffer[] = [];
    for (;;) {
      const end = endOfPacket(this.#bytes);
      if (end === undefined || end > this.#bytes.length) return packets;
      packets.push(this.#bytes.subarray(0, end));
      this.#bytes = this.#bytes.subarray(end);
    }
  }
}

function endOfPacket(bytes: Buffer): number | undefined {
  let rest = 0;
  for (let at = 1; at < bytes.length && at <= 4; at++) {
    const byte = bytes[at] ?? 0;
    rest += (byte & 0x7f) * 128 ** (at - 1);
    if (byte < 0x80) return at + 1 + rest;
  }
  return undefined;
}

function isPublish(packet: Buffer): boolean {
  return ((packet[0] ?? 0) & 0xf0) === PUBLISH && ((packet[0] ?? 0) & QOS_1) !== 0;
}

function again(packet: Buffer): Buffer {
  const copy = Buffer.from(packet);
  copy[0] = (copy[0] ?? 0) | DUP;
  return copy;
}

/** Whole numbers below a bound, the same for the same seed (a linear congruential generator: Numerical Recipes). */
function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
