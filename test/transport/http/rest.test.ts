import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import { CibError, ERRORS, type ErrorCode } from "../../../src/errors.ts";
import { decodeValue, encodeValue } from "../../../src/frame/codec.ts";
import { addressText } from "../../../src/transport/http/peer.ts";
import { ROUTES } from "../../../src/transport/http/routes.ts";
import { call, Raw } from "./call.ts";
import { BEARER, openBox, SESSION, TOKEN } from "./fake.ts";

const INPUT = `/api/sessions/${SESSION}/input`;
const LAST_UUID = "0190f0c2-7a11-7c33-9a55-1234567890ff";

describe("routes", () => {
  test("every route of a command reaches it with its fields", async () => {
    await using box = await openBox();
    const asked: [string, string, object | undefined, object][] = [
      ["GET", "/api/sessions?cursor=abc&limit=5", undefined, { cmd: "sessions.list", cursor: "abc", limit: 5 }],
      ["POST", "/api/sessions", { workdir: "a", id: "one" }, { cmd: "sessions.create", workdir: "a", id: "one" }],
      ["GET", `/api/sessions/${SESSION}`, undefined, { cmd: "sessions.get", session: SESSION }],
      [
        "DELETE",
        `/api/sessions/${SESSION}?signal=kill`,
        undefined,
        { cmd: "sessions.stop", session: SESSION, signal: "kill" },
      ],
      ["POST", `/api/sessions/${SESSION}/resume`, undefined, { cmd: "sessions.resume", session: SESSION }],
      ["POST", INPUT, { text: "hällo" }, { cmd: "input", session: SESSION, text: "hällo" }],
      ["GET", `/api/sessions/${SESSION}/queue`, undefined, { cmd: "queue.list", session: SESSION }],
      [
        "DELETE",
        `/api/sessions/${SESSION}/queue/in%2F1`,
        undefined,
        { cmd: "queue.cancel", session: SESSION, input: "in/1" },
      ],
      ["POST", `/api/sessions/${SESSION}/interrupt`, undefined, { cmd: "interrupt", session: SESSION }],
      [
        "POST",
        `/api/sessions/${SESSION}/resize`,
        { cols: 80, rows: 24 },
        { cmd: "resize", session: SESSION, cols: 80, rows: 24 },
      ],
      [
        "POST",
        `/api/sessions/${SESSION}/send`,
        { text: "go", timeout_ms: 10 },
        { cmd: "send", session: SESSION, text: "go", timeout_ms: 10 },
      ],
      [
        "GET",
        `/api/sessions/${SESSION}/frames?from=3&types=stop,usage&limit=2`,
        undefined,
        { cmd: "frames", session: SESSION, from: 3, types: ["stop", "usage"], limit: 2 },
      ],
      ["GET", "/api/tokens", undefined, { cmd: "tokens.list" }],
      [
        "POST",
        "/api/tokens",
        { label: "phone", scopes: ["sessions:read"] },
        { cmd: "tokens.create", label: "phone", scopes: ["sessions:read"] },
      ],
      ["DELETE", "/api/tokens/t1", undefined, { cmd: "tokens.revoke", token: "t1" }],
      ["GET", `/api/sessions/${SESSION}/asks`, undefined, { cmd: "asks.list", session: SESSION }],
      [
        "POST",
        `/api/sessions/${SESSION}/answer`,
        { ask: "t/0", choices: [1] },
        { cmd: "answer", session: SESSION, ask: "t/0", choices: [1] },
      ],
      ["POST", `/api/sessions/${SESSION}/model`, { model: "m" }, { cmd: "model", session: SESSION, model: "m" }],
      [
        "POST",
        `/api/sessions/${SESSION}/effort`,
        { effort: "low" },
        { cmd: "effort", session: SESSION, effort: "low" },
      ],
      ["POST", `/api/sessions/${SESSION}/mode`, { mode: "plan" }, { cmd: "mode", session: SESSION, mode: "plan" }],
      ["GET", "/api/conversations?limit=2", undefined, { cmd: "conversations.list", limit: 2 }],
      ["GET", "/api/hooks", undefined, { cmd: "hooks.get" }],
      ["PUT", "/api/hooks", { hooks: [] }, { cmd: "hooks.put", hooks: [] }],
      ["POST", "/api/login", {}, { cmd: "login.start" }],
      ["GET", "/api/login", undefined, { cmd: "login.status" }],
      ["POST", "/api/login/code", { code: "a#b" }, { cmd: "login.code", code: "a#b" }],
    ];
    for (const [method, path, body, command] of asked) {
      const answer = await call(box, method, path, body === undefined ? {} : { body: JSON.stringify(body) });
      assert.ok(answer.status === 200 || answer.status === 201, `${method} ${path}: ${answer.bytes}`);
      assert.deepEqual(box.control.commands.at(-1), command);
    }
    const commands = ROUTES.map((route) => route.does).filter(
      (does) => !["health", "openapi", "events", "socket", "envelope", "envelope.token"].includes(does),
    );
    assert.deepEqual(
      new Set(box.control.commands.map((command) => command.cmd)),
      new Set(commands),
      "a route without a case here",
    );
  });

  test("a token for a sealed request needs none, and a request that nobody sealed gets nothing", async () => {
    const refused: string[] = [];
    await using box = await openBox({ refusedEnvelope: (_, why) => refused.push(why) });
    const token = await call(box, "GET", "/aes/token", { bare: true });
    assert.deepEqual([token.status, token.json()], [200, { token: "00".repeat(16) }]);
    const answer = await call(box, "POST", "/aes", { bare: true, body: "CIBH" });
    assert.deepEqual([answer.status, answer.bytes.length, refused], [401, 0, ["mac"]]);
    assert.equal((await call(box, "GET", "/aes")).headers.allow, "POST");
  });

  test("creations answer 201, and control may answer 202", async () => {
    await using box = await openBox();
    assert.equal((await call(box, "POST", "/api/sessions", { body: "{}" })).status, 201);
    box.control.answers.set("interrupt", () => ({ status: 202, body: { pending: true } }));
    const answer = await call(box, "POST", `/api/sessions/${SESSION}/interrupt`);
    assert.deepEqual([answer.status, answer.json()], [202, { pending: true }]);
  });

  test("an unknown path is 404, the root too in a box without a web client", async () => {
    await using box = await openBox();
    for (const path of [
      "/",
      "/api",
      "/api/sessions/",
      "/api/nothing",
      `/api/sessions/${SESSION}/nothing`,
      "//api/health",
    ]) {
      const answer = await call(box, "GET", path);
      assert.deepEqual([answer.status, answer.error().code], [404, "not_found"], path);
    }
  });

  test("a wrong method is 405 and names the right ones", async () => {
    await using box = await openBox();
    const answer = await call(box, "PATCH", `/api/sessions/${SESSION}`);
    assert.deepEqual(
      [answer.status, answer.headers.allow, answer.error().code],
      [405, "GET, HEAD, DELETE", "method_not_allowed"],
    );
    assert.equal((await call(box, "OPTIONS", "/api/tokens")).headers.allow, "GET, HEAD, POST");
  });

  test("HEAD answers like GET without the body", async () => {
    await using box = await openBox();
    const [head, get] = [await call(box, "HEAD", "/api/sessions"), await call(box, "GET", "/api/sessions")];
    assert.deepEqual(
      [head.status, head.bytes.length, head.headers["content-length"]],
      [200, 0, get.headers["content-length"]],
    );
  });

  test("an unknown query key is refused by name, and so is a value of the wrong kind", async () => {
    await using box = await openBox();
    const frames = `/api/sessions/${SESSION}/frames`;
    assert.match(
      (await call(box, "GET", `${frames}?form=1`)).error().message,
      /unknown key "form"; known here: from, epoch, types, limit/,
    );
    assert.match((await call(box, "GET", `${frames}?from=x`)).error().message, /from: expected number, got "x"/);
    assert.match((await call(box, "GET", `${frames}?from=1&from=2`)).error().message, /from: given twice/);
    assert.match((await call(box, "GET", `/api/sessions/${SESSION}/queue%zz`)).error().code, /not_found|bad_request/);
  });

  test("the path is the only place for what it names", async () => {
    await using box = await openBox();
    const answer = await call(box, "POST", INPUT, { body: JSON.stringify({ session: LAST_UUID, text: "x" }) });
    assert.deepEqual([answer.status, answer.error().message], [400, "session: belongs to the path, not to the body"]);
    assert.match(
      (await call(box, "POST", INPUT, { body: '{"cmd":"tokens.list"}' })).error().message,
      /cmd: belongs to the path/,
    );
  });
});

describe("health and description", () => {
  test("health answers without a token, and says more with one", async () => {
    await using box = await openBox();
    assert.deepEqual((await call(box, "GET", "/api/health", { bare: true })).json(), {
      status: "ok",
      version: "test",
      uptime_s: 1,
    });
    assert.equal((await call(box, "GET", "/api/health")).json()["isolation"], "none");
    assert.equal((await call(box, "GET", "/api/health", { headers: { authorization: "Bearer wrong" } })).status, 401);
  });

  test("the description is served as it was given, or 501 where there is none", async () => {
    await using box = await openBox({ openapi: '{"openapi":"3.1.0"}' });
    assert.equal((await call(box, "GET", "/api/openapi.json", { bare: true })).bytes.toString(), '{"openapi":"3.1.0"}');
    await using plain = await openBox();
    assert.equal((await call(plain, "GET", "/api/openapi.json")).status, 501);
  });
});

describe("encodings", () => {
  test("CBOR in and CBOR out, errors too", async () => {
    await using box = await openBox();
    box.control.answers.set("sessions.get", () => ({ body: { session: SESSION, at: 1_763_880_000_123 } }));
    const headers = { accept: "application/cbor", "content-type": "application/cbor" };
    const got = await call(box, "GET", `/api/sessions/${SESSION}`, { headers });
    assert.equal(got.headers["content-type"], "application/cbor");
    assert.deepEqual(decodeValue(got.bytes), { session: SESSION, at: 1_763_880_000_123 });
    await call(box, "POST", INPUT, { headers, body: encodeValue({ data: Buffer.from([1, 2]) }) });
    const command = box.control.commands.at(-1) as { data?: Uint8Array };
    assert.deepEqual(Buffer.from(command.data ?? []), Buffer.from([1, 2]));
    const refused = decodeValue(
      (await call(box, "POST", INPUT, { headers, body: encodeValue({ text: 1 }) })).bytes,
    ) as { error: { code: string } };
    assert.equal(refused.error.code, "bad_request");
  });

  test("frames in a reply are flat objects, whatever control keeps them as", async () => {
    await using box = await openBox();
    const frame = box.control.say({ type: "stop", reason: "end_turn" });
    box.control.answers.set("frames", () => ({ body: { frames: [frame] } }));
    assert.deepEqual((await call(box, "GET", `/api/sessions/${SESSION}/frames`)).json(), { frames: [frame.frame()] });
    const cbor = await call(box, "GET", `/api/sessions/${SESSION}/frames`, { headers: { accept: "application/cbor" } });
    assert.deepEqual(decodeValue(cbor.bytes), { frames: [frame.frame()] });
  });

  test("a broken body is refused with the place", async () => {
    await using box = await openBox();
    const cases: [string | Buffer, RegExp, Record<string, string>?][] = [
      ['{"text":}', /body: not JSON: .*/],
      [Buffer.from([0x7b, 0xff, 0x7d]), /body: not UTF-8/],
      ["[1]", /body: expected an object, got an array/],
      ["null", /body: expected an object, got null/],
      ['"x"', /body: expected an object, got string/],
      [Buffer.from([0xa1, 0x61]), /body: cbor: cut short/, { "content-type": "application/cbor" }],
      ['{"text":1}', /text: expected/],
    ];
    for (const [body, message, headers] of cases) {
      const answer = await call(box, "POST", INPUT, { body, ...(headers && { headers }) });
      assert.equal(answer.status, 400);
      assert.match(answer.error().message, message);
    }
    assert.equal(box.control.commands.length, 0);
  });
});

describe("exactly once over HTTP", () => {
  test("Idempotency-Key is the id where the body has none", async () => {
    await using box = await openBox();
    const ids = () => box.control.commands.map((command) => ("id" in command ? command.id : undefined));
    await call(box, "POST", INPUT, { body: '{"text":"a"}', headers: { "idempotency-key": "k1" } });
    await call(box, "POST", INPUT, { body: '{"text":"a","id":"own"}', headers: { "idempotency-key": "k1" } });
    await call(box, "POST", `/api/sessions/${SESSION}/resize`, {
      body: '{"cols":80,"rows":24}',
      headers: { "idempotency-key": "k1" },
    });
    assert.deepEqual(ids(), ["k1", "own", undefined]);
  });
});

describe("errors", () => {
  test("every row of the error table arrives with its status and the one shape", async () => {
    await using box = await openBox();
    for (const code of Object.keys(ERRORS) as ErrorCode[]) {
      box.control.answers.set("sessions.list", () => {
        throw new CibError(code, `told ${code}`, { retryAfterS: 7 });
      });
      const answer = await call(box, "GET", "/api/sessions");
      assert.equal(answer.status, ERRORS[code].status, code);
      assert.deepEqual(answer.json(), { error: { code, message: `told ${code}`, retryable: ERRORS[code].retryable } });
      if (code === "slow_down") assert.equal(answer.headers["retry-after"], "7");
      if (code === "unauthorized") assert.match(String(answer.headers["www-authenticate"]), /^Bearer/);
    }
  });

  test("a fault of ours is told as internal without its text, and reported", async () => {
    await using box = await openBox();
    box.control.answers.set("sessions.list", () => {
      throw new TypeError("secret detail");
    });
    const answer = await call(box, "GET", "/api/sessions");
    assert.deepEqual([answer.status, answer.error().message], [500, "internal error"]);
    assert.match(String(box.faults[0]), /secret detail/);
  });

  test("a send that ran out of time answers 408 with what there is", async () => {
    await using box = await openBox();
    box.control.answers.set("send", () => {
      throw new CibError("timeout", "too long", { partial: { last: 4, messages: ["so far"] } });
    });
    const answer = await call(box, "POST", `/api/sessions/${SESSION}/send`, { body: '{"text":"x"}' });
    assert.equal(answer.status, 408);
    assert.deepEqual(
      [answer.json()["last"], answer.json()["messages"], answer.error().code],
      [4, ["so far"], "timeout"],
    );
  });

  test("security headers are on every answer, refusals too", async () => {
    await using box = await openBox();
    for (const path of ["/api/health", "/", "/api/sessions"]) {
      const { headers } = await call(box, "GET", path, { bare: true });
      assert.equal(headers["x-content-type-options"], "nosniff");
      assert.equal(headers["cache-control"], "no-store");
      assert.match(String(headers["content-security-policy"]), /default-src 'none'/);
    }
  });
});

describe("the door", () => {
  test("a token in the URL is refused before anything else, a good one too", async () => {
    await using box = await openBox();
    for (const key of ["token", "access_token", "Authorization", "bearer", "api_key"]) {
      const answer = await call(box, "GET", `/api/sessions?${key}=${TOKEN}`);
      assert.deepEqual([answer.status, answer.error().code], [400, "token_in_url"], key);
      assert.doesNotMatch(answer.bytes.toString(), new RegExp(TOKEN));
    }
    assert.equal(
      (await call(box, "GET", "/nowhere?token=x", { headers: { host: "evil.example" } })).error().code,
      "token_in_url",
    );
    assert.equal(box.control.credentials.length, 0);
  });

  test("the box answers to its own names only", async () => {
    await using box = await openBox({ hosts: ["box.example", "*.ts.example", "https://named.example"] });
    const status = async (host: string) => (await call(box, "GET", "/api/health", { headers: { host } })).status;
    for (const host of [
      "localhost:8080",
      "127.0.0.1",
      "[::1]:80",
      "192.168.1.5:8080",
      "pi.local",
      "BOX.example",
      "a.ts.example:1",
      "named.example",
    ]) {
      assert.equal(await status(host), 200, host);
    }
    for (const host of [
      "evil.example",
      "box.example.evil.example",
      "ts.example.evil",
      "notlocal",
      "127.0.0.1.evil.example",
    ]) {
      assert.equal(await status(host), 403, host);
    }
  });

  test("a page of another site changes nothing and reads nothing", async () => {
    await using box = await openBox();
    const status = async (method: string, headers: Record<string, string>) =>
      (await call(box, method, "/api/sessions", { headers: { host: "box.example", ...headers } })).status;
    assert.equal(await status("POST", { origin: "http://box.example" }), 201);
    assert.equal(await status("POST", { origin: "https://evil.example" }), 403);
    assert.equal(await status("GET", { origin: "https://evil.example" }), 403);
    assert.equal(await status("POST", { origin: "null" }), 403);
    // An address names the attacker's own machine as well as it names ours.
    assert.equal(await status("POST", { origin: "http://203.0.113.9" }), 403);
    assert.equal(await status("POST", { "sec-fetch-site": "cross-site" }), 403);
    assert.equal(await status("POST", { "sec-fetch-site": "same-origin", origin: "http://box.example" }), 201);
    assert.equal(await status("GET", { "sec-fetch-site": "same-origin" }), 200);
  });

  test("control hears the token, the address and whether the wire is safe", async () => {
    await using box = await openBox();
    await call(box, "GET", "/api/sessions", { headers: { "x-forwarded-for": "203.0.113.1" } });
    assert.deepEqual(box.control.credentials, [{ bearer: TOKEN, address: "127.0.0.1", encrypted: true }]);
  });

  test("a malformed or doubled Authorization is 401", async () => {
    await using box = await openBox();
    for (const authorization of ["Basic eDp5", "Bearer", "Bearer a b", TOKEN]) {
      assert.equal(
        (await call(box, "GET", "/api/sessions", { headers: { authorization } })).status,
        401,
        authorization,
      );
    }
    const both = await call(box, "GET", "/api/sessions", {
      headers: { ...BEARER, "sec-websocket-protocol": `bearer.${TOKEN}` },
    });
    assert.match(both.error().message, /more than one token/);
  });

  test("addresses are written the short way", () => {
    const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"));
    assert.equal(addressText(bytes("c0a80105")), "192.168.1.5");
    assert.equal(addressText(bytes("00000000000000000000ffff7f000001")), "127.0.0.1");
    assert.equal(addressText(bytes("00000000000000000000000000000001")), "::1");
    assert.equal(addressText(bytes("fe800000000000000000000000000a01")), "fe80::a01");
  });
});

describe("endings", () => {
  test("a client that leaves aborts its command, and nobody is blamed", async () => {
    await using box = await openBox();
    const left = new Promise<void>((resolve) => {
      box.control.answers.set(
        "send",
        (_, signal) =>
          new Promise((_done, reject) =>
            signal.addEventListener("abort", () => {
              reject(signal.reason);
              resolve();
            }),
          ),
      );
    });
    const raw = new Raw(box).say(
      `POST /api/sessions/${SESSION}/send HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Length: 12\r\n\r\n{"text":"x"}`,
    );
    while (box.control.commands.length === 0) await new Promise((resolve) => setImmediate(resolve));
    raw.socket.destroy();
    await left;
    assert.deepEqual(box.faults, []);
  });

  test("a token that ends cuts the command that it began, a stopping box too", async () => {
    await using box = await openBox();
    const waits = (_: unknown, signal: AbortSignal) =>
      new Promise<never>((_done, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    box.control.answers.set("send", waits);
    const first = call(box, "POST", `/api/sessions/${SESSION}/send`, { body: '{"text":"x"}' });
    while (box.control.commands.length === 0) await new Promise((resolve) => setImmediate(resolve));
    box.control.principals.get(TOKEN)?.abort.abort("revoked");
    assert.equal((await first).status, 401);
    box.control.allow(TOKEN, "master", ["sessions:write"]);
    const second = call(box, "POST", `/api/sessions/${SESSION}/send`, { body: '{"text":"x"}' });
    while (box.control.commands.length === 1) await new Promise((resolve) => setImmediate(resolve));
    box.stop();
    assert.deepEqual((await second).error().code, "stopping");
  });

  test("a taken port is told as such", async () => {
    await using box = await openBox();
    await assert.rejects(openBox({ listen: { host: "127.0.0.1", port: box.http.port } }), /is taken or not ours/);
  });

  test("curl works as the documentation types it", async () => {
    await using box = await openBox();
    const { stdout } = await promisify(execFile)("curl", [
      "-s",
      "-H",
      `Authorization: Bearer ${TOKEN}`,
      "-d",
      '{"text":"hi"}',
      box.url + INPUT,
    ]);
    assert.deepEqual(JSON.parse(stdout), { done: "input" });
  });
});
