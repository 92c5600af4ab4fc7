/** Discovery: what Home Assistant is told of a session, against the fields that it documents, and what its buttons can do. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { SessionInfo } from "../../../src/control/control.ts";
import type { SessionId } from "../../../src/frame/frame.ts";
import { type Ask, discoveryTopic, homeConfig, homeState, homeTopic } from "../../../src/transport/mqtt/discovery.ts";
import { HomeAssistant } from "../../../src/transport/mqtt/home-assistant.ts";
import { formatTopic, mayFilter, mayHear, maySay, parseTopic } from "../../../src/transport/mqtt/topics.ts";

const SESSION = "0b9c1d9e-7f0e-4c7c-9d38-000000000001" as SessionId;
const PLACE = {
  prefix: "homeassistant",
  root: "cib/kitchen",
  reply: "cib/kitchen/reply/home-assistant",
  version: "1.2",
};
const INFO: SessionInfo = {
  session: SESSION,
  state: "waiting_for_input",
  title: "Kitchen lights",
  model: "sonnet",
  waiting: 1,
  usage: { input: 10, output: 20, cache_read: 0, cache_write: 0, turns: 1 },
};
const ASK: Ask = { id: "toolu_1/0", kind: "permission", text: "Bash: ls" };

/** home-assistant.io: sensor.mqtt, button.mqtt, mqtt (device discovery payload): every option that is documented and of use here. */
const SHARED = [
  "platform",
  "unique_id",
  "name",
  "icon",
  "qos",
  "availability",
  "availability_mode",
  "entity_category",
  "enabled_by_default",
  "json_attributes_topic",
  "json_attributes_template",
  "device_class",
];
const OPTIONS: Readonly<Record<string, readonly string[]>> = {
  sensor: [...SHARED, "state_topic", "value_template", "state_class", "unit_of_measurement", "options"],
  button: [...SHARED, "command_topic", "payload_press", "retain"],
};
const DEVICE = ["identifiers", "name", "manufacturer", "model", "serial_number", "sw_version"];

type Fields = Record<string, unknown>;
type Parts = { device: Fields; origin: Fields; components: Record<string, Fields> };
const config = (info: SessionInfo, ask?: Ask) => homeConfig(info, ask, PLACE) as Parts;
const pressed = (parts: Parts, what: string) => JSON.parse(String(parts.components[what]?.["payload_press"])) as Fields;

test("every field is one that Home Assistant documents, and what it requires is there", () => {
  const withCost = { ...INFO, usage: { input: 1, output: 1, cost_usd: 0.5 } };
  for (const parts of [config(INFO, ASK), config(withCost)]) {
    assert.deepEqual(Object.keys(parts), ["device", "origin", "components"]);
    for (const field of Object.keys(parts.device)) assert.ok(DEVICE.includes(field), field);
    assert.ok(Array.isArray(parts.device["identifiers"]));
    assert.equal(typeof parts.origin["name"], "string", "an origin has a name");
    for (const [key, component] of Object.entries(parts.components)) {
      const options = OPTIONS[String(component["platform"])];
      assert.ok(options, `${key}: a platform`);
      for (const field of Object.keys(component)) assert.ok(options.includes(field), `${key}: ${field}`);
      assert.ok(component["unique_id"], `${key}: device discovery requires a unique_id`);
      assert.ok(component["state_topic"] ?? component["command_topic"], `${key}: a topic`);
      // "Must not be used together": an enum has options, and neither unit nor class of state.
      if (component["options"] !== undefined)
        assert.deepEqual([component["device_class"], component["state_class"]], ["enum", undefined]);
      for (const each of component["availability"] as Fields[])
        for (const field of Object.keys(each))
          assert.ok(["topic", "payload_available", "payload_not_available", "value_template"].includes(field), field);
    }
  }
  assert.equal(config(INFO).components["cost"], undefined, "no cost where no frame has one");
  assert.equal(config(withCost).components["cost"]?.["unit_of_measurement"], "USD");
});

test("unique ids are the session's for ever, whatever changes", () => {
  const ids = (parts: Parts) => Object.values(parts.components).map((each) => each["unique_id"]);
  const one = config(INFO, ASK);
  const other = config({ ...INFO, title: "Other", model: "opus", state: "idle" });
  assert.deepEqual(ids(one), ids(other));
  assert.deepEqual(one.device["identifiers"], other.device["identifiers"]);
  assert.equal(new Set(ids(one)).size, ids(one).length);
});

test("a button says an answer to the question that it was shown with, with an id of its own for each", () => {
  const [allow, deny] = [pressed(config(INFO, ASK), "approve"), pressed(config(INFO, ASK), "deny")];
  assert.deepEqual({ ...allow, id: 0 }, { cmd: "answer", id: 0, ask: ASK.id, decision: "allow", reply: PLACE.reply });
  assert.equal(deny["decision"], "deny");
  const next = pressed(config(INFO, { ...ASK, id: "toolu_2/0" }), "approve");
  assert.equal(new Set([allow["id"], deny["id"], next["id"]]).size, 3);
  assert.deepEqual(pressed(config(INFO, ASK), "approve"), allow, "twice the same is the same command");
});

test("what is shown fits Home Assistant: a state of 255 characters at most, the whole text beside it", () => {
  const state = homeState(INFO, { ...ASK, text: "😀".repeat(400) }) as Fields;
  assert.ok(String(state["question"]).length <= 255);
  assert.ok(String(state["question"]).isWellFormed());
  assert.equal(String(state["text"]).length, 800);
  assert.deepEqual([state["approve"], state["deny"]], [true, true]);
  const question = homeState(INFO, { ...ASK, kind: "question" }) as Fields;
  assert.deepEqual([question["approve"], question["deny"]], [false, true], "yes is no answer to a choice");
  const none = homeState({ ...INFO, waiting: 0 }, undefined) as Fields;
  assert.deepEqual([none["approve"], none["deny"], none["question"]], [false, false, ""]);
});

test("its topics are told from all others, and heard by those who may read the session", () => {
  const who = {
    name: "x",
    label: "x",
    scopes: new Set(["sessions:read"] as const),
    ended: new AbortController().signal,
  };
  const guest = { clientId: "x-1", who, home: "ha" };
  for (const text of [discoveryTopic(SESSION, "ha"), homeTopic(SESSION)]) {
    const topic = parseTopic(text);
    assert.ok(topic && formatTopic(topic) === text);
    assert.ok(mayHear(guest, topic) && !maySay(guest, topic, false));
    assert.ok(!mayHear({ ...guest, who: { ...who, sessions: new Set() } }, topic), "bound to other sessions");
  }
  assert.ok(!mayHear({ ...guest, home: "other" }, { kind: "device", session: SESSION, prefix: "ha" }));
  for (const filter of ["ha/#", "ha/+/+/config", "ha/device/+/config", "ha/sensor/+/config", "ha/+/+/+/config"])
    assert.ok(mayFilter(guest, filter), filter);
  for (const filter of ["ha/status", "other/#", "other/+/+/config", "ha/config"])
    assert.ok(!mayFilter(guest, filter), filter);
  for (const text of [`ha/device/cib_${SESSION}`, `cibb/${SESSION}/home`, "ha/device/cib_x/config"])
    assert.equal(parseTopic(text), undefined, text);
});

test("Home Assistant says that it is there on its own prefix, unretained, and with a principal only", () => {
  const who = {
    name: "x",
    label: "x",
    scopes: new Set(["sessions:read"] as const),
    ended: new AbortController().signal,
  };
  const guest = { clientId: "x-1", who, home: "a/ha" };
  const birth = parseTopic("a/ha/status");
  assert.deepEqual(birth, { kind: "birth", prefix: "a/ha" });
  assert.ok(maySay(guest, birth, false) && birth !== undefined && !mayHear(guest, birth));
  assert.ok(!maySay(guest, birth, true), "retained");
  assert.ok(!maySay({ ...guest, home: undefined }, birth, false), "off");
  assert.ok(!maySay({ ...guest, home: "ha" }, birth, false), "another prefix");
  assert.ok(!maySay({ ...guest, who: { ...who, ended: AbortSignal.abort() } }, birth, false), "ended");
  assert.ok(!maySay({ clientId: "k-1", who: undefined, link: "k", home: "a/ha" }, birth, false), "a link's password");
});

test("the question is published before its buttons, an unchanged device not at all, and a session that goes takes all of it back", async () => {
  const published: [string, string][] = [];
  let asks: object[] = [];
  const home = new HomeAssistant({
    control: { run: async () => ({ body: { asks } }) },
    who: { name: "x", label: "x", scopes: new Set(), ended: new AbortController().signal },
    place: PLACE,
    publish: (topic, payload) => void published.push([topic, payload.toString()]),
    fault: (thrown) => assert.fail(String(thrown)),
  });
  const [state, device] = [homeTopic(SESSION, PLACE.root), discoveryTopic(SESSION, "homeassistant")];
  const topics = () => published.splice(0).map(([topic]) => topic);
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  home.changed({ ...INFO, waiting: 0 });
  assert.deepEqual(topics(), [state, device]);
  asks = [{ id: "a", kind: "permission", prompt: "?", tool: "Bash", summary: "ls" }];
  home.changed(INFO);
  await settled();
  assert.deepEqual(topics(), [state, device]);
  home.changed(INFO);
  await settled();
  assert.deepEqual(topics(), []);
  // Two changes at once: the later one holds, whichever is looked up first.
  home.changed(INFO);
  home.changed({ ...INFO, waiting: 0 });
  await settled();
  assert.match(published.at(-1)?.[1] ?? "", /"approve":false/);
  published.length = 0;
  home.gone(SESSION);
  assert.deepEqual(published, [
    [device, ""],
    [state, ""],
  ]);
});
