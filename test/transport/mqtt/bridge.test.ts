/** Bridge: a box at a real Mosquitto: what it publishes, what it takes, and what it does while that is away. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { nobleProvider } from "../../../src/crypto/aead-noble.ts";
import { ClientLink } from "../../../src/crypto/link-client.ts";
import { LinkKey } from "../../../src/crypto/schedule.ts";
import { decodeValue, encodeValue } from "../../../src/frame/codec.ts";
import type { SessionId } from "../../../src/frame/frame.ts";
import { itemsOf } from "../../../src/frame/sequence.ts";
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

test(
  "a box tells a foreign broker that it is there, its sessions' states and every frame in both forms",
  MOSQUITTO,
  async () => {
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

test("commands over the bridge are answered where they ask for it", MOSQUITTO, async () => {
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
  const by = (re: string | null) => listener.json(reply).find((each) => each["re"] === re) ?? {};
  assert.equal((by("1")["sessions"] as { session: string }[])[0]?.session, session);
  assert.equal(by("2")["state"], "accepted");
  assert.equal((by("3")["error"] as { code: string }).code, "bad_request");
  assert.match((by(null)["error"] as { message: string }).message, /every command has one/);
  assert.equal((by("4")["error"] as { code: string }).code, "forbidden");
  await until("the prompt", () => world.prompts(session).length === 1);
});

test(
  "a retained command, one without an answer's address and one too large are dropped and counted",
  MOSQUITTO,
  async () => {
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
    assert.ok(
      world.printed.some((line) => /^bridge: 1 message refused from 127\.0\.0\.1: a retained command/.test(line)),
    );
  },
);

test(
  "without a token nothing is published but that it is there, and plain commands are not even heard",
  MOSQUITTO,
  async () => {
    await using broker = await Mosquitto.run();
    await using listener = await Listener.open(broker, ["#"]);
    const env = bridged(broker);
    await using world = await openWorld(env);
    await until("the bridge", async () => (await health(world))["connected"]);
    const session = await newSession(world);
    const status = `${ROOT}/${session}/status`;
    await until("its state", () => listener.on(status).length > 0);
    // With a token it has subscribed to commands; without, the session that the broker keeps for it must lose that.
    await world.stop();
    delete env["CIB_MQTT_BRIDGE_TOKEN"];
    listener.heard.length = 0;
    await world.start();
    await until("the bridge", async () => (await health(world))["connected"]);
    await until("online", () => listener.on(`${ROOT}/online`).at(-1)?.payload.toString() === "1");
    await until("what the token had shown is taken back", () => listener.on(status).at(-1)?.payload.length === 0);
    listener.heard.length = 0;
    await call(world, "POST", `/sessions/${session}/input`, { text: "by another way" });
    world.say(session, delta("secret"));
    await listener.say(`${ROOT}/${session}/cmd`, { cmd: "input", text: "rm", id: "1", reply: `${ROOT}/reply/me` });
    // Behind the command, and heard: a hello that proves nothing. When it is refused the command has been passed by.
    await listener.client.publishAsync(`${ROOT}/link/0011223344556677/up`, Buffer.alloc(48, "CIB1"), { qos: 1 });
    await until("the refusal", async () => JSON.stringify(await call(world, "GET", "/health")).includes('"mqtt":{'));
    await world.stop();
    const own = listener.heard.map(({ topic }) => topic).filter((topic) => !/\/(cmd|up)$/.test(topic));
    assert.deepEqual(
      own.filter((topic) => topic !== `${ROOT}/online`),
      [],
    );
    assert.deepEqual(world.prompts(session), ["by another way"]);
  },
);

test("a broker that is not there at the start is found when it comes", MOSQUITTO, async () => {
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

test("kill -9 of the broker in the middle of a stream loses no frame and keeps their order", MOSQUITTO, async () => {
  await using broker = await Mosquitto.run();
  await using world = await openWorld(bridged(broker, { CIB_MQTT_BRIDGE_FRAMES: "json" }));
  await using listener = await Listener.open(broker, [`${ROOT}/+/json/#`], { clean: false, clientId: "watcher" });
  await until("the bridge", async () => (await health(world))["connected"]);
  const session = await newSession(world);
  const count = 600;
  for (let i = 0; i < count / 2; i++) world.say(session, delta(`a${i}`));
  await until("some", () => seqs(listener, session).length > 50);
  await broker.kill("SIGKILL");
  for (let i = 0; i < count / 2; i++) world.say(session, delta(`b${i}`));
  await broker.start();
  const last = Number((await call(world, "GET", `/sessions/${session}`))["last"]);
  assert.ok(last > count);
  await until("the last frame", () => seqs(listener, session).at(-1) === last);
  const came = seqs(listener, session);
  const missing = Array.from({ length: last }, (_, i) => i + 1).filter((seq) => !came.includes(seq));
  // What Mosquitto had acknowledged and neither saved nor handed on is its own loss: less than our window, in one piece.
  assert.ok(missing.length <= 64, `missing: ${missing}`);
  assert.deepEqual(
    missing,
    missing.map((_, i) => (missing[0] ?? 0) + i),
  );
  // It goes back to what was not acknowledged, and never leaves anything out.
  const back = came.filter((seq, i) => seq <= (came[i - 1] ?? 0));
  assert.ok(back.length <= 2, `went back to ${back}`);
});

test("a daemon that was away goes on where the broker's acknowledgements ended", MOSQUITTO, async () => {
  await using broker = await Mosquitto.run();
  await using world = await openWorld(bridged(broker, { CIB_MQTT_BRIDGE_FRAMES: "json" }));
  await using listener = await Listener.open(broker, [`${ROOT}/#`], { clean: false, clientId: "watcher" });
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
  async () => {
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

test("wrong credentials are told to the operator, without them, and nothing else suffers", MOSQUITTO, async () => {
  await using broker = await Mosquitto.run({
    config: ["allow_anonymous false", "password_file <folder>/users"],
    files: { users: "" },
  });
  await using world = await openWorld(
    bridged(broker, { CIB_MQTT_BRIDGE: `mqtt://someone:hunter2-secret@127.0.0.1:${broker.port}` }),
  );
  const line = await until("the line", () => world.printed.find((each) => each.startsWith("bridge:")));
  assert.match(line, /refuses us/);
  assert.equal((await health(world))["connected"], false);
  assert.ok(await newSession(world));
  const everything = JSON.stringify([world.printed, world.faults, await health(world)]);
  assert.ok(!everything.includes("hunter2-secret"), "no secret in a log or in health");
});

test("a token that does not hold is told, and links go on", MOSQUITTO, async () => {
  await using broker = await Mosquitto.run();
  await using world = await openWorld(bridged(broker, { CIB_MQTT_BRIDGE_TOKEN: `cib_${"x".repeat(40)}` }));
  await until("the bridge", async () => (await health(world))["connected"]);
  assert.equal((await health(world))["token"], "refused");
  assert.match(world.printed.join("\n"), /CIB_MQTT_BRIDGE_TOKEN: .*only sealed links/);
  assert.ok(!world.printed.join("\n").includes("xxxx"));
});

test("a sealed link over a foreign broker is a client as any other, with no token at all", MOSQUITTO, async () => {
  await using broker = await Mosquitto.run();
  const env = bridged(broker);
  delete env["CIB_MQTT_BRIDGE_TOKEN"];
  await using world = await openWorld(env);
  const session = await newSession(world);
  const { key } = await call(world, "POST", "/tokens", {
    label: "device",
    scopes: ["sessions:read", "sessions:input"],
    device: true,
  });
  const { id, secret } = key as { id: string; secret: string };
  await until("the bridge", async () => (await health(world))["connected"]);
  await using listener = await Listener.open(broker, [`${ROOT}/link/${id}/down`]);
  const link = new ClientLink({
    provider: nobleProvider,
    carrier: "mqtt",
    accepts: 4096,
    key: new LinkKey(nobleProvider, Buffer.from(secret, "hex")),
    keyId: Buffer.from(id, "hex"),
    fresh: { boot: 1, counter: 1, random: randomBytes(16) },
    random: (size) => randomBytes(size),
    x25519: undefined,
  });
  const items: unknown[] = [];
  let taken = 0;
  const take = () => {
    for (const { payload } of listener.heard.slice(taken)) {
      taken++;
      const what = link.take(payload);
      if (what.kind === "record")
        for (const item of itemsOf(Buffer.from(what.plaintext))) items.push(decodeValue(item));
    }
  };
  const up = (bytes: Uint8Array) =>
    listener.client.publishAsync(`${ROOT}/link/${id}/up`, Buffer.from(bytes), { qos: 1 });
  await up(link.hello);
  await until("the reply", () => listener.heard.length > 0);
  take();
  await up(link.seal(encodeValue({ cmd: "attach", session, from: 1, id: "1" })));
  await up(link.seal(encodeValue({ cmd: "input", session, text: "sealed", id: "2" })));
  await until("what Claude says", () => {
    take();
    return items.some((item) => JSON.stringify(item).includes("heard: sealed"));
  });
  assert.equal((await health(world))["links"], 1);
  assert.deepEqual(world.prompts(session), ["sealed"]);
  assert.ok(!Buffer.concat(listener.heard.map(({ payload }) => payload)).includes("sealed"), "nothing in the clear");
});

test("over TLS the broker proves who it is, to the certificates that CIB_MQTT_BRIDGE_CA names", {
  skip: MOSQUITTO.skip || needs("openssl", "openssl").skip,
}, async () => {
  const made = mkdtempSync(join(tmpdir(), "cib-cert-"));
  const subject = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost";
  const files = ["-keyout", join(made, "key"), "-out", join(made, "cert")];
  execFileSync("openssl", [...subject.split(" "), ...files], { stdio: "ignore" });
  await using broker = await Mosquitto.run({
    config: ["allow_anonymous true", "certfile <folder>/cert", "keyfile <folder>/key"],
    files: { key: readFileSync(join(made, "key"), "utf8"), cert: readFileSync(join(made, "cert"), "utf8") },
  });
  const env = bridged(broker, { CIB_MQTT_BRIDGE: `mqtts://localhost:${broker.port}` });
  await using world = await openWorld(env);
  await until("the line", () => world.printed.find((line) => /bridge: .*certificate/.test(line)));
  assert.equal((await health(world))["connected"], false);
  await world.stop();
  env["CIB_MQTT_BRIDGE_CA"] = join(made, "cert");
  await world.start();
  await until("the bridge", async () => (await health(world))["connected"]);
  rmSync(made, { recursive: true });
});

test("a revoked token ends what the bridge publishes, and takes back what it has said", MOSQUITTO, async () => {
  await using broker = await Mosquitto.run();
  const env = bridged(broker);
  await using world = await openWorld(env);
  const session = await newSession(world);
  const { id, token } = await call(world, "POST", "/tokens", { label: "bridge", scopes: ["sessions:read"] });
  await world.stop();
  env["CIB_MQTT_BRIDGE_TOKEN"] = String(token);
  await using listener = await Listener.open(broker, [`${ROOT}/#`]);
  await world.start();
  await until("the bridge", async () => (await health(world))["connected"]);
  await until("the state", () => listener.json(`${ROOT}/${session}/status`).length > 0);
  await call(world, "DELETE", `/tokens/${String(id)}`);
  await until("it is taken back", () => listener.on(`${ROOT}/${session}/status`).at(-1)?.payload.length === 0);
  assert.equal((await health(world))["token"], "refused");
  assert.match(world.printed.join("\n"), /CIB_MQTT_BRIDGE_TOKEN has been revoked/);
  await listener.say(`${ROOT}/${session}/cmd`, { cmd: "input", text: "late", id: "1", reply: `${ROOT}/reply/me` });
  await using other = await Listener.open(broker, [`${ROOT}/${session}/status`]);
  world.say(session, delta("unseen"));
  await other.client.publishAsync(`${ROOT}/link/0011223344556677/up`, Buffer.alloc(48, "CIB1"), { qos: 1 });
  await until("the refusal", async () => JSON.stringify(await call(world, "GET", "/health")).includes('"mqtt":{'));
  assert.deepEqual(other.heard, [], "nothing retained is left");
  assert.deepEqual(world.prompts(session), []);
});

test("Home Assistant approves over the bridge, and a stale press answers nothing else", MOSQUITTO, async () => {
  await using broker = await Mosquitto.run();
  await using world = await openWorld(bridged(broker, { CIB_HOME_ASSISTANT: "on" }));
  await using home = await Listener.open(broker, ["homeassistant/#", `${ROOT}/#`]);
  await until("the bridge", async () => (await health(world))["connected"]);
  const session = await newSession(world);
  const device = `homeassistant/device/cib_${session}/config`;
  const shown = () => home.json(`${ROOT}/${session}/home`).at(-1) ?? {};
  const ask = (id: string) =>
    world.say(session, {
      type: "ask.question",
      id,
      of: 1,
      kind: "permission",
      prompt: "May it?",
      options: [{ label: "Allow" }, { label: "Deny" }],
      multiSelect: false,
      tool: "Bash",
      summary: `run ${id}`,
    });
  /** What Home Assistant has in its hands, and publishes when somebody presses. */
  const button = (what: "approve" | "deny") => {
    const { components } = home.json(device).at(-1) as { components: Record<string, Record<string, string>> };
    return components[what] ?? {};
  };
  const press = (which: Record<string, string>) =>
    home.client.publishAsync(which["command_topic"] ?? "", which["payload_press"] ?? "", { qos: 1 });
  await until("the device", () => shown()["state"] === "idle" && home.on(device).length > 0);
  ask("first/0");
  await until("the first question's buttons", () => button("approve")["payload_press"]?.includes("first/0"));
  assert.equal(shown()["question"], "Bash: run first/0");
  const stale = button("deny");
  const replies = () => home.json(`${ROOT}/reply/home-assistant`);
  await press(button("approve"));
  await until("it is settled, and said so", () => world.settled(session).length === 1 && replies().length === 1);
  await press(button("approve"));
  ask("second/0");
  await until("the second question's buttons", () => button("approve")["payload_press"]?.includes("second/0"));
  await press(stale);
  await until("three replies", () => replies().length === 3);
  assert.deepEqual(
    replies().map(({ ok, duplicate }) => [ok, duplicate === true]),
    [
      [true, false],
      [true, true],
      [false, false],
    ],
  );
  assert.deepEqual(
    world.settled(session).map(([group, { behavior }]) => [group, behavior]),
    [["first", "allow"]],
  );
  await press(button("deny"));
  await until("the second is settled", () => world.settled(session).length === 2);
  assert.deepEqual(world.settled(session)[1]?.[1].behavior, "deny");
  await until("nothing is asked any more", () => shown()["question"] === "" && shown()["deny"] === false);
});
