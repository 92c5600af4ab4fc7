/** Link socket: a CIB1 link as the client's socket: sealed records over a WebSocket or raw TCP, whole messages above. */
import type { Provider } from "../crypto/aead.ts";
import { nobleProvider } from "../crypto/aead-noble.ts";
import type { Taken } from "../crypto/link.ts";
import { ClientLink } from "../crypto/link-client.ts";
import { LinkKey, RANDOM_BYTES } from "../crypto/schedule.ts";
import { LinkStream } from "../crypto/stream.ts";
import { CibError, ERRORS, type ErrorCode } from "../errors.ts";
import { hexBytes } from "../frame/bytes.ts";
import { fromCbor, toCbor } from "../frame/cbor.ts";
import { itemsOf } from "../frame/sequence.ts";
import { call, type SocketLike, type Timers } from "./socket.ts";

/** Largest plaintext that we take: what the protocol can say. */
const ACCEPTS_BYTES = 65_535;
/** From the dial to the box's reply. */
const GREETING_DEADLINE_MS = 10_000;
/** Each tick something was sent in it or an empty record goes out: at least every 30 s (WIRE §1), two ticks less a bit. */
const TICK_MS = 14_000;
/** Ticks in which nothing came: 6 × 14 s is past 70 s and short of the 90 s that WIRE allows. */
const SILENT_TICKS = 6;
/** Closed without a word so often, and never once greeted: the key is wrong, not the box away. Waits between are 4 to 8 s in all. */
export const MAX_SILENT_REFUSALS = 6;
const BYE = toCbor({ bye: "done" });

/** A device key, as `tokens.create` with `device` returns it. */
export interface DeviceKey {
  /** 16 hex digits. */
  readonly id: string;
  /** 64 hex digits. */
  readonly secret: string;
  /** A counter that grows with each start and survives power loss, where there is no good randomness. Left out: a random number, which is enough wherever crypto.getRandomValues is. */
  readonly boot?: number;
}

export interface LinkerOptions {
  readonly key: DeviceKey;
  readonly carrier: "stream" | "socket";
  /** X25519: `offer` (the default) takes it where the box has it, `require` goes without it nowhere, `off` saves its time. */
  readonly x25519?: "offer" | "require" | "off" | undefined;
  /** noble unless said otherwise; Node may pass its own (crypto/aead-node.ts). */
  readonly provider?: Provider | undefined;
  readonly timers: Timers;
}

/** Makes the links of one client, and tells a box that is away from one that does not know the key. */
export class Linker {
  readonly #options: LinkerOptions;
  readonly #provider: Provider;
  readonly #key: LinkKey;
  readonly #keyId: Uint8Array;
  readonly #boot: number;
  #links = 0;
  #greeted = false;
  #silent = 0;

  /** Throws TypeError when id or secret is no hex of its length. */
  constructor(options: LinkerOptions) {
    const { key, provider = nobleProvider } = options;
    this.#options = options;
    this.#provider = provider;
    this.#keyId = fromHex("key id", key.id, 8);
    const secret = fromHex("key secret", key.secret, 32);
    this.#key = new LinkKey(provider, secret);
    secret.fill(0);
    this.#boot = key.boot ?? new DataView(random(4).buffer).getUint32(0);
  }

  /** A link over this socket, which has just been dialled. */
  over(line: SocketLike): SocketLike {
    const { carrier, x25519 = "offer", timers } = this.#options;
    const link = new ClientLink({
      provider: this.#provider,
      carrier,
      accepts: ACCEPTS_BYTES,
      key: this.#key,
      keyId: this.#keyId,
      fresh: { boot: this.#boot, counter: this.#links++, random: random(RANDOM_BYTES) },
      random,
      x25519: x25519 === "off" ? undefined : x25519,
    });
    return new LinkSocket(line, link, timers, {
      greeted: () => {
        this.#greeted = true;
      },
      hopeless: () => !this.#greeted && ++this.#silent >= MAX_SILENT_REFUSALS,
    });
  }
}

interface Host {
  greeted(): void;
  /** The box closed without a word after our hello: whether to give up. */
  hopeless(): boolean;
}

class LinkSocket implements SocketLike {
  binaryType = "arraybuffer";
  onopen: (() => void) | null = null;
  onmessage: ((event: { readonly data: unknown }) => void) | null = null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  readonly #line: SocketLike;
  readonly #link: ClientLink;
  readonly #timers: Timers;
  readonly #host: Host;
  readonly #take: (bytes: Uint8Array) => Iterable<Taken>;
  #cancelTimer: () => void;
  #saidHello = false;
  #greeted = false;
  #sent = false;
  #silentTicks = 0;
  #bye: string | undefined;
  #closed = false;

  constructor(line: SocketLike, link: ClientLink, timers: Timers, host: Host) {
    this.#line = line;
    this.#link = link;
    this.#timers = timers;
    this.#host = host;
    const stream = link.carrier === "stream" ? new LinkStream(link) : undefined;
    this.#take = (bytes) => stream?.take(bytes) ?? [link.take(bytes)];
    line.binaryType = "arraybuffer";
    line.onopen = () => {
      this.#saidHello = true;
      line.send(link.hello as Uint8Array<ArrayBuffer>);
    };
    line.onmessage = ({ data }) => this.#received(data);
    line.onerror = () => call(() => this.onerror?.());
    line.onclose = ({ code, reason }) => this.#lost(code, reason);
    this.#cancelTimer = timers.after(GREETING_DEADLINE_MS, () => this.#cut());
  }

  /** Throws CibError `too_large` for what does not fit one record. */
  send(data: string | Uint8Array): void {
    if (this.#closed || this.#link.state !== "live") return;
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    if (bytes.length > this.#link.room)
      throw new CibError("too_large", `command: ${bytes.length} bytes, this link takes ${this.#link.room}; use HTTP`);
    this.#sent = true;
    this.#seal(bytes);
    if (this.#link.spent) this.close();
  }

  close(): void {
    if (this.#closed) return;
    if (this.#link.state === "live") this.#seal(BYE);
    this.#line.close(1000, "");
    // A box that has stopped answering does not close either.
    this.#lost(1000, "");
  }

  #seal(plaintext: Uint8Array): void {
    this.#line.send(this.#link.seal(plaintext) as Uint8Array<ArrayBuffer>);
  }

  #received(data: unknown): void {
    const messages = this.#messages(data);
    while (!this.#closed) {
      let next: IteratorResult<Uint8Array | "greeted", void>;
      try {
        next = messages.next();
      } catch {
        // Altered, cut short, or not from the holder of the secret: there is nothing to say to whoever it is.
        this.#cut();
        return;
      }
      if (next.done) return;
      const { value } = next;
      if (value === "greeted") this.#opened();
      else call(() => this.onmessage?.({ data: value }));
    }
  }

  /** What came, one by one. Throws where it is no record of the box. */
  *#messages(data: unknown): Generator<Uint8Array | "greeted", void> {
    if (typeof data === "string") throw new SyntaxError("link: a text message");
    const bytes = data instanceof Uint8Array ? data : new Uint8Array(data as ArrayBuffer);
    for (const taken of this.#take(bytes)) {
      if (taken.kind === "greeted") yield "greeted";
      if (taken.kind !== "record") continue;
      this.#silentTicks = 0;
      for (const item of itemsOf(taken.plaintext)) {
        this.#bye ??= byeIn(item);
        yield item;
      }
    }
  }

  #opened(): void {
    this.#greeted = true;
    this.#host.greeted();
    this.#cancelTimer();
    this.#cancelTimer = this.#timers.after(TICK_MS, () => this.#tick());
    // The link lives at the box with the first record, whatever is in it.
    this.#seal(new Uint8Array());
    call(() => this.onopen?.());
  }

  #tick(): void {
    if (++this.#silentTicks >= SILENT_TICKS) {
      this.#cut();
      return;
    }
    if (!this.#sent) this.#seal(new Uint8Array());
    this.#sent = false;
    this.#cancelTimer = this.#timers.after(TICK_MS, () => this.#tick());
  }

  #cut(): void {
    this.#line.close(1000, "");
    this.#lost(1006, "");
  }

  #lost(code: number, reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelTimer();
    const ending = this.#ending(code, reason);
    call(() => this.onclose?.(ending));
  }

  /** As a WebSocket with a token would have ended: codes of the error table. */
  #ending(code: number, reason: string): { code: number; reason: string } {
    if (this.#bye !== undefined) return { code: codeOf(this.#bye), reason: REASONS[this.#bye] ?? this.#bye };
    // Refused in words by HTTP, greeted before, or cut before our hello: none of it speaks against the key.
    const silent = code < 4000 && this.#saidHello && !this.#greeted;
    if (!silent || !this.#host.hopeless()) return { code, reason };
    return {
      code: ERRORS.unauthorized.close,
      reason: "key: the box closes without a word; id or secret is wrong, the key revoked, or X25519 required",
    };
  }
}

const REASONS: Readonly<Record<string, string>> = {
  revoked: "the key's token was revoked",
  expired: "the key's token has expired",
  superseded: "key: another client has come with this key; each needs its own",
};

function codeOf(bye: string): number {
  if (bye === "revoked" || bye === "expired") return ERRORS.unauthorized.close;
  // Of one key only the newest link lives: two clients that came back each time would cut each other for ever.
  if (bye === "superseded") return ERRORS.conflict.close;
  return Object.hasOwn(ERRORS, bye) ? ERRORS[bye as ErrorCode].close : 1000;
}

function byeIn(item: Uint8Array): string | undefined {
  // A map of one pair: everything else is longer to look at.
  if (item[0] !== 0xa1) return undefined;
  const { bye } = fromCbor(item) as { bye?: unknown };
  return typeof bye === "string" ? bye : undefined;
}

function random(size: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(size));
}

function fromHex(name: string, text: string, size: number): Uint8Array {
  if (text.length !== 2 * size || !/^[0-9a-f]*$/i.test(text))
    throw new TypeError(`${name}: expected ${2 * size} hex digits, got ${text.length} characters`);
  return hexBytes(text);
}
