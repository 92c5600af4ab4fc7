/** Persistence: what outlives a connection, as the broker asks for it: subscriptions of clients that come back, in one small file. */
import { readFileSync } from "node:fs";
import { Readable } from "node:stream";
import * as v from "valibot";
import { isClientId, isFilter } from "./topics.ts";

/** Clients that are remembered; who was away longest makes room. */
export const MAX_KEPT_CLIENTS = 256;
/** Subscriptions of all of them: 2,048 × about 300 bytes at worst are 600 KiB of file. */
export const MAX_KEPT_SUBSCRIPTIONS = 2048;
/** QoS 2 messages of one client that were published and not yet released. */
export const MAX_UNRELEASED = 16;

const FILE = v.object({
  v: v.literal(1),
  clients: v.array(
    v.object({
      id: v.pipe(v.string(), v.check(isClientId)),
      subscriptions: v.array(
        v.object({
          topic: v.pipe(v.string(), v.check(isFilter)),
          qos: v.picklist([0, 1, 2]),
        }),
      ),
    }),
  ),
});

interface Subscription {
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
}
/** A client of the broker, as far as this file looks. */
interface Named {
  readonly id: string;
}
interface Numbered {
  readonly cmd?: string;
  readonly messageId?: number;
}

export interface PersistenceOptions {
  /** mqtt.json in CIB_DATA. */
  readonly file: string;
  /** Replaces the file (write, rename); daemon.ts gives the one way to do it. */
  write(file: string, text: string): void;
  /** Whether this client has this subscription: the broker also hands over those that were refused. */
  granted(client: Named, topic: string): boolean;
  /** The client has acknowledged a message of QoS 1. */
  acknowledged(client: Named, packetId: number): void;
  fault(thrown: unknown): void;
}

/**
 * The broker's persistence (the interface of aedes-persistence 11). Nothing is ever queued here: what must not be lost is
 * in the sessions' logs, and what is retained is made when somebody asks (publisher.ts).
 */
export class Persistence {
  readonly #options: PersistenceOptions;
  /** By client id, who was there last at the end. */
  readonly #kept = new Map<string, Map<string, Subscription["qos"]>>();
  /** Packet ids of QoS 2 by client, and whether the message has been taken. */
  readonly #unreleased = new Map<string, Map<number, boolean>>();
  #saving: Promise<void> | undefined;

  /** Reads the file. One that cannot be understood costs its clients a new subscription, and nothing else. */
  constructor(options: PersistenceOptions) {
    this.#options = options;
    for (const { id, subscriptions } of this.#read())
      this.#kept.set(id, new Map(subscriptions.map(({ topic, qos }) => [topic, qos])));
    this.#bound();
  }

  // The broker looks at the kind of this function.
  async setup(): Promise<void> {}

  async addSubscriptions(client: Named, wanted: readonly Subscription[]): Promise<void> {
    const subscriptions = this.#kept.get(client.id) ?? new Map<string, Subscription["qos"]>();
    let changed = false;
    for (const { topic, qos } of wanted) {
      if (!this.#options.granted(client, topic) || subscriptions.get(topic) === qos) continue;
      subscriptions.set(topic, qos);
      changed = true;
    }
    if (!changed) return this.#saving;
    this.#kept.delete(client.id);
    this.#kept.set(client.id, subscriptions);
    this.#bound();
    await this.#save();
  }

  async removeSubscriptions(client: Named, topics: readonly string[]): Promise<void> {
    const subscriptions = this.#kept.get(client.id);
    if (subscriptions === undefined) return;
    for (const topic of topics) subscriptions.delete(topic);
    if (subscriptions.size === 0) this.#kept.delete(client.id);
    await this.#save();
  }

  async subscriptionsByClient(client: Named): Promise<Subscription[]> {
    return Array.from(this.#kept.get(client.id) ?? [], ([topic, qos]) => ({ topic, qos }));
  }

  async cleanSubscriptions(client: Named): Promise<void> {
    this.#unreleased.delete(client.id);
    if (this.#kept.delete(client.id)) await this.#save();
  }

  async incomingGetPacket(client: Named, { messageId = 0 }: Numbered): Promise<Numbered> {
    if (this.#unreleased.get(client.id)?.has(messageId) !== true) throw new Error("no such packet");
    return { messageId };
  }

  async incomingStorePacket(client: Named, { messageId = 0 }: Numbered): Promise<void> {
    const ids = this.#unreleased.get(client.id) ?? new Map<number, boolean>();
    if (ids.has(messageId)) return;
    if (ids.size >= MAX_UNRELEASED) throw new Error(`more than ${MAX_UNRELEASED} messages of QoS 2 wait for PUBREL`);
    this.#unreleased.delete(client.id);
    this.#unreleased.set(client.id, ids.set(messageId, false));
    const [oldest] = this.#unreleased.keys();
    if (this.#unreleased.size > MAX_KEPT_CLIENTS && oldest !== undefined) this.#unreleased.delete(oldest);
  }

  async incomingDelPacket(client: Named, { messageId = 0 }: Numbered): Promise<void> {
    const ids = this.#unreleased.get(client.id);
    if (ids?.delete(messageId) !== true) throw new Error("no such packet");
    if (ids.size === 0) this.#unreleased.delete(client.id);
  }

  /** Whether this is the first time: of repeats that come in one chunk the broker publishes each. */
  first(client: Named, { messageId = 0 }: Numbered): boolean {
    const ids = this.#unreleased.get(client.id);
    if (ids?.get(messageId) !== false) return false;
    ids.set(messageId, true);
    return true;
  }

  async cleanIncoming(client: Named): Promise<void> {
    this.#unreleased.delete(client.id);
  }

  /** PUBACK, and PUBCOMP, which nothing of ours asks for. */
  async outgoingClearMessageId(client: Named, { cmd, messageId = 0 }: Numbered): Promise<undefined> {
    if (cmd === "puback") this.#options.acknowledged(client, messageId);
    return undefined;
  }

  async outgoingUpdate(): Promise<void> {}
  async outgoingEnqueue(): Promise<void> {}
  async outgoingEnqueueCombi(): Promise<void> {}
  async subscriptionsByTopic(): Promise<[]> {
    return [];
  }

  outgoingStream(): Readable {
    return Readable.from([]);
  }

  createRetainedStreamCombi(): Readable {
    return Readable.from([]);
  }

  async storeRetained(): Promise<void> {}

  // A will is the connection's: it goes out when that one breaks, and with the daemon it goes.
  async putWill(): Promise<void> {}
  async delWill(): Promise<void> {}

  streamWill(): Readable {
    return Readable.from([]);
  }

  /** One write for everything that changed in a turn; the subscriber hears of its subscription when it is on the disk. */
  #save(): Promise<void> {
    this.#saving ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#saving = undefined;
        this.#write();
        resolve();
      });
    });
    return this.#saving;
  }

  #write(): void {
    const clients = Array.from(this.#kept, ([id, subscriptions]) => ({
      id,
      subscriptions: Array.from(subscriptions, ([topic, qos]) => ({ topic, qos })),
    }));
    try {
      this.#options.write(this.#options.file, `${JSON.stringify({ v: 1, clients })}\n`);
    } catch (failure) {
      // It holds until the next start: a full disk must not keep a client from listening.
      this.#options.fault(failure);
    }
  }

  #bound(): void {
    let all = 0;
    for (const subscriptions of this.#kept.values()) all += subscriptions.size;
    for (const [id, { size }] of this.#kept) {
      if (this.#kept.size <= MAX_KEPT_CLIENTS && all <= MAX_KEPT_SUBSCRIPTIONS) return;
      this.#kept.delete(id);
      all -= size;
    }
  }

  #read(): v.InferOutput<typeof FILE>["clients"] {
    try {
      return v.parse(FILE, JSON.parse(readFileSync(this.#options.file, "utf8"))).clients;
    } catch (failure) {
      // The parser's own message would quote what stands there.
      if ((failure as NodeJS.ErrnoException).code !== "ENOENT")
        this.#options.fault(new Error(`${this.#options.file}: not understood; its clients must subscribe again`));
      return [];
    }
  }
}
