/** Window: messages at QoS 1 that one reader has not acknowledged yet: few, and those behind them wait their turn. */
import type { Outlet } from "./ports.ts";

/** Packets under way: what stock clients keep in their own receive window (mosquitto: 20). */
export const MAX_UNACKNOWLEDGED = 16;
/** The same in bytes; one longer message goes alone. */
export const MAX_UNACKNOWLEDGED_BYTES = 64 * 1024;
/** Bytes that may wait in the connection itself, whoever they are for: 4 windows. */
const HIGH_WATER_BYTES = 4 * MAX_UNACKNOWLEDGED_BYTES;

export interface WindowLimits {
  readonly messages?: number;
  readonly bytes?: number;
}

/**
 * The writer stops when it is `full` and goes on when it is `open`: what is held is then one frame in pieces and a notice at
 * most (1 MiB and a little), or what is due in one turn.
 */
export class Window {
  readonly #outlet: Outlet;
  readonly #topic: string;
  readonly #most: number;
  readonly #mostBytes: number;
  /** By packet id, in bytes. */
  readonly #sent = new Map<number, number>();
  #sentBytes = 0;
  #acknowledgedBytes = 0;
  /** What the connection's peer had read when there was last something for it to read. */
  #readBytes = 0;
  #waited = false;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #gone = false;
  #paused = false;

  constructor(outlet: Outlet, topic: string, limits: WindowLimits = {}) {
    this.#outlet = outlet;
    this.#topic = topic;
    this.#most = limits.messages ?? MAX_UNACKNOWLEDGED;
    this.#mostBytes = limits.bytes ?? MAX_UNACKNOWLEDGED_BYTES;
  }

  /** Nothing more fits for now. */
  get full(): boolean {
    return this.#held.length > 0 || !this.#room;
  }

  /** Half of it is free: it is worth going on. */
  get open(): boolean {
    return this.#held.length === 0 && this.#sent.size <= this.#most / 2 && this.#sentBytes <= this.#mostBytes / 2;
  }

  /** Bytes that were neither acknowledged nor thrown away. */
  get bytes(): number {
    return this.#sentBytes + this.#heldBytes;
  }

  /** Grows while the reader reads or acknowledges: a message of 1 MiB is read for a while before there is a PUBACK. */
  taken(): number {
    const waits = this.#outlet.waiting() > 0;
    // Who has read it all owes acknowledgements: that it reads answers to its pings is no excuse.
    if (waits || this.#waited) this.#readBytes = this.#outlet.taken?.() ?? 0;
    this.#waited = waits;
    return this.#acknowledgedBytes + this.#readBytes;
  }

  /** Sends it, or holds it until its turn comes. False where the connection is gone. */
  push(payload: Uint8Array): boolean {
    this.#held.push(payload);
    this.#heldBytes += payload.length;
    this.pump();
    return !this.#gone;
  }

  /** Sends what is held, as far as there is room. */
  pump(): void {
    let sent = 0;
    for (const payload of this.#held) {
      if (this.#gone || !this.#room) break;
      this.#heldBytes -= payload.length;
      this.#send(payload);
      sent++;
    }
    if (sent > 0) this.#held.splice(0, sent);
  }

  /** Whether the packet was sent from here. */
  acknowledged(packetId: number): boolean {
    const bytes = this.#sent.get(packetId);
    if (bytes === undefined) return false;
    this.#sent.delete(packetId);
    this.#sentBytes -= bytes;
    this.#acknowledgedBytes += bytes;
    this.pump();
    return true;
  }

  /** One more, whatever the window; what is held goes nowhere any more. */
  last(payload: Uint8Array): void {
    this.drop();
    this.#send(payload);
  }

  /** Everything that is held, whatever the window: the writer has ended. */
  flush(): void {
    const held = this.#held;
    this.drop();
    for (const payload of held) if (!this.#gone) this.#send(payload);
  }

  /** Holds everything back, or goes on. */
  set paused(paused: boolean) {
    this.#paused = paused;
    this.pump();
  }

  drop(): void {
    this.#held = [];
    this.#heldBytes = 0;
  }

  get #room(): boolean {
    if (this.#paused) return false;
    // Whoever has acknowledged everything gets one more, however much waits for it: its acknowledgement goes on from there.
    if (this.#sent.size === 0) return true;
    return (
      this.#sent.size < this.#most && this.#sentBytes < this.#mostBytes && this.#outlet.waiting() <= HIGH_WATER_BYTES
    );
  }

  #send(payload: Uint8Array): void {
    const packetId = this.#outlet.nextPacketId();
    this.#sent.set(packetId, payload.length);
    this.#sentBytes += payload.length;
    if (!this.#outlet.publish(this.#topic, payload, packetId)) this.#gone = true;
  }
}
