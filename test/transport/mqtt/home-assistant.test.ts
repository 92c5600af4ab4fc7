/** Home Assistant at the broker of the box itself: devices for those who may see them, and buttons that answer. */
import assert from "node:assert/strict";
import { test } from "node:test";
import mqtt from "mqtt";
import type { SessionId } from "../../../src/frame/frame.ts";
import { MASTER, openWorld, type World } from "../../conformance/world.ts";
import { until } from "./mosquitto.ts";

async function call(world: World, path: string, body: object): Promise<Record<string, unknown>> {
  const response = await fetch(`${world.url}/api${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${MASTER}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return (await response.json()) as Record<string, unknown>;
}

/** What Home Assistant leaves with every broker unless it is told otherwise. */
const WILL = { topic: "homeassistant/status", payload: Buffer.from("offline"), qos: 0, retain: false } as const;

/** As Home Assistant comes in: a client that hears `homeassistant/#` and what it finds there. */
async function home(world: World, id: string, token: string) {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${world.mqttPort}`, {
    clientId: `${id}-ha`,
    username: id,
    password: token,
    will: WILL,
    reconnectPeriod: 0,
  });
  const heard = new Map<string, string>();
  client.on("message", (topic, payload) => void heard.set(topic, payload.toString()));
  await client.subscribeAsync(["homeassistant/+/+/config", "cib/+/home", "cib/online"], { qos: 0 });
  return { client, heard };
}

test("a session is a device for who may see it and for nobody else, and its button approves", async () => {
  await using world = await openWorld({ CIB_HOME_ASSISTANT: "on" });
  const make = async () =>
    (await call(world, "/sessions", { engine: "stream", auth: { mode: "api_key" } }))["session"] as SessionId;
  const [session, other] = [await make(), await make()];
  const scopes = ["sessions:read", "sessions:answer"];
  const token = await call(world, "/tokens", { label: "home", scopes, sessions: [session] });
  const { client, heard } = await home(world, String(token["id"]), String(token["token"]));
  const topic = (id: SessionId) => `homeassistant/device/cib_${id}/config`;
  const state = () => JSON.parse(heard.get(`cib/${session}/home`) ?? "{}") as Record<string, unknown>;
  await until("the device", () => heard.has(topic(session)) && state()["state"] === "idle");
  assert.equal(heard.get("cib/online"), "1");
  world.say(session, {
    type: "ask.question",
    id: "call/0",
    of: 1,
    kind: "permission",
    prompt: "?",
    options: [{ label: "Allow" }, { label: "Deny" }],
    multiSelect: false,
    tool: "Bash",
    summary: "ls",
  });
  await until("its buttons", () => heard.get(topic(session))?.includes("call/0"));
  assert.equal(state()["question"], "Bash: ls");
  const { components } = JSON.parse(heard.get(topic(session)) ?? "") as {
    components: Record<string, Record<string, string>>;
  };
  const { command_topic = "", payload_press = "" } = components["approve"] ?? {};
  await client.publishAsync(command_topic, payload_press, { qos: 1 });
  await until("the answer", () => world.settled(session)[0]?.[1].behavior === "allow");
  await until("nothing is asked any more", () => state()["approve"] === false);
  assert.deepEqual(
    [heard.has(topic(other)), heard.has(`cib/${other}/home`)],
    [false, false],
    "what the token is not bound to",
  );
  await client.endAsync(true);
});

test("Home Assistant's birth and will are taken as they come by default, and a birth brings the devices once more", async () => {
  await using world = await openWorld({ CIB_HOME_ASSISTANT: "on" });
  const { session } = await call(world, "/sessions", { engine: "stream", auth: { mode: "api_key" } });
  const { client, heard } = await home(world, "master", MASTER);
  const device = `homeassistant/device/cib_${String(session)}/config`;
  await until("the device", () => heard.has(device));
  const granted = await client.subscribeAsync(["homeassistant/#", "homeassistant/sensor/+/+/config"], { qos: 0 });
  assert.deepEqual(
    granted.map(({ qos }) => qos),
    [0, 0],
  );
  // Another integration's: refused, and no reason to go.
  await assert.rejects(client.subscribeAsync("tasmota/discovery/#"), /./);
  heard.clear();
  await client.publishAsync(WILL.topic, "online", { qos: 1 });
  await until("the device, once more", () => heard.has(device));
  assert.equal(heard.has(WILL.topic), false);
  // The connection breaks: the will is said, and nothing comes of it.
  client.stream.destroy();
  const again = await home(world, "master", MASTER);
  const gone = new Promise<void>((resolve) => again.client.once("close", () => resolve()));
  again.client.publish(WILL.topic, "online", { qos: 0, retain: true });
  await gone;
  assert.deepEqual(world.faults, []);
  await client.endAsync(true);
  await again.client.endAsync(true);
});

test("without CIB_HOME_ASSISTANT its will is refused", async () => {
  await using world = await openWorld();
  await assert.rejects(home(world, "master", MASTER), (thrown: { code?: unknown }) => thrown.code === 5);
});

test("without CIB_HOME_ASSISTANT nothing of it is there", async () => {
  await using world = await openWorld();
  const session = (await call(world, "/sessions", { engine: "stream", auth: { mode: "api_key" } }))["session"];
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${world.mqttPort}`, {
    clientId: "master-ha",
    username: "master",
    password: MASTER,
    reconnectPeriod: 0,
  });
  const heard: string[] = [];
  client.on("message", (topic) => void heard.push(topic));
  await client.subscribeAsync("#");
  await until("its state", () => heard.includes(`cib/${String(session)}/status`));
  assert.deepEqual(
    heard.filter((topic) => topic.startsWith("homeassistant/") || topic.endsWith("/home")),
    [],
  );
  await client.endAsync(true);
});
