/** Client: one MQTT connection that has come in: what it listens to, and what is sent to it. */
import type { Admission } from "./lobby.ts";
import type { Arrival, Outlet } from "./ports.ts";
import { type Guest, isFilter, mayFilter } from "./topics.ts";
import { publishPacket } from "./wire.ts";

/** Filters of one client: some sessions, each with a few topics. */
export const MAX_SUBSCRIPTIONS = 128;

/** Messages of QoS 1 without a PUBACK: 16 of each of 64 deliveries, and as many again of those that have ended meanwhile. */
export const MAX_UNACKNOWLEDGED = 2048;

/** What a client may be granted (MQTT 3.1.1 §3.9.3). */
export type Qos = 0 | 1 | 2;

export class Client implements Outlet {
  readonly guest: Guest;
  readonly ended: AbortSignal;
  readonly name: string;
  readonly arrival: Arrival;
  /** Its CONNACK is out: before, nothing may be sent. */
  live = false;
  readonly #subscriptions = new Map<string, Qos>();
  /** Packet ids of ours that wait for their PUBACK, and who wants to know. */
  readonly #unacknowledged = new Set<number>();
  #packetId = 0;
  #corked = false;
  /** Ever, to tell what has been read from what waits. */
  #sentBytes = 0;

  constructor(arrival: Arrival, { guest, ended, name }: Admission) {
    this.arrival = arrival;
    this.guest = guest;
    this.ended = ended;
    this.name = name;
  }

  get id(): string {
    return this.guest.clientId;
  }

  get subscriptions(): Iterable<string> {
    return this.#subscriptions.keys();
  }

  has(filter: string): boolean {
    return this.#subscriptions.has(filter);
  }

  /** False where it may not, or has too many. */
  subscribe(filter: string, qos: Qos): boolean {
    if (!mayFilter(this.guest, filter)) return false;
    if (this.#subscriptions.size >= MAX_SUBSCRIPTIONS && !this.has(filter)) return false;
    this.#subscriptions.set(filter, qos);
    return true;
  }

  unsubscribe(filter: string): void {
    this.#subscriptions.delete(filter);
  }

  /** The best QoS that it was granted for a topic; -1: none. */
  granted(topic: string): Qos | -1 {
    let best: Qos | -1 = -1;
    for (const [filter, qos] of this.#subscriptions) if (qos > best && matches(filter, topic)) best = qos;
    return best;
  }

  publish(topic: string, payload: Uint8Array, packetId?: number): boolean {
    if (packetId !== undefined) {
      this.#unacknowledged.add(packetId);
      // It begins one delivery after the other and acknowledges none: there must always be a packet id left.
      if (this.#unacknowledged.size > MAX_UNACKNOWLEDGED) this.close("unacknowledged");
    }
    return this.send(publishPacket(topic, payload, false, packetId));
  }

  /** Bytes of whole packets; those of one turn leave in one system call. */
  send(bytes: Buffer): boolean {
    const { stream } = this.arrival;
    if (stream.destroyed || !this.live) return false;
    if (!this.#corked) {
      this.#corked = true;
      stream.cork();
      queueMicrotask(() => {
        this.#corked = false;
        stream.uncork();
      });
    }
    stream.write(bytes);
    this.#sentBytes += bytes.length;
    return true;
  }

  waiting(): number {
    return this.arrival.waiting();
  }

  taken(): number {
    return this.arrival.taken?.() ?? this.#sentBytes - this.arrival.waiting();
  }

  /** §2.3.1: 1 to 65,535, and none that still waits for its acknowledgement. */
  nextPacketId(): number {
    do this.#packetId = (this.#packetId % 0xffff) + 1;
    while (this.#unacknowledged.has(this.#packetId));
    return this.#packetId;
  }

  acknowledged(packetId: number): void {
    this.#unacknowledged.delete(packetId);
  }

  /** MQTT 3.1.1 has no word for a server that ends a connection. */
  close(_reason: string): void {
    this.arrival.stream.destroy();
  }
}

/** Whether a well-formed filter matches a topic (MQTT 3.1.1 §4.7). */
export function matches(filter: string, topic: string): boolean {
  if (!isFilter(filter)) return false;
  const [wanted, levels] = [filter.split("/"), topic.split("/")];
  for (const [i, level] of wanted.entries()) {
    if (level === "#") return levels.length >= i;
    if (i >= levels.length || (level !== "+" && level !== levels[i])) return false;
  }
  return wanted.length === levels.length;
}
