/** MQTT: a broker in this process, for devices, homes and scripts: the topics of docs/MQTT.md and nothing else. */
import type { Control, Principal } from "../../control/control.ts";
import { CibError } from "../../errors.ts";
import type { SessionId } from "../../frame/frame.ts";
import type { Timers } from "../timers.ts";
import type { Transport } from "../transport.ts";
import { Audience } from "./audience.ts";
import type { Broker, BrokerOptions } from "./broker.ts";
import type { Client } from "./client.ts";
import { Desk, runWill } from "./desk.ts";
import type { Place } from "./discovery.ts";
import { Ends } from "./ends.ts";
import { HomeAssistant } from "./home-assistant.ts";
import { type Address, Listeners } from "./listeners.ts";
import { admit } from "./lobby.ts";
import type { Arrival } from "./ports.ts";
import { Publisher } from "./publisher.ts";
import { type TopicLink, TopicLinks } from "./topic-link.ts";
import { ROOT, type Topic } from "./topics.ts";

/** What clients get to read their goodbye before they are cut. */
const GRACE_MS = 100;
/** What Home Assistant says when it is there. */
const ONLINE = Buffer.from("online");

/** The broker's own eyes: it reads every session, and each client is sent what its own principal may see. */
const READER: Principal = {
  name: "mqtt",
  label: "mqtt",
  scopes: new Set(["sessions:read"]),
  ended: new AbortController().signal,
};

export interface MqttOptions {
  /** CIB_MQTT_LISTEN and CIB_MQTTS_LISTEN; undefined: off. */
  readonly listen?: Address | undefined;
  readonly tlsListen?: Address | undefined;
  /** Paths of PEM files; without them the TLS port takes device keys only. */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
  /** mqtt.json in CIB_DATA: the subscriptions of clients that come back. */
  readonly file: string;
  /** Replaces that file as a whole. */
  write(file: string, text: string): void;
  /** Home Assistant's discovery prefix, and our version; undefined: nothing is published for it. */
  readonly home?: Pick<Place, "prefix" | "version"> | undefined;
  readonly now: () => number;
  onFault(where: string, thrown: unknown): void;
  /** Told of everybody who was turned away, and why: for the log. */
  onRefused?(address: string, why: string): void;
  readonly timers?: Timers;
  readonly limits?: BrokerOptions["limits"];
}

/** Clients that are in, connections that are not yet, live sealed links, and how many were turned away since the start. */
export interface MqttCounts {
  readonly clients: number;
  readonly halfOpen: number;
  readonly links: number;
  readonly refused: number;
}

export interface MqttTransport extends Transport {
  /** The ports that it listens on, once started; undefined where one is off. */
  readonly port: number | undefined;
  readonly tlsPort: number | undefined;
  readonly counts: MqttCounts;
  /** A connection from elsewhere: MQTT over WebSocket comes by the HTTP port. */
  take(arrival: Arrival): void;
}

export function createMqtt(options: MqttOptions): MqttTransport {
  return new Mqtt(options);
}

/** Everything that there is once it has started. */
interface Parts {
  readonly control: Control;
  readonly broker: Broker;
  readonly publisher: Publisher;
  readonly audience: Audience;
  readonly links: TopicLinks;
  readonly listeners: Listeners;
}

class Mqtt implements MqttTransport {
  readonly name = "mqtt";
  readonly #options: MqttOptions;
  readonly #desks = new Map<Client, Desk>();
  readonly #links = new Map<Client, TopicLink>();
  readonly #ends = new Ends((client) => this.#ended(client));
  #parts: Parts | undefined;
  #homeWatch: Disposable | undefined;
  #refused = 0;
  #stopped: Promise<void> | undefined;

  constructor(options: MqttOptions) {
    this.#options = options;
  }

  get port(): number | undefined {
    return this.#parts?.listeners.port;
  }

  get tlsPort(): number | undefined {
    return this.#parts?.listeners.tlsPort;
  }

  get counts(): MqttCounts {
    const { broker, listeners, links } = this.#parts ?? {};
    return {
      clients: broker?.roster.size ?? 0,
      halfOpen: (broker?.halfOpen ?? 0) + (listeners?.shaking ?? 0),
      links: links?.counts.live ?? 0,
      refused: this.#refused,
    };
  }

  async start(control: Control, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { listen, tlsListen, tls, now, timers } = this.#options;
    // Only here: a daemon without MQTT does not pay for the broker.
    const { Broker } = await import("./broker.ts");
    const broker = await Broker.open(this.#hooks(control));
    const fault = (thrown: unknown) => this.#options.onFault("mqtt", thrown);
    const refused = (address: string, why: string) => this.#refuse(address, why);
    const publisher = new Publisher({
      control,
      who: READER,
      wants: broker.roster,
      publish: (topic, payload) => {
        broker.roster.publish(topic, payload);
        return true;
      },
      changed: () => this.#parts?.audience.changed(),
      fault,
      ...(timers && { timers }),
    });
    const listeners = new Listeners({
      listen,
      tlsListen,
      tls,
      psk: (identity) => control.psk(identity),
      arrived: (arrival) => this.take(arrival),
      refused,
      fault,
      ...(timers && { timers }),
    });
    const links = new TopicLinks({ control, now, fault, refused, timers });
    const home = this.#home(control, broker);
    const audience = new Audience({ roster: broker.roster, publisher, home });
    this.#parts = { control, broker, publisher, audience, links, listeners };
    publisher.start();
    await listeners.start();
    signal.addEventListener("abort", () => void this.#stop(), { once: true });
  }

  take(arrival: Arrival): void {
    if (this.#parts === undefined || this.#stopped !== undefined) arrival.stream.destroy();
    else this.#parts.broker.take(arrival);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
  }

  /** What Home Assistant is told, by topic: kept up to date from now on. */
  #home(control: Control, broker: Broker): ReadonlyMap<string, Buffer> | undefined {
    const { home, onFault } = this.#options;
    if (home === undefined) return undefined;
    const said = new Map<string, Buffer>();
    const publish = (topic: string, payload: Buffer) => {
      if (payload.length === 0) said.delete(topic);
      else said.set(topic, payload);
      broker.roster.publish(topic, payload);
    };
    const fault = (thrown: unknown) => onFault("home assistant", thrown);
    const devices = new HomeAssistant({ control, who: READER, place: { ...home, root: ROOT }, publish, fault });
    this.#homeWatch = control.watch(READER, devices);
    return said;
  }

  #hooks(control: Control): BrokerOptions {
    const { file, write, limits } = this.#options;
    return {
      file,
      write,
      ...(limits && { limits }),
      admit: (arrival, hello) => admit(control, arrival, hello, this.#options.home?.prefix),
      came: (client) => this.#came(client),
      left: (client) => this.#left(client),
      said: (client, topic, payload, after) => this.#said(client, topic, payload, after),
      subscribed: (client, filters) => {
        // [MQTT-3.8.4-3]: it takes the place of an older one of the same filter, and may have granted more.
        this.#desks.get(client)?.subscribed();
        this.#parts?.audience.subscribed(client, filters);
      },
      unsubscribed: (client) => this.#desks.get(client)?.unsubscribed(),
      acknowledged: (client, packetId) => {
        this.#desks.get(client)?.acknowledged(packetId);
        this.#links.get(client)?.acknowledged(packetId);
      },
      wantsChanged: () => this.#parts?.publisher.wantsChanged(),
      refused: (address, why) => this.#refuse(address, why),
      fault: (thrown) => this.#options.onFault("mqtt", thrown),
    };
  }

  #came(client: Client): void {
    if (this.#parts === undefined) return;
    const { control, links, audience } = this.#parts;
    const { who, link } = client.guest;
    const { stream, address } = client.arrival;
    if (link !== undefined) {
      const own = links.enter({ outlet: client, keyId: link, address });
      this.#links.set(client, own);
      stream.on("drain", () => own.drained());
    } else if (who !== undefined) {
      const desk = new Desk({ client, who, control, fault: (thrown) => this.#options.onFault("mqtt", thrown) });
      this.#desks.set(client, desk);
      stream.on("drain", () => desk.drained());
      audience.returned(client);
    }
    this.#ends.add(client);
  }

  /** What it was told still leaves; what it says meanwhile is refused, for nobody may say anything whose token has ended. */
  #ended(client: Client): void {
    this.#desks.get(client)?.bye(client.ended.reason === "expired" ? "expired" : "revoked");
    const { stream } = client.arrival;
    // Behind the microtasks in which the last words are written.
    setImmediate(() => stream.end());
    const cut = setTimeout(() => stream.destroy(), GRACE_MS).unref();
    stream.once("close", () => clearTimeout(cut));
  }

  #left(client: Client): void {
    this.#ends.delete(client);
    this.#desks.get(client)?.closed();
    this.#desks.delete(client);
    this.#links.get(client)?.closed();
    this.#links.delete(client);
  }

  #said(client: Client, topic: Topic, payload: Buffer, after: boolean): void {
    if (topic.kind === "up") this.#links.get(client)?.message(payload);
    // Home Assistant has started, and may have asked before it was ready to listen.
    if (topic.kind === "birth" && !after && payload.equals(ONLINE)) this.#parts?.audience.returned(client);
    if (topic.kind !== "cmd") return;
    const desk = this.#desks.get(client);
    if (desk !== undefined && !after) desk.message(payload, topic.session);
    else if (client.guest.who !== undefined) this.#will(client.guest.who, payload, topic.session);
  }

  #will(who: Principal, payload: Buffer, session: SessionId | undefined): void {
    if (this.#parts === undefined) return;
    runWill(this.#parts.control, who, payload, session).catch((thrown: unknown) => {
      // A refusal is for the client, which is gone.
      if (!(thrown instanceof CibError)) this.#options.onFault("mqtt", thrown);
    });
  }

  #refuse(address: string, why: string): void {
    this.#refused++;
    this.#options.onRefused?.(address, why);
  }

  #stop(): Promise<void> {
    this.#homeWatch?.[Symbol.dispose]();
    this.#stopped ??= this.#sayGoodbye();
    return this.#stopped;
  }

  async #sayGoodbye(): Promise<void> {
    if (this.#parts === undefined) return;
    const { broker, publisher, audience, links, listeners } = this.#parts;
    const closed = listeners.close();
    audience.offline();
    publisher[Symbol.dispose]();
    for (const desk of this.#desks.values()) desk.bye("stopping");
    links.stop();
    if (broker.roster.size > 0) await new Promise((resolve) => setTimeout(resolve, GRACE_MS));
    await broker.close();
    await closed;
  }
}
