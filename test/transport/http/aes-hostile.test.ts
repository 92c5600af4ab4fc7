/** The AES envelope and those who attack it: whoever changes, repeats or makes up a request gets the same empty 401, and nothing runs. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { nobleProvider } from "../../../src/crypto/aead-noble.ts";
import { sealRequest } from "../../../src/crypto/envelope.ts";
import { encodeValue } from "../../../src/frame/codec.ts";
import { MAX_ENVELOPE_BYTES } from "../../../src/transport/http/aes.ts";
import { BODY_DEADLINE_MS } from "../../../src/transport/http/listener.ts";
import { type AesClient, open } from "../../conformance/aes-client.ts";
import { AesHouse } from "./aes-house.ts";
import { type Answer, call, Raw } from "./call.ts";
import { SESSION } from "./fake.ts";

const STOP = { cmd: "sessions.stop", session: SESSION, id: "stop" };

const post = (house: AesHouse, body: Uint8Array, path = "/aes", headers = {}): Promise<Answer> =>
  call(house.box, "POST", path, { body: Buffer.from(body), bare: true, headers });

/** What a stranger sees: the same in every byte but the date. */
function face({ status, headers, bytes }: Answer): string {
  const { date: _, ...rest } = headers;
  return JSON.stringify([status, rest, bytes.toString("hex")]);
}

async function stopBody(client: AesClient, records = 1): Promise<Buffer> {
  const token = await client.freshToken();
  return Buffer.from(
    client.seal(
      Array.from({ length: records }, () => encodeValue(STOP)),
      token,
    ).body,
  );
}

test("every stranger gets the same empty 401: repeated, altered, cut, extended, moved, foreign, expired, unknown", async () => {
  await using house = await AesHouse.open();
  await using other = await AesHouse.open();
  const key = house.device();
  const client = house.client(key);
  const body = await stopBody(client, 3);
  const wrong = house.client({ id: key.id, secret: "00".repeat(32) });
  const nobody = house.client({ id: "00".repeat(8), secret: "00".repeat(32) });
  const size = (body.length - 48) / 3;
  const record = (i: number) => body.subarray(48 + i * size, 48 + (i + 1) * size);
  const head = body.subarray(0, 48);
  const expired = await stopBody(client);
  house.clock.ms += 120_000;
  const strangers: readonly (readonly [string, Uint8Array, string?])[] = [
    ["magic", new Uint8Array()],
    ["magic", Buffer.from("{}")],
    ["size", head],
    ["size", body.subarray(0, 100)],
    ["tag", Buffer.from(body).fill(0, 60, 64)],
    ["tag", Buffer.concat([head, record(1), record(0), record(2)])],
    ["tag", Buffer.concat([head, record(0), record(2)])],
    ["tag", (await stopBody(client)).map((byte, i, all) => (i === all.length - 1 ? byte ^ 1 : byte))],
    ["size", Buffer.concat([await stopBody(client), Uint8Array.of(0)])],
    ["tag", await stopBody(client), "/aes?x"],
    ["tag", await stopBody(wrong)],
    ["tag", await stopBody(nobody)],
    ["token", expired],
    ["token", client.seal([encodeValue(STOP)], await other.client().freshToken()).body],
    ["token", client.seal([encodeValue(STOP)], new Uint8Array(16)).body],
  ];
  let expected: string | undefined;
  for (const [i, [why, bytes, path]] of strangers.entries()) {
    const answer = await post(house, bytes, path);
    expected ??= face(answer);
    assert.equal(face(answer), expected, `case ${i}`);
    assert.deepEqual([house.refused[i], answer.status, answer.bytes.length], [why, 401, 0], `case ${i}`);
  }
  assert.deepEqual(house.ran, []);
  assert.deepEqual(house.box.faults, []);
});

test("a target is what was sent to the last character", async () => {
  await using house = await AesHouse.open();
  const body = await stopBody(house.client());
  const raw = new Raw(house.box);
  raw.say(`POST /aes? HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${body.length}\r\n\r\n`).say(body);
  assert.match(await raw.until((text) => text.includes("\r\n\r\n")), /^HTTP\/1.1 401/);
  raw.socket.destroy();
  assert.deepEqual([house.ran, house.refused], [[], ["tag"]]);
});

test("a request that comes twice at once, and again later, runs once", async () => {
  await using house = await AesHouse.open();
  const client = house.client();
  const body = await stopBody(client);
  const answers = await Promise.all([post(house, body), post(house, body), post(house, body)]);
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 401, 401]);
  assert.equal((await post(house, body)).status, 401);
  assert.deepEqual(house.ran, ["sessions.stop"]);
  assert.deepEqual(house.refused, ["replay", "replay", "replay"]);
});

test("a request with a bit changed in any of its bytes does not run, and the true one still does", async () => {
  await using house = await AesHouse.open();
  const body = await stopBody(house.client());
  for (let at = 0; at < body.length; at++) {
    const altered = Buffer.from(body);
    altered[at] = (altered[at] as number) ^ (1 << (at % 8));
    const answer = await post(house, altered);
    assert.deepEqual([answer.status, answer.bytes.length], [401, 0], `byte ${at}`);
  }
  assert.deepEqual(house.ran, []);
  assert.equal((await post(house, body)).status, 200);
  assert.deepEqual(house.ran, ["sessions.stop"]);
});

test("whatever is made of a request, it is refused", async () => {
  await using house = await AesHouse.open();
  const body = await stopBody(house.client(), 2);
  const made = fc.oneof(
    fc
      .tuple(fc.nat(body.length - 1), fc.uint8Array({ maxLength: 60 }))
      .map(([kept, more]) => Buffer.concat([body.subarray(0, kept), more])),
    fc
      .tuple(fc.nat(body.length), fc.uint8Array({ minLength: 1, maxLength: 8 }))
      .map(([at, more]) => Buffer.concat([body.subarray(0, at), more, body.subarray(at)])),
  );
  await fc.assert(
    fc.asyncProperty(made, async (altered) => {
      fc.pre(!body.equals(altered));
      assert.equal((await post(house, altered)).status, 401);
    }),
    { numRuns: 150 },
  );
  assert.deepEqual(house.ran, []);
  assert.deepEqual(house.box.faults, []);
});

test("the response of one request is none of another, and one that was cut is known for it", async () => {
  await using house = await AesHouse.open();
  const client = house.client();
  const token = await client.freshToken();
  const [one, two] = [0, 1].map(() => client.seal([encodeValue({ cmd: "health" })], token)) as [
    ReturnType<AesClient["seal"]>,
    ReturnType<AesClient["seal"]>,
  ];
  const { bytes } = await post(house, one.body);
  assert.throws(() => open(two, bytes), { name: "LinkError" });
  for (let size = 0; size < bytes.length; size++) assert.equal(open(one, bytes.subarray(0, size)).end, "truncated");
  assert.equal(open(one, bytes).end, "clean");
});

test("a random that came before, under other bytes, does not run them", async () => {
  await using house = await AesHouse.open();
  const key = house.device();
  const client = house.client(key);
  const token = await client.freshToken();
  const options = {
    provider: nobleProvider,
    key: client.key,
    keyId: client.keyId,
    token,
    method: "POST",
    target: "/aes",
    plaintexts: [encodeValue({ cmd: "health" })],
  };
  // A device whose power went before its counter was written, and whose random bytes are none.
  const fresh = { boot: 1, counter: 1, random: new Uint8Array(16) };
  const [first, second] = [sealRequest({ ...options, fresh }), sealRequest({ ...options, fresh })];
  assert.deepEqual(Buffer.from(first.body), Buffer.from(second.body), "content and token are in the random");
  assert.equal((await post(house, first.body)).status, 200);
  assert.equal((await post(house, second.body)).status, 401);
  const other = sealRequest({ ...options, fresh, plaintexts: [encodeValue({ cmd: "sessions.list" })] });
  assert.equal((await post(house, other.body)).status, 200, "other content makes another random, and other keys");
  assert.deepEqual(house.ran, ["health", "sessions.list"]);
});

test("a stream that is cut on its way is no end that the box has said", async () => {
  await using house = await AesHouse.open();
  const stream = await house.client().follow({ session: SESSION });
  await house.box.http[Symbol.asyncDispose]();
  assert.equal(await stream.ended, "stopping");
  await using second = await AesHouse.open();
  const cut = await second.client().follow({ session: SESSION });
  cut.cut();
  assert.equal(await cut.ended, "cut");
});

test("a body over 64 KiB is refused before it is read, whether it says so or not", async () => {
  await using house = await AesHouse.open();
  const answer = await post(house, Buffer.alloc(MAX_ENVELOPE_BYTES + 1));
  assert.deepEqual([answer.status, answer.error().code], [413, "too_large"]);
  const raw = new Raw(house.box).say("POST /aes HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (let i = 0; i < 5; i++) raw.say(`4000\r\n${"x".repeat(0x4000)}\r\n`);
  assert.match(await raw.until((text) => text.includes("too_large")), /^HTTP\/1.1 413/);
  raw.socket.destroy();
  assert.deepEqual(house.refused, []);
});

test("a body that does not come is given up, and the next client is served meanwhile", async () => {
  await using house = await AesHouse.open();
  const raw = new Raw(house.box).say("POST /aes HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nCIBH");
  assert.equal((await house.client().ask([{ cmd: "health" }]))[0]?.["ok"], true);
  await raw.until((text) => text.includes("timeout"));
  assert.match(raw.text, /^HTTP\/1.1 408/, `after ${BODY_DEADLINE_MS} ms`);
  raw.socket.destroy();
});

test("the box answers to its names only, sealed or not", async () => {
  await using house = await AesHouse.open();
  const body = await stopBody(house.client());
  assert.equal((await post(house, body, "/aes", { host: "evil.example" })).error().code, "bad_origin");
  assert.equal((await post(house, body, "/aes", { origin: "http://evil.example" })).error().code, "bad_origin");
  assert.equal((await post(house, body, "/aes?token=x")).error().code, "token_in_url");
  assert.deepEqual([house.ran, house.refused], [[], []]);
  assert.equal((await post(house, body, "/aes", { host: "box.example" })).status, 200);
});
