import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { Duplex } from "node:stream";
import { describe, test } from "node:test";
import { generate, type Packet } from "mqtt-packet";
import { Broker, type BrokerOptions, MAX_HALF_OPEN_AN_ADDRESS } from "../../../src/transport/mqtt/broker.ts";
import { type Client, MAX_UNACKNOWLEDGED } from "../../../src/transport/mqtt/client.ts";
import type { Admission, Hello } from "../../../src/transport/mqtt/lobby.ts";
import { MqttClient } from "../../conformance/mqtt-client.ts";

const ended = new AbortController().signal;
const who = { name: "token", label: "token", scopes: new Set(["sessions:read"] as const), ended };

/** A broker that lets everybody in: whose client id begins with "link" for links only. */
class Stand implements AsyncDisposable {
  readonly refused: string[] = [];
  readonly came: Client[] = [];
  readonly left: string[] = [];
  readonly faults: unknown[] = [];
  readonly said: string[] = [];
  readonly #server: Server;
  broker: Broker | undefined;

  private constructor() {
    this.#server = createServer((socket) =>
      this.broker?.take({
        stream: socket,
        address: "127.0.0.1",
        encrypted: false,
        waiting: () => socket.writableLength,
      }),
    );
  }

  static async open(limits: BrokerOptions["limits"] = {}): Promise<Stand> {
    const stand = new Stand();
    stand.broker = await Broker.open({
      file: "/nowhere/mqtt.json",
      write: () => undefined,
      admit: (_, hello) => stand.#admit(hello),
      came: (client) => stand.came.push(client),
      left: ({ id }) => stand.left.push(id),
      said: (_, topic) => stand.said.push(topic.kind),
      subscribed: () => undefined,
      unsubscribed: () => undefined,
      acknowledged: () => undefined,
      wantsChanged: () => undefined,
      refused: (_, why) => stand.refused.push(why),
      fault: (thrown) => stand.faults.push(thrown),
      limits,
    });
    stand.#server.listen(0, "127.0.0.1");
    await once(stand.#server, "listening");
    return stand;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  #admit({ clientId, user }: Hello): Admission {
    if (user === "link") return { guest: { clientId, who: undefined, link: "00".repeat(8) }, ended, name: "link" };
    if (user === "broken") throw new TypeError("broken");
    return { guest: { clientId, who }, ended, name: "token" };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.broker?.close();
    this.#server.close();
  }
}

describe("the broker", () => {
  test("who connects and says nothing is cut when its time is over", async () => {
    await using stand = await Stand.open({ connectMs: 50 });
    const client = await MqttClient.dial(stand.port);
    await client.ended;
    assert.deepEqual(stand.refused, ["deadline"]);
    while (stand.broker?.halfOpen !== 0) await new Promise((resolve) => setImmediate(resolve));
  });

  test("there are so many connections and no more, and a place that is free again is given again", async () => {
    await using stand = await Stand.open({ connections: 2 });
    const first = await MqttClient.open(stand.port, { clientId: "a" });
    await MqttClient.open(stand.port, { clientId: "b" });
    const third = await MqttClient.dial(stand.port);
    await third.ended;
    assert.deepEqual(stand.refused, ["too many connections"]);
    first.end();
    while (stand.left.length === 0) await new Promise((resolve) => setImmediate(resolve));
    await MqttClient.open(stand.port, { clientId: "c" });
  });

  test("of those that have not come in the oldest makes room, and who is in stays", async () => {
    await using stand = await Stand.open();
    const inside = await MqttClient.open(stand.port, { clientId: "in" });
    const silent: MqttClient[] = [];
    for (let i = 0; i <= MAX_HALF_OPEN_AN_ADDRESS; i++) silent.push(await MqttClient.dial(stand.port));
    await silent[0]?.ended;
    assert.deepEqual(stand.refused, ["evicted"]);
    await inside.settled();
    for (const each of silent) each.end();
  });

  test("a link's password takes nobody's client id who has proved more, and the other way round", async () => {
    await using stand = await Stand.open();
    const lamp = await MqttClient.open(stand.port, { clientId: "key-lamp" });
    await assert.rejects(MqttClient.open(stand.port, { clientId: "key-lamp", username: "link" }), /connack 2/);
    await lamp.settled();
    const link = await MqttClient.open(stand.port, { clientId: "key-link", username: "link" });
    await assert.rejects(MqttClient.open(stand.port, { clientId: "key-link" }), /connack 2/);
    await link.settled();
    await MqttClient.open(stand.port, { clientId: "key-link", username: "link" });
    await link.ended;
  });

  test("a fault of ours in the doorway costs that caller its place, and is told", async () => {
    await using stand = await Stand.open();
    await assert.rejects(MqttClient.open(stand.port, { clientId: "x", username: "broken" }), /connack 3/);
    assert.equal(stand.faults.length, 1);
  });

  test("each client comes once and leaves once, taken over or not", async () => {
    await using stand = await Stand.open();
    const first = await MqttClient.open(stand.port, { clientId: "a" });
    const second = await MqttClient.open(stand.port, { clientId: "a" });
    await first.ended;
    second.end();
    while (stand.left.length < 2) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual([stand.came.length, stand.left], [2, ["a", "a"]]);
    assert.equal(stand.broker?.roster.size, 0);
  });

  test("who is gone before it has come in leaves nothing behind", async () => {
    await using stand = await Stand.open();
    const stream = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
    stand.broker?.take({ stream, address: "127.0.0.1", encrypted: false, waiting: () => 0 });
    // Right behind the broker, which has read the CONNECT and asks who it is in a later turn.
    stream.once("readable", () => stream.destroy());
    const connect = {
      cmd: "connect",
      protocolId: "MQTT",
      protocolVersion: 4,
      clean: true,
      clientId: "a",
      keepalive: 9,
    };
    stream.push(generate(connect as Packet));
    await once(stream, "close");
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual([stand.broker?.roster.size, stand.broker?.halfOpen], [0, 0]);
  });

  test("who acknowledges nothing is cut before the packet ids run out", async () => {
    await using stand = await Stand.open();
    const client = await MqttClient.open(stand.port, { clientId: "a" });
    client.acknowledges = false;
    while (stand.came.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const [outlet] = stand.came as [Client];
    let sent = 0;
    while (outlet.publish("cib/x", Buffer.alloc(1), outlet.nextPacketId())) sent++;
    assert.equal(sent, MAX_UNACKNOWLEDGED);
    await client.ended;
  });

  test("a packet id that waits for its acknowledgement is not given again", async () => {
    await using stand = await Stand.open();
    const client = await MqttClient.open(stand.port, { clientId: "a" });
    while (stand.came.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const [outlet] = stand.came;
    client.acknowledges = false;
    const ids = [1, 2, 3].map(() => {
      const id = outlet?.nextPacketId() as number;
      outlet?.publish("cib/x", Buffer.alloc(1), id);
      return id;
    });
    assert.deepEqual(ids, [1, 2, 3]);
    // Once around.
    for (let i = 4; i <= 0xffff; i++) outlet?.nextPacketId();
    assert.equal(outlet?.nextPacketId(), 4);
    client.acknowledge(2);
    await client.settled();
    for (let i = 5; i <= 0xffff; i++) outlet?.nextPacketId();
    assert.equal(outlet?.nextPacketId(), 2);
  });
});
