import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { describe, test } from "node:test";
import { connectAsync } from "mqtt";
import { decodeValue, Encoded, encodeValue } from "../../../src/frame/codec.ts";
import type { Frame, FrameBody } from "../../../src/frame/frame.ts";
import { frameOf } from "../../../src/frame/item.ts";
import { Inbox } from "../../conformance/way.ts";
import { needs } from "../../skip.ts";
import { eventually, House } from "./house.ts";

const text = (value: string) => ({ type: "text.delta", text: value }) as const satisfies FrameBody;
const PERMISSION = {
  type: "ask.question",
  id: "t1/0",
  of: 1,
  kind: "permission",
  prompt: "Allow Bash?",
  options: [{ label: "Allow" }, { label: "Deny" }],
  multiSelect: false,
  tool: "Bash",
  input: { command: "make" },
} as const satisfies FrameBody;
const READ = ["sessions:read"] as const;

const json = (payload: Buffer) => JSON.parse(payload.toString()) as Record<string, unknown>;

/** mosquitto_sub, line by line: topic, space, payload. */
function mosquittoSub(args: readonly string[]): { lines: Inbox<string>; end(): void } {
  const child = spawn("mosquitto_sub", ["-h", "127.0.0.1", "-v", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const lines = new Inbox<string>();
  createInterface({ input: child.stdout }).on("line", (line) => lines.put(line));
  createInterface({ input: child.stderr }).on("line", (line) => lines.end(new Error(line)));
  return { lines, end: () => child.kill() };
}

function mosquittoPub(args: readonly string[]): Promise<number | null> {
  return new Promise((resolve) => {
    spawn("mosquitto_pub", ["-h", "127.0.0.1", ...args], { stdio: "ignore" }).on("exit", resolve);
  });
}

describe("stock clients", () => {
  test(
    "mosquitto_sub watches a session, and mosquitto_pub approves its tool",
    needs("mosquitto-clients", "mosquitto_sub"),
    async () => {
      await using house = await House.open();
      const session = await house.session({ title: "build" });
      const device = await house.token(["sessions:read", "sessions:answer"]);
      const login = ["-p", String(house.port), "-u", device.id, "-P", device.token];
      const watcher = mosquittoSub([
        ...login,
        "-i",
        `${device.id}-watch`,
        "-t",
        "cib/online",
        "-t",
        `cib/${session}/#`,
      ]);
      try {
        // What is retained comes at once, so from here on it listens.
        const seen = new Set<string>();
        while (seen.size < 2) seen.add(await watcher.lines.take());
        assert.ok(seen.has("cib/online 1"));
        assert.ok(seen.has(`cib/${session}/status {"state":"idle","model":"sonnet","title":"build","waiting":0}`));
        house.world.say(session, PERMISSION, { type: "status", state: "waiting_for_input", elapsed_ms: 1 });
        const until = async (start: string) => {
          for (;;) {
            const line = await watcher.lines.take();
            if (line.startsWith(start)) return line.slice(start.length);
          }
        };
        const { id } = JSON.parse(await until(`cib/${session}/json/ask.question `)) as { id: string };
        const answer = JSON.stringify({ cmd: "answer", ask: id, decision: "allow", id: "a-1" });
        const send = ["-i", `${device.id}-button`, "-q", "1", "-t", `cib/${session}/cmd`, "-m", answer];
        assert.equal(await mosquittoPub([...login, ...send]), 0);
        const settled = JSON.parse(await until(`cib/${session}/json/ask.answer `)) as { by: string; answer: string };
        assert.deepEqual([settled.by, settled.answer], [device.id, "allow"]);
        // The same button pressed twice is one answer.
        assert.equal(await mosquittoPub([...login, ...send]), 0);
        const handed = await eventually(
          async () => house.world.settled(session),
          ({ length }) => length > 0,
        );
        assert.deepEqual(handed, [["t1", { behavior: "allow" }]]);
      } finally {
        watcher.end();
      }
      assert.deepEqual(house.world.faults, []);
    },
  );

  test(
    "mosquitto_pub with a wrong token is told so by its exit code",
    needs("mosquitto-clients", "mosquitto_pub"),
    async () => {
      await using house = await House.open();
      const wrong = ["-p", String(house.port), "-u", "master", "-P", "x".repeat(40), "-i", "master-x"];
      assert.equal(await mosquittoPub([...wrong, "-t", "cib/cmd", "-m", "{}"]), 4);
    },
  );

  test("mqtt.js sends commands in JSON and in CBOR, and gets each reply as it asked", async () => {
    await using house = await House.open();
    const session = await house.session();
    const clientId = "master-js";
    const client = await connectAsync(`mqtt://127.0.0.1:${house.port}`, {
      clientId,
      username: "master",
      password: house.world.master,
      reconnectPeriod: 0,
    });
    try {
      const replies = new Inbox<Buffer>();
      client.on("message", (_topic, payload) => replies.put(payload));
      await client.subscribeAsync(`cib/client/${clientId}/reply`, { qos: 1 });
      await client.publishAsync("cib/cmd", JSON.stringify({ cmd: "sessions.get", session, id: "j" }), { qos: 1 });
      const inJson = json(await replies.take());
      assert.deepEqual([inJson["re"], inJson["ok"], inJson["session"]], ["j", true, session]);
      await client.publishAsync(`cib/${session}/cmd`, Buffer.from(encodeValue({ cmd: "sessions.get", id: 7 })), {
        qos: 2,
      });
      const inCbor = decodeValue(await replies.take()) as Record<string, unknown>;
      assert.deepEqual([inCbor["re"], inCbor["ok"], inCbor["session"]], [7, true, session]);
    } finally {
      await client.endAsync(true);
    }
  });
});

describe("frames", () => {
  test("each goes to the topic of its type, in CBOR and in JSON, to those who listen there", async () => {
    await using house = await House.open();
    const session = await house.session();
    const client = await house.client();
    await client.subscribe([`cib/${session}/frames/text.delta`, "cib/+/json/stop"]);
    house.world.say(session, text("hello"), { type: "stop", reason: "end_turn" });
    const [first, second] = await client.until(({ topic }) => topic.endsWith("/json/stop"));
    assert.equal(first?.topic, `cib/${session}/frames/text.delta`);
    assert.equal((frameOf(decodeValue(first?.payload as Buffer)) as Frame & { text: string }).text, "hello");
    assert.deepEqual([first?.qos, first?.retain], [0, false]);
    assert.equal(json(second?.payload as Buffer)["reason"], "end_turn");
  });

  test("nothing is encoded that nobody listens for", async (t) => {
    await using house = await House.open();
    const session = await house.session();
    const cbor = t.mock.method(Encoded.prototype, "cbor");
    // Of this session: the other one's first frames may still be on their way.
    const encoded = () => cbor.mock.calls.filter(({ this: frame }) => (frame as Encoded).frame().session === session);
    const other = await house.token(READ, { sessions: [await house.session()] });
    // One listens to the box, one to all that it may hear, which is another session.
    const client = await house.client();
    await client.subscribe("cib/online");
    const narrow = await house.client(other);
    await narrow.subscribe("#");
    const watching = await house.client();
    await watching.subscribe([`cib/${session}/json/text.delta`]);
    await watching.settled();
    house.world.say(session, text("a"), { type: "stop", reason: "end_turn" }, text("b"));
    await watching.until(({ payload }) => json(payload)["text"] === "b");
    assert.equal(encoded().length, 0);
    await client.subscribe(`cib/${session}/frames/#`);
    house.world.say(session, text("c"));
    await client.until(({ topic }) => topic.endsWith("/text.delta"));
    assert.equal(encoded().length, 1);
  });

  test("one who listens twice hears once", async () => {
    await using house = await House.open();
    const session = await house.session();
    const client = await house.client();
    await client.subscribe(["#", "cib/#", `cib/${session}/json/+`]);
    house.world.say(session, text("once"), { type: "stop", reason: "end_turn" });
    const got = await client.until(({ topic }) => topic.endsWith("/json/stop"));
    assert.equal(got.filter(({ topic }) => topic.endsWith("/json/text.delta")).length, 1);
  });
});

describe("what is retained", () => {
  test("a new subscriber learns at once that the box is there, which sessions it has and what they do", async () => {
    await using house = await House.open();
    const session = await house.session({ title: "one" });
    const client = await house.client();
    await client.subscribe("#", 0);
    await client.settled();
    house.world.say(session, { type: "status", state: "waiting_for_input", elapsed_ms: 1 });
    const got = await client.until(({ topic, retain }) => !retain && topic === `cib/${session}/status`);
    const status = { state: "idle", model: "sonnet", title: "one", waiting: 0 };
    const retained = got.filter(({ retain }) => retain).map(({ topic, payload }) => [topic, JSON.parse(`${payload}`)]);
    assert.deepEqual(retained, [
      ["cib/online", 1],
      [`cib/client/${client.clientId}/sessions`, [{ session, ...status }]],
      [`cib/${session}/status`, status],
    ]);
    assert.equal(json(got.at(-1)?.payload as Buffer)["state"], "waiting_for_input");
  });

  test("a client's list holds what that client may see", async () => {
    await using house = await House.open();
    const [mine] = [await house.session(), await house.session()];
    const bound = await house.client(await house.token(READ, { sessions: [mine] }));
    await bound.subscribe("cib/client/+/sessions");
    const { topic, payload } = await bound.messages.take();
    assert.equal(topic, `cib/client/${bound.clientId}/sessions`);
    assert.deepEqual(
      (JSON.parse(payload.toString()) as { session: string }[]).map(({ session }) => session),
      [mine],
    );
    const all = await house.client();
    await all.subscribe(`cib/client/${all.clientId}/sessions`);
    assert.equal(JSON.parse((await all.messages.take()).payload.toString()).length, 2);
  });

  test("when the daemon stops, online becomes 0 before the connection ends", async () => {
    await using house = await House.open();
    const client = await house.client();
    await client.subscribe("cib/online");
    assert.equal((await client.messages.take()).payload.toString(), "1");
    await house.world.stop();
    assert.equal((await client.messages.take()).payload.toString(), "0");
    await client.ended;
  });
});

describe("coming back", () => {
  test("subscriptions of a kept session survive a restart of the daemon, and so does what is retained", async () => {
    await using house = await House.open();
    const session = await house.session();
    const name = { clientId: "master-kept", clean: false };
    const client = await house.client(undefined, name);
    assert.equal(client.present, false);
    assert.deepEqual(
      await client.subscribe([`cib/${session}/json/text.delta`, "cib/+/status", "home/light"]),
      [1, 1, 128],
    );
    await house.world.stop();
    await house.world.start();
    const back = await house.client(undefined, name);
    assert.equal(back.present, true);
    // It learns what it may have missed, without having asked again.
    assert.equal((await back.messages.take()).topic, `cib/${session}/status`);
    house.world.say(session, text("after"));
    await back.until(({ topic, payload }) => topic.endsWith("/text.delta") && json(payload)["text"] === "after");
    back.end();
    const clean = await house.client(undefined, { ...name, clean: true });
    assert.equal(clean.present, false);
    clean.end();
    await clean.ended;
    assert.equal((await house.client(undefined, name)).present, false);
  });

  test("what a token may no longer hear is not given back to it", async () => {
    await using house = await House.open();
    const session = await house.session();
    const device = await house.token(READ);
    const name = { clientId: `${device.id}-kept`, clean: false };
    const client = await house.client(device, name);
    assert.deepEqual(await client.subscribe(`cib/${session}/json/+`), [1]);
    client.end();
    await client.ended;
    await house.call("DELETE", `/api/tokens/${device.id}`);
    await assert.rejects(house.client(device, name), /connack 4/);
  });

  test("a command's id makes it happen once, whichever connection repeats it", async () => {
    await using house = await House.open();
    const session = await house.session();
    const command = JSON.stringify({ cmd: "input", session, text: "once", id: "i-1" });
    const replies: unknown[] = [];
    for (let i = 0; i < 3; i++) {
      const client = await house.client();
      await client.subscribe(`cib/client/${client.clientId}/reply`);
      await client.publish("cib/cmd", command, { qos: i });
      replies.push(json((await client.messages.take()).payload)["duplicate"]);
      client.end();
    }
    assert.deepEqual(replies, [undefined, true, true]);
    await house.call("POST", `/api/sessions/${session}/input`, { text: "next" });
    const prompts = await eventually(
      async () => house.world.prompts(session),
      (all) => all.includes("next"),
    );
    assert.deepEqual(prompts, ["once", "next"]);
  });
});

describe("the end of a token", () => {
  test("a revoked token's connections end at once", async () => {
    await using house = await House.open();
    const device = await house.token(READ);
    const [one, two] = [await house.client(device), await house.client(device)];
    await one.subscribe("#");
    await house.call("DELETE", `/api/tokens/${device.id}`);
    await Promise.all([one.ended, two.ended]);
    await eventually(
      () => house.health(),
      ({ clients }) => clients === 0,
    );
  });

  test("an expired one's do, too", async () => {
    await using house = await House.open();
    const client = await house.client(await house.token(READ, { ttl_s: 1 }));
    await client.ended;
  });
});
