/** The reference client over sealed links that are cut wherever it hurts: nothing lost, nothing twice. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Client, type ClientOptions, connect } from "../../src/client/client.ts";
import type { Item } from "../../src/client/feed.ts";
import type { DeviceKey } from "../../src/client/link-socket.ts";
import { NodeSocket } from "../../src/client/node-socket.ts";
import { NodeTcp } from "../../src/client/node-tcp.ts";
import type { Timers } from "../../src/client/socket.ts";
import { nodeProvider } from "../../src/crypto/aead-node.ts";
import type { CibError } from "../../src/errors.ts";
import type { SessionId } from "../../src/frame/frame.ts";
import { deviceKey } from "../conformance/keys.ts";
import { openWorld, type World } from "../conformance/world.ts";
import { Cutter } from "./cutter.ts";

/** Waits before coming back are no waits; the watch over silence stays. */
const SOON: Timers = {
  after(ms, then) {
    const timer = setTimeout(then, ms >= 10_000 ? ms : 1);
    return () => clearTimeout(timer);
  },
  random: () => 0,
};

const WAYS = ["tcp", "websocket"] as const;

function open(
  way: (typeof WAYS)[number],
  port: number,
  key: DeviceKey,
  onState: ClientOptions["onState"] = () => {},
): Client {
  const shared = { key, timers: SOON, provider: nodeProvider, onState };
  return way === "tcp"
    ? connect({ ...shared, url: `tcp://127.0.0.1:${port}`, Tcp: NodeTcp })
    : connect({ ...shared, url: `http://127.0.0.1:${port}`, WebSocket: NodeSocket });
}

const portOf = (way: (typeof WAYS)[number], world: World) => () =>
  way === "tcp" ? world.tcpPort : Number(new URL(world.url).port);

/** Texts of the session until the last one, each with its seq. */
async function readTo(items: AsyncIterable<Item>, last: string): Promise<{ seqs: number[]; texts: string[] }> {
  const seqs: number[] = [];
  const texts: string[] = [];
  for await (const item of items) {
    if (item.type === "gap" || (item.type === "verdict" && item.verdict !== "ok")) assert.fail(`told ${item.type}`);
    if (!("seq" in item)) continue;
    seqs.push(item.seq);
    if (item.type === "text.delta") texts.push(item.text);
    if (item.type === "text.delta" && item.text === last) break;
  }
  return { seqs, texts };
}

for (const way of WAYS) {
  test(`over ${way} cut at random places every frame comes once and every input is done once`, async () => {
    await using world = await openWorld();
    const key = await deviceKey(world);
    const cuts = fc.array(fc.integer({ min: 0, max: 6_000 }), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(cuts, async (places) => {
        await using cutter = new Cutter(portOf(way, world), places);
        const client = open(way, await cutter.listen(), key);
        try {
          const session = (await client.run({ cmd: "sessions.create" }))["session"] as SessionId;
          const reading = readTo(client.attach(session, { from: 1 }), "the end");
          const inputs: Promise<unknown>[] = [];
          const said = Array.from({ length: 60 }, (_, i) => `${i} ${"x".repeat((i * 37) % 400)}`);
          for (const [i, text] of said.entries()) {
            world.say(session, { type: "text.delta", text });
            if (i % 20 === 0) inputs.push(client.run({ cmd: "input", session, text: `input ${i}` }));
          }
          await Promise.all(inputs);
          // The queue hands them over one turn after the other.
          await client.run({ cmd: "send", session, text: "and last" });
          world.say(session, { type: "text.delta", text: "the end" });
          const { seqs, texts } = await reading;
          assert.deepEqual(
            seqs,
            seqs.map((_, i) => i + 1),
          );
          assert.deepEqual(
            texts.filter((text) => said.includes(text)),
            said,
          );
          assert.deepEqual([...world.prompts(session)].sort(), ["and last", "input 0", "input 20", "input 40"]);
        } finally {
          client.close();
        }
      }),
      { numRuns: 12 },
    );
    assert.deepEqual(world.faults, []);
  });

  test(`over ${way} the client goes on after the box was started again`, async () => {
    await using world = await openWorld();
    await using cutter = new Cutter(portOf(way, world), []);
    const client = open(way, await cutter.listen(), await deviceKey(world));
    const session = (await client.run({ cmd: "sessions.create" }))["session"] as SessionId;
    const reading = readTo(client.attach(session, { from: 1 }), "after");
    world.say(session, { type: "text.delta", text: "before" });
    await client.run({ cmd: "health" });
    await world.stop();
    await world.start();
    await client.run({ cmd: "sessions.resume", session });
    world.say(session, { type: "text.delta", text: "after" });
    const { seqs, texts } = await reading;
    assert.deepEqual([texts[0], texts.at(-1)], ["before", "after"]);
    assert.deepEqual(
      seqs,
      seqs.map((_, i) => i + 1),
    );
    client.close();
  });

  test(`over ${way} a wrong key is told as such, and a command too long for a link is refused before it is sent`, async () => {
    await using world = await openWorld();
    const key = await deviceKey(world);
    const wrong = open(way, portOf(way, world)(), { ...key, secret: "ab".repeat(32) });
    await assert.rejects(wrong.run({ cmd: "health" }), (thrown: CibError) => {
      assert.equal(thrown.code, "unauthorized");
      assert.ok(!thrown.message.includes("abab"));
      return true;
    });
    const right = open(way, portOf(way, world)(), key);
    await right.run({ cmd: "health" });
    await assert.rejects(right.run({ cmd: "input", session: "x", text: "y".repeat(20_000) }), { code: "too_large" });
    assert.ok(await right.run({ cmd: "health" }));
    right.close();
  });

  test(`over ${way} a second client of the same key ends the first, which does not come back to end it`, async () => {
    await using world = await openWorld();
    const key = await deviceKey(world);
    const first = open(way, portOf(way, world)(), key);
    await first.run({ cmd: "health" });
    const second = open(way, portOf(way, world)(), key);
    await second.run({ cmd: "health" });
    await assert.rejects(
      readTo(first.attach("0190f0c2-7a11-7c33-9a55-1234567890ab"), ""),
      (thrown: CibError) => thrown.code === "conflict",
    );
    assert.ok(await second.run({ cmd: "health" }));
    second.close();
  });
}

for (const way of WAYS) {
  test(`over ${way} what the caller's own function throws is told as uncaught, and the link lives on`, async (t) => {
    const uncaught: unknown[] = [];
    const real = globalThis.queueMicrotask;
    t.mock.method(globalThis, "queueMicrotask", (then: () => void) =>
      real(() => {
        try {
          then();
        } catch (thrown) {
          uncaught.push(thrown);
        }
      }),
    );
    await using world = await openWorld();
    const states: string[] = [];
    const fault = new Error("a status line that fails");
    const client = open(way, portOf(way, world)(), await deviceKey(world), (state) => {
      states.push(state);
      throw fault;
    });
    assert.ok(await client.run({ cmd: "health" }));
    assert.ok(await client.run({ cmd: "health" }));
    assert.deepEqual(states, ["open"]);
    assert.deepEqual(uncaught, [fault]);
    client.close();
  });
}

test("what is no key, no address or no way to it is said at once", () => {
  const key = { id: "00".repeat(8), secret: "00".repeat(32) };
  assert.throws(() => connect({ url: "tcp://127.0.0.1:1", key }), /pass NodeTcp/);
  assert.throws(() => connect({ url: "tcp://127.0.0.1:1", token: "x", Tcp: NodeTcp }), /takes a key/);
  assert.throws(() => connect({ url: "tcp://127.0.0.1:1", Tcp: NodeTcp }), /a token or a key/);
  assert.throws(
    () => connect({ url: "tcp://127.0.0.1:1", key: { ...key, secret: "0" }, Tcp: NodeTcp }),
    /64 hex digits/,
  );
});
