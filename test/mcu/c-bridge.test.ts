/** The C client's sealed link through a broker that is not the box's own: Mosquitto, which the box has joined as a bridge. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { SessionId } from "../../src/frame/frame.ts";
import { deviceKey } from "../conformance/keys.ts";
import { openWorld, type World } from "../conformance/world.ts";
import { needs } from "../skip.ts";
import { Mosquitto, until } from "../transport/mqtt/mosquitto.ts";
import { built } from "./built.ts";
import { Program } from "./program.ts";

const options = [needs("gcc", "gcc"), needs("mosquitto", "mosquitto")].find(({ skip }) => skip !== false) ?? {};

async function call(world: World, method: string, path: string, body?: string): Promise<Record<string, unknown>> {
  const headers = { authorization: `Bearer ${world.master}` };
  const response = await fetch(`${world.url}/api${path}`, { method, headers, ...(body === undefined ? {} : { body }) });
  return (await response.json()) as Record<string, unknown>;
}

test("a device behind a foreign broker says something and hears the answer, with its key alone", options, async () => {
  await using broker = await Mosquitto.run();
  await using world = await openWorld({
    CIB_MQTT_BRIDGE: `mqtt://127.0.0.1:${broker.port}`,
    CIB_MQTT_BRIDGE_NAME: "desk",
    CIB_MQTT_LISTEN: "off",
  });
  const session = (await call(world, "POST", "/sessions", "{}"))["session"] as SessionId;
  const { id, secret } = await deviceKey(world);
  // A hello that nobody hears would not be answered.
  await until("the bridge", async () => {
    const { mqtt_bridge } = (await call(world, "GET", "/health")) as { mqtt_bridge?: { connected?: boolean } };
    return mqtt_bridge?.connected;
  });
  const words = ["127.0.0.1", String(broker.port), "desk", session, "sealed", "heard: sealed"];
  await using device = new Program(await built("bridge"), words, { CIB_DEVICE_KEY: `${id}:${secret}` });
  assert.deepEqual(await device.next(), { answered: true });
  assert.deepEqual(await device.next(), { ended: 0 });
  assert.equal(await device.ended(), 0);
  assert.deepEqual(world.prompts(session), ["sealed"]);
});
