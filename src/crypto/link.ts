/** Link: a CIB1 connection as a state machine without I/O; every carrier moves its bytes, both sides are built on it. */
import type { Provider } from "./aead.ts";
import { LinkError } from "./fault.ts";
import { isGreeting } from "./hello.ts";
import { COUNTER_BYTES, LENGTH_BYTES, lengthOf, MAX_RECORDS, Opener, RECORD_OVERHEAD, Sealer } from "./record.ts";
import type { Directions } from "./schedule.ts";

/**
 * What a link travels in. `stream`: raw TCP, units one after the other. `socket`: WebSocket, one unit a message.
 * `mqtt`: one unit a message, which may come twice: each record has its counter before it.
 */
export type Carrier = "stream" | "socket" | "mqtt";

/** `half-open`: the daemon has answered a hello, which may be a replayed one. `left`: the peer has said bye. */
export type LinkState = "greeting" | "half-open" | "live" | "left" | "closed";

/** What a unit was. */
export type Taken =
  /** A hello that holds: send these bytes. */
  | { readonly kind: "reply"; readonly bytes: Uint8Array }
  /** A reply that holds: the client's first record, an empty one if need be, makes the link live at the daemon. */
  | { readonly kind: "greeted" }
  /** A record that holds; empty ones keep alive. `first`: the link lives since this one. */
  | { readonly kind: "record"; readonly plaintext: Uint8Array; readonly first: boolean }
  /** A message that MQTT brought twice. */
  | { readonly kind: "repeat" }
  /** Another hello or reply on the same topic: it belongs to a link of its own. */
  | { readonly kind: "stranger" };

/** Records left in a direction when `spent` begins to say so: time to say bye and to reconnect. */
const SPARE_RECORDS = 1024;

const REPEAT: Taken = { kind: "repeat" };
const STRANGER: Taken = { kind: "stranger" };

export interface LinkOptions {
  readonly provider: Provider;
  readonly carrier: Carrier;
  /** Largest plaintext that this side takes, in bytes: MIN_ACCEPTS to 65,535. */
  readonly accepts: number;
  /** Fresh random bytes. */
  random(size: number): Uint8Array;
}

export abstract class Link {
  readonly carrier: Carrier;
  /** Largest plaintext that this side takes. */
  readonly accepts: number;
  readonly #provider: Provider;
  #state: LinkState = "greeting";
  #sealer: Sealer | undefined;
  #opener: Opener | undefined;
  /** Largest plaintext that the peer takes. */
  #room = 0;
  /** The peer's greeting and, at the daemon, the answer to it: kept where it may come twice. */
  #greeting: Uint8Array | undefined;
  #answer: Uint8Array | undefined;

  protected constructor({ provider, carrier, accepts }: LinkOptions, least: number) {
    if (!(accepts >= least && accepts <= 0xffff))
      throw new RangeError(`accepts: expected ${least} to 65535, got ${accepts}`);
    this.#provider = provider;
    this.carrier = carrier;
    this.accepts = accepts;
  }

  get state(): LinkState {
    return this.#state;
  }

  /** Largest plaintext that fits the peer; 0 before it has said so. */
  get room(): number {
    return this.#room;
  }

  /** Whether the keys are nearly used up: say bye while there are records left to say it. */
  get spent(): boolean {
    return Math.max(this.#sealer?.count ?? 0, this.#opener?.count ?? 0) >= MAX_RECORDS - SPARE_RECORDS;
  }

  /**
   * Takes one whole unit: a hello, a reply, or a record with what its carrier puts before it. The bytes stay the
   * caller's; what comes back is the link's own. Throws LinkError: the link is closed then, and the carrier closes
   * without a word.
   */
  take(unit: Uint8Array): Taken {
    return this.#guarded(() => (this.#opener === undefined ? this.#greeted(unit) : this.#record(unit, this.#opener)));
  }

  /** How long the unit is that begins with these bytes, on a stream; undefined while they do not tell. Throws as `take`. */
  sizeOf(start: Uint8Array): number | undefined {
    return this.#guarded(() => {
      if (this.#opener === undefined) return this.greetingSize(start);
      if (start.length < LENGTH_BYTES) return undefined;
      const size = lengthOf(start);
      // Before a byte of it is kept: the peer was told what fits.
      if (size > this.accepts) throw new LinkError("too_large");
      return RECORD_OVERHEAD + size;
    });
  }

  /**
   * One record for the peer, with its counter before it over MQTT. An empty plaintext keeps alive.
   * Throws RangeError when it is longer than `room`, LinkError `limit` and `closed`, Error before the link lives.
   */
  seal(plaintext: Uint8Array): Uint8Array {
    if (this.#state === "closed" || this.#state === "left") throw new LinkError("closed");
    if (this.#state !== "live" || this.#sealer === undefined)
      throw new Error("link: nothing may be sent before it lives");
    if (plaintext.length > this.#room)
      throw new RangeError(`plaintext: the peer accepts ${this.#room} bytes, got ${plaintext.length}`);
    try {
      return this.#sealer.seal(plaintext);
    } catch (thrown) {
      this.#close("closed");
      throw thrown;
    }
  }

  /** The peer's bye stood in a record that held: the one clean end. Nothing may follow it. */
  farewell(): void {
    if (this.#state === "live") this.#close("left");
  }

  /** The carrier has closed. Without the peer's bye that is a truncation: what it sent last may be missing. */
  end(): "clean" | "truncated" {
    const clean = this.#state === "left";
    this.#close("closed");
    return clean ? "clean" : "truncated";
  }

  /** Takes the greeting: checks it, calls `agreed`, and says what to do. */
  protected abstract greet(unit: Uint8Array): Taken;

  protected abstract greetingSize(start: Uint8Array): number | undefined;

  /** The handshake is done: from here on there are only records. */
  protected agreed(sides: { out: Directions[keyof Directions]; in: Directions[keyof Directions] }, room: number): void {
    this.#sealer = new Sealer(this.#provider, sides.out, { counted: this.carrier === "mqtt" });
    this.#opener = new Opener(sides.in);
    this.#room = room;
  }

  #greeted(unit: Uint8Array): Taken {
    // A record of an older link, which the broker still had.
    if (this.carrier === "mqtt" && !isGreeting(unit)) return STRANGER;
    const taken = this.greet(unit);
    this.#state = taken.kind === "reply" ? "half-open" : "live";
    if (this.carrier === "mqtt") {
      this.#greeting = Uint8Array.from(unit);
      if (taken.kind === "reply") this.#answer = taken.bytes;
    }
    return taken;
  }

  #record(unit: Uint8Array, opener: Opener): Taken {
    let record = unit;
    if (this.carrier === "mqtt") {
      if (isGreeting(unit)) return this.#again(unit);
      if (unit.length < COUNTER_BYTES) throw new LinkError("size");
      const counter = new DataView(unit.buffer, unit.byteOffset, COUNTER_BYTES).getUint32(0);
      if (counter < opener.count) return REPEAT;
      if (counter > opener.count) throw new LinkError("counter");
      record = unit.subarray(COUNTER_BYTES);
    }
    if (record.length > RECORD_OVERHEAD + this.accepts) throw new LinkError("too_large");
    const plaintext = opener.open(record);
    const first = this.#state === "half-open";
    if (first) this.#state = "live";
    return { kind: "record", plaintext, first };
  }

  #again(unit: Uint8Array): Taken {
    const same = this.#greeting?.length === unit.length && this.#greeting.every((byte, i) => byte === unit[i]);
    if (!same) return STRANGER;
    return this.#answer === undefined ? REPEAT : { kind: "reply", bytes: this.#answer };
  }

  #guarded<T>(act: () => T): T {
    if (this.#state === "closed" || this.#state === "left") throw new LinkError("closed");
    try {
      return act();
    } catch (thrown) {
      this.#close("closed");
      throw thrown;
    }
  }

  /** Lets go of the keys: a closed link can do nothing more. */
  #close(state: "left" | "closed"): void {
    this.#state = state;
    this.#sealer = undefined;
    this.#opener = undefined;
    this.#greeting = undefined;
    this.#answer = undefined;
  }
}
