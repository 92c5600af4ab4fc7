/** MQTT: a broker in this process, for devices, homes and scripts: the topics of docs/MQTT.md and nothing else. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { Control, Principal } from "../../control/control.ts";
import { CibError } from "../../errors.ts";
import type { Transport } from "../transport.ts";
import { Audience } from "./audience.ts";
import type { Broker, BrokerOptions } from "./broker.ts";
import type { Client } from "./client.ts";
import { Desk, runWill } from "./desk.ts";
import { admit } from "./lobby.ts";
import type { Arrival } from "./ports.ts";
import { Publisher } from "./publisher.ts";
import type { Topic } from "./topics.ts";

/** What clients get to read their goodbye before they are cut. */
const STOP_GRACE_MS = 100;
/** Connections that the kernel holds for us: a fleet that comes back at once. */
const BACKLOG = 511;

export interface MqttOptions {
  readonly listen: { readonly host: string; readonly port: number };
  /** Whose eyes the broker has: it reads every session, and each client is sent what its own principal may see. */
  readonly reader: Principal;
  /** mqtt.json in CIB_DATA: the subscriptions of clients that come back. */
  readonly file: string;
  /** Replaces that file as a whole. */
  write(file: string, text: string): void;
  onFault(where: string, thrown: unknown): void;
  /** Told of everybody who was turned away, and why: for the log. */
  onRefused?(address: string, why: string): void;
  readonly limits?: BrokerOptions["limits"];
}

export interface MqttTransport extends Transport {
  /** The port that it listens on, once started. */
  readonly port: number;
  /** Clients that are in, connections that are not yet, and how many were turned away since the start. */
  readonly counts: { readonly clients: number; readonly halfOpen: number; readonly refused: number };
  /** A connection from elsewhere: MQTT over WebSocket comes by the HTTP port. */
  take(arrival: Arrival): void;
}

export function createMqtt(options: MqttOptions): MqttTransport {
  return new Mqtt(options);
}

class Mqtt implements MqttTransport {
  readonly name = "mqtt";
  readonly #options: MqttOptions;
  readonly #desks = new Map<Client, Desk>();
  readonly #ends = new Ends((client) => this.#ended(client));
  #control: Control | undefined;
  #broker: Broker | undefined;
  #publisher: Publisher | undefined;
  #audience: Audience | undefined;
  #server: Server | undefined;
  #refused = 0;
  #stopped: Promise<void> | undefined;

  constructor(options: MqttOptions) {
    this.#options = options;
  }

  get port(): number {
    const address = this.#server?.address() as AddressInfo | null | undefined;
    return address?.port ?? 0;
  }

  get counts(): { clients: number; halfOpen: number; refused: number } {
    return { clients: this.#broker?.roster.size ?? 0, halfOpen: this.#broker?.halfOpen ?? 0, refused: this.#refused };
  }

  async start(control: Control, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#control = control;
    // Only here: a daemon without MQTT does not pay for the broker.
    const { Broker } = await import("./broker.ts");
    const broker = await Broker.open(this.#hooks(control));
    this.#broker = broker;
    const publisher = new Publisher({
      control,
      who: this.#options.reader,
      wants: broker.roster,
      publish: (topic, payload) => {
        broker.roster.publish(topic, payload);
        return true;
      },
      changed: () => this.#audience?.changed(),
      fault: (thrown) => this.#fault(thrown),
    });
    this.#publisher = publisher;
    this.#audience = new Audience({ roster: broker.roster, publisher });
    publisher.start();
    await this.#open();
    signal.addEventListener("abort", () => void this.#stop(), { once: true });
  }

  take(arrival: Arrival): void {
    if (this.#broker === undefined || this.#stopped !== undefined) arrival.stream.destroy();
    else this.#broker.take(arrival);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
  }

  #hooks(control: Control): BrokerOptions {
    const { file, write, limits } = this.#options;
    return {
      file,
      write,
      ...(limits && { limits }),
      admit: (arrival, hello) => admit(control, arrival, hello),
      came: (client) => this.#came(client),
      left: (client) => this.#left(client),
      said: (client, topic, payload, after) => this.#said(client, topic, payload, after),
      subscribed: (client, filters) => this.#audience?.subscribed(client, filters),
      unsubscribed: (client) => this.#desks.get(client)?.unsubscribed(),
      acknowledged: (client, packetId) => this.#desks.get(client)?.acknowledged(packetId),
      wantsChanged: () => this.#publisher?.wantsChanged(),
      refused: (address, why) => {
        this.#refused++;
        this.#options.onRefused?.(address, why);
      },
      fault: (thrown) => this.#fault(thrown),
    };
  }

  async #open(): Promise<void> {
    const server = createServer((socket) => this.take(arrivalOf(socket)));
    this.#server = server;
    server.listen({ ...this.#options.listen, backlog: BACKLOG });
    await once(server, "listening");
    // Out of file descriptors, for one: the next connection may work.
    server.on("error", (failure) => this.#fault(failure));
  }

  #came(client: Client): void {
    const { who } = client.guest;
    this.#ends.add(client);
    if (client.ended.aborted) {
      this.#ended(client);
      return;
    }
    const control = this.#control;
    if (who === undefined || control === undefined) return;
    const desk = new Desk({ client, who, control, fault: (thrown) => this.#fault(thrown) });
    this.#desks.set(client, desk);
    client.arrival.stream.on("drain", () => desk.drained());
    this.#audience?.returned(client);
  }

  #ended(client: Client): void {
    const reason = client.ended.reason === "expired" ? "expired" : "revoked";
    this.#desks.get(client)?.bye(reason);
    // What was said still leaves; what comes meanwhile is nobody's.
    setImmediate(() => client.close(reason));
  }

  #left(client: Client): void {
    this.#ends.delete(client);
    this.#desks.get(client)?.closed();
    this.#desks.delete(client);
  }

  #said(client: Client, topic: Topic, payload: Buffer, after: boolean): void {
    if (topic.kind !== "cmd") return;
    const desk = this.#desks.get(client);
    if (desk !== undefined && !after) desk.message(payload, topic.session);
    else if (client.guest.who !== undefined) this.#will(client.guest.who, payload, topic.session);
  }

  #will(who: Principal, payload: Buffer, session: Parameters<Desk["message"]>[1]): void {
    if (this.#control === undefined) return;
    runWill(this.#control, who, payload, session).catch((thrown: unknown) => {
      // A refusal is for the client, which is gone.
      if (!(thrown instanceof CibError)) this.#fault(thrown);
    });
  }

  #fault(thrown: unknown): void {
    this.#options.onFault("mqtt", thrown);
  }

  #stop(): Promise<void> {
    this.#stopped ??= this.#sayGoodbye();
    return this.#stopped;
  }

  async #sayGoodbye(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      if (this.#server === undefined) resolve();
      else this.#server.close(() => resolve());
    });
    this.#audience?.offline();
    this.#publisher?.[Symbol.dispose]();
    for (const desk of this.#desks.values()) desk.bye("stopping");
    if (this.#desks.size > 0) await new Promise((resolve) => setTimeout(resolve, STOP_GRACE_MS));
    await this.#broker?.close();
    await closed;
  }
}

/** The ends of tokens: one listener for each, however many of its clients are in. */
class Ends {
  readonly #clients = new Map<AbortSignal, { readonly clients: Set<Client>; readonly stop: () => void }>();
  readonly #ended: (client: Client) => void;

  constructor(ended: (client: Client) => void) {
    this.#ended = ended;
  }

  add(client: Client): void {
    const { ended } = client;
    const known = this.#clients.get(ended) ?? this.#listen(ended);
    known.clients.add(client);
  }

  delete(client: Client): void {
    const known = this.#clients.get(client.ended);
    if (known === undefined || !known.clients.delete(client) || known.clients.size > 0) return;
    known.stop();
    this.#clients.delete(client.ended);
  }

  #listen(ended: AbortSignal) {
    const clients = new Set<Client>();
    const told = () => {
      for (const client of [...clients]) this.#ended(client);
    };
    ended.addEventListener("abort", told);
    const known = { clients, stop: () => ended.removeEventListener("abort", told) };
    this.#clients.set(ended, known);
    return known;
  }
}

function arrivalOf(socket: Socket): Arrival {
  socket.setNoDelay(true);
  return {
    stream: socket,
    address: socket.remoteAddress ?? "",
    encrypted: false,
    waiting: () => socket.writableLength,
  };
}
