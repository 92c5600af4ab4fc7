/** HTTP: REST, server-sent events and WebSocket on one port. */
import type { Control } from "../../control/control.ts";
import { type CallerCounts, Callers, type CallersOptions } from "../callers.ts";
import type { Transport } from "../transport.ts";
import { Aes } from "./aes.ts";
import { Door } from "./door.ts";
import { Listener, type Tls } from "./listener.ts";
import { Rest } from "./rest.ts";
import { Events, type EventsOptions } from "./sse.ts";
import { Sockets } from "./ws.ts";
import { LINK_PROTOCOL, MAX_LINK_MESSAGE_BYTES } from "./ws-link.ts";
import { MAX_MQTT_MESSAGE_BYTES, MQTT_PATH, type TakeMqtt } from "./ws-mqtt.ts";

/** WebSockets and event streams open at once: at about 10 KiB each, 20 MiB. */
export const MAX_CONNECTIONS = 2048;
/** What open connections get to read their goodbye before they are cut. */
const STOP_GRACE_MS = 100;

export interface HttpOptions {
  readonly listen: { readonly host: string; readonly port: number };
  /** Paths of PEM files: with them it is HTTPS and WSS. */
  readonly tls?: Tls | undefined;
  /** Names, `*.suffix` patterns and origins of the box, beyond loopback, addresses and *.local. */
  readonly hosts: readonly string[];
  /** docs/openapi.json as text. */
  readonly openapi?: string | undefined;
  /** A fault of ours that a client was told as `internal`. */
  onFault(where: string, thrown: unknown): void;
  readonly limits?: { readonly connections?: number; readonly sockets?: number };
  /** Sealed links over WebSocket: who is told of the refused, and what a test puts in its place. */
  readonly links?: Partial<Pick<CallersOptions, "refused" | "now" | "timers" | "limits">>;
  /** Takes MQTT over WebSocket; left out where MQTT is off. */
  readonly mqtt?: TakeMqtt | undefined;
  /** Told of every sealed request that was refused, and why: for the log. */
  refusedEnvelope?(address: string, why: string): void;
  /** Heartbeat timer of the event streams and of the sealed ones, for tests. */
  readonly every?: EventsOptions["every"];
}

export interface HttpTransport extends Transport {
  /** The port that it listens on, once started. */
  readonly port: number;
  /** Open WebSockets, event streams and sealed streams. */
  readonly connections: number;
  /** The sealed links among them. */
  readonly links: CallerCounts;
}

export function createHttp(options: HttpOptions): HttpTransport {
  return new Http(options);
}

class Http implements HttpTransport {
  readonly name = "http";
  readonly #options: HttpOptions;
  readonly #stopping = new AbortController();
  #listener: Listener | undefined;
  #events: Events | undefined;
  #aes: Aes | undefined;
  #sockets: Sockets | undefined;
  #rest: Rest | undefined;
  #links: Callers | undefined;
  #stopped: Promise<void> | undefined;

  constructor(options: HttpOptions) {
    this.#options = options;
  }

  get port(): number {
    return this.#listener?.port ?? 0;
  }

  get connections(): number {
    return (this.#events?.size ?? 0) + (this.#aes?.size ?? 0) + (this.#sockets?.size ?? 0);
  }

  get links(): CallerCounts {
    return this.#links?.counts ?? { live: 0, halfOpen: 0, refused: 0 };
  }

  async start(control: Control, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { listen, tls, hosts, openapi, every, limits } = this.#options;
    const fault = (thrown: unknown) => this.#options.onFault("http", thrown);
    const room = () => this.connections < (limits?.connections ?? MAX_CONNECTIONS);
    const door = new Door(control, { hosts, tls: tls !== undefined });
    const events = new Events({ control, room, ...(every && { every }) });
    const links = new Callers({ control, fault, now: Date.now, ...this.#options.links });
    const { mqtt } = this.#options;
    const sockets = new Sockets({ control, door, links, mqtt, tls: tls !== undefined, room, fault });
    const refused = (address: string, why: string) => this.#options.refusedEnvelope?.(address, why);
    const aes = new Aes({ control, room, refused, fault, ...(every && { every }) });
    const rest = new Rest({ control, door, events, aes, openapi, stopping: this.#stopping.signal, fault });
    this.#rest = rest;
    this.#events = events;
    this.#aes = aes;
    this.#sockets = sockets;
    this.#links = links;
    this.#listener = await Listener.listen({
      ...listen,
      tls,
      sockets: limits?.sockets,
      request: (exchange) => rest.handle(exchange),
      unproved: { protocol: LINK_PROTOCOL, maxMessageBytes: MAX_LINK_MESSAGE_BYTES },
      further: mqtt && { path: MQTT_PATH, maxMessageBytes: MAX_MQTT_MESSAGE_BYTES },
      upgrade: (exchange) => sockets.upgrade(exchange),
      fault,
    });
    signal.addEventListener("abort", () => void this.#stop(), { once: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
  }

  #stop(): Promise<void> {
    this.#stopped ??= this.#sayGoodbye();
    return this.#stopped;
  }

  async #sayGoodbye(): Promise<void> {
    this.#listener?.refuse();
    const open = this.connections + (this.#aes?.running ?? 0) + (this.#rest?.running ?? 0);
    this.#stopping.abort();
    this.#events?.stop();
    this.#aes?.stop();
    this.#sockets?.stop();
    if (open > 0) await new Promise((resolve) => setTimeout(resolve, STOP_GRACE_MS));
    this.#listener?.cut();
  }
}
