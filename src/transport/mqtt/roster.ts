/** Roster: the clients that are in, what each listens to, and the way of a message to those who may hear it. */
import type { Client, Qos } from "./client.ts";
import { mayHear, parseTopic } from "./topics.ts";
import { Tree } from "./tree.ts";
import { publishPacket } from "./wire.ts";

export class Roster {
  readonly #clients = new Map<string, Client>();
  readonly #tree = new Tree<Client>();
  readonly #wantsChanged: () => void;

  /** `wantsChanged`: somebody wants something else than before. */
  constructor(wantsChanged: () => void) {
    this.#wantsChanged = wantsChanged;
  }

  get size(): number {
    return this.#clients.size;
  }

  get clients(): Iterable<Client> {
    return this.#clients.values();
  }

  find(id: string): Client | undefined {
    return this.#clients.get(id);
  }

  /** Whether it is the one that has this id now. */
  holds(client: Client): boolean {
    return this.#clients.get(client.id) === client;
  }

  /** Connections of one token beside the one of this client id. */
  countOthers(name: string, id: string): number {
    let count = 0;
    for (const client of this.#clients.values()) if (client.name === name && client.id !== id) count++;
    return count;
  }

  add(client: Client): void {
    this.#clients.set(client.id, client);
  }

  delete(client: Client): void {
    this.#clients.delete(client.id);
    for (const filter of client.subscriptions) this.#tree.delete(filter, client);
    this.#wantsChanged();
  }

  /** False where it may not, or has too many. */
  subscribe(client: Client, filter: string, qos: Qos): boolean {
    if (!client.subscribe(filter, qos)) return false;
    this.#tree.add(filter, client);
    this.#wantsChanged();
    return true;
  }

  unsubscribe(client: Client, filters: readonly string[]): void {
    for (const filter of filters) {
      client.unsubscribe(filter);
      this.#tree.delete(filter, client);
    }
    this.#wantsChanged();
  }

  /** Sends to everybody who listens and may hear it now, QoS 0; the packet is made once. */
  publish(topic: string, payload: Buffer): void {
    const parsed = parseTopic(topic);
    if (parsed === undefined) return;
    let packet: Buffer | undefined;
    for (const client of this.#tree.match(topic)) {
      if (!client.live || !mayHear(client.guest, parsed)) continue;
      packet ??= publishPacket(topic, payload, false);
      client.send(packet);
    }
  }

  wanted(topic: string): boolean {
    const parsed = parseTopic(topic);
    return parsed !== undefined && this.#tree.some(topic, ({ guest }) => mayHear(guest, parsed));
  }

  /** Whether somebody has a filter there; each message is looked at again. */
  within(prefix: string): boolean {
    return this.#tree.within(prefix, () => true);
  }
}
