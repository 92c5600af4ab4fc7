/** The bridge's parts: what it keeps on disk, its bounds, its packets, and the order in which it says things. */
import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import fc from "fast-check";
import { generate, type Packet } from "mqtt-packet";
import type { SessionId } from "../../../src/frame/frame.ts";
import { bridgeAddress, bridgeSettings, homePrefix } from "../../../src/transport/mqtt/bridge-address.ts";
import { Cursors } from "../../../src/transport/mqtt/bridge-cursors.ts";
import { MAX_REMEMBERED, Memory } from "../../../src/transport/mqtt/bridge-memory.ts";
import { Outbox } from "../../../src/transport/mqtt/bridge-outbox.ts";
import { Queue } from "../../../src/transport/mqtt/bridge-queue.ts";
import { RetainedTopics } from "../../../src/transport/mqtt/bridge-retained.ts";
import { type Arrived, Packets } from "../../../src/transport/mqtt/packets.ts";

const fault = (thrown: unknown) => assert.fail(String(thrown));

function folder(t: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), "cib-bridge-"));
  t.after(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

describe("the queue", () => {
  test("what was pushed and not done is there after a kill, in order, though the last line is torn", async (t) => {
    const file = join(folder(t), "queue.jsonl");
    const queue = await Queue.open(file, fault);
    for (const text of ["a", "b", "c"]) await queue.push(`t/${text}`, Buffer.from(text));
    queue.done(1);
    await queue.push("t/d", Buffer.from("d"));
    // Never closed: killed. Of the last line a part has arrived.
    const last = readFileSync(file, "utf8").split("\n").at(-2) ?? "";
    truncateSync(file, statSync(file).size - Math.ceil(last.length / 2));
    const again = await Queue.open(file, fault);
    assert.deepEqual([again.next(0)?.topic, again.next(2)?.topic, again.next(3)], ["t/b", "t/c", undefined]);
    await again.push("t/e", Buffer.from("e"));
    await again.close();
    const third = await Queue.open(file, fault);
    assert.deepEqual(third.size.messages, 3);
    assert.equal(third.next(3)?.payload.toString(), "e");
    await third.close();
  });

  test("its bound cuts the oldest, counts them across a restart, and the file stays in proportion", async (t) => {
    const file = join(folder(t), "queue.jsonl");
    const queue = await Queue.open(file, fault, 1000);
    for (let i = 0; i < 500; i++) await queue.push("t", Buffer.alloc(100, String(i % 10)));
    assert.deepEqual([queue.size, queue.lost], [{ messages: 10, bytes: 1000 }, 490]);
    queue.told(90);
    await queue.close();
    assert.ok(statSync(file).size < 128 * 1024, `${statSync(file).size} bytes for 1,000`);
    const again = await Queue.open(file, fault, 1000);
    assert.deepEqual([again.size, again.lost], [{ messages: 10, bytes: 1000 }, 400]);
    assert.equal(again.next(0)?.n, 491, "it goes on counting");
    await again.close();
  });

  test("a gap is told before what is left, and again until it is acknowledged", async (t) => {
    const queue = await Queue.open(join(folder(t), "queue.jsonl"), fault, 20);
    const outbox = new Outbox(queue, "cib/box");
    for (const text of ["0123456789", "abcdefghij", "ABCDEFGHIJ"]) await outbox.push("r", Buffer.from(text));
    const sent: { topic: string; payload: string; done: () => void }[] = [];
    const publish = (topic: string, payload: Buffer, done: () => void) =>
      sent.push({ topic, payload: payload.toString(), done }) > 0;
    outbox.begin(publish);
    const expected = [
      ["cib/box/gap", '{"lost_replies":1}'],
      ["r", "abcdefghij"],
      ["r", "ABCDEFGHIJ"],
    ];
    assert.deepEqual(
      sent.splice(0).map(({ topic, payload }) => [topic, payload]),
      expected,
    );
    // That line broke before an acknowledgement.
    outbox.end();
    outbox.begin(publish);
    assert.deepEqual(
      sent.map(({ topic, payload }) => [topic, payload]),
      expected,
    );
    for (const { done } of sent.splice(0)) done();
    outbox.begin(publish);
    assert.deepEqual(sent, []);
    await queue.close();
  });
});

describe("the memory", () => {
  const kept = (id: string) => ({ who: "x", id, digest: `d${id}`, topic: "t", payload: Buffer.from(id) });

  test("what was begun is unfinished after a kill, what is done is known with its reply, and no more than the bound", async (t) => {
    const file = join(folder(t), "commands.jsonl");
    const memory = await Memory.open(file, fault);
    await Promise.all([memory.begin(kept("a")), memory.begin(kept("b")), memory.begin(kept("c"))]);
    memory.end(kept("a"), true, Buffer.from("reply"));
    memory.end(kept("b"), false);
    await memory.begin(kept("d"));
    // A kill in the middle of a line.
    appendFileSync(file, '{"ended":"x","id":"c"');
    const again = await Memory.open(file, fault);
    assert.deepEqual(
      again.unfinished.map(({ id }) => id),
      ["c", "d"],
    );
    assert.deepEqual(again.find("x", "a"), { digest: "da", running: false, reply: Buffer.from("reply") });
    assert.equal(again.find("x", "b"), undefined);
    assert.equal(again.find("y", "a"), undefined, "ids belong to a principal");
    for (let i = 0; i < MAX_REMEMBERED; i++) again.end(kept(`n${i}`), true);
    assert.equal(again.find("x", "a"), undefined, "the oldest went");
    assert.ok(again.find("x", "n0"));
    await again.close();
    const third = await Memory.open(file, fault);
    assert.equal(third.find("x", "c")?.running, true);
    await third.close();
  });
});

describe("the cursors", () => {
  const timers = { after: () => () => undefined, every: () => () => undefined };
  const session = "0b9c1d9e-7f0e-4c7c-9d38-000000000001" as SessionId;

  test("they and the day of the first set-up survive; a file that is none starts anew, and says so", async (t) => {
    const file = join(folder(t), "cursors.json");
    const first = await Cursors.open({ file, now: () => 1000, timers, fault });
    first.set(session, { epoch: 1, seq: 7 });
    await first.close();
    const second = await Cursors.open({ file, now: () => 2000, timers, fault });
    assert.deepEqual([second.since, second.get(session)], [1000, { epoch: 1, seq: 7 }]);
    await second.close();
    writeFileSync(file, "{");
    const told: unknown[] = [];
    const third = await Cursors.open({ file, now: () => 3000, timers, fault: (thrown) => told.push(thrown) });
    assert.deepEqual([third.since, third.get(session)], [3000, undefined]);
    assert.match(String(told[0]), /cursors.json: not understood/);
    await third.close();
  });
});

describe("retained topics", () => {
  test("only the latest of each is said, in the order of the changes, and all again over the next line", () => {
    const retained = new RetainedTopics();
    const sent: { topic: string; payload: string; done: () => void }[] = [];
    const publish = (topic: string, payload: Buffer, done: () => void) =>
      sent.push({ topic, payload: payload.toString(), done }) > 0;
    const said = () => sent.splice(0).map(({ topic, payload }) => `${topic}=${payload}`);
    retained.set("a", Buffer.from("1"));
    retained.set("b", Buffer.from("1"));
    retained.set("a", Buffer.from("2"));
    retained.begin(publish);
    assert.deepEqual(said(), ["b=1", "a=2"]);
    retained.set("a", Buffer.from("2"));
    assert.deepEqual(said(), [], "what is said already");
    retained.delete("b");
    for (const { done } of sent) done();
    assert.deepEqual(said(), ["b="]);
    retained.end();
    retained.begin(publish);
    assert.deepEqual(said(), ["a=2"], "b is forgotten once its end has arrived");
  });
});

describe("packets", () => {
  const publish = (topic: string, payload: Buffer, qos: 0 | 1 = 1): Packet => ({
    cmd: "publish",
    topic,
    payload,
    qos,
    dup: false,
    retain: false,
    ...(qos === 1 && { messageId: 7 }),
  });
  const take = (packets: Packets, bytes: Buffer, cuts: readonly number[]): Arrived[] => {
    const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
    return [...places, bytes.length].flatMap((end, i) => packets.take(bytes.subarray(places[i - 1] ?? 0, end)));
  };

  test("wherever a stream is cut, the same packets come out; those too large come out as their heads", () => {
    const size = fc.integer({ min: 0, max: 400 });
    const messages = fc.array(fc.tuple(size, fc.boolean(), fc.string({ minLength: 1, maxLength: 60 })), {
      maxLength: 8,
    });
    fc.assert(
      fc.property(messages, fc.array(fc.nat(4000), { maxLength: 12 }), (list, cuts) => {
        const topics = list.map(([, , name]) => name.toWellFormed().replace(/[\0+#]/g, "x"));
        const bytes = list.map(([length, acked], i) =>
          generate(publish(topics[i] ?? "", Buffer.alloc(length, "p"), acked ? 1 : 0)),
        );
        const most = 200;
        const got = take(new Packets(most), Buffer.concat(bytes), cuts);
        assert.deepEqual(
          got.map((each) => [each.cmd, "topic" in each && each.topic, each.messageId]),
          list.map(([length, acked], i) => {
            const whole = 2 + Buffer.byteLength(topics[i] ?? "") + (acked ? 2 : 0) + length;
            return [whole > most ? "too large" : "publish", topics[i], acked ? 7 : undefined];
          }),
        );
      }),
      { numRuns: 300 },
    );
  });

  test("whatever bytes come, they are packets or a SyntaxError, and what is held stays below the bound", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 10 }), (chunks) => {
        const packets = new Packets(256);
        try {
          for (const chunk of chunks) for (const each of packets.take(Buffer.from(chunk))) assert.ok(each.cmd);
        } catch (thrown) {
          assert.ok(thrown instanceof SyntaxError, String(thrown));
        }
      }),
      { numRuns: 1000 },
    );
  });

  test("a length of five bytes, a large packet that is no message and a topic longer than its packet are no MQTT", () => {
    for (const hex of ["30ffffffff01", "20ff7f", "30ff01ffff"])
      assert.throws(
        () => new Packets(16).take(Buffer.concat([Buffer.from(hex, "hex"), Buffer.alloc(300)])),
        SyntaxError,
      );
  });
});

describe("the address", () => {
  test("host, port, user and password are taken apart", () => {
    assert.deepEqual(bridgeAddress("mqtt://broker"), { host: "broker", port: 1883, tls: false });
    assert.deepEqual(bridgeAddress("mqtts://me:p%40ss%2F@[::1]:9"), {
      host: "::1",
      port: 9,
      tls: true,
      username: "me",
      password: "p@ss/",
    });
  });

  test("what is wrong is said without a word of the secret", () => {
    for (const bad of [
      "hunter2",
      "http://u:hunter2@h",
      "mqtt://u:hunter2@",
      "mqtt://u:hunter2@h/x",
      "mqtt://u:hunter2%@h",
      "mqtt://:hunter2@h",
      "mqtt://u:hunter2@h:99999",
    ])
      assert.throws(
        () => bridgeSettings({ CIB_MQTT_BRIDGE: bad, CIB_MQTT_BRIDGE_FRAMES: "both" }),
        (thrown: unknown) =>
          thrown instanceof SyntaxError &&
          /^CIB_MQTT_BRIDGE: /.test(thrown.message) &&
          !thrown.message.includes("hunter2"),
        bad,
      );
  });

  test("a box's name is one level of a topic, and a discovery prefix never lies in ours", () => {
    const named = (name: string) =>
      bridgeSettings({ CIB_MQTT_BRIDGE: "mqtt://h", CIB_MQTT_BRIDGE_FRAMES: "both", CIB_MQTT_BRIDGE_NAME: name })?.name;
    assert.equal(named("kitchen-2"), "kitchen-2");
    for (const bad of ["a/b", "+", "#", "x".repeat(33), "-a"]) assert.throws(() => named(bad), /CIB_MQTT_BRIDGE_NAME/);
    assert.deepEqual(["off", "on", "ha/x"].map(homePrefix), [undefined, "homeassistant", "ha/x"]);
    for (const bad of ["cib", "cib/x", "a//b", "+", "a/"]) assert.throws(() => homePrefix(bad), /CIB_HOME_ASSISTANT/);
  });
});
