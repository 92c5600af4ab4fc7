/** The stream: whatever way TCP cuts a link's bytes, the same comes out; and what a record and its counter may be. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { nodeProvider } from "../../src/crypto/aead-node.ts";
import { LinkError } from "../../src/crypto/fault.ts";
import { MAX_RECORDS, Opener, Sealer } from "../../src/crypto/record.ts";
import { LinkStream, Units } from "../../src/crypto/stream.ts";
import { hex } from "./hex.ts";
import { makeClient, makeServer, seeded, shaken } from "./pair.ts";

const text = (value: string) => new TextEncoder().encode(value);
const WORDS = ["", "a", "x".repeat(300), "", "y".repeat(4096), "end"];

/** Everything a client sends, and the daemon's stream that it goes to. */
function conversation(x25519: boolean) {
  const wish = x25519 ? ({ x25519: "require" } as const) : {};
  const { client } = shaken(wish);
  const sent = [client.hello, ...WORDS.map((word) => client.seal(text(word)))];
  return { bytes: Buffer.concat(sent), stream: new LinkStream(makeServer(wish)) };
}

function cutAt(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const cuts = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return cuts.slice(1).map((end, i) => bytes.subarray(cuts[i], end));
}

describe("a link over a byte stream", () => {
  for (const x25519 of [false, true]) {
    test(`any chunking gives the same${x25519 ? ", with X25519" : ""}`, () => {
      const whole = shaken(x25519 ? { x25519: "require" } : {}).reply;
      fc.assert(
        fc.property(fc.array(fc.nat(), { maxLength: 30 }), fc.boolean(), (places, bytewise) => {
          const { bytes, stream } = conversation(x25519);
          const chunks = bytewise ? Array.from(bytes, (_, i) => bytes.subarray(i, i + 1)) : cutAt(bytes, places);
          const seen: string[] = [];
          let reply: Uint8Array | undefined;
          for (const chunk of chunks) {
            for (const taken of stream.take(chunk)) {
              if (taken.kind === "reply") reply = taken.bytes;
              if (taken.kind === "record") seen.push(new TextDecoder().decode(taken.plaintext));
            }
          }
          assert.deepEqual(seen, WORDS);
          assert.equal(hex(reply ?? text("")), hex(whole));
        }),
        { numRuns: 60 },
      );
    });
  }

  test("a stream cut anywhere is a truncation, and gives only what was whole", () => {
    const { bytes } = conversation(false);
    for (const size of [0, 3, 47, 48, 49, 60, bytes.length - 1, bytes.length]) {
      const { stream } = conversation(false);
      const seen = [...stream.take(bytes.subarray(0, size))].filter(({ kind }) => kind === "record");
      assert.ok(seen.length <= WORDS.length && size < bytes.length === seen.length < WORDS.length);
      assert.equal(stream.link.end(), "truncated");
    }
  });

  test("what is no hello is refused at its first wrong byte", () => {
    for (const start of ["G", "CIB2", "\x16\x03", "CIc"]) {
      const stream = new LinkStream(makeServer());
      assert.throws(() => [...stream.take(text(start))], { fault: "magic" });
    }
    const patient = new LinkStream(makeServer());
    assert.deepEqual([...patient.take(text("CIB1"))], []);
    assert.equal(patient.link.state, "greeting");
  });

  test("a record longer than was agreed is refused at its second byte, before anything is kept", () => {
    const { bytes, stream } = conversation(false);
    assert.equal([...stream.take(bytes.subarray(0, 48))].length, 1);
    assert.deepEqual([...stream.take(Uint8Array.of(0x10))], []);
    assert.throws(() => [...stream.take(Uint8Array.of(0x01))], { fault: "too_large" });
    assert.equal(stream.link.state, "closed");
  });

  test("the client's side takes reply and records from a stream, too", () => {
    for (const x25519 of [false, true]) {
      const wish = x25519 ? ({ x25519: "require" } as const) : {};
      const { client, server, reply } = shaken(wish);
      server.take(client.seal(text("")));
      const bytes = Buffer.concat([reply, ...WORDS.map((word) => server.seal(text(word)))]);
      const stream = new LinkStream(makeClient(wish));
      const taken = Array.from(bytes, (_, i) => [...stream.take(bytes.subarray(i, i + 1))]).flat();
      assert.deepEqual(
        taken.map(({ kind }) => kind),
        ["greeted", ...WORDS.map(() => "record")],
      );
    }
  });

  test("random bytes after the hello close the link, and throw nothing but a LinkError", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 60 }), { minLength: 1 }), (chunks) => {
        const { bytes, stream } = conversation(false);
        assert.equal([...stream.take(bytes.subarray(0, 48))].length, 1);
        try {
          for (const chunk of chunks) assert.deepEqual([...stream.take(chunk)], []);
        } catch (thrown) {
          assert.ok(thrown instanceof LinkError, String(thrown));
          assert.match(thrown.fault, /^(tag|too_large)$/);
        }
        assert.notEqual(stream.link.state, "live");
      }),
    );
  });

  test("what arrives whole is not copied, and what does not is kept in one buffer", () => {
    const units = new Units(8, (start) => start[0]);
    const chunk = Uint8Array.of(3, 1, 2, 2, 9);
    const [first, second] = [...units.cut(chunk)];
    assert.equal(first?.buffer, chunk.buffer);
    assert.deepEqual([first?.length, second?.length, units.waiting], [3, 2, 0]);
    assert.deepEqual([...units.cut(Uint8Array.of(4, 1))], []);
    assert.equal(units.waiting, 2);
    assert.deepEqual(
      [...units.cut(Uint8Array.of(2, 3, 1))].map((unit) => hex(unit)),
      ["04010203", "01"],
    );
  });
});

describe("records", () => {
  const aead = nodeProvider.aead(seeded("record key")(32));

  test("the counter ends before 2^24 on both sides", () => {
    const sealer = new Sealer(nodeProvider, aead, { from: MAX_RECORDS - 1 });
    const opener = new Opener(aead, { from: MAX_RECORDS - 1 });
    const last = sealer.seal(text("last"));
    assert.equal(new TextDecoder().decode(opener.open(last)), "last");
    assert.equal(sealer.count, 2 ** 24 - 1);
    assert.throws(() => sealer.seal(text("one more")), { fault: "limit" });
    assert.throws(() => opener.open(last), { fault: "limit" });
  });

  test("the nonce is the counter, so that two records of the same text differ", () => {
    const sealer = new Sealer(nodeProvider, aead);
    assert.notEqual(hex(sealer.seal(text("same"))), hex(sealer.seal(text("same"))));
    const far = new Sealer(nodeProvider, aead, { from: 0x01_02_03 });
    const nonce = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3);
    const expected = new Uint8Array(22);
    expected.set([0, 4]);
    aead.seal(nonce, Uint8Array.of(0, 4), text("same"), expected, 2);
    assert.equal(hex(far.seal(text("same"))), hex(expected));
  });

  test("before the record stands its counter where the carrier may repeat", () => {
    const sealer = new Sealer(nodeProvider, aead, { counted: true, from: 0xabcdef });
    assert.equal(hex(sealer.seal(text("")).subarray(0, 6)), "00abcdef0000");
  });

  test("a text too long for its length is a mistake of ours, in 16 bits and in 15", () => {
    const sealer = new Sealer(nodeProvider, aead);
    assert.equal(sealer.seal(new Uint8Array(65_535)).length, 65_535 + 18);
    assert.throws(() => sealer.seal(new Uint8Array(65_536)), /plaintext: expected at most 65535 bytes, got 65536/);
    const marked = new Sealer(nodeProvider, aead, { marked: true });
    assert.throws(() => marked.seal(new Uint8Array(32_768)), /plaintext: expected at most 32767 bytes, got 32768/);
    assert.equal(hex(marked.seal(new Uint8Array(1), true).subarray(0, 2)), "8001");
  });

  test("what is shorter than a record, or not as long as it says, is refused before the cipher", () => {
    for (const bytes of [new Uint8Array(), new Uint8Array(17), new Uint8Array(19), Uint8Array.of(1, 0)])
      assert.throws(() => new Opener(aead).open(bytes), { fault: "size" });
  });
});
