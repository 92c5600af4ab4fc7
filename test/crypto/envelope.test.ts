/** The envelope: bound to its method, path, token and request; every record verified before the first is shown. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { nodeProvider } from "../../src/crypto/aead-node.ts";
import {
  openRequest,
  type Place,
  ResponseOpener,
  readHeader,
  responseSealer,
  sealRequest,
} from "../../src/crypto/envelope.ts";
import { LinkError } from "../../src/crypto/fault.ts";
import { keyIdText, LinkKey } from "../../src/crypto/schedule.ts";
import { hex } from "./hex.ts";
import { KEY_ID, SECRET, seeded, shaken } from "./pair.ts";

const PLACE: Place = { method: "POST", target: "/aes" };
const TOKEN = seeded("token")(16);
const RS = seeded("Rs")(16);
const key = new LinkKey(nodeProvider, SECRET);
const text = (value: string) => new TextEncoder().encode(value);
const word = (bytes: Uint8Array | undefined) => bytes && new TextDecoder().decode(bytes);

function request(texts: readonly string[] = ["list", "get"], { token = TOKEN, counter = 0 } = {}) {
  const random = seeded("request")(16);
  return sealRequest({
    provider: nodeProvider,
    key,
    keyId: KEY_ID,
    token,
    fresh: { boot: 1, counter, random },
    plaintexts: texts.map(text),
    ...PLACE,
  });
}

const fault = (act: () => unknown): string => {
  try {
    act();
  } catch (thrown) {
    assert.ok(thrown instanceof LinkError, String(thrown));
    return thrown.fault;
  }
  return "opened";
};

function respond(body: Uint8Array, texts: readonly string[], rs = RS): Uint8Array {
  const sealer = responseSealer(nodeProvider, openRequest(key, PLACE, body).keys, rs);
  return Buffer.concat([rs, ...texts.map((each, i) => sealer.seal(text(each), i === texts.length - 1))]);
}

describe("request", () => {
  test("what was sealed is opened, and its header names key, random and token", () => {
    const { body } = request();
    assert.deepEqual(openRequest(key, PLACE, body).plaintexts.map(word), ["list", "get"]);
    const header = readHeader(body);
    assert.equal(keyIdText(header.keyId), keyIdText(KEY_ID));
    assert.equal(hex(header.token), hex(TOKEN));
    assert.equal(header.random.length, 16);
  });

  test("the random differs with the token, the counter and the content", () => {
    const all = [
      request(),
      request(["list", "get "]),
      request(["list"]),
      request(["listget"]),
      request(undefined, { counter: 1 }),
      request(undefined, { token: RS }),
    ].map(({ body }) => hex(readHeader(body).random));
    assert.equal(new Set(all).size, all.length);
  });

  test("another method or target opens nothing", () => {
    const { body } = request();
    for (const place of [
      { method: "GET", target: "/aes" },
      { method: "POST", target: "/aes?" },
      { method: "POST", target: "/aes/token" },
      { method: "post", target: "/aes" },
    ])
      assert.equal(
        fault(() => openRequest(key, place, body)),
        "tag",
      );
  });

  test("every bit flipped is refused", () => {
    const { body } = request();
    for (let bit = 0; bit < body.length * 8; bit++) {
      const altered = Uint8Array.from(body);
      altered[bit >> 3] = (altered[bit >> 3] as number) ^ (1 << (bit & 7));
      assert.match(
        fault(() => openRequest(key, PLACE, altered)),
        /^(magic|size|tag)$/,
      );
    }
  });

  test("every truncation is refused, also between two records, and so is anything behind the last", () => {
    const { body } = request();
    for (let size = 0; size < body.length; size++)
      assert.match(
        fault(() => openRequest(key, PLACE, body.subarray(0, size))),
        /^(magic|size|tag)$/,
      );
    assert.equal(
      fault(() => openRequest(key, PLACE, Buffer.concat([body, Uint8Array.of(0)]))),
      "size",
    );
    assert.equal(
      fault(() => openRequest(key, PLACE, Buffer.concat([body, body.subarray(48)]))),
      "size",
    );
  });

  test("records in another order are refused", () => {
    const { body } = request(["one", "two", "end"]);
    const [head, one, two, end] = [
      body.subarray(0, 48),
      body.subarray(48, 69),
      body.subarray(69, 90),
      body.subarray(90),
    ];
    const put = (...records: Uint8Array[]) => fault(() => openRequest(key, PLACE, Buffer.concat([head, ...records])));
    assert.equal(put(one as Uint8Array, two as Uint8Array, end as Uint8Array), "opened");
    assert.equal(put(two as Uint8Array, one as Uint8Array, end as Uint8Array), "tag");
    assert.equal(put(one as Uint8Array, end as Uint8Array), "tag");
  });

  test("a request without a record cannot be made, and none is opened", () => {
    assert.throws(() => request([]), /plaintexts: expected at least one/);
    assert.equal(
      fault(() => openRequest(key, PLACE, request().body.subarray(0, 48))),
      "size",
    );
  });

  test("a record of a link under the same key is no request's", () => {
    const { body } = request();
    const { client } = shaken();
    const moved = Buffer.concat([body.subarray(0, 48), client.seal(text("list"))]);
    assert.equal(
      fault(() => openRequest(key, PLACE, moved)),
      "tag",
    );
  });

  test("random bytes throw nothing but a LinkError", () => {
    const { body } = request();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), fc.nat(60), (bytes, kept) => {
        assert.notEqual(
          fault(() => openRequest(key, PLACE, Buffer.concat([body.subarray(0, kept), bytes]))),
          "opened",
        );
      }),
    );
  });
});

describe("response", () => {
  test("any chunking gives the same, and its end is known", () => {
    const { body, keys } = request();
    const bytes = respond(body, ["next", "", "reply"]);
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length), { maxLength: 12 }), (places) => {
        const cuts = [0, ...places.sort((a, b) => a - b), bytes.length];
        const opener = new ResponseOpener(keys);
        const seen = cuts.slice(1).flatMap((end, i) => [...opener.take(bytes.subarray(cuts[i], end))].map(word));
        assert.deepEqual(seen, ["next", "", "reply"]);
        assert.equal(opener.end(), "clean");
      }),
    );
  });

  test("a response cut anywhere is a truncation", () => {
    const { body, keys } = request();
    const bytes = respond(body, ["next", "reply"]);
    for (let size = 0; size < bytes.length; size++) {
      const opener = new ResponseOpener(keys);
      for (const _ of opener.take(bytes.subarray(0, size)));
      assert.equal(opener.end(), "truncated");
    }
  });

  test("every bit flipped is refused or leaves a truncation", () => {
    const { body, keys } = request();
    const bytes = respond(body, ["next", "reply"]);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const altered = Uint8Array.from(bytes);
      altered[bit >> 3] = (altered[bit >> 3] as number) ^ (1 << (bit & 7));
      const opener = new ResponseOpener(keys);
      const seen: (string | undefined)[] = [];
      const what = fault(() => {
        for (const plaintext of opener.take(altered)) seen.push(word(plaintext));
      });
      assert.ok(what === "tag" || opener.end() === "truncated", `bit ${bit}: ${what}`);
      assert.ok(seen.length < 2);
    }
  });

  test("the response of another request is refused, and so is a request sent back", () => {
    const [one, two] = [request(), request(["other"])];
    assert.equal(
      fault(() => [...new ResponseOpener(two.keys).take(respond(one.body, ["reply"]))]),
      "tag",
    );
    const back = Buffer.concat([RS, one.body.subarray(48)]);
    assert.equal(
      fault(() => [...new ResponseOpener(one.keys).take(back)]),
      "tag",
    );
  });

  test("two responses to one request have keys of their own", () => {
    const { body } = request();
    assert.notEqual(hex(respond(body, ["reply"])).slice(32), hex(respond(body, ["reply"], TOKEN)).slice(32));
  });

  test("nothing may follow the last record", () => {
    const { body, keys } = request();
    const opener = new ResponseOpener(keys);
    const bytes = respond(body, ["reply"]);
    assert.deepEqual([...opener.take(bytes)].map(word), ["reply"]);
    assert.equal(
      fault(() => [...opener.take(bytes.subarray(16))]),
      "closed",
    );
  });

  test("a server random of another size is a mistake of ours", () => {
    const { keys } = request();
    assert.throws(() => responseSealer(nodeProvider, keys, new Uint8Array(8)), /server random: expected 16 bytes/);
  });
});
