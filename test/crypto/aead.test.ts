/** Aead: both libraries keep the published answers, refuse what was altered, and never differ from each other. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { inspect } from "node:util";
import fc from "fast-check";
import { type Provider, TAG_BYTES } from "../../src/crypto/aead.ts";
import { nobleProvider } from "../../src/crypto/aead-noble.ts";
import { nodeProvider } from "../../src/crypto/aead-node.ts";
import { bytes, hex } from "./hex.ts";

interface GcmVector {
  readonly key: string;
  readonly nonce: string;
  readonly plaintext: string;
  readonly aad: string;
  readonly ciphertext: string;
  readonly tag: string;
}

const GCM = JSON.parse(readFileSync(new URL("../vectors/gcm.json", import.meta.url), "utf8")) as {
  readonly cavp: readonly GcmVector[];
  readonly spec: readonly GcmVector[];
};

const ALICE = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
const BOB = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
const ALICE_PUBLIC = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
const BOB_PUBLIC = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
const SHARED = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";

/** Points whose product with any clamped scalar is zero (RFC 7748 §6.1; the list is of the paper behind it). */
const SMALL_ORDER = [
  "00".repeat(32),
  `01${"00".repeat(31)}`,
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  `ec${"ff".repeat(30)}7f`,
  `ed${"ff".repeat(30)}7f`,
  `ee${"ff".repeat(30)}7f`,
];

function seal(provider: Provider, v: Pick<GcmVector, "key" | "nonce" | "aad" | "plaintext">): Uint8Array {
  const plaintext = bytes(v.plaintext);
  // Not at the beginning, and not aligned: as a record uses it.
  const out = new Uint8Array(3 + plaintext.length + TAG_BYTES);
  provider.aead(bytes(v.key)).seal(bytes(v.nonce), bytes(v.aad), plaintext, out, 3);
  assert.equal(hex(out.subarray(0, 3)), "000000");
  return out.subarray(3);
}

function open(provider: Provider, v: Pick<GcmVector, "key" | "nonce" | "aad">, sealed: Uint8Array) {
  return provider.aead(bytes(v.key)).open(bytes(v.nonce), bytes(v.aad), sealed);
}

for (const provider of [nodeProvider, nobleProvider]) {
  describe(`primitives, ${provider.name}`, () => {
    for (const [i, vector] of [...GCM.cavp, ...GCM.spec].entries()) {
      test(`AES-256-GCM, NIST answer ${i}: sealed, opened, and refused with any byte changed`, () => {
        const sealed = seal(provider, vector);
        assert.equal(hex(sealed), vector.ciphertext + vector.tag);
        assert.equal(hex(open(provider, vector, sealed) ?? bytes("ff")), vector.plaintext);
        for (let at = 0; at < sealed.length; at++) {
          const altered = Uint8Array.from(sealed);
          altered[at] = (altered[at] as number) ^ 1;
          assert.equal(open(provider, vector, altered), undefined);
        }
        assert.equal(open(provider, { ...vector, aad: `${vector.aad}00` }, sealed), undefined);
        assert.equal(open(provider, { ...vector, nonce: "ff".repeat(12) }, sealed), undefined);
      });
    }

    test("less than a tag is no sealed text", () => {
      const [vector] = GCM.spec as [GcmVector];
      for (let size = 0; size < TAG_BYTES; size++)
        assert.equal(open(provider, vector, bytes(vector.tag).subarray(0, size)), undefined);
    });

    test("X25519 as in RFC 7748", () => {
      const x = (secret: string, theirs: string) =>
        hex(provider.x25519(bytes(secret), bytes(theirs)) ?? new Uint8Array());
      assert.equal(
        x(
          "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
          "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
        ),
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
      );
      assert.equal(hex(provider.x25519Public(bytes(ALICE))), ALICE_PUBLIC);
      assert.equal(hex(provider.x25519Public(bytes(BOB))), BOB_PUBLIC);
      assert.equal(x(ALICE, BOB_PUBLIC), SHARED);
      assert.equal(x(BOB, ALICE_PUBLIC), SHARED);
    });

    test("a public key of small order gives no shared secret", () => {
      for (const point of SMALL_ORDER) assert.equal(provider.x25519(bytes(ALICE), bytes(point)), undefined, point);
    });

    test("HMAC as in RFC 4231 and SHA-256 as in FIPS 180-4, however the bytes are cut", () => {
      const text = (value: string) => new TextEncoder().encode(value);
      // RFC 4231 §4.3
      const mac = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
      assert.equal(hex(provider.hmac(text("Jefe"), text("what do ya want "), text("for nothing?"))), mac);
      assert.equal(hex(provider.hmac(text("Jefe"), text("what do ya want for nothing?"))), mac);
      const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
      assert.equal(hex(provider.sha256(text("abc"))), abc);
      assert.equal(hex(provider.sha256(text("a"), new Uint8Array(), text("bc"))), abc);
    });

    test("equal compares whole", () => {
      assert.equal(provider.equal(bytes("0102"), bytes("0102")), true);
      assert.equal(provider.equal(bytes("0102"), bytes("0103")), false);
      assert.equal(provider.equal(bytes("0202"), bytes("0102")), false);
      assert.equal(provider.equal(bytes("01"), bytes("0102")), false);
      assert.equal(provider.equal(bytes(""), bytes("")), true);
    });

    test("a wrong size is named with what arrived", () => {
      assert.throws(() => provider.aead(new Uint8Array(16)), new RangeError("key: expected 32 bytes, got 16"));
      const aead = provider.aead(new Uint8Array(32));
      const [none, nonce] = [new Uint8Array(), new Uint8Array(8)];
      assert.throws(() => aead.seal(nonce, none, none, new Uint8Array(16), 0), /nonce: expected 12 bytes, got 8/);
      assert.throws(() => aead.open(nonce, none, new Uint8Array(16)), /nonce: expected 12 bytes, got 8/);
      assert.throws(() => provider.x25519(new Uint8Array(31), new Uint8Array(32)), /secret: expected 32 bytes, got 31/);
      assert.throws(() => provider.x25519(new Uint8Array(32), nonce), /public key: expected 32 bytes, got 8/);
      assert.throws(() => provider.x25519Public(nonce), /secret: expected 32 bytes, got 8/);
    });

    test("a cipher outlives the caller's key, and shows none of it", () => {
      const key = Uint8Array.from({ length: 32 }, () => 0xa7);
      const aead = provider.aead(key);
      const out = new Uint8Array(TAG_BYTES);
      aead.seal(new Uint8Array(12), new Uint8Array(), new Uint8Array(), out, 0);
      key.fill(0);
      assert.deepEqual(aead.open(new Uint8Array(12), new Uint8Array(), out)?.length, 0);
      assert.doesNotMatch(inspect(aead, { showHidden: true, depth: 9 }) + JSON.stringify(aead), /a7|167/);
    });
  });
}

describe("node and noble", () => {
  const of = (size: number) => fc.uint8Array({ minLength: size, maxLength: size });
  /** Around the block of 16 and the four blocks that noble takes at once. */
  const message = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc.uint8Array({ minLength: 1000, maxLength: 2100 }),
    fc.constantFrom(0, 1, 15, 16, 17, 31, 32, 63, 64, 65, 4096).map((size) => new Uint8Array(size).fill(size)),
  );

  test("what one seals the other opens, and both seal the same", () => {
    fc.assert(
      fc.property(of(32), of(12), fc.uint8Array({ maxLength: 40 }), message, fc.nat(3), (key, nonce, aad, text, at) => {
        const [ours, theirs] = [nodeProvider, nobleProvider].map((provider) => {
          const out = new Uint8Array(at + text.length + TAG_BYTES);
          provider.aead(key).seal(nonce, aad, text, out, at);
          return out;
        }) as [Uint8Array, Uint8Array];
        assert.equal(hex(ours), hex(theirs));
        for (const provider of [nodeProvider, nobleProvider])
          assert.equal(hex(provider.aead(key).open(nonce, aad, ours.subarray(at)) ?? bytes("00")), hex(text));
      }),
      { numRuns: 200 },
    );
  });

  test("what one refuses the other refuses", () => {
    fc.assert(
      fc.property(of(32), of(12), message, fc.nat(), fc.nat(7), (key, nonce, text, place, bit) => {
        const sealed = new Uint8Array(text.length + TAG_BYTES);
        nodeProvider.aead(key).seal(nonce, new Uint8Array(), text, sealed, 0);
        const at = place % sealed.length;
        sealed[at] = (sealed[at] as number) ^ (1 << bit);
        for (const provider of [nodeProvider, nobleProvider])
          assert.equal(provider.aead(key).open(nonce, new Uint8Array(), sealed), undefined);
      }),
      { numRuns: 200 },
    );
  });

  test("hashes are the same, and so is X25519, whatever the keys", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.array(message, { maxLength: 4 }), (key, parts) => {
        assert.equal(hex(nodeProvider.hmac(key, ...parts)), hex(nobleProvider.hmac(key, ...parts)));
        assert.equal(hex(nodeProvider.sha256(...parts)), hex(nobleProvider.sha256(...parts)));
      }),
      { numRuns: 100 },
    );
    fc.assert(
      fc.property(of(32), of(32), (secret, theirs) => {
        assert.equal(hex(nodeProvider.x25519Public(secret)), hex(nobleProvider.x25519Public(secret)));
        const shared = [nodeProvider, nobleProvider].map((provider) => provider.x25519(secret, theirs));
        assert.equal(shared[0] && hex(shared[0]), shared[1] && hex(shared[1]));
      }),
      { numRuns: 50 },
    );
  });
});

test("what is allocated overlaps nothing, and keeps no memory that Node's own pool hands out", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 5000 }), { maxLength: 40 }), (sizes) => {
      const all = sizes.map((size, i) => nodeProvider.alloc(size).fill(i));
      for (const [i, each] of all.entries()) {
        assert.equal(each.length, sizes[i]);
        assert.ok(each.every((byte) => byte === i));
        assert.notEqual(each.buffer, Buffer.from("a line of the log").buffer);
      }
    }),
  );
});
