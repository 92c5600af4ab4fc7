import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { NodeSocket } from "../../../src/client/node-socket.ts";
import { encodeValue } from "../../../src/frame/codec.ts";
import { HIGH_WATER_BYTES } from "../../../src/transport/feed.ts";
import { MAX_HEADER_BYTES } from "../../../src/transport/http/door.ts";
import { BODY_DEADLINE_MS, MAX_BODY_BYTES } from "../../../src/transport/http/listener.ts";
import { call, Raw } from "./call.ts";
import { type Box, openBox, READER, SESSION, TOKEN } from "./fake.ts";

const INPUT = `/api/sessions/${SESSION}/input`;
const HEAD = `Host: localhost\r\nAuthorization: Bearer ${TOKEN}\r\n`;
const text = (value: string) => ({ type: "text.delta", text: value }) as const;

/** Everyone else is served as if nothing had happened, and nothing was our fault. */
async function unharmed(box: Box): Promise<void> {
  assert.equal((await call(box, "GET", "/api/sessions")).status, 200);
  assert.deepEqual(box.faults, []);
}

/** Opens a WebSocket by hand, for frames that no client library would send. */
async function rawSocket(box: Box, format = "json", query = ""): Promise<Raw> {
  const raw = new Raw(box).say(upgradeHead(format, query));
  assert.match(await raw.until((got) => got.includes("\r\n\r\n")), /^HTTP\/1.1 101/);
  return raw;
}

function upgradeHead(format: string, query: string): string {
  return (
    `GET /ws${query} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
    `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\nSec-WebSocket-Protocol: cib.v1.${format}, bearer.${TOKEN}\r\n\r\n`
  );
}

/** A program that opens sockets, asks, and never reads. */
const NEVER_READ = `
  const [count, port, head] = process.argv.slice(1);
  for (let i = 0; i < Number(count); i++) {
    const socket = require("net").connect({ port: Number(port), host: "127.0.0.1" }, () => socket.write(head));
    socket.on("error", () => {});
  }`;

/** One masked frame (RFC 6455 §5.2) with a mask of zeros. */
function frame(opcode: number, payload: Buffer, masked = true): Buffer {
  const head = Buffer.alloc(payload.length > 65_535 ? 10 : payload.length > 125 ? 4 : 2);
  head[0] = 0x80 | opcode;
  if (payload.length > 65_535) {
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(payload.length), 2);
  } else if (payload.length > 125) {
    head[1] = 126;
    head.writeUInt16BE(payload.length, 2);
  } else head[1] = payload.length;
  if (masked) head[1] = (head[1] ?? 0) | 0x80;
  return Buffer.concat([head, Buffer.alloc(masked ? 4 : 0), payload]);
}

async function openSocket(
  box: Box,
  protocols: string[],
  query = "",
): Promise<{ socket: NodeSocket; got: unknown[]; end: Promise<{ code: number; reason: string }> }> {
  const socket = new NodeSocket(`${box.url}/ws${query}`, protocols);
  const got: unknown[] = [];
  socket.onmessage = ({ data }) => got.push(data);
  const end = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.onclose = resolve;
  });
  await new Promise<void>((resolve) => {
    socket.onopen = resolve;
  });
  return { socket, got, end };
}

const JSON_PROTOCOLS = ["cib.v1.json", `bearer.${TOKEN}`];

describe("hostile requests", () => {
  test("a body past the limit is refused before it is read, whether it says its length or not", async () => {
    await using box = await openBox();
    const declared = await call(box, "POST", INPUT, { body: Buffer.alloc(MAX_BODY_BYTES + 1, 32) });
    assert.deepEqual([declared.status, declared.error().code], [413, "too_large"]);
    assert.match(declared.error().message, new RegExp(`the limit is ${MAX_BODY_BYTES}`));
    const liar = new Raw(box).say(`POST ${INPUT} HTTP/1.1\r\n${HEAD}Content-Length: 99999999999\r\n\r\nx`);
    assert.match(await liar.until(), /^HTTP\/1.1 413 /);
    const chunked = new Raw(box).say(`POST ${INPUT} HTTP/1.1\r\n${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
    const chunk = Buffer.concat([Buffer.from("40000\r\n"), Buffer.alloc(0x40000, 32), Buffer.from("\r\n")]);
    for (let sent = 0; sent <= MAX_BODY_BYTES; sent += 0x40000) chunked.say(chunk);
    await chunked.until();
    assert.equal(box.control.commands.length, 0);
    await unharmed(box);
  });

  test("nobody without a token makes the box read a body", async () => {
    await using box = await openBox();
    const raw = new Raw(box).say(`POST ${INPUT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n`);
    assert.match(await raw.until((got) => got.includes("}}")), /^HTTP\/1.1 401 /);
    raw.socket.destroy();
  });

  test("headers past the limit are refused", async () => {
    await using box = await openBox();
    for (const size of [MAX_HEADER_BYTES, 1024 * 1024]) {
      const raw = new Raw(box).say(
        `GET /api/health HTTP/1.1\r\nHost: localhost\r\nX-Long: ${"x".repeat(size)}\r\n\r\n`,
      );
      assert.match(await raw.until((got) => got.includes("\r\n\r\n")), /^HTTP\/1.1 431 /);
      raw.socket.destroy();
    }
    await unharmed(box);
  });

  test("what is no HTTP is cut: garbage, a TLS hello, no Host, two lengths, a length and chunks", async () => {
    await using box = await openBox();
    const smuggled = `POST ${INPUT} HTTP/1.1\r\n${HEAD}`;
    for (const bytes of [
      randomBytes(512),
      Buffer.from("16030100c8010000c4", "hex"),
      "GET /api/health HTTP/1.1\r\n\r\n",
      `${smuggled}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      `${smuggled}Content-Length: -1\r\n\r\n`,
      `${smuggled}Content-Length: 2x\r\n\r\n{}`,
    ]) {
      const raw = new Raw(box).say(bytes);
      const ended = setTimeout(() => raw.socket.end(), 500);
      const got = await raw.until();
      clearTimeout(ended);
      assert.doesNotMatch(got, /^HTTP\/1.1 2/, String(bytes).slice(0, 60));
    }
    assert.equal(box.control.commands.length, 0);
    await unharmed(box);
  });

  test("a body cut short by its sender is nobody's command and nobody's fault", async () => {
    await using box = await openBox();
    for (let i = 0; i < 20; i++) {
      const raw = new Raw(box).say(`POST ${INPUT} HTTP/1.1\r\n${HEAD}Content-Length: 100\r\n\r\n{"text":"x`);
      raw.socket.end();
      await raw.until();
    }
    assert.equal(box.control.commands.length, 0);
    await unharmed(box);
  });

  test("who sends header or body drop by drop is cut in time", async () => {
    await using box = await openBox();
    const started = Date.now();
    const header = new Raw(box).say("GET /api/health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
    const body = new Raw(box).say(`POST ${INPUT} HTTP/1.1\r\n${HEAD}Content-Length: 1000\r\n\r\n`);
    const drops = setInterval(() => {
      header.say("x");
      body.say(" ");
    }, 250);
    const [, late] = await Promise.all([header.until(), body.until()]);
    clearInterval(drops);
    assert.match(late, /^HTTP\/1.1 408 /);
    assert.ok(Date.now() - started < BODY_DEADLINE_MS + 10_000);
    await unharmed(box);
  });

  test("requests in one packet are answered in order; one behind an unfinished one harms nobody else", async () => {
    await using box = await openBox();
    const get = `GET /api/sessions HTTP/1.1\r\n${HEAD}\r\n`;
    const health = "GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const raw = new Raw(box).say(health.repeat(3));
    await raw.until((got) => got.split("HTTP/1.1 200").length === 4);
    raw.socket.destroy();
    const pending = new Raw(box).say(get.repeat(5));
    await pending.until((got) => got.includes("sessions.list"));
    pending.socket.destroy();
    await unharmed(box);
  });

  test("deep nesting is refused, in JSON and in CBOR, over HTTP and WebSocket", async () => {
    await using box = await openBox();
    const json = `{"text":${"[".repeat(500_000)}${"]".repeat(500_000)}}`;
    assert.equal((await call(box, "POST", INPUT, { body: json })).error().code, "bad_request");
    const cbor = Buffer.alloc(1_000_000, 0x81);
    assert.equal(
      (await call(box, "POST", INPUT, { body: cbor, headers: { "content-type": "application/cbor" } })).error().code,
      "bad_request",
    );
    const { socket, got, end } = await openSocket(box, ["cib.v1.cbor", `bearer.${TOKEN}`]);
    socket.send(cbor);
    socket.send(encodeValue({ cmd: "sessions.list" }));
    while (got.length < 2) await new Promise((resolve) => setImmediate(resolve));
    socket.close();
    await end;
    await unharmed(box);
  });

  test("a token without the scope is refused on every way in", async () => {
    await using box = await openBox();
    const headers = { authorization: `Bearer ${READER}` };
    assert.equal((await call(box, "POST", INPUT, { body: '{"text":"x"}', headers })).status, 403);
    const { socket, got } = await openSocket(box, ["cib.v1.json", `bearer.${READER}`]);
    socket.send(`{"cmd":"interrupt","session":"${SESSION}"}`);
    while (got.length === 0) await new Promise((resolve) => setImmediate(resolve));
    assert.match(String(got[0]), /"forbidden"/);
    socket.close();
    assert.equal(box.control.commands.length, 0);
  });
});

describe("hostile sockets", () => {
  test("a message past the limit closes the socket", async () => {
    await using box = await openBox();
    const { socket, end } = await openSocket(box, JSON_PROTOCOLS);
    socket.send("x".repeat(MAX_BODY_BYTES + 1));
    assert.ok([1006, 1009].includes((await end).code));
    await unharmed(box);
  });

  test("frames that break the protocol harm their own connection only", async () => {
    await using box = await openBox();
    const bad: [string, Buffer][] = [
      ["not masked", frame(1, Buffer.from("{}"), false)],
      ["reserved opcode", frame(3, Buffer.from("{}"))],
      ["reserved bits", Buffer.concat([Buffer.from([0xf1, 0x80]), Buffer.alloc(4)])],
      ["long ping", frame(9, Buffer.alloc(200))],
      ["text that is no UTF-8", frame(1, Buffer.from([0xff, 0xfe]))],
      ["continuation of nothing", frame(0, Buffer.from("x"))],
      ["a length of 2^63", Buffer.concat([Buffer.from([0x81, 0xff, 0x7f]), Buffer.alloc(11, 0xff)])],
    ];
    for (const [name, bytes] of bad) {
      const raw = await rawSocket(box);
      raw.say(bytes);
      raw.socket.end();
      await raw.until();
      assert.ok(raw.closed, name);
    }
    await unharmed(box);
  });

  test("any bytes in place of a command are a refusal, never a fault", async () => {
    await using box = await openBox();
    for (const format of ["json", "cbor"]) {
      for (let i = 0; i < 50; i++) {
        const { socket, got, end } = await openSocket(box, [`cib.v1.${format}`, `bearer.${TOKEN}`]);
        const bytes = randomBytes(1 + (i % 40));
        socket.send(format === "cbor" ? bytes : bytes.toString("latin1"));
        while (got.length === 0) await new Promise((resolve) => setImmediate(resolve));
        assert.match(String(got[0]), /bad_request|re/);
        socket.terminate();
        await end;
      }
    }
    await unharmed(box);
  });

  test("an upgrade without key, version or protocol is no WebSocket", async () => {
    await using box = await openBox();
    for (const lines of [
      "",
      "Upgrade: websocket\r\nConnection: Upgrade\r\n",
      `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\nSec-WebSocket-Version: 13\r\n`,
    ]) {
      const raw = new Raw(box).say(`GET /ws HTTP/1.1\r\n${HEAD}${lines}\r\n`);
      assert.match(await raw.until((got) => got.includes("}}")), /^HTTP\/1.1 400 /);
      raw.socket.destroy();
    }
    await unharmed(box);
  });

  test("a caller that asks and never reads is cut, not stored for", async () => {
    await using box = await openBox();
    const page = "x".repeat(1024 * 1024);
    box.control.answers.set("frames", () => ({ body: { page } }));
    const { socket, end } = await openSocket(box, JSON_PROTOCOLS);
    socket.pause();
    const ask = `{"cmd":"frames","session":"${SESSION}"}`;
    const before = process.memoryUsage().rss;
    const asking = setInterval(() => socket.send(ask), 1);
    while (box.http.connections > 0) await new Promise((resolve) => setImmediate(resolve));
    clearInterval(asking);
    const grown = process.memoryUsage().rss - before;
    assert.ok(grown < 200 * 1024 * 1024, `${grown} bytes`);
    socket.terminate();
    await end;
    await unharmed(box);
  });

  test("1,000 sockets that never read cost a bounded piece of memory each, and the one that reads gets everything", async (t) => {
    await using box = await openBox();
    const count = 1000;
    // In a process of their own, so that their buffers do not count as ours.
    const child = spawn(
      process.execPath,
      ["-e", NEVER_READ, String(count), String(box.http.port), upgradeHead("cbor", `?session=${SESSION}&from=1`)],
      { stdio: "ignore" },
    );
    t.after(() => child.kill("SIGKILL"));
    while (box.http.connections < count) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal(box.http.connections, count);
    const { socket, got } = await openSocket(box, JSON_PROTOCOLS, `?session=${SESSION}&from=1`);
    const before = process.memoryUsage().rss;
    const started = Date.now();
    // 1,000 × 256 KiB: most of it stands in the system's socket buffers, which are not ours.
    const frames = 64;
    for (let i = 0; i < frames; i++) box.control.say(text("y".repeat(4096)));
    while (got.length < frames + 1) await new Promise((resolve) => setImmediate(resolve));
    const grown = process.memoryUsage().rss - before;
    assert.ok(grown < count * (HIGH_WATER_BYTES + 16 * 1024), `${Math.round(grown / count)} bytes a client`);
    assert.ok(Date.now() - started < 10_000, "the reader was not kept waiting");
    child.kill("SIGKILL");
    socket.close();
    while (box.http.connections > 0) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(box.control.readers.size, 0);
    await unharmed(box);
  });
});
