/** Bridge line: one connection to a foreign broker, from the first try to its end: our packets out, theirs in, and what is acknowledged. */
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Timers } from "../timers.ts";
import type { BridgeAddress } from "./bridge-address.ts";
import { failureWords, refusalWords } from "./bridge-words.ts";
import { type Arrived, bytesOf, type Packet, Packets } from "./packets.ts";
import { publishPacket } from "./wire.ts";

/** A command of 256 KiB in JSON with escapes; what is larger is acknowledged and refused. */
export const MAX_PACKET_BYTES = 512 * 1024;
/** From the first try to a CONNACK. */
export const CONNECT_DEADLINE_MS = 15_000;
/** We promise to say something within twice this long, and expect an answer within as much. */
export const PING_MS = 30_000;
/** Messages without acknowledgement at which readers of logs wait, */
export const MAX_UNACKED = 64;
/** and the same in bytes: 64 × 4 KiB. */
export const MAX_UNACKED_BYTES = 256 * 1024;
/** What a closing line gets to write its DISCONNECT. */
const CLOSE_GRACE_MS = 1_000;

export interface LineOptions {
  readonly address: BridgeAddress;
  /** Certificates (PEM) that are trusted in place of the system's. */
  readonly ca?: string;
  readonly clientId: string;
  /** Published, retained, when we are gone without a word. */
  readonly will: { readonly topic: string; readonly payload: string };
  readonly timers: Timers;
}

export interface Incoming {
  readonly topic: string;
  readonly payload: Buffer;
  readonly retain: boolean;
}

export interface LineEvents {
  connected(): void;
  /** It is acknowledged when the promise resolves; where it rejects, it comes again with the next line. */
  message(incoming: Incoming): Promise<void>;
  tooLarge(topic: string): void;
  /** The broker refuses a subscription. */
  denied(filter: string): void;
  /** There is room again. */
  room(): void;
  /** A PUBACK of an id that `nextPacketId` gave out. */
  acknowledged(packetId: number): void;
  /** One of these has thrown, but not the last. */
  fault(thrown: unknown): void;
  /** The end, once; `why` for the operator: without any secret. */
  closed(why: string): void;
}

interface Unacked {
  readonly bytes: number;
  readonly done: (() => void) | undefined;
}

export class Line {
  readonly #options: LineOptions;
  readonly #events: LineEvents;
  readonly #packets = new Packets(MAX_PACKET_BYTES);
  readonly #socket: Socket;
  readonly #unacked = new Map<number, Unacked>();
  readonly #subscribing = new Map<number, readonly string[]>();
  #unackedBytes = 0;
  /** PUBACKs that have come for what we sent. */
  acknowledged = 0;
  /** Acknowledgements have come of which nobody was told. */
  #freed = false;
  #lastId = 0;
  #up = false;
  #over = false;
  #why: string | undefined;
  /** Sent, and nothing heard since. */
  #waitsForPong = false;
  #cancelDeadline: () => void;
  #cancelPings: (() => void) | undefined;

  /** Connects at once. */
  constructor(options: LineOptions, events: LineEvents) {
    this.#options = options;
    this.#events = events;
    const { host, port, tls } = options.address;
    this.#socket = tls
      ? connectTls({
          host,
          port,
          // RFC 6066 §3: no name, where the host is an address.
          ...(isIP(host) === 0 && { servername: host }),
          ...(options.ca !== undefined && { ca: options.ca }),
        })
      : connectTcp({ host, port });
    this.#cancelDeadline = options.timers.after(CONNECT_DEADLINE_MS, () => this.cut("it does not answer"));
    this.#socket.setNoDelay(true);
    this.#socket.once(tls ? "secureConnect" : "connect", () => this.#hello());
    this.#socket.on("data", (chunk) => this.#take(chunk));
    this.#socket.on("error", (failure) => {
      this.#why ??= failureWords(failure);
    });
    this.#socket.on("close", () => this.#closed());
  }

  /** The broker has let us in, and the line is there. */
  get up(): boolean {
    return this.#up;
  }

  /** The broker has let us in, and has our subscriptions. */
  get ready(): boolean {
    return this.#up && this.#subscribing.size === 0;
  }

  /** So much waits for the broker that who can wait should. */
  get full(): boolean {
    return this.#unacked.size >= MAX_UNACKED || this.#unackedBytes >= MAX_UNACKED_BYTES;
  }

  get unacked(): number {
    return this.#unacked.size;
  }

  /** Bytes that wait for the broker to read them. */
  get waiting(): number {
    return this.#socket.writableLength;
  }

  /** An id that is in nobody's use here. */
  nextPacketId(): number {
    do this.#lastId = (this.#lastId % 0xffff) + 1;
    while (this.#unacked.has(this.#lastId) || this.#subscribing.has(this.#lastId));
    return this.#lastId;
  }

  /** QoS 1. `done`: it is acknowledged; where the line ends before, nobody is told. False: the line is gone, nothing is sent. */
  publish(topic: string, payload: Uint8Array, retain: boolean, done?: () => void): boolean {
    return this.send(topic, payload, retain, this.nextPacketId(), done);
  }

  /** The same with an id of the caller's; without one QoS 0. */
  send(topic: string, payload: Uint8Array, retain: boolean, packetId?: number, done?: () => void): boolean {
    if (!this.#up) return false;
    if (packetId !== undefined) {
      this.#unacked.set(packetId, { bytes: payload.length, done });
      this.#unackedBytes += payload.length;
    }
    this.#out(publishPacket(topic, payload, retain, packetId));
    return true;
  }

  subscribe(filters: readonly string[]): void {
    const messageId = this.nextPacketId();
    this.#subscribing.set(messageId, filters);
    const subscriptions = filters.map((topic) => ({ topic, qos: 1 as const }));
    this.#write({ cmd: "subscribe", messageId, subscriptions });
  }

  /** What a session of before may have left: the broker keeps it for us. */
  unsubscribe(filters: readonly string[]): void {
    const messageId = this.nextPacketId();
    this.#subscribing.set(messageId, []);
    this.#write({ cmd: "unsubscribe", messageId, unsubscriptions: [...filters] });
  }

  /** Everything written goes out, then a DISCONNECT: no last will. */
  close(): void {
    if (this.#over) return;
    this.#why ??= "closed";
    if (!this.#up) {
      this.#socket.destroy();
      return;
    }
    this.#write({ cmd: "disconnect" });
    this.#up = false;
    this.#socket.end();
    const cancel = this.#options.timers.after(CLOSE_GRACE_MS, () => this.#socket.destroy());
    this.#socket.once("close", cancel);
  }

  cut(why: string): void {
    this.#why ??= why;
    this.#socket.destroy();
  }

  #hello(): void {
    const { address, clientId, will } = this.#options;
    const { username, password } = address;
    this.#write({
      cmd: "connect",
      protocolId: "MQTT",
      protocolVersion: 4,
      // The broker keeps what is sent to us while we are away.
      clean: false,
      clientId,
      keepalive: (2 * PING_MS) / 1000,
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password: Buffer.from(password) }),
      will: { topic: will.topic, payload: Buffer.from(will.payload), qos: 1, retain: true },
    });
  }

  #take(chunk: Buffer): void {
    this.#waitsForPong = false;
    try {
      for (const arrived of this.#packets.take(chunk)) {
        // Nothing that comes behind our goodbye is answered.
        if (this.#socket.destroyed || this.#socket.writableEnded) return;
        this.#arrived(arrived);
      }
      // Not only at half: a broker with Nagle's algorithm holds its next PUBACK until our TCP acknowledges the first, which
      // that does with our next bytes, or 40 ms later.
      if (this.#freed && !this.full) {
        this.#freed = false;
        this.#events.room();
      }
    } catch (thrown) {
      if (thrown instanceof SyntaxError) this.cut(`it does not speak MQTT (${thrown.message})`);
      else {
        // Whoever listens has failed: what it was told of may be half done, and comes again with the next line.
        this.cut("a fault of ours");
        this.#events.fault(thrown);
      }
    }
  }

  #arrived(packet: Arrived): void {
    if (!this.#up) {
      if (packet.cmd === "connack") this.#admitted(packet.returnCode ?? 0);
      else this.cut(`it does not speak MQTT (${packet.cmd} before connack)`);
      return;
    }
    switch (packet.cmd) {
      case "publish":
        this.#incoming(packet);
        return;
      case "too large":
        this.#events.tooLarge(packet.topic);
        if (packet.messageId !== undefined) this.#write({ cmd: "puback", messageId: packet.messageId });
        return;
      case "puback":
        this.#acknowledged(packet.messageId ?? 0);
        return;
      case "suback":
        this.#subscribed(packet.messageId ?? 0, packet.granted);
        return;
      case "unsuback":
        this.#subscribing.delete(packet.messageId ?? 0);
        return;
      default:
        // pingresp: it is alive, and that is all it says.
        return;
    }
  }

  #admitted(code: number): void {
    if (code !== 0) {
      this.cut(refusalWords(code));
      return;
    }
    this.#cancelDeadline();
    this.#up = true;
    this.#cancelPings = this.#options.timers.every(PING_MS, () => this.#ping());
    this.#events.connected();
  }

  #incoming({ topic, payload, retain, qos, messageId }: Extract<Packet, { cmd: "publish" }>): void {
    const bytes = typeof payload === "string" ? Buffer.from(payload) : payload;
    const taken = this.#events.message({ topic, payload: bytes, retain });
    // What the broker does not bring again is lost with its sender's knowledge: that is QoS 0.
    const again = qos > 0 && messageId !== undefined;
    taken.then(
      () => {
        if (again && this.#up) this.#write({ cmd: "puback", messageId });
      },
      () => {
        if (again) this.cut("a command could not be kept");
      },
    );
  }

  #acknowledged(packetId: number): void {
    const unacked = this.#unacked.get(packetId);
    if (unacked === undefined) return;
    this.#unacked.delete(packetId);
    this.#unackedBytes -= unacked.bytes;
    this.acknowledged++;
    if (unacked.done === undefined) this.#events.acknowledged(packetId);
    else unacked.done();
    this.#freed = true;
  }

  #subscribed(messageId: number, granted: readonly unknown[]): void {
    const filters = this.#subscribing.get(messageId) ?? [];
    this.#subscribing.delete(messageId);
    for (const [i, filter] of filters.entries()) if (granted[i] === 0x80) this.#events.denied(filter);
  }

  #ping(): void {
    if (this.#waitsForPong) {
      this.cut("it does not answer any more");
      return;
    }
    this.#waitsForPong = true;
    this.#write({ cmd: "pingreq" });
  }

  #write(packet: Packet): void {
    if (!this.#socket.destroyed && !this.#socket.writableEnded) this.#out(bytesOf(packet));
  }

  /** What is due in one turn leaves in one system call. */
  #out(bytes: Buffer): void {
    if (this.#socket.writableCorked === 0) {
      this.#socket.cork();
      process.nextTick(() => this.#socket.uncork());
    }
    this.#socket.write(bytes);
  }

  #closed(): void {
    if (this.#over) return;
    this.#over = true;
    this.#up = false;
    this.#cancelDeadline();
    this.#cancelPings?.();
    this.#events.closed(this.#why ?? "the broker closed the connection");
  }
}
