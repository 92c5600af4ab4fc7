/** Listeners: plain TCP and TLS, by certificate or by a device's key, up to where MQTT begins. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { bytesTaken } from "../taken.ts";
import { TIMERS, type Timers } from "../timers.ts";
import { bounded } from "./bounded.ts";
import type { Arrival } from "./ports.ts";
import { TlsDoor } from "./tls-door.ts";

/** Connections that the kernel holds for us: a fleet that comes back at once. */
const BACKLOG = 511;
/** A peer that is gone without a word is found so, whatever keep-alive its MQTT has: after 2 min and the kernel's probes. */
const TCP_KEEP_ALIVE_MS = 120_000;

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface ListenersOptions {
  /** CIB_MQTT_LISTEN; undefined: off. */
  readonly listen?: Address | undefined;
  /** CIB_MQTTS_LISTEN; undefined: off. */
  readonly tlsListen?: Address | undefined;
  /** Paths of PEM files; without them the TLS port takes device keys only. */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
  /** See Control. */
  psk(identity: string): Uint8Array;
  /** Somebody may speak MQTT now. */
  arrived(arrival: Arrival): void;
  /** `why`: a word of ours. */
  refused(address: string, why: string): void;
  fault(thrown: unknown): void;
  readonly timers?: Timers;
  readonly limits?: { readonly halfOpen?: number; readonly halfOpenAnAddress?: number; readonly waitingBytes?: number };
}

export class Listeners {
  readonly #options: ListenersOptions;
  readonly #servers: Server[] = [];
  #plain: Server | undefined;
  #tls: Server | undefined;
  #door: TlsDoor | undefined;

  constructor(options: ListenersOptions) {
    this.#options = options;
  }

  /** The ports that it listens on; undefined where one is off. */
  get port(): number | undefined {
    return portOf(this.#plain);
  }

  get tlsPort(): number | undefined {
    return portOf(this.#tls);
  }

  /** TLS handshakes under way. */
  get shaking(): number {
    return this.#door?.size ?? 0;
  }

  /** Rejects when an address is taken or a PEM file is unusable. */
  async start(): Promise<void> {
    const { listen, tlsListen, tls, psk, refused, limits, timers = TIMERS } = this.#options;
    if (listen !== undefined) this.#plain = await this.#open(listen, (socket) => this.#arrived(socket, socket));
    if (tlsListen === undefined) return;
    const door = new TlsDoor({
      certificate: tls && { cert: readFileSync(tls.cert), key: readFileSync(tls.key) },
      psk,
      secured: (socket, stream, keyId) => this.#arrived(socket, stream, { encrypted: true, keyId }),
      refused,
      timers,
      ...(limits && { limits }),
    });
    this.#door = door;
    this.#tls = await this.#open(tlsListen, (socket) => door.enter(socket));
  }

  /** Accepts nothing more; resolves when every connection that it accepted is closed, which those who have them see to. */
  async close(): Promise<void> {
    const closed = this.#servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    this.#door?.close();
    await Promise.all(closed);
  }

  async #open(address: Address, came: (socket: Socket) => void): Promise<Server> {
    const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: TCP_KEEP_ALIVE_MS }, came);
    server.listen({ ...address, backlog: BACKLOG });
    await once(server, "listening");
    // Out of file descriptors, for one: the next connection may work.
    server.on("error", (failure) => this.#options.fault(failure));
    this.#servers.push(server);
    return server;
  }

  #arrived(
    socket: Socket,
    stream: Socket,
    proof?: { readonly encrypted: true; readonly keyId: string | undefined },
  ): void {
    const { arrived, refused, limits } = this.#options;
    const address = addressOf(socket);
    bounded(stream, () => refused(address, "it does not read"), limits?.waitingBytes);
    arrived({
      stream,
      address,
      encrypted: proof !== undefined,
      ...(proof?.keyId !== undefined && { keyId: proof.keyId }),
      waiting: () => stream.writableLength,
      taken: () => bytesTaken(stream),
    });
  }
}

/** IPv4 inside IPv6 (RFC 4291 §2.5.5.2) as IPv4, as on every other way in. */
function addressOf(socket: Socket): string {
  return (socket.remoteAddress ?? "").replace(/^::ffff:(?=\d+\.)/, "");
}

function portOf(server: Server | undefined): number | undefined {
  return (server?.address() as AddressInfo | null | undefined)?.port;
}
