/** Aead, node: the daemon's primitives, from OpenSSL by way of node:crypto. */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hash,
  type KeyObject,
  timingSafeEqual,
} from "node:crypto";
import { type Aead, checkSize, KEY_BYTES, NONCE_BYTES, type Provider, TAG_BYTES } from "./aead.ts";

const GCM = "aes-256-gcm";
const TAG = { authTagLength: TAG_BYTES };

/** RFC 8037 §2: X25519 keys as JWK. OpenSSL reads the same keys from DER ten times as slowly (390 µs against 35). */
const X25519 = { kty: "OKP", crv: "X25519" } as const;
/** A private key must name its public one; OpenSSL computes its own and does not look. */
const ANY = Buffer.alloc(KEY_BYTES).toString("base64url");

/**
 * What is allocated here is cut from slabs, so that a record of 200 bytes costs no ArrayBuffer of its own. Node's pool
 * does as much, but from it come the log's lines too: among the records of fifty links each line, kept long after them,
 * would keep a whole slab.
 */
const SLAB_BYTES = 8 * 1024;
/** What is longer than this gets memory of its own: no slab ends with more than a quarter unused. */
const SLAB_SHARE_BYTES = SLAB_BYTES / 4;
let slab = Buffer.alloc(0);
let slabUsed = SLAB_BYTES;

class NodeAead implements Aead {
  readonly #key: Uint8Array;

  /** The key is copied: a KeyObject would cost as much again as the one record of an envelope. */
  constructor(key: Uint8Array) {
    checkSize("key", key, KEY_BYTES);
    this.#key = Uint8Array.from(key);
  }

  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array, out: Uint8Array, at: number): void {
    checkSize("nonce", nonce, NONCE_BYTES);
    const cipher = createCipheriv(GCM, this.#key, nonce, TAG).setAAD(aad);
    // Counter mode holds nothing back: update gives every byte, final none.
    if (plaintext.length > 0) out.set(cipher.update(plaintext), at);
    cipher.final();
    out.set(cipher.getAuthTag(), at + plaintext.length);
  }

  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    checkSize("nonce", nonce, NONCE_BYTES);
    const size = sealed.length - TAG_BYTES;
    if (size < 0) return undefined;
    const plain = createDecipheriv(GCM, this.#key, nonce, TAG).setAAD(aad).setAuthTag(sealed.subarray(size));
    const plaintext = plain.update(sealed.subarray(0, size));
    try {
      plain.final();
    } catch {
      // NIST SP 800-38D §7.2: what was not authenticated is shown to nobody.
      plaintext.fill(0);
      return undefined;
    }
    return plaintext;
  }
}

export const nodeProvider: Provider = {
  name: "node",

  hmac(key, ...parts) {
    const mac = createHmac("sha256", key);
    for (const part of parts) mac.update(part);
    return mac.digest();
  },

  sha256(...parts) {
    // In one call: a Hash object costs more than the hash of what is this short.
    return hash("sha256", parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts), "buffer");
  },

  aead: (key) => new NodeAead(key),

  x25519Public(secret) {
    const { x } = privateKey(secret).export({ format: "jwk" });
    return Buffer.from(x ?? "", "base64url");
  },

  x25519(secret, theirs) {
    checkSize("public key", theirs, KEY_BYTES);
    const key = { ...X25519, x: Buffer.from(theirs).toString("base64url") };
    const publicKey = createPublicKey({ key, format: "jwk" });
    const ours = privateKey(secret);
    try {
      return diffieHellman({ privateKey: ours, publicKey });
    } catch {
      // OpenSSL refuses the all-zero result, and nothing else once both keys have been read.
      return undefined;
    }
  },

  equal: (a, b) => a.length === b.length && timingSafeEqual(a, b),

  alloc(size) {
    if (size > SLAB_SHARE_BYTES) return Buffer.allocUnsafeSlow(size);
    if (slabUsed + size > SLAB_BYTES) {
      slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      slabUsed = 0;
    }
    const bytes = slab.subarray(slabUsed, slabUsed + size);
    slabUsed += size;
    return bytes;
  },
};

function privateKey(secret: Uint8Array): KeyObject {
  checkSize("secret", secret, KEY_BYTES);
  const key = { ...X25519, d: Buffer.from(secret).toString("base64url"), x: ANY };
  return createPrivateKey({ key, format: "jwk" });
}
