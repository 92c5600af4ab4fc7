/** Sealed links at a whole daemon, with somebody on the way who has heard everything. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { deviceKey } from "../../conformance/keys.ts";
import { clientLink } from "../../conformance/link-client.ts";
import { MqttClient } from "../../conformance/mqtt-client.ts";
import { linkLogin, MqttLinkClient } from "../../conformance/mqtt-link-client.ts";
import { openWorld } from "../../conformance/world.ts";

test("whoever has heard password, hello and records can open nothing, and ends nothing", async () => {
  await using world = await openWorld();
  const key = await deviceKey(world);
  const victim = await MqttLinkClient.open(world.mqttPort, key);
  const heard = [victim.link.hello];
  const record = victim.link.seal(Buffer.from("a163636d646668656c6c6f", "hex"));
  heard.push(record);
  await victim.mqtt.publish(victim.up, record);
  const thief = await MqttClient.open(world.mqttPort, linkLogin(key));
  await thief.subscribe(`cib/link/${key.id}/down`);
  await thief.publish(victim.up, victim.link.hello);
  const reply = await thief.messages.take();
  assert.equal(reply.payload.length, 40, "a hello that holds earns a reply");
  // Counter 0, and a record that was made for other keys.
  const first = Uint8Array.from(record);
  first.set([0, 0, 0, 0]);
  await thief.publish(victim.up, first).catch(() => undefined);
  await thief.ended;
  assert.ok((await victim.ask({ cmd: "health" }))["status"] === "ok");
  victim.mqtt.end();
  assert.deepEqual(world.faults, []);
});

test("a link login hears and says nothing but its own link", async () => {
  await using world = await openWorld();
  const [key, other] = [await deviceKey(world), await deviceKey(world)];
  const filters = [
    "#",
    "cib/+/status",
    "cib/online",
    `cib/link/${other.id}/down`,
    "cib/link/+/down",
    `cib/link/${key.id}/up`,
  ];
  const thief = await MqttClient.open(world.mqttPort, linkLogin(key));
  const granted = await thief.subscribe(filters);
  const victim = await MqttLinkClient.open(world.mqttPort, other);
  await victim.ask({ cmd: "health" });
  await thief.settled();
  assert.deepEqual(granted, [1, 128, 128, 128, 1, 128], "wildcards are welcome, and bring their own topics only");
  for (const topic of ["cib/cmd", `cib/link/${other.id}/up`, `cib/link/${key.id}/down`]) {
    const teller = await MqttClient.open(world.mqttPort, linkLogin(key));
    await assert.rejects(teller.publish(topic, JSON.stringify({ cmd: "health" })));
    await teller.ended;
  }
  thief.end();
  await assert.rejects(thief.messages.take(), "it has heard nothing");
  assert.ok((await victim.ask({ cmd: "health" }))["status"] === "ok");
  victim.mqtt.end();
});

test("a hello carried from TCP to a topic, or from a topic to TCP, is refused without a word", async () => {
  await using world = await openWorld();
  const key = await deviceKey(world);
  const mqtt = await MqttClient.open(world.mqttPort, linkLogin(key));
  await mqtt.subscribe(`cib/link/${key.id}/down`);
  await mqtt.publish(`cib/link/${key.id}/up`, clientLink(key, "stream").hello).catch(() => undefined);
  await mqtt.ended;
  await assert.rejects(mqtt.messages.take());
  const socket = connect(world.tcpPort, "127.0.0.1");
  let bytes = 0;
  socket.on("data", (chunk) => {
    bytes += chunk.length;
  });
  socket.on("error", () => undefined);
  await once(socket, "connect");
  const closed = new Promise((resolve) => socket.on("close", resolve));
  socket.write(clientLink(key, "mqtt").hello);
  await closed;
  assert.equal(bytes, 0);
});

test("an altered record ends its own connection, and nobody else's", async () => {
  await using world = await openWorld();
  const [one, two] = [
    await MqttLinkClient.open(world.mqttPort, await deviceKey(world)),
    await MqttLinkClient.open(world.mqttPort, await deviceKey(world)),
  ];
  const record = one.link.seal(new Uint8Array(20));
  record[10] = (record[10] as number) ^ 1;
  await one.mqtt.publish(one.up, record).catch(() => undefined);
  assert.equal(await one.ended, "cut");
  assert.ok((await two.ask({ cmd: "health" }))["status"] === "ok");
  two.mqtt.end();
});

test("a flood of links that never live is bounded, and a device still gets in", async () => {
  await using world = await openWorld();
  const key = await deviceKey(world);
  const flood = await Promise.all(Array.from({ length: 40 }, () => MqttClient.open(world.mqttPort, linkLogin(key))));
  await Promise.all(
    flood.map((client) =>
      client.publish(`cib/link/${key.id}/up`, clientLink(key, "mqtt").hello).catch(() => undefined),
    ),
  );
  const device = await MqttLinkClient.open(world.mqttPort, key);
  const { mqtt } = (await device.ask({ cmd: "health" })) as { mqtt: { links: number } };
  assert.equal(mqtt.links, 1);
  for (const client of flood) client.end();
  device.mqtt.end();
  assert.deepEqual(world.faults, []);
});
