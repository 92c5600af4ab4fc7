/** The link: what an attacker on the path may do to a handshake and to records, and that none of it gets through. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { inspect } from "node:util";
import fc from "fast-check";
import { nobleProvider } from "../../src/crypto/aead-noble.ts";
import { nodeProvider } from "../../src/crypto/aead-node.ts";
import { LinkError, type LinkFault } from "../../src/crypto/fault.ts";
import type { Carrier, Link, Taken } from "../../src/crypto/link.ts";
import { LinkKey } from "../../src/crypto/schedule.ts";
import { hex } from "./hex.ts";
import { alive, counting, KEY_ID, makeClient, makeServer, SECRET, seeded, shaken } from "./pair.ts";

const NOTHING = new Uint8Array();
const CARRIERS: readonly Carrier[] = ["stream", "socket", "mqtt"];
const text = (value: string) => new TextEncoder().encode(value);

/** The fault, after which the link must be closed for good. */
function faultOf(link: Link, act: () => unknown): LinkFault {
  try {
    act();
  } catch (thrown) {
    assert.ok(thrown instanceof LinkError, String(thrown));
    assert.equal(link.state, "closed");
    assert.throws(() => link.take(NOTHING), { fault: "closed" });
    assert.throws(() => link.seal(NOTHING), { fault: "closed" });
    return thrown.fault;
  }
  throw new Error("nothing was refused");
}

function plaintext(taken: Taken): string {
  assert.ok(taken.kind === "record", taken.kind);
  return new TextDecoder().decode(taken.plaintext);
}

/** A hello with other head bytes, under a mac that holds. */
function rehello(change: (head: Uint8Array) => void, x25519 = false): Uint8Array {
  const hello = makeClient(x25519 ? { x25519: "offer" } : {}).hello;
  const head = hello.slice(0, -16);
  change(head);
  const whole = new Uint8Array(hello.length);
  whole.set(head);
  whole.set(new LinkKey(nodeProvider, SECRET).mac1(head), head.length);
  return whole;
}

for (const carrier of CARRIERS) {
  for (const provider of [nodeProvider, nobleProvider]) {
    describe(`link, ${carrier}, ${provider.name}`, () => {
      for (const x25519 of [undefined, "offer", "require"] as const) {
        test(`what is sealed on one side is opened on the other${x25519 ? ` with X25519 (${x25519})` : ""}`, () => {
          const { client, server } = shaken({ carrier, provider, ...(x25519 && { x25519 }) });
          assert.deepEqual([client.state, server.state, server.owner], ["live", "half-open", "lamp"]);
          const first = server.take(client.seal(text("first")));
          assert.deepEqual([plaintext(first), first.kind === "record" && first.first], ["first", true]);
          assert.equal(server.state, "live");
          for (const word of ["", "a", "x".repeat(4096)]) {
            const up = server.take(client.seal(text(word)));
            assert.deepEqual([plaintext(up), up.kind === "record" && up.first], [word, false]);
            assert.equal(plaintext(client.take(server.seal(text(word)))), word);
          }
        });
      }

      test("every bit flipped in a record closes the link", () => {
        const size = client().length;
        for (let bit = 0; bit < size * 8; bit++) {
          const pair = alive({ carrier, provider });
          const record = pair.client.seal(text("tool allowed"));
          record[bit >> 3] = (record[bit >> 3] as number) ^ (1 << (bit & 7));
          // Over MQTT the counter stands in the clear: a lower one is a repeat, which changes nothing.
          if (carrier === "mqtt" && bit < 32) {
            const lower = new DataView(record.buffer, record.byteOffset).getUint32(0) < 1;
            if (lower) assert.deepEqual(pair.server.take(record), { kind: "repeat" });
            else
              assert.equal(
                faultOf(pair.server, () => pair.server.take(record)),
                "counter",
              );
            continue;
          }
          assert.match(
            faultOf(pair.server, () => pair.server.take(record)),
            /^(tag|size|too_large)$/,
          );
        }
        function client(): Uint8Array {
          return alive({ carrier, provider }).client.seal(text("tool allowed"));
        }
      });
    });
  }
}

describe("hello", () => {
  test("every bit flipped in a hello is refused, with one HMAC and no X25519", () => {
    for (const x25519 of [undefined, "offer"] as const) {
      const hello = makeClient(x25519 ? { x25519 } : {}).hello;
      for (let bit = 0; bit < hello.length * 8; bit++) {
        const { provider, counts } = counting();
        const server = makeServer({ provider });
        const made = counts.hmac;
        const altered = Uint8Array.from(hello);
        altered[bit >> 3] = (altered[bit >> 3] as number) ^ (1 << (bit & 7));
        assert.match(
          faultOf(server, () => server.take(altered)),
          /^(magic|size|mac)$/,
        );
        assert.ok(counts.hmac - made <= 1);
        assert.deepEqual([counts.x25519, counts.x25519Public, counts.aead], [0, 0, 0]);
      }
    }
  });

  test("every bit flipped in a reply is refused", () => {
    for (const x25519 of [undefined, "offer"] as const) {
      const wish = x25519 ? { x25519 } : {};
      const reply = makeServer(wish).take(makeClient(wish).hello);
      assert.ok(reply.kind === "reply");
      for (let bit = 0; bit < reply.bytes.length * 8; bit++) {
        const client = makeClient(wish);
        const altered = Uint8Array.from(reply.bytes);
        altered[bit >> 3] = (altered[bit >> 3] as number) ^ (1 << (bit & 7));
        assert.match(
          faultOf(client, () => client.take(altered)),
          /^(magic|size|mac)$/,
        );
      }
    }
  });

  test("an unknown key id costs the same work as a wrong key, and looks the same", () => {
    const work = [{ keyId: new Uint8Array(8) }, { secret: new Uint8Array(32) }].map((wish) => {
      const { provider, counts } = counting();
      const server = makeServer({ provider });
      const { hello } = makeClient({ ...wish, x25519: "offer" });
      const before = { ...counts };
      const fault = faultOf(server, () => server.take(hello));
      const work = Object.entries(counts).map(([what, n]) => [what, n - before[what as keyof typeof before]]);
      return { fault, work: Object.fromEntries(work) as Record<string, number> };
    });
    assert.deepEqual(work[0], work[1]);
    assert.deepEqual(work[0]?.work, { ...zeros(work[0]?.work), hmac: 1, equal: 1 });
    assert.equal(work[0]?.fault, "mac");
  });

  test("the dummy opens nothing, even to one who could know it", () => {
    const server = makeServer();
    const { hello } = makeClient({ keyId: new Uint8Array(8), secret: seeded("dummy")(32) });
    assert.equal(
      faultOf(server, () => server.take(hello)),
      "mac",
    );
  });

  const offers: readonly (readonly [string, LinkFault, (head: Uint8Array) => void])[] = [
    ["an unknown suite", "suite", (head) => head.fill(2, 5, 6)],
    ["suite 0", "suite", (head) => head.fill(0, 5, 6)],
    ["an unknown flag", "flags", (head) => head.fill(4, 4, 5)],
    ["the highest flag", "flags", (head) => head.fill(0x80, 4, 5)],
    ["the MQTT flag outside MQTT", "carrier", (head) => head.fill(2, 4, 5)],
    ["room for less than the smallest frame", "accepts", (head) => head.set([0, 127], 6)],
  ];
  for (const [what, fault, change] of offers) {
    test(`${what} is refused under a mac that holds`, () => {
      const server = makeServer();
      assert.equal(
        faultOf(server, () => server.take(rehello(change))),
        fault,
      );
    });
  }

  test("a handshake is bound to its carrier, both ways", () => {
    for (const [from, to] of [
      ["stream", "mqtt"],
      ["mqtt", "stream"],
      ["socket", "mqtt"],
      ["mqtt", "socket"],
    ] as const) {
      const server = makeServer({ carrier: to });
      assert.equal(
        faultOf(server, () => server.take(makeClient({ carrier: from }).hello)),
        "carrier",
      );
      // The reply of a link over one carrier, moved to a client that greeted over the other.
      const { reply } = shaken({ carrier: from });
      const client = makeClient({ carrier: to });
      assert.equal(
        faultOf(client, () => client.take(reply)),
        "mac",
      );
    }
  });

  test("a key that requires X25519 refuses a hello without it, and takes one with it", () => {
    const server = makeServer({ requireX25519: true });
    assert.equal(
      faultOf(server, () => server.take(makeClient().hello)),
      "x25519",
    );
    assert.equal(alive({ requireX25519: true, x25519: "offer" }).server.state, "live");
  });

  test("a public key of small order closes the link after mac1, before any key is made", () => {
    const { provider, counts } = counting();
    const server = makeServer({ provider });
    const hello = rehello((head) => head.fill(0, 32), true);
    assert.equal(
      faultOf(server, () => server.take(hello)),
      "x25519",
    );
    assert.deepEqual([counts.x25519, counts.aead], [1, 0]);
  });

  test("a client refuses a reply whose flags it did not offer, whose suite it does not know, or without what it requires", () => {
    const key = new LinkKey(nodeProvider, SECRET);
    const answer = (client: { hello: Uint8Array }, head: number[]): Uint8Array => {
      const start = Uint8Array.from([...text("CIB1"), ...head, ...seeded("Rs")(16)]);
      return Uint8Array.from([...start, ...key.mac2(client.hello, start)]);
    };
    const refusals: readonly (readonly [LinkFault, number[], object?])[] = [
      ["flags", [4, 1, 16, 0]],
      ["flags", [2, 1, 16, 0]],
      ["suite", [0, 2, 16, 0]],
      ["accepts", [0, 1, 0, 127]],
      ["x25519", [0, 1, 16, 0], { x25519: "require" }],
      ["carrier", [0, 1, 16, 0], { carrier: "mqtt" }],
    ];
    for (const [fault, head, wish] of refusals) {
      const client = makeClient(wish);
      assert.equal(
        faultOf(client, () => client.take(answer(client, head))),
        fault,
      );
    }
    const client = makeClient({ x25519: "offer" });
    assert.equal(client.take(answer(client, [0, 1, 16, 0])).kind, "greeted", "declined, and offered only");
    const misled = makeClient({ x25519: "offer" });
    const head = Uint8Array.from([...text("CIB1"), 1, 1, 16, 0, ...seeded("Rs")(16), ...new Uint8Array(32)]);
    const reply = Uint8Array.from([...head, ...key.mac2(misled.hello, head)]);
    assert.equal(
      faultOf(misled, () => misled.take(reply)),
      "x25519",
      "a public key of small order",
    );
  });

  test("a replayed hello earns a reply and nothing more", () => {
    const { client } = alive();
    const record = shaken().client.seal(text("first"));
    const server = makeServer({ seed: "another daemon random" });
    assert.equal(server.take(client.hello).kind, "reply");
    assert.equal(server.state, "half-open");
    assert.throws(() => server.seal(text("secret")), /before it lives/);
    assert.equal(
      faultOf(server, () => server.take(record)),
      "tag",
    );
  });

  test("a reply to another hello is refused", () => {
    const { reply } = shaken({ seed: "one" });
    const client = makeClient({ seed: "two" });
    assert.equal(
      faultOf(client, () => client.take(reply)),
      "mac",
    );
  });

  test("a client's hello sent back to it is no reply", () => {
    for (const carrier of CARRIERS) {
      const client = makeClient({ carrier });
      assert.match(
        faultOf(client, () => client.take(client.hello)),
        /^(size|mac)$/,
      );
    }
  });

  test("whatever arrives first, only a LinkError is thrown, and nothing lives", () => {
    const hello = makeClient().hello;
    const mutated = fc
      .tuple(fc.array(fc.tuple(fc.nat(90), fc.nat(255)), { maxLength: 6 }), fc.nat(100))
      .map(([changes, size]) => {
        const bytes = new Uint8Array(size);
        bytes.set(hello.subarray(0, size));
        for (const [at, value] of changes) if (at < size) bytes[at] = value;
        return bytes;
      });
    const anything = fc.oneof(fc.uint8Array({ maxLength: 200 }), mutated);
    fc.assert(
      fc.property(anything, fc.constantFrom(...CARRIERS), (bytes, carrier) => {
        for (const link of [makeServer({ carrier }), makeClient({ carrier, x25519: "offer" })]) {
          try {
            const { kind } = link.take(bytes);
            // The hello itself, untouched; or over MQTT what is no greeting, and belongs to an older link.
            assert.ok(kind === "stranger" || hex(bytes) === hex(hello), kind);
          } catch (thrown) {
            assert.ok(thrown instanceof LinkError, String(thrown));
            assert.equal(link.state, "closed");
          }
          assert.notEqual(link.state, "live");
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("records", () => {
  test("a record comes once, in its place, or the link closes", () => {
    for (const carrier of ["stream", "socket"] as const) {
      const order = [[0, 0], [1], [0, 2], [0, 1, 0], [0, 1, 1]];
      for (const places of order) {
        const { client, server } = shaken({ carrier });
        const records = [0, 1, 2].map((n) => client.seal(text(`record ${n}`)));
        const last = places.pop() as number;
        for (const place of places) server.take(records[place] as Uint8Array);
        assert.equal(
          faultOf(server, () => server.take(records[last] as Uint8Array)),
          "tag",
        );
      }
    }
  });

  test("any order but the right one is refused, at the first record out of place", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(7), { maxLength: 12 }), (order) => {
        const { client, server } = shaken();
        const records = Array.from({ length: 8 }, (_, n) => client.seal(text(`${n}`)));
        const right = order.findIndex((place, i) => place !== i);
        const good = right < 0 ? order.length : right;
        for (let i = 0; i < good; i++) assert.equal(plaintext(server.take(records[i] as Uint8Array)), `${i}`);
        if (right >= 0)
          assert.equal(
            faultOf(server, () => server.take(records[order[right] as number] as Uint8Array)),
            "tag",
          );
      }),
    );
  });

  test("a client's own record, reflected, is refused", () => {
    for (const carrier of CARRIERS) {
      const { client } = shaken({ carrier });
      const record = client.seal(text("allow"));
      assert.equal(
        faultOf(client, () => client.take(record)),
        "tag",
      );
    }
  });

  test("a record cut short or lengthened is refused", () => {
    for (const carrier of ["socket", "mqtt"] as const) {
      for (const change of [-1, 1, -16]) {
        const { client, server } = shaken({ carrier });
        const record = client.seal(text("a text of some length"));
        const altered = new Uint8Array(record.length + change);
        altered.set(record.subarray(0, altered.length));
        assert.equal(
          faultOf(server, () => server.take(altered)),
          "size",
        );
      }
    }
  });

  test("a record of another connection of the same key is refused", () => {
    const other = shaken({ seed: "other" }).client.seal(text("allow"));
    const { server } = shaken();
    assert.equal(
      faultOf(server, () => server.take(other)),
      "tag",
    );
  });

  test("the largest plaintext is kept to, both ways", () => {
    const { client, server } = alive({ clientAccepts: 200, serverAccepts: 300 });
    assert.deepEqual([client.room, server.room], [300, 200]);
    assert.equal(plaintext(server.take(client.seal(text("x".repeat(300))))).length, 300);
    assert.equal(plaintext(client.take(server.seal(text("x".repeat(200))))).length, 200);
    assert.throws(() => client.seal(text("x".repeat(301))), /the peer accepts 300 bytes, got 301/);
    assert.throws(() => server.seal(text("x".repeat(201))), /the peer accepts 200 bytes, got 201/);
    assert.equal(client.state, "live", "our own mistake is not the peer's");
    // A peer that sends more than it was told is cut before a byte is kept or opened.
    assert.equal(
      faultOf(client, () => client.sizeOf(Uint8Array.of(0, 201))),
      "too_large",
    );
    assert.equal(
      faultOf(server, () => server.take(new Uint8Array(319))),
      "too_large",
    );
  });

  test("an accepts that no frame fits is a mistake of ours", () => {
    for (const accepts of [0, 127, 65_536, Number.NaN])
      assert.throws(() => makeServer({ serverAccepts: accepts }), /accepts: expected 128 to 65535, got/);
  });

  test("the end is clean after an authenticated bye, and a truncation without", () => {
    const { client, server } = alive();
    server.take(client.seal(text("bye")));
    server.farewell();
    assert.equal(server.state, "left");
    assert.throws(() => server.take(client.seal(NOTHING)), { fault: "closed" });
    assert.throws(() => server.seal(NOTHING), { fault: "closed" });
    assert.equal(server.end(), "clean");
    assert.equal(client.end(), "truncated");
    assert.equal(makeServer().end(), "truncated");
    const half = shaken().server;
    half.farewell();
    assert.equal(half.end(), "truncated", "nothing was authenticated yet");
  });

  test("nothing is sent before a link lives", () => {
    assert.throws(() => makeClient().seal(NOTHING), /before it lives/);
    assert.throws(() => makeServer().seal(NOTHING), /before it lives/);
    assert.throws(() => shaken().server.seal(NOTHING), /before it lives/);
  });
});

describe("MQTT", () => {
  test("a hello that comes twice gets the same reply, also when the link lives", () => {
    const { client, server, reply } = shaken({ carrier: "mqtt" });
    assert.deepEqual(server.take(client.hello), { kind: "reply", bytes: reply });
    server.take(client.seal(text("first")));
    assert.deepEqual(server.take(client.hello), { kind: "reply", bytes: reply });
    assert.deepEqual(client.take(reply), { kind: "repeat" });
    assert.equal(plaintext(server.take(client.seal(text("second")))), "second");
  });

  test("another hello or an older link's record is a stranger: the link goes on", () => {
    const old = shaken({ carrier: "mqtt", seed: "old" });
    const fresh = makeServer({ carrier: "mqtt" });
    assert.deepEqual(fresh.take(old.client.seal(text("late"))), { kind: "stranger" });
    const { client, server } = alive({ carrier: "mqtt" });
    assert.deepEqual(server.take(old.client.hello), { kind: "stranger" });
    assert.deepEqual(client.take(old.reply), { kind: "stranger" });
    assert.equal(plaintext(server.take(client.seal(text("on")))), "on");
  });

  test("a record that comes twice is ignored, a missing one closes", () => {
    const { client, server } = alive({ carrier: "mqtt" });
    const records = ["a", "b", "c"].map((word) => client.seal(text(word)));
    assert.equal(plaintext(server.take(records[0] as Uint8Array)), "a");
    assert.deepEqual(server.take(records[0] as Uint8Array), { kind: "repeat" });
    assert.equal(
      faultOf(server, () => server.take(records[2] as Uint8Array)),
      "counter",
    );
  });

  test("any pattern of repeats gives the records once and in order", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(4), { minLength: 1, maxLength: 20 }), (repeats) => {
        const { client, server } = alive({ carrier: "mqtt" });
        const sent: Uint8Array[] = [];
        const seen: string[] = [];
        for (const [n, back] of repeats.entries()) {
          sent.push(client.seal(text(`${n}`)));
          for (const record of sent.slice(Math.max(0, sent.length - 1 - back)).reverse()) {
            const taken = server.take(record);
            if (taken.kind === "record") seen.push(plaintext(taken));
            else assert.equal(taken.kind, "repeat");
          }
        }
        assert.deepEqual(
          seen,
          repeats.map((_, n) => `${n}`),
        );
      }),
    );
  });
});

describe("what a link shows", () => {
  test("no key, no secret and no random stands in a field, an error or JSON", () => {
    const secret = new Uint8Array(32).fill(0xa7);
    const key = new LinkKey(nobleProvider, secret);
    const { client, server } = alive({ provider: nobleProvider, x25519: "offer" });
    const shown = [key, client, server].map(
      (each) => inspect(each, { showHidden: true, depth: 9 }) + JSON.stringify(each),
    );
    const known = new LinkKey(nodeProvider, SECRET);
    for (const hidden of [secret, SECRET, known.tlsPsk(), known.mqttPassword()]) {
      const [list, digits] = [Array.from(hidden.subarray(0, 6)).join(", "), hex(hidden).slice(0, 12)];
      for (const text of shown) assert.ok(!text.includes(list) && !text.includes(digits));
    }
    assert.deepEqual(Object.keys(key), []);
    assert.deepEqual(Object.keys(server), ["carrier", "accepts"]);
    assert.deepEqual(Object.keys(client), ["carrier", "accepts", "hello"]);
  });

  test("a key is refused in any size but 32 bytes", () => {
    for (const size of [0, 16, 31, 33])
      assert.throws(() => new LinkKey(nodeProvider, new Uint8Array(size)), /secret: expected 32 bytes/);
    assert.throws(() => makeClient({ keyId: KEY_ID.subarray(1) }), /key id: expected 8 bytes, got 7/);
  });

  test("an Rc needs counters of 32 bits and 16 random bytes", () => {
    const key = new LinkKey(nodeProvider, SECRET);
    const random = new Uint8Array(16);
    for (const [boot, counter] of [
      [-1, 0],
      [0, 2 ** 32],
      [0.5, 0],
    ] as const)
      assert.throws(() => key.clientRandom({ boot, counter, random }), /counter: expected 0 to 4294967295/);
    assert.throws(() => key.clientRandom({ boot: 0, counter: 0, random: random.subarray(1) }), /random: expected 16/);
    const all = [
      [0, 0],
      [0, 1],
      [1, 0],
    ].map(([boot = 0, counter = 0]) => hex(key.clientRandom({ boot, counter, random })));
    assert.equal(new Set(all).size, 3);
  });
});

function zeros(of: Readonly<Record<string, number>> | undefined): Record<string, number> {
  return Object.fromEntries(Object.keys(of ?? {}).map((name) => [name, 0]));
}
