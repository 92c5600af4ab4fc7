import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { FrameBody, SessionId } from "../../../src/frame/frame.ts";
import type { MqttClient } from "../../conformance/mqtt-client.ts";
import { Inbox } from "../../conformance/way.ts";
import { eventually, House } from "./house.ts";

const text = (value: string) => ({ type: "text.delta", text: value }) as const satisfies FrameBody;
type Fields = Record<string, unknown>;

/** Commands of one client, one after the other. */
function asker(client: MqttClient): (command: object, topic?: string) => Promise<Fields> {
  const replies = new Inbox<Fields>();
  client.routes.set(`cib/client/${client.clientId}/reply`, ({ payload }) => replies.put(JSON.parse(`${payload}`)));
  return async (command, topic = "cib/cmd") => {
    await client.publish(topic, JSON.stringify(command));
    return replies.take();
  };
}

async function open(house: House, qos: 0 | 1 = 1) {
  const session = await house.session();
  const client = await house.client();
  await client.subscribe(`cib/client/${client.clientId}/reply`);
  const ask = asker(client);
  const topic = `cib/client/${client.clientId}/${session}`;
  if (qos === 1) await client.subscribe(topic);
  return { session, client, ask, topic };
}

const code = (reply: Fields) => (reply["error"] as Fields | undefined)?.["code"];
const message = (reply: Fields) => String((reply["error"] as Fields)["message"]);
const frame = (payload: Buffer) => JSON.parse(payload.toString()) as Fields;

describe("attach over MQTT", () => {
  test("needs a subscription of QoS 1, and says to which topic", async () => {
    await using house = await House.open();
    const { session, client, ask, topic } = await open(house, 0);
    const attach = { cmd: "attach", session, id: 1 };
    const refused = await ask(attach);
    assert.equal(code(refused), "conflict");
    assert.ok(message(refused).includes(topic), message(refused));
    await client.subscribe(topic, 0);
    assert.equal(code(await ask(attach)), "conflict");
    await client.subscribe(topic, 1);
    assert.equal((await ask(attach))["verdict"], "ok");
    assert.equal(code(await ask(attach)), "conflict");
  });

  test("ends, and says so, when its subscription is replaced by one of QoS 0", async () => {
    await using house = await House.open();
    const { session, client, ask, topic } = await open(house);
    await ask({ cmd: "attach", session, types: ["text.delta"] });
    // The same again, and a weaker one beside it, change nothing.
    await client.subscribe(topic, 1);
    await client.subscribe(`cib/+/${client.clientId}/${session}`, 0);
    house.world.say(session, text("paced"));
    assert.equal(frame((await client.messages.take()).payload)["text"], "paced");
    await client.subscribe(topic, 0);
    const last = await client.messages.take();
    assert.deepEqual([last.topic, last.qos, frame(last.payload)], [topic, 0, { detached: "detached", session }]);
    assert.equal(code(await ask({ cmd: "detach", session })), "not_found");
    await client.subscribe(topic, 1);
    assert.equal((await ask({ cmd: "attach", session }))["verdict"], "ok");
  });

  test("frames come at QoS 1, and no faster than they are acknowledged", async () => {
    await using house = await House.open();
    const { session, client, ask, topic } = await open(house);
    client.acknowledges = false;
    await ask({ cmd: "attach", session, types: ["text.delta"] });
    for (let i = 0; i < 40; i++) house.world.say(session, text(`${i}`));
    const got: { text: unknown; id: number | undefined }[] = [];
    const take = async () => {
      const { topic: where, payload, qos, id } = await client.messages.take();
      assert.deepEqual([where, qos], [topic, 1]);
      got.push({ text: frame(payload)["text"], id });
    };
    while (got.length < 16) await take();
    // No acknowledgement, no seventeenth.
    const next = client.messages.take();
    await client.settled();
    assert.equal(await Promise.race([next, Promise.resolve("none")]), "none");
    for (const { id } of got) client.acknowledge(id as number);
    const { payload, id } = await next;
    got.push({ text: frame(payload)["text"], id });
    client.acknowledge(id as number);
    while (got.length < 40) {
      await take();
      client.acknowledge(got.at(-1)?.id as number);
    }
    assert.deepEqual(
      got.map((each) => each.text),
      got.map((_, i) => String(i)),
    );
  });

  test("detach and unsubscribing end it, and it may begin anew", async () => {
    await using house = await House.open();
    const { session, client, ask, topic } = await open(house);
    const attach = { cmd: "attach", session, types: ["text.delta"] };
    const last = async () => Number((await ask({ cmd: "sessions.get", session }))["last"]);
    const silent = async () => {
      const before = await eventually(last, (seq) => seq >= 3);
      house.world.say(session, text("unheard"));
      await eventually(last, (seq) => seq > before);
      await client.settled();
    };
    // The list of sessions comes by the wildcard, too.
    const heard = async () =>
      frame((await client.until((each) => each.topic === topic)).at(-1)?.payload as Buffer)["text"];
    await ask(attach);
    assert.equal((await ask({ cmd: "detach", session }))["ok"], true);
    assert.equal(code(await ask({ cmd: "detach", session })), "not_found");
    await silent();
    await client.subscribe(`cib/client/${client.clientId}/+`);
    await ask(attach);
    // The wildcard still covers it.
    await client.unsubscribe(topic);
    house.world.say(session, text("heard"));
    assert.equal(await heard(), "heard");
    await client.unsubscribe(`cib/client/${client.clientId}/+`);
    await client.subscribe(`cib/client/${client.clientId}/reply`);
    await silent();
    await client.subscribe(topic);
    await ask(attach);
    house.world.say(session, text("again"));
    assert.equal(await heard(), "again");
  });

  test("its last word says why the daemon ended it", async () => {
    await using house = await House.open();
    const { session, client, ask } = await open(house);
    await ask({ cmd: "attach", session, types: ["stop"] });
    await house.world.stop();
    assert.deepEqual(frame((await client.messages.take()).payload), { bye: "stopping" });
    await client.ended;
  });

  test("a session's own topic stands for its id, and contradicts no other", async () => {
    await using house = await House.open();
    const { session, ask } = await open(house);
    const other = "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId;
    const own = `cib/${session}/cmd`;
    assert.equal((await ask({ cmd: "sessions.get" }, own))["session"], session);
    assert.equal((await ask({ cmd: "sessions.get", session }, own))["session"], session);
    assert.equal(code(await ask({ cmd: "sessions.get", session: other }, own)), "bad_request");
    assert.equal(code(await ask({ cmd: "sessions.get" }, `cib/${other}/cmd`)), "not_found");
    assert.equal((await ask({ cmd: "attach", from: 1 }, own))["verdict"], "ok");
  });

  test("whoever does not listen for replies gets none", async () => {
    await using house = await House.open();
    const session = await house.session();
    const client = await house.client();
    await client.publish("cib/cmd", JSON.stringify({ cmd: "sessions.get", session }));
    await client.settled();
    await client.subscribe(`cib/client/${client.clientId}/reply`);
    const ask = asker(client);
    assert.equal((await ask({ cmd: "sessions.get", session, id: "mine" }))["re"], "mine");
  });

  test("so many commands of one client are under way, and the next is told to wait", async () => {
    await using house = await House.open();
    const { session, client } = await open(house);
    const codes = new Inbox<unknown>();
    client.routes.set(`cib/client/${client.clientId}/reply`, ({ payload }) => codes.put(code(frame(payload))));
    // A send waits for its turn to end: these wait for the first.
    house.world.say(session, { type: "status", state: "working", elapsed_ms: 1 });
    for (let i = 0; i < 40; i++)
      void client.publish("cib/cmd", JSON.stringify({ cmd: "send", session, text: `${i}`, timeout_ms: 60_000 }), {
        qos: 0,
      });
    const first = await codes.take();
    const all: unknown[] = [first];
    while (all.length < 8) all.push(await codes.take());
    assert.ok(all.includes("overloaded"), all.join());
  });
});
