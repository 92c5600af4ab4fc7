/** Bridge online: an altered word is set right, and nobody is made to echo. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CORRECT_MS, Online } from "../../../src/transport/mqtt/bridge-online.ts";
import { MASTER, openWorld } from "../../conformance/world.ts";
import { needs } from "../../skip.ts";
import { Hands } from "../hands.ts";
import { Listener, Mosquitto, until } from "./mosquitto.ts";

const MOSQUITTO = needs("mosquitto", "mosquitto");

function begin() {
  const hands = new Hands();
  const said: string[] = [];
  const online = new Online({ topic: "cib/box/online", now: () => hands.now, timers: hands });
  const line = () =>
    online.begin((topic, payload) => {
      assert.equal(topic, "cib/box/online");
      said.push(payload.toString());
      // Everybody hears it, we among them.
      online.heard(payload);
      return true;
    });
  return { hands, said, online, line };
}

test("our own word changes nothing; another one is followed by ours, at once the first time, then once a minute", () => {
  const { hands, said, online, line } = begin();
  online.heard(Buffer.from("0"));
  assert.deepEqual(said, [], "without a line there is nobody to tell");
  line();
  assert.equal(said.length, 1);
  online.heard(Buffer.from("0"));
  assert.equal(said.length, 2);
  for (let i = 0; i < 100; i++) online.heard(Buffer.from(i % 2 === 0 ? "" : "0"));
  assert.equal(hands.waiting, 1);
  hands.advance(CORRECT_MS - 1);
  assert.equal(said.length, 2);
  hands.advance(1);
  assert.equal(said.length, 3, "the last word is ours");
  assert.equal(hands.waiting, 0);
  hands.advance(CORRECT_MS);
  online.heard(Buffer.from("gone"));
  assert.deepEqual(said, ["1", "1", "1", "1"]);
});

test("after the end of a line, or a goodbye, nothing is set right", () => {
  const { hands, said, online, line } = begin();
  line();
  online.heard(Buffer.from("0"));
  online.heard(Buffer.from("0"));
  assert.equal(hands.waiting, 1);
  online.end();
  assert.equal(hands.waiting, 0);
  online.heard(Buffer.from("0"));
  hands.advance(2 * CORRECT_MS);
  assert.deepEqual(said, ["1", "1"]);
});

test("at a real broker an altered or deleted online is there again, and the goodbye stays", MOSQUITTO, async () => {
  await using broker = await Mosquitto.run();
  await using listener = await Listener.open(broker, ["cib/kitchen/online"]);
  await using world = await openWorld({
    CIB_MQTT_LISTEN: "off",
    CIB_MQTT_BRIDGE: `mqtt://127.0.0.1:${broker.port}`,
    CIB_MQTT_BRIDGE_NAME: "kitchen",
  });
  const words = () => listener.on("cib/kitchen/online").map(({ payload }) => payload.toString());
  await until("online", () => words().at(-1) === "1");
  // Once it has heard itself, it is subscribed.
  await until(
    "the bridge",
    async () => (await (await health(world.url)).json())["mqtt_bridge"]?.["connected"] === true,
  );
  await listener.client.publishAsync("cib/kitchen/online", "0", { qos: 1, retain: true });
  await until("it is set right", () => words().join() === "1,0,1");
  await using late = await Listener.open(broker, ["cib/kitchen/online"]);
  await until("retained", () => late.heard[0]?.retain === true && late.heard[0].payload.toString() === "1");
  await world.stop();
  await until("a goodbye", () => words().join() === "1,0,1,0");
});

function health(url: string): Promise<{ json(): Promise<Record<string, Record<string, unknown>>> }> {
  return fetch(`${url}/api/health`, { headers: { authorization: `Bearer ${MASTER}` } }) as never;
}
