import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { generate, type Packet } from "mqtt-packet";
import { eventually, House } from "./house.ts";

test("whatever packets come in whatever order, nobody is left behind and others are served", async () => {
  await using house = await House.open();
  const session = await house.session();
  const friend = await house.client();
  const topic = fc.oneof(
    fc.constantFrom(
      "cib/cmd",
      `cib/${session}/cmd`,
      "#",
      "+",
      "cib/+/status",
      "cib/client/+/reply",
      "$SYS/x",
      "/",
      "__proto__",
    ),
    fc.string({ minLength: 1, maxLength: 20 }),
  );
  const messageId = fc.integer({ min: 0, max: 20 });
  const qos = fc.integer({ min: 0, max: 2 });
  const payload = fc.constantFrom(
    "",
    "\u00a0",
    '{"cmd":"health"}',
    '{"cmd":"attach"}',
    `{"cmd":"attach","session":"${session}"}`,
    `{"cmd":"detach","session":"${session}"}`,
  );
  const packet = fc.oneof(
    fc.record({
      cmd: fc.constant("subscribe"),
      messageId,
      subscriptions: fc.array(fc.record({ topic, qos }), { minLength: 1, maxLength: 5 }),
    }),
    fc.record({
      cmd: fc.constant("unsubscribe"),
      messageId,
      unsubscriptions: fc.array(topic, { minLength: 1, maxLength: 3 }),
    }),
    fc.record({
      cmd: fc.constant("publish"),
      topic,
      payload,
      qos,
      dup: fc.boolean(),
      retain: fc.constantFrom(false, false, false, true),
      messageId,
    }),
    fc.record({ cmd: fc.constantFrom("puback", "pubrec", "pubrel", "pubcomp"), messageId }),
    fc.record({ cmd: fc.constantFrom("pingreq", "disconnect") }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(packet, { maxLength: 12 }), fc.boolean(), fc.boolean(), async (list, kept, reset) => {
      const client = await house.client(undefined, kept ? { clientId: "master-kept", clean: false } : {});
      client.socket.write(Buffer.concat(list.map(bytesOf)));
      if (reset) client.socket.resetAndDestroy();
      else client.socket.end();
      client.socket.resume();
      await client.ended;
    }),
    { numRuns: 300 },
  );
  await friend.settled();
  await eventually(
    () => house.health(),
    ({ clients, halfOpen }) => clients === 1 && halfOpen === 0,
  );
  assert.deepEqual(house.world.faults, []);
});

/** Some of them the other implementation refuses to write. */
function bytesOf(packet: unknown): Buffer {
  try {
    return generate(packet as Packet);
  } catch {
    return Buffer.alloc(0);
  }
}
