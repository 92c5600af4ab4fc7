/** Aead, noble: the same primitives in plain JavaScript, for clients and for browsers on plain HTTP, where WebCrypto is withheld. */
import { gcm } from "@noble/ciphers/aes.js";
import { x25519 } from "@noble/curves/ed25519.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { type Aead, checkSize, KEY_BYTES, NONCE_BYTES, type Provider, TAG_BYTES } from "./aead.ts";

class NobleAead implements Aead {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    checkSize("key", key, KEY_BYTES);
    this.#key = Uint8Array.from(key);
  }

  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array, out: Uint8Array, at: number): void {
    checkSize("nonce", nonce, NONCE_BYTES);
    out.set(gcm(this.#key, nonce, aad).encrypt(plaintext), at);
  }

  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    checkSize("nonce", nonce, NONCE_BYTES);
    if (sealed.length < TAG_BYTES) return undefined;
    try {
      return gcm(this.#key, nonce, aad).decrypt(sealed);
    } catch {
      // Every size has been checked: only the tag is left to be wrong.
      return undefined;
    }
  }
}

export const nobleProvider: Provider = {
  name: "noble",

  hmac(key, ...parts) {
    const mac = hmac.create(sha256, key);
    for (const part of parts) mac.update(part);
    return mac.digest();
  },

  sha256(...parts) {
    const hash = sha256.create();
    for (const part of parts) hash.update(part);
    return hash.digest();
  },

  aead: (key) => new NobleAead(key),

  x25519Public(secret) {
    checkSize("secret", secret, KEY_BYTES);
    return x25519.getPublicKey(secret);
  },

  x25519(secret, theirs) {
    checkSize("secret", secret, KEY_BYTES);
    checkSize("public key", theirs, KEY_BYTES);
    try {
      return x25519.getSharedSecret(secret, theirs);
    } catch {
      // noble refuses the all-zero result, and nothing else of 32 bytes.
      return undefined;
    }
  },

  equal(a, b) {
    if (a.length !== b.length) return false;
    let different = 0;
    // No early way out: the time must not tell how many bytes were right.
    for (let i = 0; i < a.length; i++) different |= (a[i] as number) ^ (b[i] as number);
    return different === 0;
  },

  alloc: (size) => new Uint8Array(size),
};
