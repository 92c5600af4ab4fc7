/** Audience: what is retained, made for each client when it asks: whether the box is there, its sessions, their states. */
import type { SessionId } from "../../frame/frame.ts";
import type { Client } from "./client.ts";
import type { Publisher, Status } from "./publisher.ts";
import type { Roster } from "./roster.ts";
import { formatTopic, mayHear, parseTopic, type Topic } from "./topics.ts";
import { Tree } from "./tree.ts";
import { publishPacket } from "./wire.ts";

/** Sessions in one client's list, those that need you first: 200 × about 120 bytes are 24 KB. Commands list them all. */
export const MAX_LISTED = 200;

const RANKS: Readonly<Record<string, number>> = { waiting_for_input: 0, working: 1, idle: 2, stopped: 3 };
const ONLINE = formatTopic({ kind: "online" });

export interface AudienceOptions {
  readonly roster: Roster;
  readonly publisher: Pick<Publisher, "sessions">;
  /** What Home Assistant is told, by topic. */
  readonly home?: ReadonlyMap<string, Buffer> | undefined;
}

interface Retained {
  readonly topic: Topic;
  payload(): Buffer;
}

export class Audience {
  readonly #options: AudienceOptions;
  #listing = false;

  constructor(options: AudienceOptions) {
    this.#options = options;
  }

  /** Right after the SUBACK (MQTT 3.1.1 §3.3.1.3: only then is the retain flag set). */
  subscribed(client: Client, filters: readonly string[]): void {
    this.#tell(client, filters, true);
  }

  /** A client that comes back to its subscriptions is told what it may have missed, as if it had just changed. */
  returned(client: Client): void {
    this.#tell(client, client.subscriptions, false);
  }

  /** Something in the lists has changed: each is made once for all that happens in this turn. */
  changed(): void {
    if (this.#listing) return;
    this.#listing = true;
    queueMicrotask(() => {
      this.#listing = false;
      const { roster } = this.#options;
      /** The same for everybody whose token is bound to no session. */
      let whole: Buffer | undefined;
      for (const client of roster.clients) {
        const topic = formatTopic({ kind: "sessions", client: client.id });
        if (!roster.wanted(topic)) continue;
        const bound = client.guest.who?.sessions !== undefined;
        if (!bound) whole ??= this.#list(client);
        roster.publish(topic, bound || whole === undefined ? this.#list(client) : whole);
      }
    });
  }

  #tell(client: Client, filters: Iterable<string>, retain: boolean): void {
    const wanted = new Tree<Client>();
    for (const filter of filters) wanted.add(filter, client);
    if (wanted.empty) return;
    for (const { topic, payload } of this.#retained(client)) {
      const text = formatTopic(topic);
      if (mayHear(client.guest, topic) && wanted.some(text, () => true))
        client.send(publishPacket(text, payload(), retain));
    }
  }

  /** The daemon's own last will: it stops. */
  offline(): void {
    this.#options.roster.publish(ONLINE, Buffer.from("0"));
  }

  *#retained(client: Client): Generator<Retained, void> {
    yield { topic: { kind: "online" }, payload: () => Buffer.from("1") };
    yield { topic: { kind: "sessions", client: client.id }, payload: () => this.#list(client) };
    for (const [session, { status }] of this.#options.publisher.sessions)
      yield { topic: { kind: "status", session }, payload: () => Buffer.from(JSON.stringify(status)) };
    for (const [text, payload] of this.#options.home ?? []) {
      const topic = parseTopic(text);
      if (topic !== undefined) yield { topic, payload: () => payload };
    }
  }

  #list(client: Client): Buffer {
    const seen: ({ readonly session: SessionId } & Status)[] = [];
    for (const [session, { status }] of this.#options.publisher.sessions)
      if (mayHear(client.guest, { kind: "status", session })) seen.push({ session, ...status });
    seen.sort((a, b) => (RANKS[a.state] ?? 4) - (RANKS[b.state] ?? 4));
    return Buffer.from(JSON.stringify(seen.slice(0, MAX_LISTED)));
  }
}
