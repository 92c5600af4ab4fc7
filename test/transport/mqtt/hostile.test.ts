import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { generate, type Packet } from "mqtt-packet";
import type { FrameBody } from "../../../src/frame/frame.ts";
import { MAX_SUBSCRIPTIONS } from "../../../src/transport/mqtt/client.ts";
import { MAX_CONNECT_BYTES, MAX_PACKET_BYTES } from "../../../src/transport/mqtt/wire.ts";
import { helloOf, MqttClient } from "../../conformance/mqtt-client.ts";
import { eventually, House } from "./house.ts";

const text = (value: string) => ({ type: "text.delta", text: value }) as const satisfies FrameBody;
const READ = ["sessions:read"] as const;

describe("coming in", () => {
  test("each wrong way has its return code", async () => {
    await using house = await House.open();
    const device = await house.token(READ);
    const other = await house.token(READ);
    const cases: readonly (readonly [string, Partial<ReturnType<typeof helloOf>>, number])[] = [
      ["another's client id", { clientId: `${other.id}-phone` }, 2],
      ["the master's client id", { clientId: "master-phone" }, 2],
      ["no client id", { clientId: "" }, 2],
      ["a client id that ends with its prefix's dash missing", { clientId: device.id }, 2],
      ["a client id that would be a topic", { clientId: `${device.id}-a/b` }, 2],
      ["a client id of 65 characters", { clientId: `${device.id}-${"x".repeat(48)}` }, 2],
      ["another's user name", { username: other.id }, 4],
      ["the master's name", { username: "master" }, 4],
      ["a wrong token", { password: `${device.token.slice(0, -1)}!` }, 4],
      ["a key's password that is none", { password: "00".repeat(16) }, 4],
    ];
    for (const [what, wrong, code] of cases) {
      const client = await MqttClient.dial(house.port);
      assert.equal((await client.hello({ ...helloOf(device.token), ...wrong })).returnCode, code, what);
      await client.ended;
    }
    assert.equal((await house.health()).refused, cases.length);
    assert.equal((await house.health()).clients, 0);
  });

  test("who guesses tokens is told to wait, and a right token is not slowed", async () => {
    await using house = await House.open();
    const codes: (number | undefined)[] = [];
    for (let i = 0; i < 8; i++) {
      const client = await MqttClient.dial(house.port);
      codes.push((await client.hello({ ...helloOf("x".repeat(40)) })).returnCode);
    }
    assert.deepEqual(codes, [4, 4, 4, 4, 4, 3, 3, 3]);
    await (await house.client()).settled();
  });

  test("the newer connection of a client id ends the older one, and nobody else's", async () => {
    await using house = await House.open();
    const device = await house.token(READ);
    const bystander = await house.client(device, { clientId: `${device.id}-b` });
    const first = await house.client(device, { clientId: `${device.id}-a` });
    await first.subscribe("cib/online");
    const second = await house.client(device, { clientId: `${device.id}-a` });
    await first.ended;
    // A clean session has no subscription of the one before.
    assert.deepEqual(await second.subscribe("cib/online"), [1]);
    await second.settled();
    await bystander.settled();
    assert.equal((await house.health()).clients, 2);
  });

  test("one token has so many connections and no more; others still come in", async () => {
    await using house = await House.open();
    const device = await house.token(READ);
    for (let i = 0; i < 64; i++) await house.client(device);
    await assert.rejects(house.client(device), /connack 3/);
    await (await house.client(await house.token(READ))).settled();
  });

  test("what is said before the CONNACK is small, and nothing before the CONNECT", async () => {
    await using house = await House.open();
    for (const bytes of [
      generate({ cmd: "pingreq" }),
      generate({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "#", qos: 0 }] } as Packet),
      Buffer.from("GET / HTTP/1.1\r\n\r\n"),
      Buffer.concat([Buffer.from([0x10, 0x80, 0x80, 0x01]), Buffer.alloc(MAX_CONNECT_BYTES)]),
    ]) {
      const client = await house.stranger();
      client.socket.write(bytes);
      await client.ended;
    }
    assert.equal((await house.health()).halfOpen, 0);
  });

  test("MQTT 5 is told which version is spoken here", async () => {
    await using house = await House.open();
    const client = await house.stranger();
    const answered = new Promise<Buffer>((resolve) => client.socket.once("data", resolve));
    client.socket.write(
      generate({
        cmd: "connect",
        protocolId: "MQTT",
        protocolVersion: 5,
        clean: true,
        clientId: "master-5",
        keepalive: 9,
      } as Packet),
    );
    // CONNACK, unacceptable protocol version (MQTT 3.1.1 §3.1.2.2).
    assert.deepEqual([...(await answered).subarray(0, 4)], [0x20, 2, 0, 1]);
    await client.ended;
  });
});

describe("topics that are not the client's", () => {
  test("wildcards bring nothing that the token may not see", async () => {
    await using house = await House.open();
    const [mine, foreign] = [await house.session(), await house.session()];
    const device = await house.token([...READ, "sessions:input"], { sessions: [mine] });
    const client = await house.client(device);
    assert.deepEqual(await client.subscribe(["#", "+/+/+/+", "cib/+/status", "cib/client/+/reply"]), [1, 1, 1, 1]);
    const master = await house.client();
    await master.subscribe(`cib/client/${master.clientId}/reply`);
    await master.publish(`cib/${foreign}/cmd`, JSON.stringify({ cmd: "input", text: "secret" }));
    await master.messages.take();
    await master.publish(`cib/${mine}/cmd`, JSON.stringify({ cmd: "input", text: "open" }));
    const got = await client.until(({ payload }) => payload.includes("heard: open"));
    await client.settled();
    assert.deepEqual(
      got.filter(
        ({ topic, payload }) => topic.includes(foreign) || topic.endsWith("/cmd") || payload.includes(foreign),
      ),
      [],
    );
    assert.equal(
      got.some(({ topic }) => topic === `cib/client/${master.clientId}/reply`),
      false,
    );
  });

  test("filters outside the table, others' topics and those that only come in are refused", async () => {
    await using house = await House.open();
    const session = await house.session();
    const device = await house.token(["sessions:answer"]);
    const client = await house.client(device);
    const refused = [
      "home/#",
      "$SYS/#",
      "cib/cmd",
      `cib/${session}/cmd`,
      "cib/client/master-x/reply",
      "cib/client/+/sessions",
      `cib/${session}/status`,
      `cib/${session}/frames/+`,
      "cib/link/0011223344556677/down",
    ];
    assert.deepEqual(
      await client.subscribe(refused),
      refused.map(() => 128),
    );
    assert.deepEqual(await client.subscribe(["cib/online", `cib/client/${client.clientId}/reply`]), [1, 1]);
  });

  test("publishing outside the table, or what is retained, ends the connection and changes nothing", async () => {
    await using house = await House.open();
    const session = await house.session();
    const command = JSON.stringify({ cmd: "input", session, text: "no" });
    const watcher = await house.client();
    await watcher.subscribe("#");
    for (const [topic, retain] of [
      ["cib/cmd", true],
      [`cib/${session}/cmd`, true],
      ["cib/online", false],
      ["cib/online", true],
      [`cib/${session}/status`, true],
      [`cib/${session}/json/text.delta`, false],
      [`cib/client/${watcher.clientId}/reply`, false],
      ["home/light", false],
      ["cib/link/0011223344556677/up", false],
      [`cib/${"x".repeat(300)}/cmd`, false],
      [`${"cib/".repeat(50)}cmd`, false],
    ] as const)
      for (const qos of [0, 1, 2]) {
        const client = await house.client();
        client.publish(topic, command, { retain, qos }).catch(() => undefined);
        await client.ended;
      }
    await watcher.settled();
    const fresh = await house.client();
    await fresh.subscribe("#");
    const { payload } = await fresh.messages.take();
    assert.equal(payload.toString(), "1");
    assert.deepEqual(house.world.prompts(session), []);
  });

  test("a will that may not be said is refused at the door; one that may is a command like any other", async () => {
    await using house = await House.open();
    const session = await house.session();
    const payload = JSON.stringify({ cmd: "input", session, text: "my last will" });
    for (const will of [
      { topic: "cib/cmd", payload, retain: true },
      { topic: "cib/online", payload: "0" },
      { topic: `cib/${session}/status`, payload: "{}", retain: true },
      { topic: "home/light", payload: "off" },
    ])
      await assert.rejects(house.client(undefined, { will }), /connack 5/, JSON.stringify(will));
    const polite = await house.client(undefined, { will: { topic: "cib/cmd", payload } });
    polite.send({ cmd: "disconnect" });
    await polite.ended;
    const reader = await house.token(READ);
    const may = { topic: `cib/${session}/cmd`, payload: JSON.stringify({ cmd: "input", text: "not allowed" }) };
    (await house.client(reader, { will: may })).end();
    (await house.client(undefined, { will: { topic: "cib/cmd", payload, qos: 1 } })).end();
    const prompts = await eventually(
      async () => house.world.prompts(session),
      (all) => all.length > 0,
    );
    assert.deepEqual(prompts, ["my last will"]);
  });
});

describe("floods", () => {
  test("a packet that is too large ends the connection before it is collected", async () => {
    await using house = await House.open();
    const client = await house.client();
    const head = Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]);
    client.socket.write(head);
    await client.ended;
    const small = await house.client();
    await small.subscribe(`cib/client/${small.clientId}/reply`);
    await small.publish("cib/cmd", "x".repeat(MAX_PACKET_BYTES - 100));
    assert.match((await small.messages.take()).payload.toString(), /bad_request/);
  });

  test("of a thousand subscriptions as many as there may be are granted", async () => {
    await using house = await House.open();
    const client = await house.client();
    const ids = Array.from({ length: 1000 }, (_, i) => `0190f0c2-7a11-7c33-9a55-${String(i).padStart(12, "0")}`);
    const granted = await client.subscribe(ids.map((id) => `cib/${id}/status`));
    assert.equal(granted.filter((qos) => qos === 1).length, MAX_SUBSCRIPTIONS);
    assert.equal(granted.filter((qos) => qos === 128).length, 1000 - MAX_SUBSCRIPTIONS);
    await client.settled();
  });

  test("a message of QoS 2 is done once, however often it is sent before it is released", async () => {
    await using house = await House.open();
    const session = await house.session();
    const client = await house.client();
    const message = (dup: boolean, id: number) =>
      client.send({
        cmd: "publish",
        topic: `cib/${session}/cmd`,
        payload: JSON.stringify({ cmd: "input", text: `message ${id}` }),
        qos: 2,
        dup,
        retain: false,
        messageId: id,
      } as Packet);
    client.send({ cmd: "pingreq" });
    message(false, 41);
    await client.settled();
    const prompts = () => house.world.prompts(session);
    await eventually(
      async () => prompts(),
      (all) => all.length > 0,
    );
    client.socket.removeAllListeners("data");
    message(true, 42);
    message(true, 42);
    message(true, 42);
    await eventually(
      async () => prompts(),
      (all) => all.length > 1,
    );
    await (await house.client()).settled();
    assert.deepEqual(prompts(), ["message 41", "message 42"]);
  });

  test("who sends nonsense as commands is told, and then cut", async () => {
    await using house = await House.open();
    const client = await house.client();
    await client.subscribe(`cib/client/${client.clientId}/reply`);
    const nonsense = ["", "hello", "{", "[]", "null", "\u0001", '"x"', "7"];
    for (const payload of nonsense) void client.publish("cib/cmd", payload, { qos: 0 });
    await client.ended;
    const codes = [];
    for (let i = 0; i < 7; i++) codes.push(JSON.parse((await client.messages.take()).payload.toString()).error.code);
    assert.deepEqual(new Set(codes), new Set(["bad_request"]));
  });

  test("a subscriber that does not read delays nobody", async () => {
    await using house = await House.open();
    const session = await house.session();
    const lively = await house.client();
    const topic = `cib/${session}/json/text.delta`;
    await lively.subscribe(topic);
    const stalled = await house.client();
    await stalled.subscribe(topic);
    stalled.socket.pause();
    const word = "z".repeat(16 * 1024);
    // 4 rounds of 6 MiB: what the kernel holds for the stalled one, and then the 8 MiB that we do.
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 400; i++) house.world.say(session, text(word));
      house.world.say(session, text(`end ${round}`));
      assert.equal((await lively.until(({ payload }) => payload.includes(`"end ${round}"`))).length, 401);
    }
    await eventually(
      () => house.health(),
      ({ clients }) => clients === 1,
    );
    assert.deepEqual(house.world.faults, []);
  });

  test("whatever bytes arrive, the daemon lives and others are served", async () => {
    await using house = await House.open();
    const friend = await house.client();
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      // Packets that are nearly right.
      fc
        .tuple(
          fc.constantFrom(0x10, 0x30, 0x32, 0x34, 0x40, 0x50, 0x62, 0x70, 0x82, 0xa2, 0xc0, 0xe0),
          fc.uint8Array({ maxLength: 60 }),
        )
        .map(([type, body]) => Buffer.from([type, body.length, ...body])),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(bytes, { maxLength: 5 }), fc.boolean(), async (list, comesIn) => {
        const client = comesIn ? await house.client() : await house.stranger();
        client.socket.end(Buffer.concat(list));
        client.socket.resume();
        await client.ended;
      }),
      { numRuns: 150 },
    );
    await friend.settled();
    await eventually(
      () => house.health(),
      ({ clients, halfOpen }) => clients === 1 && halfOpen === 0,
    );
    assert.deepEqual(house.world.faults, []);
  });
});
