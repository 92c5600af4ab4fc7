import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { decode as cborgDecode } from "cborg";
import WebSocket from "ws";
import { NodeSocket, type NodeSocketOptions } from "../../../src/client/node-socket.ts";
import { CibError } from "../../../src/errors.ts";
import { decodeValue, encodeValue } from "../../../src/frame/codec.ts";
import { frameOf } from "../../../src/frame/item.ts";
import { MAX_ATTACHMENTS, MAX_COMMANDS, MAX_MALFORMED } from "../../../src/transport/connection.ts";
import { HIGH_WATER_BYTES } from "../../../src/transport/feed.ts";
import { type Box, EPOCH, OTHER, openBox, READER, SESSION, TOKEN } from "./fake.ts";

type Message = Record<string, unknown>;

/** A WebSocket that is read message by message. */
class Caller {
  readonly socket: NodeSocket;
  readonly format: "json" | "cbor";
  readonly got: Message[] = [];
  readonly raw: unknown[] = [];
  closed: { code: number; reason: string } | undefined;
  #read = 0;
  #wake: (() => void) | undefined;

  constructor(
    box: Box,
    query = "",
    format: "json" | "cbor" = "json",
    protocols?: string[],
    options?: NodeSocketOptions,
  ) {
    this.format = format;
    this.socket = new NodeSocket(
      `${box.url}/ws${query}`,
      protocols ?? [`cib.v1.${format}`, `bearer.${TOKEN}`],
      options,
    );
    this.socket.onmessage = ({ data }) => {
      this.raw.push(data);
      const value = typeof data === "string" ? (JSON.parse(data) as unknown) : decodeValue(data as Buffer);
      this.got.push((Array.isArray(value) ? frameOf(value) : value) as Message);
      this.#wake?.();
    };
    this.socket.onopen = () => this.#wake?.();
    this.socket.onclose = (event) => {
      this.closed = event;
      this.#wake?.();
    };
  }

  async open(): Promise<this> {
    while (this.socket.protocol === "" && this.closed === undefined) await this.#woken();
    return this;
  }

  send(message: Message): void {
    this.socket.send(this.format === "json" ? JSON.stringify(message) : encodeValue(message));
  }

  async next(): Promise<Message> {
    while (this.got.length <= this.#read) {
      if (this.closed !== undefined) throw new Error(`closed: ${this.closed.code} ${this.closed.reason}`);
      await this.#woken();
    }
    return this.got[this.#read++] as Message;
  }

  async ask(message: Message): Promise<Message> {
    this.send(message);
    return this.next();
  }

  async end(): Promise<{ code: number; reason: string }> {
    while (this.closed === undefined) await this.#woken();
    return this.closed;
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

const text = (value: string) => ({ type: "text.delta", text: value }) as const;
const errorOf = (message: Message) =>
  (message["error"] as { code: string; message: string } | undefined) ?? { code: "none", message: "" };
const turn = () => new Promise((resolve) => setImmediate(resolve));

for (const format of ["json", "cbor"] as const) {
  describe(`a socket in ${format}`, () => {
    test("names its subprotocol and never the token", async () => {
      await using box = await openBox();
      const caller = await new Caller(box, "", format, [`bearer.${TOKEN}`, `cib.v1.${format}`]).open();
      assert.equal(caller.socket.protocol, `cib.v1.${format}`);
      caller.socket.close();
    });

    test("a session in the URL is attached: the verdict is the first message, frames follow", async () => {
      await using box = await openBox();
      for (const word of ["a", "b"]) box.control.say(text(word));
      const caller = new Caller(box, `?session=${SESSION}&from=1`, format);
      assert.deepEqual(await caller.next(), {
        re: null,
        ok: true,
        session: SESSION,
        epoch: EPOCH,
        first: 1,
        last: 2,
        from: 1,
        verdict: "ok",
      });
      assert.equal((await caller.next())["text"], "a");
      assert.equal((await caller.next())["seq"], 2);
      box.control.say(text("c"));
      assert.equal((await caller.next())["text"], "c");
      caller.socket.close();
    });

    test("commands are answered under their id, unknown ones refused by name", async () => {
      await using box = await openBox();
      const caller = await new Caller(box, "", format).open();
      assert.deepEqual(await caller.ask({ cmd: "sessions.list", id: "one" }), {
        re: "one",
        ok: true,
        done: "sessions.list",
      });
      assert.deepEqual(await caller.ask({ cmd: "sessions.list" }), { re: null, ok: true, done: "sessions.list" });
      const refused = await caller.ask({ cmd: "rm", id: 7 });
      assert.deepEqual([refused["re"], refused["ok"], errorOf(refused).code], [7, false, "bad_request"]);
      caller.socket.close();
    });

    test("an id reaches control only where it means exactly once", async () => {
      await using box = await openBox();
      const caller = await new Caller(box, "", format).open();
      await caller.ask({ cmd: "input", session: SESSION, text: "a", id: "x" });
      await caller.ask({ cmd: "input", session: SESSION, keys: ["Enter"], id: "y" });
      await caller.ask({ cmd: "resize", session: SESSION, cols: 2, rows: 2, id: "z" });
      assert.deepEqual(
        box.control.commands.map((command) => ("id" in command ? command.id : undefined)),
        ["x", undefined, undefined],
      );
      caller.socket.close();
    });

    test("many sessions share a socket, attached and detached one by one", async () => {
      await using box = await openBox();
      const caller = await new Caller(box, "", format).open();
      assert.equal((await caller.ask({ cmd: "attach", session: SESSION, id: "1" }))["verdict"], "ok");
      assert.equal((await caller.ask({ cmd: "attach", session: OTHER, id: "2" }))["session"], OTHER);
      assert.equal(errorOf(await caller.ask({ cmd: "attach", session: OTHER })).code, "conflict");
      box.control.say(text("mine"));
      box.control.say(text("other"), OTHER);
      assert.deepEqual(
        new Set([(await caller.next())["text"], (await caller.next())["text"]]),
        new Set(["mine", "other"]),
      );
      assert.deepEqual(await caller.ask({ cmd: "detach", session: OTHER, id: "3" }), {
        re: "3",
        ok: true,
        session: OTHER,
      });
      assert.equal(box.control.readers.size, 1);
      assert.equal(errorOf(await caller.ask({ cmd: "detach", session: OTHER })).code, "not_found");
      caller.socket.close();
      await caller.end();
      while (box.control.readers.size > 0) await turn();
    });

    test("no frame is longer than max_bytes", async () => {
      await using box = await openBox();
      const least = format === "json" ? 512 : 128;
      box.control.say(text("語".repeat(2000)));
      box.control.say({ type: "tool.use.start", id: "t1", tool: "Write", input: { content: "y".repeat(5000) } });
      box.control.say({ type: "stop", reason: "end_turn" });
      const caller = new Caller(box, `?session=${SESSION}&from=1&max_bytes=${least}`, format);
      while ((await caller.next())["type"] !== "stop");
      for (const raw of caller.raw.slice(1)) assert.ok(Buffer.byteLength(raw as string) <= least);
      const refused = await caller.ask({ cmd: "attach", session: OTHER, max_bytes: least - 1 });
      assert.match(errorOf(refused).message, new RegExp(`max_bytes: expected .*${least}`));
      caller.socket.close();
    });

    test("a revoked token ends the socket with its reason, an expired one too", async () => {
      await using box = await openBox();
      for (const reason of ["revoked", "expired"]) {
        const holder = box.control.allow(READER, "reader", ["sessions:read"]);
        const caller = new Caller(box, `?session=${SESSION}`, format, [`cib.v1.${format}`, `bearer.${READER}`]);
        await caller.next();
        holder.abort.abort(reason);
        assert.deepEqual(await caller.next(), { bye: reason });
        assert.deepEqual(await caller.end(), { code: 4401, reason });
      }
      assert.equal(box.control.readers.size, 0);
    });

    test("a reader left behind is told so: its session alone while others go on, the socket when it was the last", async () => {
      await using box = await openBox();
      const caller = new Caller(box, `?session=${SESSION}`, format);
      await caller.next();
      await caller.ask({ cmd: "attach", session: OTHER });
      const [first, second] = [...box.control.readers];
      first?.sink.close("too_far_behind");
      assert.deepEqual(await caller.next(), { detached: "too_far_behind", session: SESSION });
      second?.sink.close("too_far_behind");
      assert.deepEqual(await caller.next(), { bye: "too_far_behind" });
      assert.deepEqual(await caller.end(), { code: 4480, reason: "too_far_behind" });
    });

    test("a gap is told with its session and its bounds", async () => {
      await using box = await openBox();
      const caller = new Caller(box, `?session=${SESSION}`, format);
      await caller.next();
      for (const reader of box.control.readers) reader.sink.gap(3, 9);
      assert.deepEqual(await caller.next(), { gap: [3, 9], session: SESSION });
      caller.socket.close();
    });
  });
}

test("in CBOR the session of a verdict is 16 bytes and a frame is an array, to any decoder", async () => {
  await using box = await openBox();
  box.control.say(text("a"));
  const caller = new Caller(box, `?session=${SESSION}&from=1`, "cbor");
  await caller.next();
  await caller.next();
  const [verdict, frame] = caller.raw.map((raw) => cborgDecode(raw as Buffer, { useMaps: true }) as unknown);
  const session = (verdict as Map<string, unknown>).get("session");
  assert.ok(session instanceof Uint8Array && session.length === 16);
  assert.ok(Array.isArray(frame) && frame[0] === 1 && frame[1] === 1);
  caller.socket.close();
});

test("what is wrong with an upgrade is told in plain HTTP", async () => {
  await using box = await openBox({ limits: { connections: 1 } });
  const refusal = async (query: string, protocols: string[]) => new Caller(box, query, "json", protocols).end();
  const bearer = `bearer.${TOKEN}`;
  assert.match((await refusal("", ["cib.v1.json", "bearer.wrong"])).reason, /no such token/);
  assert.deepEqual((await refusal("", ["cib.v1.json"])).code, 4401);
  assert.match((await refusal("", [bearer])).reason, /sec-websocket-protocol: expected cib.v1.cbor or cib.v1.json/);
  assert.match((await refusal("", ["cib.v1.json", bearer, "bearer.two"])).reason, /more than one token/);
  assert.match((await refusal(`?token=${TOKEN}`, ["cib.v1.json", bearer])).reason, /token in the URL/);
  assert.match((await refusal("?session=nonsense", ["cib.v1.json", bearer])).reason, /session: expected a session id/);
  assert.match((await refusal("?from=1", ["cib.v1.json", bearer])).reason, /session: expected/);
  const first = await new Caller(box).open();
  assert.deepEqual((await refusal("", ["cib.v1.json", bearer])).code, 4503);
  first.socket.close();
});

test("a page of the box's own origin is told in a close code what is wrong with its upgrade; a foreign one gets no socket", async () => {
  await using box = await openBox();
  const { port } = new URL(box.url);
  const outcome = (origin: string, protocols: string[], query = "") =>
    new Promise<unknown>((resolve) => {
      const socket = new WebSocket(`${box.url}/ws${query}`, protocols, { origin });
      // A refused upgrade is an error of the socket too.
      socket.on("error", () => {});
      socket.on("unexpected-response", (_request, { statusCode }) => {
        resolve(statusCode);
        socket.terminate();
      });
      socket.on("close", (code, reason) => resolve([code, String(reason)]));
    });
  const own = `http://127.0.0.1:${port}`;
  const wrong = ["cib.v1.json", "bearer.wrong"];
  assert.deepEqual(await outcome(own, wrong), [4401, "authorization: no such token"]);
  assert.deepEqual(await outcome(own, ["cib.v1.link", `bearer.${TOKEN}`]), [
    4400,
    "authorization: cib.v1.link takes no token, the device key is the proof",
  ]);
  const long = (await outcome(own, ["cib.v1.json", `bearer.${TOKEN}`], `?session=${"\u{1f642}".repeat(60)}`)) as [
    number,
    string,
  ];
  assert.equal(long[0], 4400);
  assert.ok(Buffer.byteLength(long[1]) <= 123 && long[1].isWellFormed() && !long[1].includes("\ufffd"), long[1]);
  // None of ours was offered: there is nothing to open.
  assert.equal(await outcome(own, ["bearer.wrong"]), 401);
  assert.equal(await outcome(`http://evil.example:${port}`, wrong), 403);
  assert.equal(await outcome("null", ["cib.v1.json", `bearer.${TOKEN}`]), 403);
});

test("a session in the URL that is not there or not allowed is told in the stream, then the socket closes", async () => {
  await using box = await openBox();
  const caller = new Caller(box, `?session=${SESSION.replace("1234", "9999")}`);
  assert.equal(errorOf(await caller.next()).code, "not_found");
  assert.deepEqual(await caller.end(), { code: 4404, reason: "not_found" });
  // Its place is free again: one that keeps coming back would use them all up.
  assert.equal(box.http.connections, 0);
});

test("a stopping box says goodbye", async () => {
  await using box = await openBox();
  const caller = await new Caller(box).open();
  box.stop();
  assert.deepEqual(await caller.next(), { bye: "stopping" });
  assert.deepEqual(await caller.end(), { code: 4503, reason: "stopping" });
});

test("replies overtake each other, and too many commands at once are refused", async () => {
  await using box = await openBox();
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  box.control.answers.set("sessions.get", () => held.then(() => ({ body: {} })));
  const caller = await new Caller(box).open();
  for (let i = 0; i < MAX_COMMANDS; i++) caller.send({ cmd: "sessions.get", session: SESSION, id: i });
  const refused = await caller.ask({ cmd: "sessions.list", id: "late" });
  assert.deepEqual([refused["re"], errorOf(refused).code], ["late", "overloaded"]);
  release();
  for (let i = 0; i < MAX_COMMANDS; i++) assert.equal((await caller.next())["ok"], true);
  assert.equal((await caller.ask({ cmd: "sessions.list", id: "now" }))["ok"], true);
  caller.socket.close();
});

test("a socket that ends aborts what it asked for", async () => {
  await using box = await openBox();
  const caller = await new Caller(box).open();
  const aborted = new Promise<void>((resolve) => {
    box.control.answers.set(
      "send",
      (_, signal) =>
        new Promise((_done, reject) =>
          signal.addEventListener("abort", () => {
            reject(new CibError("internal", "left"));
            resolve();
          }),
        ),
    );
  });
  caller.send({ cmd: "send", session: SESSION, text: "x" });
  while (box.control.commands.length === 0) await turn();
  caller.socket.terminate();
  await aborted;
  while (box.http.connections > 0) await turn();
  assert.deepEqual(box.faults, []);
});

test("messages that are no commands are refused, and after a few the socket is closed", async () => {
  await using box = await openBox();
  const caller = await new Caller(box).open();
  const bad: (string | Buffer)[] = ["{", "[]", "null", "7", Buffer.from([0xa0]), '"x"', "", "{}}"];
  assert.equal(bad.length, MAX_MALFORMED);
  for (const message of bad) {
    caller.socket.send(message);
    const refused = await caller.next();
    assert.deepEqual([refused["re"], refused["ok"], errorOf(refused).code], [null, false, "bad_request"]);
  }
  assert.deepEqual(await caller.end(), { code: 4400, reason: "bad_request" });
});

test("a socket follows a bounded number of sessions", async () => {
  await using box = await openBox();
  const ids = Array.from(
    { length: MAX_ATTACHMENTS + 1 },
    (_, i) => SESSION.replace(/.{4}$/, i.toString(16).padStart(4, "0")) as typeof SESSION,
  );
  for (const id of ids) box.control.logs.set(id, []);
  const caller = await new Caller(box).open();
  for (const session of ids.slice(0, MAX_ATTACHMENTS))
    assert.equal((await caller.ask({ cmd: "attach", session }))["ok"], true);
  assert.equal(errorOf(await caller.ask({ cmd: "attach", session: ids.at(-1) })).code, "overloaded");
  caller.socket.close();
});

test("a reader that stops reading stops its cursor, and gets the rest when it reads on", async () => {
  await using box = await openBox();
  const caller = new Caller(box, `?session=${SESSION}&from=1`, "cbor");
  await caller.next();
  const [reader] = box.control.readers;
  caller.socket.pause();
  const total = 640;
  const word = "x".repeat(HIGH_WATER_BYTES);
  for (let i = 0; i < total; i++) box.control.say(text(word));
  while (reader?.full !== true) await turn();
  for (let i = 0; i < 20; i++) await turn();
  const stood = reader?.next ?? 0;
  assert.ok(stood < total, `the cursor stopped at ${stood}`);
  caller.socket.resume();
  for (let seq = 1; seq <= total; seq++) assert.equal((await caller.next())["seq"], seq);
  assert.deepEqual(box.faults, []);
  caller.socket.close();
});

test("with a certificate it is HTTPS and WSS", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "cib-tls-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  execFileSync(
    "openssl",
    [
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:prime256v1",
      "-nodes",
      "-keyout",
      key,
      "-out",
      cert,
      "-days",
      "2",
      "-subj",
      "/CN=localhost",
      "-addext",
      "subjectAltName=IP:127.0.0.1",
    ],
    { stdio: "ignore" },
  );
  await using box = await openBox({ tls: { cert, key } });
  box.control.say(text("sealed"));
  const caller = new Caller(box, `?session=${SESSION}&from=1`, "json", undefined, { ca: readFileSync(cert) });
  await caller.next();
  assert.equal((await caller.next())["text"], "sealed");
  assert.equal(box.control.credentials[0]?.encrypted, true);
  caller.socket.close();
});
