/**
 * Broker: MQTT 3.1.1 as aedes speaks it (CONNECT, sessions, keep-alive, QoS of what comes in), and nothing of how aedes
 * carries messages: who listens to what is in our own tree, so that one slow reader delays nobody, every message is looked
 * at with the eyes of the reader it goes to, and nothing is made for nobody.
 */
import { Aedes, type Client as AedesClient, type AedesPublishPacket, type ConnectPacket } from "aedes";
import { HalfOpen } from "../half-open.ts";
import { Client, type Qos } from "./client.ts";
import { type Admission, CONNACK, ConnectRefused, type Hello } from "./lobby.ts";
import { MAX_UNRELEASED, Persistence } from "./persistence.ts";
import type { Arrival } from "./ports.ts";
import { Roster } from "./roster.ts";
import { MAX_LEVELS, maySay, parseTopic, type Topic } from "./topics.ts";
import { Meter } from "./wire.ts";

/** Connections at once: at about 10 KiB of heap each, 10 MiB (docs/MQTT.md, Limits). */
export const MAX_CONNECTIONS = 1024;
/** Connections of one token. */
export const MAX_CONNECTIONS_A_TOKEN = 64;
/** Connections without a CONNACK yet: at about 10 KiB each and 4 KiB of a CONNECT, 4 MiB. */
export const MAX_HALF_OPEN = 128;
/** A house behind one address, after the daemon has started again. */
export const MAX_HALF_OPEN_AN_ADDRESS = 32;
/** From the connection to its CONNECT: what raw TCP gives, too. */
export const CONNECT_DEADLINE_MS = 5_000;
/** One and a half times this without a packet, and a client that wants a longer time or none is taken for dead. */
export const MAX_KEEPALIVE_S = 3600;
/** Packets that a client may send before it has its CONNACK. */
const MAX_EARLY_PACKETS = 16;
/** For brokers that form a cluster; its fourfold must fit a timer (2^31 - 1 ms). It wakes us once in six days. */
const HEARTBEAT_MS = 2 ** 29 - 1;

export interface BrokerOptions {
  /** mqtt.json in CIB_DATA. */
  readonly file: string;
  write(file: string, text: string): void;
  /** Lets somebody in. Throws ConnectRefused. */
  admit(arrival: Arrival, hello: Hello): Admission;
  /** It has its CONNACK. */
  came(client: Client): void;
  left(client: Client): void;
  /** It may publish there; `after`: it is its will, and it is gone. */
  said(client: Client, topic: Topic, payload: Buffer, after: boolean): void;
  /** It has new filters, beyond those it had when it came: what is retained there is due. */
  subscribed(client: Client, filters: readonly string[]): void;
  unsubscribed(client: Client): void;
  acknowledged(client: Client, packetId: number): void;
  /** Somebody wants something else than before. */
  wantsChanged(): void;
  refused(address: string, why: string): void;
  fault(thrown: unknown): void;
  readonly limits?: { readonly connections?: number; readonly connectionsAToken?: number; readonly connectMs?: number };
}

/** One connection, from its first byte. */
interface Visitor {
  readonly arrival: Arrival;
  readonly meter: Meter;
  will: Hello["will"];
  client: Client | undefined;
}

export class Broker {
  /** Those that are in. */
  readonly roster: Roster;
  readonly #options: BrokerOptions;
  readonly #aedes: Aedes;
  readonly #persistence: Persistence;
  /** By the broker's own object, for as long as that one has something to say: a will comes after the end. */
  readonly #visitors = new WeakMap<AedesClient, Visitor>();
  readonly #open = new Set<Visitor>();
  readonly #halfOpen: HalfOpen;

  private constructor(options: BrokerOptions) {
    this.#options = options;
    this.roster = new Roster(options.wantsChanged);
    this.#halfOpen = new HalfOpen(MAX_HALF_OPEN, MAX_HALF_OPEN_AN_ADDRESS);
    this.#persistence = new Persistence({
      file: options.file,
      write: options.write,
      granted: ({ id }, topic) => this.roster.find(id)?.has(topic) ?? false,
      acknowledged: ({ id }, packetId) => this.#acknowledged(id, packetId),
      fault: options.fault,
    });
    this.#aedes = new Aedes({
      mq: SILENCE,
      persistence: this.#persistence,
      heartbeatInterval: HEARTBEAT_MS,
      connectTimeout: options.limits?.connectMs ?? CONNECT_DEADLINE_MS,
      drainTimeout: 0,
      queueLimit: MAX_EARLY_PACKETS,
      maxInflightInbound: MAX_UNRELEASED,
      maxTopicLevels: MAX_LEVELS,
      preConnect: (client, packet, done) => done(null, this.#greet(client, packet)),
      authenticate: (client, user, password, done) => this.#authenticate(client, user, password, done),
      authorizePublish: (client, packet, done) => done(this.#mayPublish(client, packet)),
      authorizeSubscribe: (client, subscription, done) =>
        done(null, this.#subscribe(client, subscription.topic, subscription.qos) ? subscription : null),
      authorizeForward: () => null,
      published: (packet, client, done) => {
        this.#published(client, packet);
        done(null);
      },
    });
    this.#listen();
  }

  static async open(options: BrokerOptions): Promise<Broker> {
    const broker = new Broker(options);
    await broker.#aedes.listen();
    return broker;
  }

  /** Connections that have not come in yet. */
  get halfOpen(): number {
    return this.#halfOpen.size;
  }

  /** Takes a connection from a listener; what follows is between it and the hooks. */
  take(arrival: Arrival): void {
    const { stream, address } = arrival;
    if (this.#open.size >= (this.#options.limits?.connections ?? MAX_CONNECTIONS)) {
      this.#options.refused(address, "too many connections");
      stream.destroy();
      return;
    }
    const visitor: Visitor = { arrival, meter: new Meter(), will: undefined, client: undefined };
    const caller = {
      address,
      evicted: () => {
        this.#options.refused(address, "evicted");
        stream.destroy();
      },
    };
    this.#halfOpen.add(caller);
    measure(arrival, visitor.meter, () => this.#options.refused(address, "a packet too large, or no MQTT"));
    const aedes = this.#aedes.handle(stream);
    this.#visitors.set(aedes, visitor);
    this.#open.add(visitor);
    aedes.once("connected", () => this.#halfOpen.delete(caller));
    stream.once("close", () => {
      this.#open.delete(visitor);
      this.#halfOpen.delete(caller);
      if (visitor.client !== undefined) this.#left(visitor.client);
    });
  }

  async close(): Promise<void> {
    for (const { arrival } of [...this.#open]) arrival.stream.destroy();
    await new Promise<void>((resolve) => this.#aedes.close(() => resolve()));
  }

  #listen(): void {
    const { fault, refused } = this.#options;
    this.#aedes.on("clientReady", (aedes) => this.#came(aedes));
    this.#aedes.on("subscribe", (subscriptions, aedes) => {
      const client = this.#visitors.get(aedes)?.client;
      const granted = subscriptions.map(({ topic }) => topic).filter((topic) => client?.has(topic));
      if (client !== undefined && granted.length > 0) this.#options.subscribed(client, granted);
    });
    this.#aedes.on("unsubscribe", (filters, aedes) => {
      const client = this.#visitors.get(aedes)?.client;
      if (client === undefined) return;
      this.roster.unsubscribe(client, filters);
      this.#options.unsubscribed(client);
    });
    const lost = (aedes: AedesClient, failure: Error): void => {
      const visitor = this.#visitors.get(aedes);
      const why = reasonOf(failure);
      if (visitor !== undefined && why !== undefined) refused(visitor.arrival.address, why);
    };
    this.#aedes.on("connectionError", lost);
    this.#aedes.on("clientError", lost);
    (this.#aedes as NodeJS.EventEmitter).on("error", fault);
  }

  #greet(aedes: AedesClient, packet: ConnectPacket): boolean {
    const visitor = this.#visitors.get(aedes);
    if (visitor === undefined) return false;
    const { will, keepalive = 0 } = packet;
    visitor.will = will && { topic: will.topic, retain: will.retain === true };
    // A dead peer is found in some time, whatever it has asked for.
    packet.keepalive = keepalive === 0 ? MAX_KEEPALIVE_S : Math.min(keepalive, MAX_KEEPALIVE_S);
    return true;
  }

  #authenticate(
    aedes: AedesClient,
    user: string | undefined,
    password: Buffer | undefined,
    done: (error: (Error & { returnCode: number }) | null, success: boolean) => void,
  ): void {
    const visitor = this.#visitors.get(aedes);
    // aedes asks in a later turn, and may ask for one that is gone: it would stay for ever.
    if (visitor === undefined || visitor.arrival.stream.destroyed) return;
    const { arrival, will } = visitor;
    try {
      const admission = this.#options.admit(arrival, { clientId: aedes.id, user, password, will });
      this.#room(admission);
      const client = new Client(arrival, admission);
      visitor.client = client;
      visitor.meter.widen();
      this.#takeOver(client);
      done(null, true);
    } catch (thrown) {
      const refusal = thrown instanceof ConnectRefused ? thrown : undefined;
      if (refusal === undefined) this.#options.fault(thrown);
      const returnCode = refusal?.code ?? CONNACK.unavailable;
      done(Object.assign(new Error(refusal?.message ?? "internal"), { returnCode }), false);
    }
  }

  #room({ name, guest }: Admission): void {
    const others = this.roster.countOthers(name, guest.clientId);
    if (others >= (this.#options.limits?.connectionsAToken ?? MAX_CONNECTIONS_A_TOKEN))
      throw new ConnectRefused(CONNACK.unavailable, "too many connections of this token");
    // A link's password may be a sniffer's: it takes nobody's place who has proved more.
    const before = this.roster.find(guest.clientId);
    if (before !== undefined && before.guest.link !== guest.link)
      throw new ConnectRefused(CONNACK.identifier, "client id: taken by one who came in another way");
  }

  /** §3.1.4: the newer connection of a client id ends the older one. */
  #takeOver(client: Client): void {
    const before = this.roster.find(client.id);
    if (before !== undefined) {
      this.#left(before);
      before.close("superseded");
    }
    this.roster.add(client);
  }

  #came(aedes: AedesClient): void {
    const client = this.#visitors.get(aedes)?.client;
    if (client === undefined || !this.roster.holds(client)) return;
    client.live = true;
    this.#options.came(client);
  }

  #left(client: Client): void {
    if (!this.roster.holds(client)) return;
    this.roster.delete(client);
    this.#options.left(client);
  }

  #mayPublish(aedes: AedesClient | null, packet: { topic: string; retain: boolean }): Error | null {
    const client = aedes === null ? undefined : this.#visitors.get(aedes)?.client;
    if (client !== undefined && maySay(client.guest, parseTopic(packet.topic), packet.retain)) return null;
    return new Error(packet.retain ? "published a retained message" : "published where it may not");
  }

  #published(aedes: AedesClient | null, packet: AedesPublishPacket): void {
    const visitor = aedes === null ? undefined : this.#visitors.get(aedes);
    const topic = parseTopic(packet.topic);
    if (visitor?.client === undefined || topic === undefined) return;
    const { client } = visitor;
    // §4.3.3. A will of QoS 2 has no packet id, and comes once.
    if (packet.qos === 2 && packet.messageId !== undefined && !this.#persistence.first(client, packet)) return;
    try {
      const payload = typeof packet.payload === "string" ? Buffer.from(packet.payload) : packet.payload;
      this.#options.said(client, topic, payload, visitor.arrival.stream.destroyed);
    } catch (thrown) {
      this.#options.fault(thrown);
    }
  }

  /** Also for those that a client had before: what it may hear may have changed. */
  #subscribe(aedes: AedesClient, filter: string, qos: Qos): boolean {
    const client = this.#visitors.get(aedes)?.client;
    if (client === undefined || !this.roster.holds(client)) return false;
    if (this.roster.subscribe(client, filter, qos)) return true;
    this.#options.refused(client.arrival.address, "a subscription");
    return false;
  }

  #acknowledged(id: string, packetId: number): void {
    const client = this.roster.find(id);
    if (client === undefined) return;
    client.acknowledged(packetId);
    this.#options.acknowledged(client, packetId);
  }
}

/** aedes' own message queue: nothing of ours goes through it, and nobody is to hear what aedes says of itself. */
const SILENCE = {
  on: (_topic: string, _listener: unknown, done?: () => void) => void (done && setImmediate(done)),
  removeListener: (_topic: string, _listener: unknown, done?: () => void) => void (done && setImmediate(done)),
  emit: (_packet: unknown, done?: () => void) => void (done && setImmediate(done)),
  close: (done?: () => void) => void (done && setImmediate(done)),
};

/** Puts the meter before aedes' parser, which would collect a packet of 256 MiB. */
function measure({ stream }: Arrival, meter: Meter, refused: () => void): void {
  const read = stream.read.bind(stream);
  stream.read = (size?: number) => {
    const chunk: Buffer | null = read(size);
    if (chunk === null || meter.take(chunk)) return chunk;
    refused();
    stream.destroy();
    return null;
  };
}

/** In words of ours, and without anything that the peer has said; undefined where it only went. */
function reasonOf(failure: Error & { readonly errorCode?: number; readonly code?: string }): string | undefined {
  const { message, errorCode, code } = failure;
  if (errorCode !== undefined || /^published /.test(message)) return message;
  if (code !== undefined) return undefined;
  if (/keep alive/.test(message)) return "silent for too long";
  if (/did not arrive/.test(message)) return "deadline";
  return "no MQTT, or a packet that is not allowed there";
}
