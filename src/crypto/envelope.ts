/** Envelope: one HTTP exchange, sealed; the request is bound to its method, path and token, the response to its request. */
import type { Provider } from "./aead.ts";
import { LinkError } from "./fault.ts";
import { LAST_BIT, LENGTH_BYTES, lengthOf, MAX_MARKED_BYTES, Opener, RECORD_OVERHEAD, Sealer } from "./record.ts";
import { type EnvelopeKeys, type Freshness, KEY_ID_BYTES, type LinkKey, RANDOM_BYTES } from "./schedule.ts";
import { Units } from "./stream.ts";

/** "CIBH", flags 0, suite 1 (AES-256-GCM and SHA-256), u16 0. */
const START = Uint8Array.of(0x43, 0x49, 0x42, 0x48, 0, 1, 0, 0);
/** The token of GET /aes/token. */
export const TOKEN_BYTES = 16;
/** START, key id 8, Rc 16, token 16. */
export const HEADER_BYTES = START.length + KEY_ID_BYTES + RANDOM_BYTES + TOKEN_BYTES;

/** The method and target of a request, as sent: "POST", "/aes". */
export interface Place {
  readonly method: string;
  readonly target: string;
}

export interface EnvelopeHeader {
  /** All 48 bytes. */
  readonly bytes: Uint8Array;
  readonly keyId: Uint8Array;
  /** Rc: remembered with the key id for the token's life, so that a request runs once. */
  readonly random: Uint8Array;
  readonly token: Uint8Array;
}

/** A sealed request, and the keys that its response will come under. */
export interface SealedRequest {
  readonly body: Uint8Array;
  readonly keys: EnvelopeKeys;
}

export interface RequestOptions extends Place {
  readonly provider: Provider;
  readonly key: LinkKey;
  readonly keyId: Uint8Array;
  readonly token: Uint8Array;
  /** Never the same twice for one key. */
  readonly fresh: Freshness;
  /** CBOR sequences of commands, at least one, each at most 32,767 bytes. */
  readonly plaintexts: readonly Uint8Array[];
}

/** The client's side of a request. */
export function sealRequest(options: RequestOptions): SealedRequest {
  const { provider, key, keyId, token, fresh, plaintexts, method, target } = options;
  if (plaintexts.length === 0) throw new RangeError("plaintexts: expected at least one");
  const covered = plaintexts.flatMap((plaintext, i) => {
    const length = plaintext.length | (i === plaintexts.length - 1 ? LAST_BIT : 0);
    return [Uint8Array.of(length >>> 8, length), plaintext];
  });
  const random = key.requestRandom(fresh, token, covered);
  const header = joined([START, keyId, random, token]);
  const keys = key.envelope(method, target, header);
  const sealer = new Sealer(provider, keys.request, { marked: true });
  const records = plaintexts.map((plaintext, i) => sealer.seal(plaintext, i === plaintexts.length - 1));
  return { body: joined([header, ...records]), keys };
}

/** Views into a request's body. Throws LinkError `magic`, `size`. */
export function readHeader(body: Uint8Array): EnvelopeHeader {
  if (!START.every((byte, i) => body[i] === byte)) throw new LinkError("magic");
  if (body.length < HEADER_BYTES) throw new LinkError("size");
  const bytes = body.subarray(0, HEADER_BYTES);
  const randomAt = START.length + KEY_ID_BYTES;
  const tokenAt = randomAt + RANDOM_BYTES;
  return {
    bytes,
    keyId: bytes.subarray(START.length, randomAt),
    random: bytes.subarray(randomAt, tokenAt),
    token: bytes.subarray(tokenAt),
  };
}

/**
 * The daemon's side of a request: every record is verified before any plaintext is handed out. For an unknown key id the
 * caller passes its dummy: the first tag fails as under a wrong key. Throws LinkError: one answer for all of them.
 */
export function openRequest(key: LinkKey, { method, target }: Place, body: Uint8Array): OpenedRequest {
  const { bytes } = readHeader(body);
  const keys = key.envelope(method, target, bytes);
  const opener = new Opener(keys.request, { marked: true });
  const plaintexts: Uint8Array[] = [];
  for (let at = HEADER_BYTES; ; ) {
    const rest = body.subarray(at);
    if (rest.length < RECORD_OVERHEAD) throw new LinkError("size");
    const size = sizeOfRecord(rest) as number;
    plaintexts.push(opener.open(rest.subarray(0, size)));
    at += size;
    if (!isLast(rest)) continue;
    if (at !== body.length) throw new LinkError("size");
    return { plaintexts, keys };
  }
}

export interface OpenedRequest {
  readonly plaintexts: readonly Uint8Array[];
  readonly keys: EnvelopeKeys;
}

/** The daemon's side of a response: `serverRandom` (16 fresh bytes) goes out first, then what the sealer makes, the last one marked. */
export function responseSealer(provider: Provider, keys: EnvelopeKeys, serverRandom: Uint8Array): Sealer {
  return new Sealer(provider, keys.response(serverRandom), { marked: true });
}

/** The client's side of a response, as its bytes come. */
export class ResponseOpener {
  readonly #keys: EnvelopeKeys;
  readonly #units: Units;
  #opener: Opener | undefined;
  #done = false;

  constructor(keys: EnvelopeKeys) {
    this.#keys = keys;
    this.#units = new Units(RECORD_OVERHEAD + MAX_MARKED_BYTES, (start) =>
      this.#opener === undefined ? RANDOM_BYTES : sizeOfRecord(start),
    );
  }

  /** The plaintexts that these bytes complete; to be read to the end. Throws LinkError for a record that does not hold, and for any after the last. */
  *take(chunk: Uint8Array): Generator<Uint8Array, void> {
    for (const unit of this.#units.cut(chunk)) {
      if (this.#done) throw new LinkError("closed");
      if (this.#opener === undefined) {
        this.#opener = new Opener(this.#keys.response(unit), { marked: true });
        continue;
      }
      const plaintext = this.#opener.open(unit);
      this.#done = isLast(unit);
      yield plaintext;
    }
  }

  /** The response has ended: `truncated` when its last record had not come. */
  end(): "clean" | "truncated" {
    return this.#done && this.#units.waiting === 0 ? "clean" : "truncated";
  }
}

function sizeOfRecord(start: Uint8Array): number | undefined {
  return start.length < LENGTH_BYTES ? undefined : RECORD_OVERHEAD + (lengthOf(start) & MAX_MARKED_BYTES);
}

function isLast(record: Uint8Array): boolean {
  return (lengthOf(record) & LAST_BIT) !== 0;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
