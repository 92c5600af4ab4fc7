import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { text } from "node:stream/consumers";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { startTap, type Tap, type TapLease } from "../../src/agent/tap.ts";
import type { Heard } from "../../src/agent/tap-stream.ts";
import { loopbackDirect, wayOf } from "../../src/agent/upstream.ts";
import { CibError } from "../../src/errors.ts";
import { startOAuth } from "./oauth-server.ts";

interface Bench extends AsyncDisposable {
  readonly tap: Tap;
  readonly lease: TapLease;
  readonly upstream: string;
  readonly heard: { readonly heard: Heard; readonly agent: string | undefined }[];
  readonly faults: unknown[];
  /** Waits until so much was overheard; listening comes after passing. */
  hears(count: number): Promise<void>;
}

async function listen(server: Server): Promise<string> {
  await once(server.listen(0, "127.0.0.1"), "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function bench(
  answer: (req: IncomingMessage, res: ServerResponse) => unknown,
  options: { prefix?: string; throws?: boolean; proxy?: string; base?: string } = {},
): Promise<Bench> {
  const server = createServer((req, res) => void answer(req, res));
  const upstream = await listen(server);
  const tap = await startTap();
  const heard: Bench["heard"] = [];
  const faults: unknown[] = [];
  let wake = (): void => undefined;
  const env = options.proxy === undefined ? {} : { HTTP_PROXY: options.proxy, HTTPS_PROXY: options.proxy };
  const lease = tap.open({
    way: wayOf(options.base ?? `${upstream}${options.prefix ?? ""}`, env),
    marksAgents: true,
    heard(one, agent) {
      heard.push({ heard: one, agent });
      wake();
      if (options.throws === true) throw new Error("deaf");
    },
    fault: (fault) => faults.push(fault),
  });
  return {
    tap,
    lease,
    upstream,
    heard,
    faults,
    async hears(count) {
      while (heard.length < count) await new Promise<void>((done) => (wake = done));
    },
    async [Symbol.asyncDispose]() {
      await tap[Symbol.asyncDispose]();
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

const MAIN = JSON.stringify({ model: "m", messages: [], tools: [{ name: "Agent" }], stream: true });
const event = (value: object): string => `data: ${JSON.stringify(value)}\n\n`;
const BEGIN = event({ type: "message_start", message: { id: "msg_1", model: "m" } });
const said = (words: string): string =>
  event({ type: "content_block_delta", delta: { type: "text_delta", text: words } });
const stream = (res: ServerResponse, ...parts: string[]): void => {
  res.writeHead(200, { "content-type": "text/event-stream" });
  for (const part of parts) res.write(part);
};

async function post(url: string, body: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  const req = request(url, { method: "POST", headers: { "content-type": "application/json", ...headers } });
  // An answer may come before the body is through, and the connection end with the test.
  req.on("error", () => undefined);
  req.end(body);
  const [res] = (await once(req, "response")) as [IncomingMessage];
  return res;
}

describe("the tap", () => {
  it("passes a call on as it came but for host and accept-encoding, and the answer as it is", async () => {
    const got: { url: string | undefined; raw: string[]; body: string }[] = [];
    await using b = await bench(
      async (req, res) => {
        got.push({ url: req.url, raw: req.rawHeaders, body: await text(req) });
        res.writeHead(418, "Teapot", ["request-id", "r1", "Set-Cookie", "a", "Set-Cookie", "b"]).end("short and stout");
      },
      { prefix: "/gateway" },
    );
    const headers = { "X-Api-Key": "k", "X-Odd-Case": "v", "accept-encoding": "gzip, br" };
    const res = await post(`${b.lease.url}/v1/messages?beta=true`, MAIN, headers);
    assert.deepEqual([res.statusCode, res.statusMessage], [418, "Teapot"]);
    assert.deepEqual(res.headers["set-cookie"], ["a", "b"]);
    assert.equal(await text(res), "short and stout");
    const [call] = got;
    assert.equal(call?.url, "/gateway/v1/messages?beta=true");
    assert.equal(call?.body, MAIN);
    const names = call?.raw.filter((_, i) => i % 2 === 0) ?? [];
    const wanted = ["connection", "content-length", "content-type", "host", "x-api-key", "x-odd-case"];
    assert.deepEqual(names.map((n) => n.toLowerCase()).sort(), wanted);
    assert.ok(names.includes("X-Odd-Case"));
    assert.equal(call?.raw[names.indexOf("host") * 2 + 1], new URL(b.upstream).host);
  });

  it("hands over each piece as it comes, and then says what it heard, by whom", async () => {
    let answer: ServerResponse | undefined;
    await using b = await bench((req, res) => {
      req.resume().on("end", () => {
        answer = res;
        stream(res, BEGIN, said("Hel"));
      });
    });
    const res = await post(`${b.lease.url}/v1/messages`, MAIN, { "x-claude-code-agent-id": "a1" });
    res.setEncoding("utf8");
    let bytes = "";
    res.on("data", (part: string) => (bytes += part));
    await b.hears(2);
    while (!bytes.includes("Hel")) await once(res, "data");
    answer?.end(said("lo") + event({ type: "message_stop" }));
    await once(res, "end");
    await b.hears(4);
    assert.equal(bytes, BEGIN + said("Hel") + said("lo") + event({ type: "message_stop" }));
    assert.deepEqual(
      b.heard.map(({ heard: h, agent }) => `${agent} ${h.tell} ${h.tell === "text" ? h.text : ""}`),
      ["a1 begin ", "a1 text Hel", "a1 text lo", "a1 end "],
    );
  });

  it("overhears nothing of calls on the side, of other calls, and of answers it cannot read", async () => {
    await using b = await bench((req, res) => {
      req.resume().on("end", () => {
        const type = req.headers["x-type"] as string | undefined;
        const packed = req.headers["x-packed"] === undefined ? {} : { "content-encoding": "br" };
        res.writeHead(200, { "content-type": type ?? "text/event-stream", ...packed }).end(BEGIN + said("x"));
      });
    });
    const side = JSON.stringify({ messages: [], tools: [], stream: true });
    for (const [path, body, headers] of [
      ["/v1/messages", side, {}],
      ["/v1/messages/count_tokens", MAIN, {}],
      ["/v1/messages", MAIN, { "x-type": "application/json" }],
      ["/v1/messages", MAIN, { "x-packed": "1" }],
    ] as const)
      assert.equal(await text(await post(b.lease.url + path, body, headers)), BEGIN + said("x"));
    await text(await post(`${b.lease.url}/v1/messages`, MAIN));
    await b.hears(3);
    assert.deepEqual(
      b.heard.map(({ heard: h }) => h.tell),
      ["begin", "text", "cut"],
    );
  });

  it("passes everything though its listener throws", async () => {
    await using b = await bench((req, res) => req.resume().on("end", () => res.end(stream(res, BEGIN, said("all")))), {
      throws: true,
    });
    assert.equal(await text(await post(`${b.lease.url}/v1/messages`, MAIN)), BEGIN + said("all"));
    assert.equal(b.faults.length > 0, true);
  });

  it("carries tens of megabytes both ways", async () => {
    const big = "x".repeat(24 * 1024 * 1024);
    await using b = await bench(async (req, res) => {
      const { length } = await text(req);
      res.end(`${length} ${big}`);
    });
    const reply = await text(await post(`${b.lease.url}/v1/files`, big));
    assert.equal(reply.length, big.length + String(big.length).length + 1);
    assert.ok(reply.startsWith(`${big.length} `));
  });

  it("ends the call above when Claude hangs up, and Claude's when the API hangs up", async () => {
    const gone: Promise<unknown>[] = [];
    await using b = await bench((req, res) => {
      gone.push(once(res, "close"));
      req.resume().on("end", () => {
        stream(res, BEGIN, said("half"));
        if (req.url === "/v1/messages?cut") res.write(said("."), () => res.destroy());
      });
    });
    const res = await post(`${b.lease.url}/v1/messages`, MAIN);
    await once(res, "data");
    res.destroy();
    await gone[0];
    const cut = await post(`${b.lease.url}/v1/messages?cut`, MAIN);
    await assert.rejects(text(cut), /aborted/);
  });

  it("answers 502 in the API's words when the API is not there, and goes on when it is back", async () => {
    await using b = await bench((_req, res) => res.end());
    const { port } = new URL(b.upstream);
    const dead = b.tap.open({
      way: wayOf("http://127.0.0.1:1", {}),
      marksAgents: true,
      heard: () => assert.fail("nothing was said"),
      fault: () => undefined,
    });
    const res = await post(`${dead.url}/v1/messages`, MAIN.repeat(100_000));
    assert.equal(res.statusCode, 502);
    const body = JSON.parse(await text(res)) as { type: string; error: { type: string; message: string } };
    assert.equal(body.type, "error");
    assert.equal(body.error.type, "api_error");
    assert.match(body.error.message, /cannot be reached: ECONNREFUSED/);
    assert.doesNotMatch(body.error.message, new RegExp(port));
    assert.equal((await post(`${b.lease.url}/v1/messages`, MAIN)).statusCode, 200);
  });

  it("is no way to anywhere else: an unknown token, another path, another host, a tunnel, a closed place", async () => {
    let calls = 0;
    await using b = await bench((_req, res) => {
      calls++;
      res.end();
    });
    const { port } = new URL(b.lease.url);
    const raw = (target: string, method = "GET"): Promise<string> =>
      new Promise((done) => {
        const socket = connect(Number(port), "127.0.0.1", () =>
          socket.write(`${method} ${target} HTTP/1.1\r\nhost: elsewhere\r\nconnection: close\r\n\r\n`),
        );
        let said = "";
        socket.setEncoding("utf8").on("data", (part: string) => (said += part));
        socket.on("error", () => undefined).on("close", () => done(said.split("\r\n")[0] ?? ""));
      });
    const token = new URL(b.lease.url).pathname;
    const NOT_FOUND = "HTTP/1.1 404 Not Found";
    for (const target of [
      `/${"0".repeat(32)}/v1/messages`,
      `${token}/metrics`,
      `${token}/v1/../admin`,
      `${token}/v1/%2E%2e/admin`,
      `${token}/v1/..`,
      `${token}/v1\\..\\admin`,
      `${token}//elsewhere/v1/messages`,
      `${token}`,
      "/",
      "http://elsewhere/v1/messages",
      `http://elsewhere${token}/v1/messages`,
    ])
      assert.equal(await raw(target), NOT_FOUND, target);
    assert.equal(await raw("elsewhere:443", "CONNECT"), "");
    assert.equal(calls, 0);
    assert.equal(await raw(`${token}/`, "HEAD"), "HTTP/1.1 200 OK");
    assert.equal(await raw(`${token}/api/hello?x=/../`), "HTTP/1.1 200 OK");
    b.lease[Symbol.dispose]();
    assert.equal(await raw(`${token}/v1/messages`), NOT_FOUND);
    assert.equal(calls, 2);
  });
});

describe("the way up", () => {
  it("leads through the proxy that the environment names, with the proxy's own credential", async () => {
    const seen: string[] = [];
    const proxy = createServer((req, res) => {
      seen.push(`${req.method} ${req.url} ${req.headers["proxy-authorization"]}`);
      res.end("by proxy");
    });
    proxy.on("connect", (req, socket) => {
      seen.push(`CONNECT ${req.url} ${req.headers["proxy-authorization"]}`);
      socket.end("HTTP/1.1 403 No\r\n\r\n");
    });
    const url = new URL(await listen(proxy));
    url.username = "u";
    url.password = "p@";
    const basic = `Basic ${Buffer.from("u:p@").toString("base64")}`;
    try {
      const common = { proxy: url.href };
      await using plain = await bench((_q, s) => s.end(), { ...common, base: "http://api.test/x" });
      assert.equal(await text(await post(`${plain.lease.url}/v1/messages`, MAIN)), "by proxy");
      await using tls = await bench((_q, s) => s.end(), { ...common, base: "https://api.test" });
      const res = await post(`${tls.lease.url}/v1/messages`, MAIN);
      assert.equal(res.statusCode, 502);
      assert.match(await text(res), /proxy: answered 403 to CONNECT/);
      assert.deepEqual(seen, [`POST http://api.test/x/v1/messages ${basic}`, `CONNECT api.test:443 ${basic}`]);
    } finally {
      proxy.closeAllConnections();
      proxy.close();
    }
  });

  it("is TLS of its own inside a proxy's tunnel, and kept for the next call", async () => {
    await using server = await startOAuth();
    const src = new URL("../../src/agent/", import.meta.url).href;
    const program = `
      import { startTap } from "${src}tap.ts";
      import { wayOf } from "${src}upstream.ts";
      const tap = await startTap();
      const { url } = tap.open({ way: wayOf(undefined, process.env), marksAgents: true, heard() {}, fault() {} });
      for (let i = 0; i < 2; i++) {
        const reply = await fetch(url + "/api/hello", { method: "POST", body: "hi " + i });
        console.log(reply.status, await reply.text());
      }
      process.exit();`;
    const args = ["--import", "tsx", "--input-type=module", "-e", program];
    const { stdout } = await promisify(execFile)(process.execPath, args, {
      env: { PATH: process.env["PATH"] ?? "", ...server.env },
    });
    assert.equal(stdout, "200 {}\n200 {}\n");
    assert.deepEqual(
      server.calls.map(({ host, method, path, body }) => `${method} ${host}${path} ${body}`),
      ["POST api.anthropic.com/api/hello hi 0", "POST api.anthropic.com/api/hello hi 1"],
    );
  });

  it("is direct where NO_PROXY says so", () => {
    const env = (list: string): Record<string, string> => ({ HTTPS_PROXY: "http://p:1", NO_PROXY: list });
    const proxied = (base: string, list: string): boolean => wayOf(base, env(list)).proxy !== undefined;
    assert.equal(proxied("https://api.test", ""), true);
    assert.equal(proxied("https://api.test", "test"), false);
    assert.equal(proxied("https://api.test", ".test,x"), false);
    assert.equal(proxied("https://api.test", "est"), true);
    assert.equal(proxied("https://api.test", "api.test:8443"), true);
    assert.equal(proxied("https://api.test:8443", "api.test:8443"), false);
    assert.equal(proxied("https://api.test", "*"), false);
    assert.equal(wayOf("http://api.test", env("")).proxy, undefined);
    assert.equal(wayOf(undefined, {}).base.href, "https://api.anthropic.com/");
    assert.deepEqual(loopbackDirect({ NO_PROXY: "a" }), { NO_PROXY: "a,127.0.0.1", no_proxy: "a,127.0.0.1" });
  });

  it("refuses what is no address", () => {
    for (const base of ["nonsense", "ftp://x", ""])
      assert.throws(
        () => wayOf(base, {}),
        (thrown) => thrown instanceof CibError && thrown.code === "bad_request",
      );
  });
});
