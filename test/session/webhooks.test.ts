/** Webhooks: order, retries, cursors over restarts, and that nothing else minds them. */
import assert from "node:assert/strict";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { Frame, SessionId } from "../../src/frame/frame.ts";
import { deliver, filled, GIVE_UP_MS, MAX_WAIT_MS } from "../../src/hooks/post.ts";
import type { PostRule } from "../../src/hooks/rules.ts";
import type { Session } from "../../src/session/session.ts";
import { Webhooks } from "../../src/session/webhooks.ts";
import { FakeClock } from "./fake-clock.ts";
import { framesOf, until, World } from "./world.ts";

/** A server that answers as it is told. */
class Server implements AsyncDisposable {
  readonly got: { readonly body: string; readonly headers: IncomingHttpHeaders }[] = [];
  answer: number | "hang" = 200;
  readonly #server = createServer((req, res) => {
    let body = "";
    req.setEncoding("utf8").on("data", (text: string) => {
      body += text;
    });
    req.on("end", () => {
      this.got.push({ body, headers: req.headers });
      if (this.answer !== "hang") res.writeHead(this.answer, { location: "/elsewhere" }).end("thanks");
    });
  });

  static async start(): Promise<Server> {
    const server = new Server();
    await new Promise<void>((done) => server.#server.listen(0, "127.0.0.1", done));
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/in`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}

const FRAME = { session: "s" as SessionId, seq: 7, ts: 1, type: "stop", reason: "end_turn" } as Frame;
const rule = (post: PostRule["post"], more: object = {}): PostRule => ({ name: "w", on: ["stop"], post, ...more });
const hooks = (session: Session) => framesOf(session).flatMap((frame) => (frame.type === "hook" ? [frame] : []));
const results = (session: Session) => hooks(session).map(({ result }) => result as Record<string, unknown>);
const keys = (server: Server) => server.got.map(({ headers }) => String(headers["x-cib-frame"]).split(":")[1]);

describe("one delivery", () => {
  /** `fetch` that answers from a list, the last one for ever; the clock jumps over every pause. */
  function setUp(...answers: readonly (number | Error)[]) {
    const clock = new FakeClock();
    const pauses: number[] = [];
    let calls = 0;
    const send = async (): Promise<Response> => {
      const answer = answers[Math.min(calls++, answers.length - 1)] ?? 200;
      if (answer instanceof Error) throw answer;
      return new Response(null, { status: answer });
    };
    const after = (ms: number, run: () => void): (() => void) => {
      pauses.push(ms);
      const cancel = clock.after(ms, run);
      setImmediate(() => clock.pass(ms));
      return cancel;
    };
    const options = { now: () => clock.now(), after, random: () => 1, fetch: send as typeof fetch };
    const run = (signal = new AbortController().signal) =>
      deliver(rule({ url: "http://x" }), FRAME, undefined, options, signal);
    return { run, pauses };
  }

  test("is tried again with longer and longer pauses until it is taken", async () => {
    const refused = new TypeError("fetch failed", { cause: { code: "ECONNREFUSED" } });
    const { run, pauses } = setUp(refused, 500, 429, 408, 204);
    assert.deepEqual(await run(), { verdict: "delivered", ms: 15_000, tries: 5, status: 204 });
    assert.deepEqual(pauses, [1_000, 2_000, 4_000, 8_000]);
  });

  test("is given up after an hour", async () => {
    const { run, pauses } = setUp(503);
    const delivery = await run();
    assert.equal(delivery?.verdict, "failed");
    assert.equal(delivery?.error, "answered 503");
    assert.ok(delivery !== undefined && delivery.ms <= GIVE_UP_MS && delivery.ms > GIVE_UP_MS - MAX_WAIT_MS);
    assert.equal(Math.max(...pauses), MAX_WAIT_MS);
  });

  for (const status of [400, 404, 410, 301, 302])
    test(`is not tried again after ${status}`, async () => {
      const { run, pauses } = setUp(status);
      assert.deepEqual(await run(), { verdict: "failed", ms: 0, tries: 1, status, error: `answered ${status}` });
      assert.deepEqual(pauses, []);
    });

  test("ends without a word when the box stops", async () => {
    const over = new AbortController();
    const { run } = setUp(500);
    const running = run(over.signal);
    over.abort();
    assert.equal(await running, undefined);
  });
});

test("a body's {fields} come from the frame; what it has not is empty, other braces stay", () => {
  assert.equal(filled('{"a": "{prompt}"} {gone}{__proto__}{n}', { prompt: "x", n: [1] }), '{"a": "x"} [1]');
});

async function setUp(world: World, session?: Session, clock = undefined as FakeClock | undefined) {
  const webhooks = new Webhooks({
    file: join(world.data, "webhooks.json"),
    hooks: world.hooks,
    fault: (where, thrown) => world.faults.push([where, thrown]),
    random: () => 0,
    ...(clock && { clock }),
  });
  if (session !== undefined) webhooks.follow(session);
  return webhooks;
}

const stop = (reason: string) => ({ type: "stop", reason }) as const;

test("frames arrive as JSON, in order, once; those before the rule was there do not", async () => {
  await using server = await Server.start();
  await using world = await World.open();
  const session = await world.create();
  const agent = world.engine.agent(session.id);
  agent.tell(stop("before"));
  await session.log.sync();
  await world.hooks.put([rule({ url: server.url, headers: { authorization: "Bearer k" } })]);
  await using _ = await setUp(world, session);
  for (let n = 0; n < 5; n++) agent.tell({ type: "text.delta", text: "x" }, stop(`s${n}`));
  await until(() => results(session).length === 5, "all told");
  const bodies = server.got.map(({ body }) => JSON.parse(body) as { type: string; reason: string; seq: number });
  assert.deepEqual(
    bodies.map(({ reason }) => reason),
    ["s0", "s1", "s2", "s3", "s4"],
  );
  assert.equal(server.got[0]?.headers.authorization, "Bearer k");
  assert.equal(server.got[0]?.headers["x-cib-frame"], `${session.id}:${bodies[0]?.seq}`);
  assert.equal(server.got[0]?.headers["content-type"], "application/json");
  assert.deepEqual(
    results(session).map(({ verdict }) => verdict),
    Array(5).fill("delivered"),
  );
  assert.doesNotMatch(JSON.stringify(framesOf(session)), /Bearer/);
});

test("a redirect is not followed, and the next frame has its turn", async () => {
  await using server = await Server.start();
  server.answer = 302;
  await using world = await World.open();
  const session = await world.create({ hooks: [rule({ url: server.url })] });
  await using _ = await setUp(world, session);
  world.engine.agent(session.id).tell(stop("one"), stop("two"));
  await until(() => results(session).length === 2, "both told");
  assert.deepEqual(
    results(session).map(({ verdict, error }) => [verdict, error]),
    Array(2).fill(["failed", "answered 302"]),
  );
  assert.equal(server.got.length, 2);
});

test("what was not delivered before a restart is delivered after it, and nothing twice", async () => {
  await using server = await Server.start();
  await using world = await World.open();
  const { id } = await world.create({ hooks: [rule({ url: server.url })] });
  const before = await setUp(world, world.get(id));
  world.engine.agent(id).tell(stop("one"));
  await until(() => results(world.get(id)).length === 1, "the first");
  server.answer = "hang";
  world.engine.agent(id).tell(stop("two"), stop("three"));
  await until(() => server.got.length === 2, "the second, held");
  await before[Symbol.asyncDispose]();
  await world.stop();
  server.answer = 200;
  await world.start();
  await using _ = await setUp(world, world.get(id));
  await until(() => results(world.get(id)).length >= 3, "the rest");
  const told = server.got.map(({ body }) => (JSON.parse(body) as { reason: string }).reason);
  // The clean stop of the daemon ended a session that was told so, too.
  assert.deepEqual(told.slice(0, 4), ["one", "two", "two", "three"]);
  assert.equal(keys(server)[1], keys(server)[2]);
  assert.equal(new Set(keys(server).slice(1)).size, keys(server).length - 2);
});

test("an address that never answers delays nobody else, and a rule taken back is forgotten", async () => {
  await using server = await Server.start();
  await using stuck = await Server.start();
  stuck.answer = "hang";
  await using world = await World.open();
  const session = await world.create();
  await world.hooks.put([rule({ url: stuck.url }, { name: "stuck" }), rule({ url: server.url })]);
  await using webhooks = await setUp(world, session);
  const agent = world.engine.agent(session.id);
  agent.tell(stop("one"), stop("two"), stop("three"));
  await until(() => results(session).length === 3, "the others");
  assert.equal(stuck.got.length, 1);
  await world.hooks.put([]);
  agent.tell(stop("four"));
  await session.log.sync();
  await webhooks[Symbol.asyncDispose]();
  assert.equal(server.got.length, 3);
  assert.deepEqual(world.faults, []);
});
