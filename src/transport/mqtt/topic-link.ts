/** Topic link: sealed links over `cib/link/<key id>/up` and `/down`: one that lives, and the next one that is to take its place. */
import { Callers, type CallersOptions } from "../callers.ts";
import type { LinkCaller } from "../link-caller.ts";
import { TIMERS, type Timers } from "../timers.ts";
import type { Outlet } from "./ports.ts";
import { formatTopic } from "./topics.ts";
import { Window } from "./window.ts";

/** Who came in for a link has so long to begin one, and the next one after its end: time to subscribe, twice. */
export const LINKLESS_MS = 30_000;
/** Longest message that is looked at: a counter, a record of 16 KiB (ACCEPTS_BYTES) and its 18 bytes, and as much again so that one too long is refused by name. */
export const MAX_UP_BYTES = 32 * 1024;

/** A handshake begins with "CIB1"; as a record counter that would be past every limit. */
const MAGIC = Buffer.from("CIB1");
/** Where the key id stands in a hello, and where it ends. */
const KEY_ID_AT = 8;
const KEY_ID_END = 16;

/** Where links travel: one MQTT client, or a key's topics over a bridge. */
export interface TopicEnd {
  readonly outlet: Outlet;
  /** 16 hex digits: the only key whose links may be opened here. */
  readonly keyId: string;
  /** Of the client: for the caps and the log. */
  readonly address: string;
  /** In place of "cib". */
  readonly root?: string;
}

/** Every link over topics. */
export class TopicLinks {
  readonly #callers: Callers;
  readonly #options: CallersOptions;

  /** `control`, timers and caps as for every other carrier of links. */
  constructor(options: CallersOptions) {
    this.#options = options;
    this.#callers = new Callers(options);
  }

  get counts(): Callers["counts"] {
    return this.#callers.counts;
  }

  /** Somebody came in for links of this key. */
  enter(end: TopicEnd): TopicLink {
    const { refused, timers = TIMERS } = this.#options;
    return new TopicLink(end, this.#callers, timers, (why) => refused?.(end.address, why));
  }

  /** Says goodbye to those that live. Whether anybody was told. */
  stop(): boolean {
    return this.#callers.stop();
  }
}

export class TopicLink {
  readonly #end: TopicEnd;
  readonly #topic: string;
  readonly #callers: Callers;
  readonly #timers: Timers;
  readonly #refused: (why: string) => void;
  /** The one that lives, and the newest that does not yet. */
  #live: Strand | undefined;
  #next: Strand | undefined;
  #cancelIdle: (() => void) | undefined;
  #closed = false;

  constructor(end: TopicEnd, callers: Callers, timers: Timers, refused: (why: string) => void) {
    this.#end = end;
    this.#topic = formatTopic({ kind: "down", key: end.keyId }, end.root);
    this.#callers = callers;
    this.#timers = timers;
    this.#refused = refused;
    this.#idle();
  }

  /** One message on the up topic. The bytes stay the caller's. */
  message(payload: Uint8Array): void {
    if (this.#closed) return;
    if (payload.length > MAX_UP_BYTES) this.#refuse("too_large");
    else if (isHello(payload)) this.#hello(payload);
    else this.#record(payload);
  }

  /** A PUBACK. Whether the packet was of a link here. */
  acknowledged(packetId: number): boolean {
    return (this.#live?.acknowledged(packetId) ?? false) || (this.#next?.acknowledged(packetId) ?? false);
  }

  /** The connection has room again. */
  drained(): void {
    this.#live?.drained();
    this.#next?.drained();
  }

  /** The client is gone. */
  closed(): void {
    this.#closed = true;
    this.#cancelIdle?.();
    this.#live?.close();
    this.#next?.close();
  }

  #hello(payload: Uint8Array): void {
    const keyId = Buffer.from(payload.subarray(KEY_ID_AT, KEY_ID_END)).toString("hex");
    if (keyId !== this.#end.keyId) {
      this.#refuse("mac");
      return;
    }
    // One that came twice gets the same reply, or none where that is still on its way.
    for (const strand of [this.#next, this.#live]) {
      if (strand?.greetedWith(payload)) {
        if (!strand.full) strand.take(payload);
        return;
      }
    }
    const older = this.#next;
    const strand = new Strand(this.#end, this.#topic, this.#callers, payload, (failed) => this.#ended(strand, failed));
    strand.take(payload);
    if (strand.over) {
      // It did not hold, and harms nobody who does.
      if (older === undefined && this.#live === undefined) this.#leave();
      return;
    }
    this.#next = strand;
    older?.close();
    this.#cancelIdle?.();
    // Whoever reads for the new link would take a record of the old one for a hole in its own count.
    this.#live?.pause(true);
  }

  #record(payload: Uint8Array): void {
    const next = this.#next;
    // The first record goes to the new link: for one that lives it could only be a repeat.
    if (next === undefined || (this.#live !== undefined && !isFirst(payload))) {
      this.#live?.take(payload);
      return;
    }
    next.take(payload);
    // The older one of the key was told by auth, and has ended meanwhile.
    if (next.lives && this.#next === next) {
      this.#next = undefined;
      this.#live = next;
    }
  }

  #ended(strand: Strand, failed: boolean): void {
    if (this.#next === strand) {
      this.#next = undefined;
      this.#live?.pause(false);
    } else if (this.#live === strand) this.#live = undefined;
    else return;
    if (this.#closed || this.#live !== undefined || this.#next !== undefined) return;
    // The end of the connection is what tells a device that its link has failed. After a bye it may begin another.
    if (failed) this.#leave();
    else this.#idle();
  }

  #refuse(why: string): void {
    this.#refused(why);
    if (this.#live === undefined && this.#next === undefined) this.#leave();
  }

  #idle(): void {
    this.#cancelIdle?.();
    this.#cancelIdle = this.#timers.after(LINKLESS_MS, () => this.#refuse("deadline"));
  }

  #leave(): void {
    this.#cancelIdle?.();
    this.#closed = true;
    this.#end.outlet.close("link");
  }
}

/** One link on its topic. */
class Strand {
  readonly #window: Window;
  readonly #caller: LinkCaller;
  readonly #hello: Buffer;
  readonly #ended: (failed: boolean) => void;
  #paused = false;
  #over = false;

  /** The first message must be the hello. */
  constructor(
    { outlet, address }: TopicEnd,
    topic: string,
    callers: Callers,
    hello: Uint8Array,
    ended: (failed: boolean) => void,
  ) {
    this.#hello = Buffer.from(hello);
    this.#window = new Window(outlet, topic);
    this.#ended = ended;
    this.#caller = callers.add({
      carrier: "mqtt",
      address,
      write: (records) => {
        for (const record of records) this.#window.push(record);
      },
      waiting: () => this.#window.bytes,
      end: () => {
        // Paused, its topic belongs to the link that takes its place: a goodbye would disturb that one.
        if (!this.#paused) this.#window.flush();
        this.#end(false);
      },
      cut: () => this.#end(true),
    });
  }

  /** Whether its first record has held. */
  get lives(): boolean {
    return this.#caller.lives;
  }

  get over(): boolean {
    return this.#over;
  }

  /** What it wrote waits for acknowledgements. */
  get full(): boolean {
    return this.#window.full;
  }

  greetedWith(hello: Uint8Array): boolean {
    return this.#hello.equals(hello);
  }

  take(message: Uint8Array): void {
    this.#caller.take(message);
  }

  acknowledged(packetId: number): boolean {
    if (!this.#window.acknowledged(packetId)) return false;
    this.#caller.drained();
    return true;
  }

  drained(): void {
    this.#window.pump();
    this.#caller.drained();
  }

  pause(paused: boolean): void {
    this.#paused = paused;
    this.#window.paused = paused;
  }

  /** Without a word to anybody. */
  close(): void {
    this.#over = true;
    this.#window.drop();
    this.#caller.closed();
  }

  #end(failed: boolean): void {
    if (this.#over) return;
    this.close();
    this.#ended(failed);
  }
}

/** Whether a link may begin with it: it is looked at as a hello, and refused where it is none. */
export function isHello(payload: Uint8Array): boolean {
  return payload.length >= KEY_ID_END && MAGIC.every((byte, i) => payload[i] === byte);
}

/** The counter before it is 0. */
function isFirst(payload: Uint8Array): boolean {
  return payload.length >= 4 && payload[0] === 0 && payload[1] === 0 && payload[2] === 0 && payload[3] === 0;
}
