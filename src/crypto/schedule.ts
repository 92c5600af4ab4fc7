/** The key schedule of CIB1 (docs/PROTOCOL.md): from a device's secret to the keys of one connection or one request. */
import { type Aead, checkSize, KEY_BYTES, type Provider } from "./aead.ts";

/** A device's public name: 8 bytes. */
export const KEY_ID_BYTES = 8;
/** Rc and Rs. */
export const RANDOM_BYTES = 16;
/** mac1 and mac2: 128 bits of HMAC-SHA-256 (RFC 2104 §5 allows half and more). */
export const MAC_BYTES = 16;

/** What an HMAC is for: its first byte, so that no value can stand in another's place. */
const FOR = {
  rc: 0x00,
  mac1: 0x01,
  mac2: 0x02,
  link: 0x03,
  clientToServer: 0x10,
  serverToClient: 0x11,
  request: 0x10,
  response: 0x11,
  requestRandom: 0x20,
  envelope: 0x21,
  tlsPsk: 0x30,
  mqttPassword: 0x31,
} as const;

const UTF8 = new TextEncoder();
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** "claude-in-box link v1", padded with zeros to 32 bytes. */
const LABEL = new Uint8Array(KEY_BYTES);
LABEL.set(UTF8.encode("claude-in-box link v1"));

/** The two ciphers of a link. */
export interface Directions {
  readonly clientToServer: Aead;
  readonly serverToClient: Aead;
}

/** The two ciphers of one HTTP exchange; the second exists once the daemon has chosen its random. */
export interface EnvelopeKeys {
  readonly request: Aead;
  response(serverRandom: Uint8Array): Aead;
}

/** What an Rc is made of: a counter that survives power loss, one of this boot, and 16 random bytes. A repeated Rc would repeat keys. */
export interface Freshness {
  readonly boot: number;
  readonly counter: number;
  readonly random: Uint8Array;
}

/** A device's key, lent: it computes what a handshake needs and gives neither itself nor the secret away. */
export class LinkKey {
  readonly #provider: Provider;
  readonly #prk0: Uint8Array;

  /** `secret`: 32 random bytes, never a passphrase; copied into what is derived, the caller may wipe it. */
  constructor(provider: Provider, secret: Uint8Array) {
    checkSize("secret", secret, KEY_BYTES);
    this.#provider = provider;
    this.#prk0 = provider.hmac(LABEL, secret);
  }

  /** The client's random of one connection. */
  clientRandom({ boot, counter, random }: Freshness): Uint8Array {
    checkSize("random", random, RANDOM_BYTES);
    return this.#mac(FOR.rc, u32(boot), u32(counter), random).subarray(0, RANDOM_BYTES);
  }

  /** `head`: the hello up to mac1. */
  mac1(head: Uint8Array): Uint8Array {
    return this.#mac(FOR.mac1, head).subarray(0, MAC_BYTES);
  }

  /** `head`: the reply up to mac2. */
  mac2(hello: Uint8Array, head: Uint8Array): Uint8Array {
    return this.#mac(FOR.mac2, hello, head).subarray(0, MAC_BYTES);
  }

  /** The ciphers of a link; `shared` where both sides took up X25519. */
  directions(hello: Uint8Array, reply: Uint8Array, shared: Uint8Array | undefined): Directions {
    const prk1 = this.#mac(FOR.link, hello, reply, ...(shared ? [shared] : []));
    const clientToServer = this.#cipher(prk1, FOR.clientToServer);
    const serverToClient = this.#cipher(prk1, FOR.serverToClient);
    prk1.fill(0);
    return { clientToServer, serverToClient };
  }

  /** The ciphers of one HTTP exchange. `method` and `target` as sent ("POST", "/aes"); `header`: 48 bytes. */
  envelope(method: string, target: string, header: Uint8Array): EnvelopeKeys {
    const line = UTF8.encode(`${method}\n${target}\n`);
    const prk = this.#mac(FOR.envelope, this.#provider.sha256(line, header));
    return {
      request: this.#cipher(prk, FOR.request),
      response: (serverRandom) => {
        checkSize("server random", serverRandom, RANDOM_BYTES);
        return this.#cipher(prk, FOR.response, serverRandom);
      },
    };
  }

  /** The client's random of one request: bound to its token and content. `records`: each one's length bytes and plaintext, joined. */
  requestRandom({ boot, counter, random }: Freshness, token: Uint8Array, records: readonly Uint8Array[]): Uint8Array {
    checkSize("random", random, RANDOM_BYTES);
    return this.#mac(FOR.requestRandom, u32(boot), u32(counter), random, token, ...records).subarray(0, RANDOM_BYTES);
  }

  /** The key of TLS-PSK, for the TLS library: the one key that leaves, and it opens no link. */
  tlsPsk(): Uint8Array {
    return this.#mac(FOR.tlsPsk);
  }

  /** The MQTT password of a sealed link, 16 bytes: it opens this key's own link topics and nothing more. */
  mqttPassword(): Uint8Array {
    return this.#mac(FOR.mqttPassword).subarray(0, MAC_BYTES);
  }

  #mac(what: number, ...parts: readonly Uint8Array[]): Uint8Array {
    return this.#provider.hmac(this.#prk0, Uint8Array.of(what), ...parts);
  }

  #cipher(prk: Uint8Array, what: number, ...parts: readonly Uint8Array[]): Aead {
    const key = this.#provider.hmac(prk, Uint8Array.of(what), ...parts);
    const cipher = this.#provider.aead(key);
    key.fill(0);
    return cipher;
  }
}

/** A key id as the text that files, logs and MQTT know it by: 16 hex digits. */
export function keyIdText(keyId: Uint8Array): string {
  let text = "";
  for (const byte of keyId) text += HEX[byte];
  return text;
}

function u32(value: number): Uint8Array {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff)
    throw new RangeError(`counter: expected 0 to 4294967295, got ${value}`);
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}
