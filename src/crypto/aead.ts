/** Aead: the few primitives that CIB1 is made of, behind one interface; a link never knows which library computes them. */

/** AES-256 key, SHA-256 digest, X25519 key: 32 bytes each. */
export const KEY_BYTES = 32;
/** NIST SP 800-38D §5.2.1.1: 96-bit nonces take the short way. */
export const NONCE_BYTES = 12;
/** NIST SP 800-38D §5.2.1.2: the longest tag, never cut. */
export const TAG_BYTES = 16;

/** AES-256-GCM bound to one key, which cannot be read back. */
export interface Aead {
  /** Writes ciphertext and tag to `out` from `at` on: plaintext.length + TAG_BYTES bytes. `nonce`: 12 bytes, never twice. */
  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array, out: Uint8Array, at: number): void;
  /** The plaintext in memory of its own, or undefined when the tag is wrong. `sealed`: ciphertext and tag, at least 16 bytes. */
  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined;
}

/** One library's primitives. All synchronous, all without randomness of their own. */
export interface Provider {
  readonly name: "node" | "noble";
  /** HMAC-SHA-256 of the parts joined: 32 bytes (RFC 2104). */
  hmac(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array;
  /** SHA-256 of the parts joined: 32 bytes. */
  sha256(...parts: readonly Uint8Array[]): Uint8Array;
  /** `key`: 32 bytes, copied: the caller may wipe its own. */
  aead(key: Uint8Array): Aead;
  /** The public key of 32 random bytes (RFC 7748 §5, clamped inside). */
  x25519Public(secret: Uint8Array): Uint8Array;
  /** The shared secret, or undefined when it is all zeros: a point of small order (RFC 7748 §6.1). */
  x25519(secret: Uint8Array, theirs: Uint8Array): Uint8Array | undefined;
  /** Whether two byte strings are the same, in a time that tells their lengths only. */
  equal(a: Uint8Array, b: Uint8Array): boolean;
  /** Bytes to be filled by the caller, whole: what they hold before is undefined. */
  alloc(size: number): Uint8Array;
}

/** Throws RangeError naming the argument when it is not exactly `size` bytes. */
export function checkSize(name: string, bytes: Uint8Array, size: number): void {
  if (bytes.length !== size) throw new RangeError(`${name}: expected ${size} bytes, got ${bytes.length}`);
}
