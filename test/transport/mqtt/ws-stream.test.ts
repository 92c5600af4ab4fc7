/** MQTT over WebSocket on the HTTP port, from the upgrade to the broker. */
import assert from "node:assert/strict";
import { request } from "node:http";
import { test } from "node:test";
import fc from "fast-check";
import mqtt from "mqtt";
import { NodeSocket } from "../../../src/client/node-socket.ts";
import { MAX_WAITING_BYTES } from "../../../src/transport/mqtt/bounded.ts";
import { overWebSocket, type WebSocket } from "../../../src/transport/mqtt/ws-stream.ts";
import { openWorld, type World } from "../../conformance/world.ts";

class FakeSocket implements WebSocket {
  readonly sent: Buffer[] = [];
  readonly ends: string[] = [];
  waiting = 0;
  takes = true;

  send(messages: readonly Buffer[]): boolean {
    if (this.takes) this.sent.push(...messages);
    return this.takes;
  }

  buffered(): number {
    return this.waiting;
  }

  end(): void {
    this.ends.push("end");
  }

  cut(): void {
    this.ends.push("cut");
  }
}

const FROM = { address: "192.0.2.7", encrypted: true };
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("bytes go through in their order, however they are cut into messages", async () => {
  const pieces = fc.array(fc.uint8Array({ minLength: 1, maxLength: 50 }), { maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(pieces, pieces, async (up, down) => {
      const socket = new FakeSocket();
      const { arrival, events } = overWebSocket(socket, FROM);
      const read: Buffer[] = [];
      arrival.stream.on("data", (chunk: Buffer) => read.push(chunk));
      for (const bytes of up) events.message(Buffer.from(bytes), true);
      for (const bytes of down) assert.equal(arrival.stream.write(Buffer.from(bytes)), true);
      await settled();
      assert.deepEqual(Buffer.concat(read), Buffer.concat(up));
      assert.deepEqual(Buffer.concat(socket.sent), Buffer.concat(down));
      arrival.stream.destroy();
    }),
    { numRuns: 50 },
  );
});

test("what is written in one turn is one message", async () => {
  const socket = new FakeSocket();
  const { stream } = overWebSocket(socket, FROM).arrival;
  stream.cork();
  for (let i = 0; i < 10; i++) stream.write(Buffer.alloc(4000, i));
  stream.uncork();
  await settled();
  assert.deepEqual(
    socket.sent.map(({ length }) => length),
    [40_000],
  );
});

test("a text message, a peer that does not read and a socket that takes nothing end it", async () => {
  for (const break_ of [
    (_: FakeSocket, { events }: ReturnType<typeof overWebSocket>) => events.message(Buffer.from("x"), false),
    (socket: FakeSocket, { arrival }: ReturnType<typeof overWebSocket>) => {
      socket.waiting = MAX_WAITING_BYTES + 1;
      arrival.stream.write("x");
    },
    (socket: FakeSocket, { arrival }: ReturnType<typeof overWebSocket>) => {
      socket.takes = false;
      arrival.stream.write("x");
    },
    // Nobody reads here: what comes is bounded.
    (_: FakeSocket, { events }: ReturnType<typeof overWebSocket>) => {
      for (let i = 0; i < 10; i++) events.message(Buffer.alloc(512 * 1024), true);
    },
    (_: FakeSocket, { events }: ReturnType<typeof overWebSocket>) => events.closed(),
  ]) {
    const socket = new FakeSocket();
    const over = overWebSocket(socket, FROM);
    break_(socket, over);
    assert.equal(over.arrival.stream.destroyed, true);
    over.events.message(Buffer.from("late"), true);
    over.events.drained();
    await settled();
    assert.deepEqual(socket.ends, ["cut"]);
  }
});

test("an end lets what was written go out first", async () => {
  const socket = new FakeSocket();
  const { stream } = overWebSocket(socket, FROM).arrival;
  stream.write("last words");
  stream.end();
  await settled();
  assert.deepEqual([String(socket.sent[0]), socket.ends[0]], ["last words", "end"]);
});

test("a stock client over WebSocket sends commands and gets replies, a long one in pieces", async () => {
  await using world = await openWorld();
  const client = mqtt.connect(`${world.url.replace("http", "ws")}/mqtt`, {
    clientId: "master-browser",
    username: "master",
    password: world.master,
    reconnectPeriod: 0,
  });
  await new Promise((resolve, reject) => client.once("connect", resolve).once("error", reject));
  await client.subscribeAsync("cib/client/master-browser/reply");
  const replies: { re: string; ok: boolean; error?: { code: string } }[] = [];
  const both = new Promise<void>((resolve) => {
    client.on("message", (_, payload) => {
      replies.push(JSON.parse(String(payload)) as (typeof replies)[0]);
      if (replies.length === 2) resolve();
    });
  });
  await client.publishAsync("cib/cmd", JSON.stringify({ cmd: "health", id: "a" }));
  const long = { cmd: "hooks.put", id: "b", hooks: "x".repeat(300_000) };
  await client.publishAsync("cib/cmd", JSON.stringify(long));
  await both;
  assert.deepEqual(
    replies.map(({ re, ok, error }) => [re, ok, error?.code]),
    [
      ["a", true, undefined],
      ["b", false, "bad_request"],
    ],
  );
  client.end(true);
  assert.deepEqual(world.faults, []);
});

/** HTTP status of an upgrade on /mqtt with these headers; 101 where it was let in. */
function upgrade(world: World, headers: Readonly<Record<string, string>>, path = "/mqtt"): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request(world.url + path, {
      agent: false,
      headers: {
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": Buffer.alloc(16).toString("base64"),
        "sec-websocket-protocol": "mqtt",
        ...headers,
      },
    });
    asked.on("response", (response) => resolve(response.resume().statusCode ?? 0));
    asked.on("upgrade", (_, socket) => {
      socket.destroy();
      resolve(101);
    });
    asked.on("error", reject);
    asked.end();
  });
}

test("the upgrade stands behind the same door as every other", async () => {
  await using world = await openWorld();
  const own = world.url.replace("http://", "");
  assert.equal(await upgrade(world, {}), 101);
  assert.equal(await upgrade(world, { origin: `http://${own}` }), 101);
  assert.equal(await upgrade(world, { origin: "https://elsewhere.example" }), 403);
  assert.equal(await upgrade(world, { host: "elsewhere.example" }), 403);
  assert.equal(await upgrade(world, { "sec-fetch-site": "cross-site" }), 403);
  assert.equal(await upgrade(world, { "sec-websocket-protocol": "cib.v1.json" }), 400);
  assert.equal(await upgrade(world, { authorization: `Bearer ${world.master}` }), 400);
  assert.equal(await upgrade(world, {}, "/mqtt?client=x"), 400);
});

test("a text message ends the connection, and nothing of it reaches the broker", async () => {
  await using world = await openWorld();
  const socket = new NodeSocket(`${world.url.replace("http", "ws")}/mqtt`, ["mqtt"]);
  await new Promise<void>((resolve) => {
    socket.onopen = () => resolve();
  });
  const closed = new Promise<void>((resolve) => {
    socket.onclose = () => resolve();
  });
  socket.send("CONNECT");
  await closed;
  assert.deepEqual(world.faults, []);
});

test("where MQTT is off there is nothing at its path", async () => {
  await using world = await openWorld({ CIB_MQTT_LISTEN: "off", CIB_MQTTS_LISTEN: "off" });
  assert.equal(await upgrade(world, {}), 404);
});
