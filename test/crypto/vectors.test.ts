/** The known answers of CIB1, through both providers: what the C client computes, this does. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { nobleProvider } from "../../src/crypto/aead-noble.ts";
import { nodeProvider } from "../../src/crypto/aead-node.ts";
import { openRequest, ResponseOpener, readHeader, responseSealer, sealRequest } from "../../src/crypto/envelope.ts";
import { ClientLink } from "../../src/crypto/link-client.ts";
import { ServerLink } from "../../src/crypto/link-server.ts";
import { LinkKey } from "../../src/crypto/schedule.ts";
import { bytes, hex } from "./hex.ts";

interface Exchange {
  readonly plaintext: string;
  readonly record: string;
}
interface LinkVector {
  readonly secret: string;
  readonly keyId: string;
  readonly boot: number;
  readonly connectionCounter: number;
  readonly random: string;
  readonly Rc: string;
  readonly Rs: string;
  readonly clientMax: number;
  readonly daemonMax: number;
  readonly x25519: boolean;
  readonly clientPrivate?: string;
  readonly daemonPrivate?: string;
  readonly hello: string;
  readonly reply: string;
  readonly c2s: readonly Exchange[];
  readonly s2c: readonly Exchange[];
}
interface HttpVector {
  readonly secret: string;
  readonly keyId: string;
  readonly boot: number;
  readonly requestCounter: number;
  readonly random: string;
  readonly Rc: string;
  readonly Rs: string;
  readonly token: string;
  readonly method: string;
  readonly path: string;
  readonly header: string;
  readonly request: string;
  readonly response: string;
  readonly plaintexts: readonly string[];
}
interface MqttVector {
  readonly secret: string;
  readonly tlsPsk: string;
  readonly linkPassword: string;
}

const VECTORS = JSON.parse(readFileSync(new URL("../vectors/cib1.json", import.meta.url), "utf8")) as {
  readonly link: readonly LinkVector[];
  readonly http: readonly HttpVector[];
  readonly mqtt: readonly MqttVector[];
};

/** Random bytes that were drawn beforehand, in this order. */
function drawn(...values: (string | undefined)[]): (size: number) => Uint8Array {
  const left = values.filter((value) => value !== undefined).map(bytes);
  return (size) => {
    const next = left.shift();
    assert.equal(next?.length, size);
    return next as Uint8Array;
  };
}

for (const provider of [nodeProvider, nobleProvider]) {
  describe(`known answers, ${provider.name}`, () => {
    for (const [i, vector] of VECTORS.link.entries()) {
      test(`link ${i}${vector.x25519 ? " with X25519" : ""}: hello, reply and every record`, () => {
        const key = new LinkKey(provider, bytes(vector.secret));
        const client = new ClientLink({
          provider,
          carrier: "stream",
          accepts: vector.clientMax,
          key,
          keyId: bytes(vector.keyId),
          fresh: { boot: vector.boot, counter: vector.connectionCounter, random: bytes(vector.random) },
          random: drawn(vector.clientPrivate),
          x25519: vector.x25519 ? "require" : undefined,
        });
        assert.equal(hex(client.hello.subarray(16, 32)), vector.Rc);
        assert.equal(hex(client.hello), vector.hello);

        const server = new ServerLink<string>({
          provider,
          carrier: "stream",
          accepts: vector.daemonMax,
          random: drawn(vector.daemonPrivate, vector.Rs),
          find: (id) => (id === vector.keyId ? { key, requireX25519: vector.x25519, owner: "lamp" } : undefined),
          dummy: new LinkKey(provider, new Uint8Array(32)),
        });
        const reply = server.take(bytes(vector.hello));
        assert.ok(reply.kind === "reply");
        assert.equal(hex(reply.bytes), vector.reply);
        assert.deepEqual(client.take(bytes(vector.reply)), { kind: "greeted" });

        for (const { plaintext, record } of vector.c2s) {
          assert.equal(hex(client.seal(bytes(plaintext))), record);
          const taken = server.take(bytes(record));
          assert.ok(taken.kind === "record");
          assert.equal(hex(taken.plaintext), plaintext);
        }
        for (const { plaintext, record } of vector.s2c) {
          assert.equal(hex(server.seal(bytes(plaintext))), record);
          const taken = client.take(bytes(record));
          assert.ok(taken.kind === "record");
          assert.equal(hex(taken.plaintext), plaintext);
        }
        assert.equal(server.owner, "lamp");
      });
    }

    for (const [i, vector] of VECTORS.http.entries()) {
      test(`envelope ${i}: header, request and response`, () => {
        const key = new LinkKey(provider, bytes(vector.secret));
        const place = { method: vector.method, target: vector.path };
        const { body, keys } = sealRequest({
          provider,
          key,
          keyId: bytes(vector.keyId),
          token: bytes(vector.token),
          fresh: { boot: vector.boot, counter: vector.requestCounter, random: bytes(vector.random) },
          plaintexts: vector.plaintexts.map(bytes),
          ...place,
        });
        assert.equal(hex(readHeader(body).random), vector.Rc);
        assert.equal(hex(body.subarray(0, 48)), vector.header);
        assert.equal(hex(body), vector.request);

        const opened = openRequest(key, place, bytes(vector.request));
        assert.deepEqual(opened.plaintexts.map(hex), vector.plaintexts);

        const response = new ResponseOpener(keys);
        const answers = [...response.take(bytes(vector.response))];
        assert.equal(response.end(), "clean");
        const sealer = responseSealer(provider, opened.keys, bytes(vector.Rs));
        const records = answers.map((plaintext, at) => hex(sealer.seal(plaintext, at === answers.length - 1)));
        assert.equal(vector.Rs + records.join(""), vector.response);
      });
    }

    for (const [i, vector] of VECTORS.mqtt.entries()) {
      test(`MQTT ${i}: the key of TLS-PSK and the password of a sealed link`, () => {
        const key = new LinkKey(provider, bytes(vector.secret));
        assert.equal(hex(key.tlsPsk()), vector.tlsPsk);
        assert.equal(hex(key.mqttPassword()), vector.linkPassword);
      });
    }
  });
}
