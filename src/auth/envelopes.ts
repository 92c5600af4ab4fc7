/** Envelopes: every sealed HTTP request of the box: whose it is, that it is fresh, and that it runs once. */
import { type Aead, KEY_BYTES, NONCE_BYTES, type Provider } from "../crypto/aead.ts";
import {
  type EnvelopeHeader,
  HEADER_BYTES,
  openRequest,
  readHeader,
  responseSealer,
  TOKEN_BYTES,
} from "../crypto/envelope.ts";
import { LinkError, type LinkFault } from "../crypto/fault.ts";
import { LENGTH_BYTES, RECORD_OVERHEAD, type Sealer } from "../crypto/record.ts";
import { type EnvelopeKeys, keyIdText, type LinkKey, RANDOM_BYTES } from "../crypto/schedule.ts";
import type { DeviceKeys } from "./device-keys.ts";
import type { Gate, Principal } from "./gate.ts";

/** How long a token is good for, and so how long a request may be held back by somebody on the way. */
export const TOKEN_LIFE_S = 120;
/**
 * Requests of one key that are remembered, each for 120 s at least and 240 s at most: 17 a second for ever, 34 for two
 * minutes. At about 80 bytes each, 320 KiB a key; and only who holds the key can fill it.
 */
export const MAX_REMEMBERED_A_KEY = 4096;

const TIME_BYTES = 4;
/** 128 responses. */
const RANDOM_POOL_BYTES = 2048;
const TOKEN_LABEL = new TextEncoder().encode("token");
/** What is opened in place of a request that has no form: it costs the same. */
const NO_HEADER = new Uint8Array(HEADER_BYTES);
const NO_NONCE = new Uint8Array(NONCE_BYTES);
const NO_RECORD = new Uint8Array(RECORD_OVERHEAD);

/** What can be wrong with a request besides its records, as the operator's log says it. */
export const ENVELOPE_FAULTS = {
  token: "a token of GET /aes/token that has expired, or is of another start",
  replay: "an envelope that was here before",
  full: "more envelopes of one key than are remembered",
} as const;
/** Why a request was refused: for the log and the count, never for the caller. */
export type EnvelopeFault = LinkFault | keyof typeof ENVELOPE_FAULTS;

/** A request as it came. `target`: path and query as sent. */
export interface EnvelopeWish {
  readonly method: string;
  readonly target: string;
  readonly body: Uint8Array;
}

/** A request that is genuine, fresh and here for the first time; and what its response is sealed with. */
export interface OpenedEnvelope {
  readonly who: Principal;
  /** 16 hex digits. */
  readonly keyId: string;
  /** CBOR sequences of commands, in order. */
  readonly plaintexts: readonly Uint8Array[];
  /** 16 bytes that begin the response. */
  readonly random: Uint8Array;
  /** The token for the next request. */
  readonly next: Uint8Array;
  /** The next record of the response, at most 32,767 bytes of plaintext; `last`: no other follows. Throws LinkError `limit`. */
  seal(plaintext: Uint8Array, last: boolean): Uint8Array;
}

export interface EnvelopesOptions {
  readonly keys: DeviceKeys;
  readonly gate: Gate;
  readonly provider: Provider;
  random(size: number): Uint8Array;
  /** Milliseconds that only go forward; by default those of this process. */
  readonly clock?: () => number;
  readonly remembered?: number;
}

/** Requests of one key, in two generations: the older is forgotten when no token of its time is good any more. */
interface Memory {
  since: number;
  young: Set<string>;
  old: Set<string>;
}

export class Envelopes {
  readonly #options: EnvelopesOptions;
  /** Of this start: tokens of an earlier one are foreign, so what it remembered is not missed. */
  readonly #bootKey: Uint8Array;
  readonly #clock: () => number;
  readonly #started: number;
  readonly #spare: Aead;
  readonly #memory = new Map<string, Memory>();
  #pool: Uint8Array = new Uint8Array(0);
  /** The tokens of the last two minutes, by their second: most requests bring one of them. */
  readonly #issued = new Map<number, Uint8Array>();

  constructor(options: EnvelopesOptions) {
    this.#options = options;
    this.#bootKey = options.random(KEY_BYTES);
    this.#clock = options.clock ?? (() => performance.now());
    this.#started = this.#clock();
    this.#spare = options.provider.aead(this.#bootKey);
  }

  /** A token of now: 16 bytes, the same for a whole second. */
  token(): Uint8Array {
    const second = this.#second();
    const known = this.#issued.get(second);
    if (known !== undefined) return known;
    const token = this.#tokenOf(second);
    // In the order of their seconds: those that are over stand in front.
    for (const old of this.#issued.keys()) {
      if (second - old < TOKEN_LIFE_S) break;
      this.#issued.delete(old);
    }
    this.#issued.set(second, token);
    return token;
  }

  /** Opens a request, or says why not. Every stranger costs the same work, and so does every id that nobody has. */
  open(wish: EnvelopeWish): OpenedEnvelope | EnvelopeFault {
    const { keys, gate, provider } = this.#options;
    const header = headerOf(wish.body);
    const fresh = this.#holds(header?.token ?? NO_HEADER.subarray(0, TOKEN_BYTES));
    if (header === undefined) {
      this.#openNothing(keys.dummy.envelope(wish.method, wish.target, NO_HEADER).request);
      return "magic";
    }
    const keyId = keyIdText(header.keyId);
    const known = keys.find(keyId);
    const who = known && gate.holder(known.owner);
    // Whoever demanded X25519 for this key has ruled out what works without it.
    const entitled = who !== undefined && known !== undefined && !known.requireX25519;
    const opened = this.#opened(entitled ? known.key : keys.dummy, wish);
    // Too short for a record: what opening one would have cost is spent all the same.
    if (opened === "size") this.#openNothing(this.#spare);
    if (typeof opened === "string") return opened;
    if (!entitled) return "mac";
    if (!fresh) return "token";
    const repeat = this.#remember(keyId, header.random);
    if (repeat !== undefined) return repeat;
    const { plaintexts } = opened;
    return new Opened({ who, keyId, plaintexts, next: this.token() }, opened.keys, provider, this.#random());
  }

  /** Requests that are remembered. */
  get size(): number {
    let size = 0;
    for (const { young, old } of this.#memory.values()) size += young.size + old.size;
    return size;
  }

  #opened(
    key: LinkKey,
    { method, target, body }: EnvelopeWish,
  ): { readonly plaintexts: readonly Uint8Array[]; readonly keys: EnvelopeKeys } | LinkFault {
    try {
      return openRequest(key, { method, target }, body);
    } catch (thrown) {
      if (thrown instanceof LinkError) return thrown.fault;
      throw thrown;
    }
  }

  /** Rs goes out in the clear, so what waits here is no secret; asking for each alone costs as much as sealing it. */
  #random(): Uint8Array {
    if (this.#pool.length < RANDOM_BYTES) this.#pool = this.#options.random(RANDOM_POOL_BYTES);
    const random = this.#pool.subarray(0, RANDOM_BYTES);
    this.#pool = this.#pool.subarray(RANDOM_BYTES);
    return random;
  }

  #openNothing(aead: Aead): void {
    aead.open(NO_NONCE, NO_RECORD.subarray(0, LENGTH_BYTES), NO_RECORD.subarray(LENGTH_BYTES));
  }

  #second(): number {
    return Math.floor((this.#clock() - this.#started) / 1000);
  }

  #tokenOf(second: number): Uint8Array {
    const token = new Uint8Array(TOKEN_BYTES);
    new DataView(token.buffer).setUint32(0, second);
    const mac = this.#options.provider.hmac(this.#bootKey, token.subarray(0, TIME_BYTES), TOKEN_LABEL);
    token.set(mac.subarray(0, TOKEN_BYTES - TIME_BYTES), TIME_BYTES);
    return token;
  }

  #holds(token: Uint8Array): boolean {
    const second = new DataView(token.buffer, token.byteOffset, TIME_BYTES).getUint32(0);
    // Which seconds had a token is no secret, so what a look costs tells nothing of a key.
    const genuine = this.#options.provider.equal(this.#issued.get(second) ?? this.#tokenOf(second), token);
    const age = this.#second() - second;
    return genuine && age >= 0 && age < TOKEN_LIFE_S;
  }

  /** Looks and remembers in one step: of two that come together one is the first. */
  #remember(keyId: string, bytes: Uint8Array): "replay" | "full" | undefined {
    const random = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
    const memory = this.#memoryOf(keyId);
    if (memory.young.has(random) || memory.old.has(random)) return "replay";
    // Were the oldest forgotten instead, whoever recorded it could have it run again.
    if (memory.young.size + memory.old.size >= (this.#options.remembered ?? MAX_REMEMBERED_A_KEY)) return "full";
    memory.young.add(random);
    return undefined;
  }

  #memoryOf(keyId: string): Memory {
    const second = this.#second();
    let memory = this.#memory.get(keyId);
    if (memory !== undefined && second - memory.since < TOKEN_LIFE_S) return memory;
    this.#forget(second);
    memory = { since: second, young: new Set(), old: this.#memory.get(keyId)?.young ?? new Set() };
    this.#memory.set(keyId, memory);
    return memory;
  }

  /** Keys whose last generation is over, devices that are gone among them. */
  #forget(second: number): void {
    for (const [keyId, { since }] of this.#memory) if (second - since >= 2 * TOKEN_LIFE_S) this.#memory.delete(keyId);
  }
}

class Opened implements OpenedEnvelope {
  readonly who: Principal;
  readonly keyId: string;
  readonly plaintexts: readonly Uint8Array[];
  readonly next: Uint8Array;
  readonly random: Uint8Array;
  readonly #sealer: Sealer;

  constructor(
    facts: Pick<OpenedEnvelope, "who" | "keyId" | "plaintexts" | "next">,
    keys: EnvelopeKeys,
    provider: Provider,
    random: Uint8Array,
  ) {
    this.who = facts.who;
    this.keyId = facts.keyId;
    this.plaintexts = facts.plaintexts;
    this.next = facts.next;
    this.random = random;
    this.#sealer = responseSealer(provider, keys, random);
  }

  seal(plaintext: Uint8Array, last: boolean): Uint8Array {
    return this.#sealer.seal(plaintext, last);
  }
}

function headerOf(body: Uint8Array): EnvelopeHeader | undefined {
  try {
    return readHeader(body);
  } catch (thrown) {
    if (thrown instanceof LinkError) return undefined;
    throw thrown;
  }
}
