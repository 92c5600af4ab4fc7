/** Link caller: one sealed link, from its first byte to its last: silent until it has proved to hold a key, then a connection as any. */
import type { Control, LinkPeer, LinkWish } from "../control/control.ts";
import type { LinkError, LinkFault } from "../crypto/fault.ts";
import { itemsOf } from "../frame/sequence.ts";
import { Connection } from "./connection.ts";
import type { Caller } from "./half-open.ts";
import { type Carry, isBye, Records } from "./records.ts";
import type { Timers } from "./timers.ts";

/** Largest plaintext that we take: a prompt of 16 KiB; longer ones go over HTTP. Also the one buffer of each caller. */
export const ACCEPTS_BYTES = 16 * 1024;
/** From the connection to the first record that verifies (WIRE §1). */
export const HANDSHAKE_DEADLINE_MS = 5_000;
/** We send at least this often, half of what was promised, for the sweep is as coarse as that. */
export const KEEP_ALIVE_MS = 15_000;
/** A peer that was silent for so long is dead. */
export const SILENCE_MS = 90_000;
/** What a closed link gets to read its bye before it is cut. */
const CLOSE_GRACE_MS = 1_000;

/** Why a caller was turned away. */
export type Refusal = LinkFault | "deadline" | "evicted";

/** What carries one link, a TCP socket or a WebSocket: it hands on what arrives, and tells of its end by `closed`. */
export interface Line extends Carry {
  readonly carrier: LinkWish["carrier"];
  /** Remote address as text. */
  readonly address: string;
  /** Ends it at once, without a word. */
  cut(): void;
}

/** Where its callers live. */
export interface House {
  readonly control: Control;
  readonly timers: Timers;
  readonly now: () => number;
  /** It is one of ours now. */
  lives(caller: LinkCaller): void;
  /** It counts no more; what was written may still be on its way. */
  ends(caller: LinkCaller): void;
  /** Its line is closed. */
  gone(caller: LinkCaller): void;
  refused(address: string, why: Refusal): void;
  fault(thrown: unknown): void;
}

export class LinkCaller implements Caller {
  readonly address: string;
  readonly #line: Line;
  readonly #house: House;
  readonly #peer: LinkPeer;
  readonly #cancelDeadline: () => void;
  #cancelGrace: (() => void) | undefined;
  #records: Records | undefined;
  #connection: Connection | undefined;
  #heardAt: number;
  #ending = false;
  #isCut = false;

  constructor(line: Line, house: House) {
    this.address = line.address;
    this.#line = line;
    this.#house = house;
    this.#heardAt = house.now();
    this.#peer = house.control.link({
      carrier: line.carrier,
      accepts: ACCEPTS_BYTES,
      superseded: () => this.#superseded(),
    });
    this.#cancelDeadline = house.timers.after(HANDSHAKE_DEADLINE_MS, () => this.#refuse("deadline"));
  }

  /** Whether its first record has held. */
  get lives(): boolean {
    return this.#connection !== undefined;
  }

  evicted(): void {
    this.#refuse("evicted");
  }

  /** Says goodbye to one that lives, and nothing to one that does not. */
  stop(): void {
    if (this.#connection === undefined) this.cut();
    else this.#connection.bye("stopping");
  }

  cut(): void {
    this.#isCut = true;
    this.#line.cut();
  }

  /** Sends what keeps it alive, or finds it dead. */
  sweep(): void {
    const now = this.#house.now();
    if (now - this.#heardAt >= SILENCE_MS) this.cut();
    else if (this.#records !== undefined && now - this.#records.sentAt >= KEEP_ALIVE_MS) this.#records.keepAlive();
  }

  /** What the line brought: of a stream any bytes, of a WebSocket one message. */
  take(bytes: Uint8Array): void {
    if (this.#isCut) return;
    try {
      for (const taken of this.#peer.take(bytes)) {
        if (this.#isCut) return;
        if (taken.kind === "reply") this.#line.write([taken.bytes]);
        else if (taken.kind === "record") this.#record(taken.plaintext, taken.first);
      }
    } catch (thrown) {
      if (isLinkError(thrown)) this.#refuse(thrown.fault);
      else {
        this.#house.fault(thrown);
        this.cut();
      }
    }
  }

  /** The line brought what no link sends. */
  strange(): void {
    this.#refuse("order");
  }

  drained(): void {
    this.#connection?.drained();
  }

  closed(): void {
    this.#isCut = true;
    this.#over();
    this.#cancelGrace?.();
    this.#peer[Symbol.dispose]();
    this.#house.gone(this);
  }

  #record(plaintext: Uint8Array, first: boolean): void {
    this.#heardAt = this.#house.now();
    if (first) this.#begin();
    const connection = this.#connection;
    if (connection === undefined) return;
    const bytes = Buffer.from(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength);
    let read = 0;
    try {
      for (const item of itemsOf(bytes)) {
        read += item.length;
        if (isBye(item)) {
          this.#peer.farewell();
          this.#end();
          return;
        }
        connection.message(item, true);
      }
    } catch (thrown) {
      if (!(thrown instanceof SyntaxError)) throw thrown;
      // It finds the same fault there, and says so.
      connection.message(bytes.subarray(read), true);
    }
  }

  #begin(): void {
    const { who } = this.#peer;
    if (who === undefined) return;
    this.#cancelDeadline();
    const { control, now } = this.#house;
    const carry: Carry = {
      write: (records) => this.#line.write(records),
      waiting: () => this.#line.waiting(),
      taken: () => this.#line.taken?.(),
      end: () => this.#end(),
    };
    this.#records = new Records(this.#peer, carry, now);
    const fault = (thrown: unknown) => this.#house.fault(thrown);
    this.#connection = new Connection(this.#records, "cbor", who, control, fault, () => undefined);
    this.#house.lives(this);
    this.#connection.begin(undefined);
  }

  #superseded(): void {
    if (this.#connection === undefined) this.cut();
    else this.#connection.bye("superseded");
  }

  /** What was written goes out, and nothing after it; who does not read it is cut. */
  #end(): void {
    this.#over();
    if (this.#ending || this.#isCut) return;
    this.#ending = true;
    // Before the end: a line may tell of it at once.
    this.#cancelGrace = this.#house.timers.after(CLOSE_GRACE_MS, () => this.cut());
    this.#line.end();
  }

  /** Silence: who fails learns nothing, not even that there is a daemon of ours. */
  #refuse(why: Refusal): void {
    if (this.#isCut) return;
    // After our own end whatever still comes is nobody's fault.
    if (!this.#ending) this.#house.refused(this.address, why);
    this.#over();
    this.cut();
  }

  /** From here on nothing is said, nor done: replies that were under way must not meet a link that is no more. */
  #over(): void {
    this.#cancelDeadline();
    this.#connection?.closed();
    this.#house.ends(this);
  }
}

/** By its name: a transport knows the types of crypto and nothing more. */
function isLinkError(thrown: unknown): thrown is LinkError {
  return thrown instanceof Error && thrown.name === "LinkError";
}
