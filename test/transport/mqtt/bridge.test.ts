/** Bridge: a box at a real Mosquitto: what it publishes, what it takes, and what it does while that is away. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { SessionId } from "../../../src/frame/frame.ts";
import { MASTER, openWorld, type World } from "../../conformance/world.ts";
import { needs } from "../../skip.ts";
import { Listener, Mosquitto, until } from "./mosquitto.ts";

const MOSQUITTO = needs("mosquitto", "mosquitto");
const ROOT = "cib/kitchen";

function bridged(broker: Mosquitto, more: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    CIB_MQTT_LISTEN: "off",
    CIB_MQTT_BRIDGE: `mqtt://127.0.0.1:${broker.port}`,
    CIB_MQTT_BRIDGE_NAME: "kitchen",
    CIB_MQTT_BRIDGE_TOKEN: MASTER,
    ...more,
  };
}

async function call(world: World, method: string, path: string, body?: object): Promise<Record<string, unknown>> {
  const response = await fetch(`${world.url}/api${path}`, {
    method,
    headers: { authorization: `Bearer ${MASTER}`, "content-type": "application/json" },
    ...(body && { body: JSON.stringify(body) }),
  });
  return (await response.json()) as Record<string, unknown>;
}

async function newSession(world: World): Promise<SessionId> {
  return (await call(world, "POST", "/sessions", { engine: "stream", auth: { mode: "api_key" } }))[
    "session"
  ] as SessionId;
}

const health = async (world: World) => (await call(world, "GET", "/health"))["mqtt_bridge"] as Record<string, unknown>;

/** Every seq of a session, in the order in which they came. */
const seqs = (listener: Listener, session: SessionId, form = "json") =>
  listener.heard
    .filter(({ topic }) => topic.startsWith(`${ROOT}/${session}/${form}/`))
    .map(({ payload }) => (JSON.parse(payload.toString()) as { seq: number }).seq);

const delta = (text: string) => ({ type: "text.delta", text }) as const;

function usual(t: TestContext): void {
  t.mock.method(console, "error", () => undefined);
}

test(
  "a box tells a foreign broker that it is there, its sessions' states and every frame in both forms",
  MOSQUITTO,
  async (t) => {
    usual(t);
    await using broker = await Mosquitto.run();
    await using listener = await Listener.open(broker, [`${ROOT}/#`]);
    await using world = await openWorld(bridged(broker));
    await until("online", () => listener.on(`${ROOT}/online`).at(-1)?.payload.toString() === "1");
    const session = await newSession(world);
    world.say(session, delta("hello"));
    await until("the text", () => listener.json(`${ROOT}/${session}/json/text.delta`)[0]?.["text"] === "hello");
    await until("the text in CBOR", () =>
      listener.on(`${ROOT}/${session}/frames/text.delta`)[0]?.payload.includes("hello"),
    );
    await until("the state", () => listener.json(`${ROOT}/${session}/status`).at(-1)?.["state"] === "idle");
    const all = seqs(listener, session);
    assert.deepEqual(
      all,
      Array.from(all, (_, i) => i + 1),
      "from the first frame, in order, once",
    );
    await world.stop();
    await until("a goodbye", () => listener.on(`${ROOT}/online`).at(-1)?.payload.toString() === "0");
  },
);

test("commands over the bridge are answered where they ask for it", MOSQUITTO, async (t) => {
  usual(t);
  await using broker = await Mosquitto.run();
  await using world = await openWorld(bridged(broker));
  await using listener = await Listener.open(broker, [`${ROOT}/reply/#`]);
  await until("the bridge", async () => (await health(world))["connected"]);
  const session = await newSession(world);
  const reply = `${ROOT}/reply/me`;
  await listener.say(`${ROOT}/cmd`, { cmd: "sessions.list", id: "1", reply });
  await listener.say(`${ROOT}/${session}/cmd`, { cmd: "input", text: "hi", id: "2", reply });
  await listener.say(`${ROOT}/${session}/cmd`, { cmd: "nonsense", id: "3", reply });
  await listener.say(`${ROOT}/${session}/cmd`, { cmd: "interrupt", reply });
  await listener.say(`${ROOT}/cmd`, { cmd: "tokens.create", label: "x", scopes: ["sessions:read"], id: "4", reply });
  await until("five replies", () => listener.on(reply).length === 5);
  const by = (re: string | null) => listener.json(reply).find((each) => each["re"] === re);
  assert.equal((by("1")?.["sessions"] as { session: string }[])[0]?.session, session);
  assert.equal(by("2")?.["state"], "accepted");
  assert.equal((by("3")?.["error"] as { code: string }).code, "bad_request");
  assert.match((by(null)?.["error"] as { message: string }).message, /every command has one/);
  assert.equal((by("4")?.["error"] as { code: string }).code, "forbidden");
  await until("the prompt", () => world.prompts(session).length === 1);
});

test(
  "a retained command, one without an answer's address and one too large are dropped and counted",
  MOSQUITTO,
  async (t) => {
    usual(t);
    await using broker = await Mosquitto.run();
    await using listener = await Listener.open(broker, [`${ROOT}/reply/#`]);
    await listener.say(`${ROOT}/cmd`, { cmd: "health", id: "r", reply: `${ROOT}/reply/me` }, { retain: true });
    await using world = await openWorld(bridged(broker));
    await until("the bridge", async () => (await health(world))["connected"]);
    for (const reply of [undefined, "elsewhere/x", `${ROOT}/reply/`, `${ROOT}/reply/#`, 7])
      await listener.say(`${ROOT}/cmd`, { cmd: "health", id: "n", reply });
    await listener.client.publishAsync(`${ROOT}/cmd`, "no json", { qos: 1 });
    await listener.client.publishAsync(`${ROOT}/cmd`, Buffer.alloc(600 * 1024, "x"), { qos: 1 });
    await listener.say(`${ROOT}/cmd`, { cmd: "health", id: "last", reply: `${ROOT}/reply/me` });
    await until("the last reply", () => listener.on(`${ROOT}/reply/me`).length > 0);
    assert.deepEqual(
      listener.json(`${ROOT}/reply/me`).map(({ re }) => re),
      ["last"],
    );
    assert.deepEqual((await health(world))["dropped"], {
      retained: 1,
      "no reply topic": 5,
      "not a command": 1,
      "too large": 1,
    });
  },
);

test(
  "without a token nothing is published but that it is there, and plain commands are not even heard",
  MOSQUITTO,
  async (t) => {
    usual(t);
    await using broker = await Mosquitto.run();
    await using listener = await Listener.open(broker, ["#"]);
    const env = bridged(broker);
    await using world = await openWorld(env);
    await until("the bridge", async () => (await health(world))["connected"]);
    // With a token it has subscribed to commands; without, the session that the broker keeps for it must lose that.
    await world.stop();
    delete env["CIB_MQTT_BRIDGE_TOKEN"];
    listener.heard.length = 0;
    await world.start();
    await until("the bridge", async () => (await health(world))["connected"]);
    await until("online", () => listener.on(`${ROOT}/online`).at(-1)?.payload.toString() === "1");
    const session = await newSession(world);
    world.say(session, delta("secret"));
    await listener.say(`${ROOT}/${session}/cmd`, { cmd: "input", text: "rm", id: "1", reply: `${ROOT}/reply/me` });
    // A link message goes the same way, behind the command; when it is answered for, the command has been passed by.
    await listener.client.publishAsync(`${ROOT}/link/0011223344556677/up`, Buffer.alloc(3), { qos: 1 });
    await world.stop();
    const own = listener.heard.map(({ topic }) => topic).filter((topic) => !/\/(cmd|up)$/.test(topic));
    assert.deepEqual([...new Set(own)], [`${ROOT}/online`]);
    assert.deepEqual(world.prompts(session), []);
  },
);

test("a broker that is not there at the start is found when it comes", MOSQUITTO, async (t) => {
  usual(t);
  await using broker = await Mosquitto.make();
  await using world = await openWorld(bridged(broker));
  const session = await newSession(world);
  world.say(session, delta("early"));
  assert.equal((await health(world))["connected"], false);
  await broker.start();
  await until("the bridge", async () => (await health(world))["connected"]);
  await using listener = await Listener.open(broker, [`${ROOT}/#`]);
  // Retained: who comes later is told, too.
  await until("the state", () => listener.json(`${ROOT}/${session}/status`).at(-1)?.["state"] === "idle");
  world.say(session, delta("late"));
  await until("frames", () => listener.json(`${ROOT}/${session}/json/text.delta`).some(({ text }) => text === "late"));
});

test("kill -9 of the broker in the middle of a stream loses no frame and keeps their order", MOSQUITTO, async (t) => {
  usual(t);
  await using broker = await Mosquitto.run();
  await using world = await openWorld(bridged(broker, { CIB_MQTT_BRIDGE_FRAMES: "json" }));
  await using listener = await Listener.open(broker, [`${ROOT}/+/json/#`], { clean: false, clientId: "watcher" });
  await until("the bridge", async () => (await health(world))["connected"]);
  const session = await newSession(world);
  const count = 3000;
  for (let i = 0; i < count / 2; i++) world.say(session, delta(`a${i}`));
  await until("some", () => seqs(listener, session).length > 100);
  await broker.kill("SIGKILL");
  for (let i = 0; i < count / 2; i++) world.say(session, delta(`b${i}`));
  await broker.start();
  const last = Number((await call(world, "GET", `/sessions/${session}`))["last"]);
  await until("the last frame", () => seqs(listener, session).at(-1) === last);
  const came = new Set(seqs(listener, session));
  const missing = Array.from({ length: last }, (_, i) => i + 1).filter((seq) => !came.has(seq));
  // What Mosquitto had acknowledged and not handed on when it died is its own loss; nothing of ours is missing after it.
  const lost = missing.filter((seq) => seq < (missing[0] ?? 0) || seq > last);
  assert.deepEqual(lost, []);
  assert.ok(missing.length <= 1500, `missing: ${missing.length}`);
});

test("a daemon that was away goes on where the broker's acknowledgements ended", MOSQUITTO, async (t) => {
  usual(t);
  await using broker = await Mosquitto.run();
  await using world = await openWorld(bridged(broker, { CIB_MQTT_BRIDGE_FRAMES: "json" }));
  await using listener = await Listener.open(broker, [`${ROOT}/#`]);
  await until("the bridge", async () => (await health(world))["connected"]);
  const session = await newSession(world);
  world.say(session, delta("before"));
  await until("before", () => listener.json(`${ROOT}/${session}/json/text.delta`).length === 1);
  await broker.kill("SIGTERM");
  await until("it notices", async () => (await health(world))["connected"] === false);
  world.say(session, delta("alone"));
  await world.stop();
  await broker.start();
  await world.start();
  await until("the frame of the time alone", () =>
    listener.json(`${ROOT}/${session}/json/text.delta`).some(({ text }) => text === "alone"),
  );
  const all = seqs(listener, session);
  await until("all", () => seqs(listener, session).length >= all.length);
  assert.deepEqual(
    [...new Set(all)],
    Array.from(new Set(all), (_, i) => i + 1),
    "no hole",
  );
});

test(
  "commands sent while the box was away run when it is back, each once, also when they come twice",
  MOSQUITTO,
  async (t) => {
    usual(t);
    await using broker = await Mosquitto.run();
    await using world = await openWorld(bridged(broker));
    await using listener = await Listener.open(broker, [`${ROOT}/reply/#`]);
    await until("the bridge", async () => (await health(world))["connected"]);
    const session = await newSession(world);
    await world.stop();
    const reply = `${ROOT}/reply/me`;
    for (let i = 0; i < 2; i++) {
      await listener.say(`${ROOT}/${session}/cmd`, { cmd: "input", text: "once", id: "i", reply });
      await listener.say(`${ROOT}/${session}/cmd`, { cmd: "model", model: "opus", id: "m", reply });
    }
    await world.start();
    await until("replies", () => new Set(listener.json(reply).map(({ re }) => re)).size === 2);
    await until("the prompt", () => world.prompts(session).length > 0);
    await listener.say(`${ROOT}/${session}/cmd`, { cmd: "model", model: "opus", id: "m", reply });
    await until("a duplicate", () =>
      listener.json(reply).some(({ re, duplicate }) => re === "m" && duplicate === true),
    );
    await listener.say(`${ROOT}/${session}/cmd`, { cmd: "model", model: "haiku", id: "m", reply });
    await until("a conflict", () => listener.json(reply).some(({ ok }) => ok === false));
    assert.deepEqual(world.prompts(session), ["once"]);
  },
);

test("wrong credentials are told to the operator, without them, and nothing else suffers", MOSQUITTO, async (t) => {
  const said: string[] = [];
  t.mock.method(console, "error", (line: unknown) => void said.push(String(line)));
  await using broker = await Mosquitto.run({
    config: ["allow_anonymous false", "password_file <folder>/users"],
    files: { users: "" },
  });
  await using world = await openWorld(
    bridged(broker, { CIB_MQTT_BRIDGE: `mqtt://someone:hunter2-secret@127.0.0.1:${broker.port}` }),
  );
  const line = await until("the line", () => said.find((each) => each.startsWith("bridge:")));
  assert.match(line, /refuses us/);
  assert.equal((await health(world))["connected"], false);
  assert.ok(await newSession(world));
  const everything = JSON.stringify([said, world.faults, await health(world)]);
  assert.ok(!everything.includes("hunter2-secret"), "no secret in a log or in health");
});

test("a token that does not hold is told, and links go on", MOSQUITTO, async (t) => {
  const said: string[] = [];
  t.mock.method(console, "error", (line: unknown) => void said.push(String(line)));
  await using broker = await Mosquitto.run();
  await using world = await openWorld(bridged(broker, { CIB_MQTT_BRIDGE_TOKEN: `cib_${"x".repeat(40)}` }));
  await until("the bridge", async () => (await health(world))["connected"]);
  assert.equal((await health(world))["token"], "refused");
  assert.match(said.join("\n"), /CIB_MQTT_BRIDGE_TOKEN: .*only sealed links/);
  assert.ok(!said.join("\n").includes("xxxx"));
});
