/** Records: what a link and an envelope are cut into; sealed, counted, and opened in exactly the order they were sealed. */
import { type Aead, NONCE_BYTES, type Provider, TAG_BYTES } from "./aead.ts";
import { LinkError } from "./fault.ts";

/** The u16 length in front, which is the record's AAD. */
export const LENGTH_BYTES = 2;
/** 2 bytes of length and 16 of tag: what a record adds to its plaintext. */
export const RECORD_OVERHEAD = LENGTH_BYTES + TAG_BYTES;
/** The u32 counter that stands before a record where the carrier may repeat or lose messages (MQTT). */
export const COUNTER_BYTES = 4;
/** A link closes before 2^24 records in a direction, so counters run to 2^24 - 2; SP 800-38D §8.3 would allow 2^32. */
export const MAX_RECORDS = 2 ** 24 - 1;
/** u16. */
export const MAX_PLAINTEXT_BYTES = 2 ** 16 - 1;
/** In an envelope the length's top bit marks the last record: 15 bits are left. */
export const LAST_BIT = 0x8000;
export const MAX_MARKED_BYTES = LAST_BIT - 1;

/** One direction, outgoing. Reuses its nonce and AAD: a record costs its own bytes and what the cipher makes. */
export class Sealer {
  readonly #provider: Provider;
  readonly #aead: Aead;
  readonly #lead: number;
  readonly #max: number;
  readonly #nonce = new Uint8Array(NONCE_BYTES);
  readonly #aad = new Uint8Array(LENGTH_BYTES);
  #count: number;

  /** `counted`: the record's counter stands before it. `marked`: the last one is marked. `from`: the first counter. */
  constructor(provider: Provider, aead: Aead, { counted = false, marked = false, from = 0 } = {}) {
    this.#provider = provider;
    this.#aead = aead;
    this.#lead = counted ? COUNTER_BYTES : 0;
    this.#max = marked ? MAX_MARKED_BYTES : MAX_PLAINTEXT_BYTES;
    this.#count = from;
  }

  /** Records sealed so far. */
  get count(): number {
    return this.#count;
  }

  /** One record, ready to send; `last` only where they are marked. Throws LinkError `limit`, RangeError for a plaintext the length cannot say. */
  seal(plaintext: Uint8Array, last = false): Uint8Array {
    const size = plaintext.length;
    if (this.#count >= MAX_RECORDS) throw new LinkError("limit");
    if (size > this.#max) throw new RangeError(`plaintext: expected at most ${this.#max} bytes, got ${size}`);
    const lead = this.#lead;
    const record = this.#provider.alloc(lead + RECORD_OVERHEAD + size);
    const length = last ? size | LAST_BIT : size;
    this.#aad[0] = length >>> 8;
    this.#aad[1] = length;
    setCounter(this.#nonce, this.#count);
    // In the nonce and before the record stand the same four bytes.
    if (lead > 0) record.set(this.#nonce.subarray(NONCE_BYTES - COUNTER_BYTES), 0);
    record.set(this.#aad, lead);
    this.#aead.seal(this.#nonce, this.#aad, plaintext, record, lead + LENGTH_BYTES);
    this.#count++;
    return record;
  }
}

/** One direction, incoming. */
export class Opener {
  readonly #aead: Aead;
  readonly #mask: number;
  readonly #nonce = new Uint8Array(NONCE_BYTES);
  readonly #aad = new Uint8Array(LENGTH_BYTES);
  #count: number;

  /** `marked` and `from` as for the sealer. */
  constructor(aead: Aead, { marked = false, from = 0 } = {}) {
    this.#aead = aead;
    this.#mask = marked ? MAX_MARKED_BYTES : MAX_PLAINTEXT_BYTES;
    this.#count = from;
  }

  /** Records opened so far; the next one's counter. */
  get count(): number {
    return this.#count;
  }

  /** The plaintext of one whole record, in memory of its own. Throws LinkError `size`, `tag`, `limit`: the link is over then. */
  open(record: Uint8Array): Uint8Array {
    if (record.length - RECORD_OVERHEAD !== (lengthOf(record) & this.#mask)) throw new LinkError("size");
    if (this.#count >= MAX_RECORDS) throw new LinkError("limit");
    this.#aad[0] = record[0] as number;
    this.#aad[1] = record[1] as number;
    setCounter(this.#nonce, this.#count);
    const plaintext = this.#aead.open(this.#nonce, this.#aad, record.subarray(LENGTH_BYTES));
    if (plaintext === undefined) throw new LinkError("tag");
    this.#count++;
    return plaintext;
  }
}

/** The u16 at the beginning of a record. */
export function lengthOf(record: Uint8Array): number {
  return ((record[0] ?? 0) << 8) | (record[1] ?? 0);
}

/** 8 zero bytes, then the counter, big-endian. */
function setCounter(nonce: Uint8Array, count: number): void {
  nonce[8] = count >>> 24;
  nonce[9] = count >>> 16;
  nonce[10] = count >>> 8;
  nonce[11] = count;
}
