/** Sealed links over topics, and those who attack them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { LinkError } from "../../../src/crypto/fault.ts";
import type { FrameBody } from "../../../src/frame/frame.ts";
import { HANDSHAKE_DEADLINE_MS, KEEP_ALIVE_MS, SILENCE_MS } from "../../../src/transport/link-caller.ts";
import { LINKLESS_MS, MAX_UP_BYTES } from "../../../src/transport/mqtt/topic-link.ts";
import { MAX_UNACKNOWLEDGED } from "../../../src/transport/mqtt/window.ts";
import { clientLink } from "../../conformance/link-client.ts";
import { SESSION } from "../http/fake.ts";
import { type Device, TopicWorld } from "./topic-world.ts";

const stop = { cmd: "sessions.stop", session: SESSION };
const text = (words: string): FrameBody => ({ type: "text.delta", text: words }) as FrameBody;
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** That it still answers. */
async function answers(device: Device): Promise<void> {
  device.up(device.command({ cmd: "health", id: "alive" }));
  const [reply] = (await device.hear()) as { re: string }[];
  assert.equal(reply?.re, "alive");
}

test("a link lives through its first record, and its commands are answered on its own topic", async () => {
  using world = new TopicWorld();
  const device = world.device();
  await device.greet();
  assert.deepEqual(world.links.counts, { live: 0, halfOpen: 1, refused: 0 });
  device.up(device.command({ cmd: "health", id: "alive" }));
  const [reply] = (await device.hear()) as { re: string; ok: boolean }[];
  assert.deepEqual([reply?.re, reply?.ok], ["alive", true]);
  assert.deepEqual(world.links.counts, { live: 1, halfOpen: 0, refused: 0 });
  assert.ok(
    device.outlet.sent.every(({ topic, id }) => topic === `cib/link/${device.key.id}/down` && id !== undefined),
  );
});

test("a hello that comes twice gets the same reply, and a record that comes twice is taken once", async () => {
  using world = new TopicWorld();
  const device = world.device();
  device.up(device.link.hello);
  device.up(device.link.hello);
  const [first, second] = [await device.read(), await device.read()];
  assert.deepEqual(second.payload, first.payload);
  device.link.take(first.payload);
  const record = device.command(stop);
  device.up(record);
  device.up(record);
  await device.hear();
  device.up(record);
  await answers(device);
  assert.equal(world.control.commands.filter(({ cmd }) => cmd === "sessions.stop").length, 1);
  assert.deepEqual(world.refused, []);
});

test("a record altered, cut, reordered, reflected, skipped or too long closes the link, and what it said does not happen", async () => {
  using world = new TopicWorld();
  let reflected = new Uint8Array();
  const attacks: readonly (readonly [string, (device: Device) => readonly Uint8Array[]])[] = [
    ["tag", (device) => [device.command(stop).map((byte, i) => (i === 20 ? byte ^ 1 : byte))]],
    ["size", (device) => [device.command(stop).subarray(0, -1)]],
    ["size", () => [Uint8Array.of(0, 0)]],
    ["counter", (device) => [device.command(stop), device.command(stop)].reverse()],
    ["counter", (device) => [device.command(stop), device.command(stop)].slice(1)],
    ["tag", () => [reflected]],
    ["too_large", () => [new Uint8Array(MAX_UP_BYTES + 1)]],
  ];
  for (const [i, [why, attack]] of attacks.entries()) {
    const device = world.device();
    await device.open();
    device.up(device.command({ cmd: "health" }));
    const { payload } = await device.read();
    // Of the daemon's own, with the counter that is due.
    reflected = Uint8Array.from(payload);
    reflected[3] = 2;
    for (const message of attack(device)) device.up(message);
    assert.deepEqual([i, world.refused.at(-1)], [i, why]);
    // What is too long even to be looked at harms no link that lives.
    assert.deepEqual(device.outlet.closed, why === "too_large" ? [] : ["link"]);
    device.end.closed();
  }
  await turn();
  assert.equal(world.control.commands.filter(({ cmd }) => cmd === "sessions.stop").length, 0);
  assert.equal(world.links.counts.live, 0);
});

test("whoever holds no key, or the key of another topic, is closed without a word", async () => {
  using world = new TopicWorld();
  const key = world.key();
  const strangers: readonly ((device: Device) => Uint8Array)[] = [
    (device) => device.link.hello.map((byte, i) => (i === 40 ? byte ^ 1 : byte)),
    () => world.device().link.hello,
    (device) => device.link.hello.subarray(0, 47),
    () => Buffer.from("CIB1 and nothing else of use"),
  ];
  for (const hello of strangers) {
    const device = world.device(key);
    device.up(hello(device));
    assert.deepEqual([device.outlet.sent.length, device.outlet.closed], [0, ["link"]]);
  }
  assert.deepEqual(world.links.counts.halfOpen, 0);
});

test("a handshake made for another carrier is refused, both ways", () => {
  using world = new TopicWorld();
  const device = world.device();
  device.up(clientLink(device.key, "stream").hello);
  // Nobody on the way can put on the flag that is missing.
  const flagged = clientLink(device.key, "stream").hello;
  flagged[4] = 2;
  world.device(device.key).up(flagged);
  assert.deepEqual([world.refused, device.outlet.sent], [["carrier", "mac"], []]);
  const stream = world.control.link({ carrier: "stream", accepts: 1024, superseded: () => undefined });
  assert.throws(
    () => [...stream.take(clientLink(device.key, "mqtt").hello)],
    (thrown: LinkError) => thrown.fault === "carrier",
  );
});

test("a hello replayed beside a living link earns a reply, and the link goes on", async () => {
  using world = new TopicWorld();
  const device = world.device();
  const old = device.link.hello;
  await device.open();
  device.up(device.command({ bye: "done" }));
  device.link = clientLink(device.key, "mqtt");
  await device.open();
  await answers(device);
  device.up(old);
  const { payload } = await device.read();
  assert.equal(payload.length, 40);
  // A guess at a first record ends the replay and nothing else.
  device.up(new Uint8Array(64));
  assert.deepEqual(world.refused.length, 1);
  await answers(device);
  device.up(old);
  await device.read();
  device.up(device.command({ cmd: "health", id: "kept" }));
  await turn();
  const before = device.outlet.sent.length;
  world.hands.advance(HANDSHAKE_DEADLINE_MS);
  assert.equal(device.outlet.sent.length, before + 1, "what was held back goes out when the replay is over");
  assert.equal(((await device.hear())[0] as { re: string }).re, "kept");
  await answers(device);
  assert.deepEqual(device.outlet.closed, []);
});

test("a hello that does not hold harms neither the link that lives nor the one that is to", async () => {
  using world = new TopicWorld();
  const device = world.device();
  const wrong = device.link.hello.map((byte, i) => (i === 40 ? byte ^ 1 : byte));
  await device.greet();
  device.up(wrong);
  device.up(device.link.seal(new Uint8Array()));
  await answers(device);
  device.up(wrong);
  await answers(device);
  assert.deepEqual([world.refused, device.outlet.closed], [["mac", "mac"], []]);
});

test("a device that begins anew on its topic hears nothing of its old link", async () => {
  using world = new TopicWorld();
  const device = world.device();
  await device.open();
  device.up(device.command({ cmd: "attach", session: SESSION, from: 1, id: "a" }));
  await device.hear();
  device.link = clientLink(device.key, "mqtt");
  await device.greet();
  world.control.say(text("for nobody"));
  await turn();
  await turn();
  device.up(device.link.seal(new Uint8Array()));
  await answers(device);
  assert.deepEqual(world.links.counts, { live: 1, halfOpen: 0, refused: 0 });
  assert.equal(world.control.readers.size, 0, "the old link's session is no longer followed");
});

test("a newer link of the key elsewhere ends this one, and says so", async () => {
  using world = new TopicWorld();
  const key = world.key();
  const [one, two] = [world.device(key), world.device(key)];
  await one.open();
  await two.open();
  assert.deepEqual(await one.hear(), [{ bye: "superseded" }]);
  await answers(two);
  assert.deepEqual(one.outlet.closed, []);
});

test("a revoked token ends its link at once", async () => {
  using world = new TopicWorld();
  const key = world.key();
  const device = world.device(key);
  await device.open();
  await answers(device);
  world.revoke(key.token);
  assert.deepEqual(await device.hear(), [{ bye: "revoked" }]);
  assert.equal(world.links.counts.live, 0);
});

test("who came in for a link must begin one, prove itself, and be heard of again", async () => {
  using world = new TopicWorld();
  const idle = world.device();
  const half = world.device();
  await half.greet();
  world.hands.advance(HANDSHAKE_DEADLINE_MS);
  assert.deepEqual([half.outlet.closed, world.refused], [["link"], ["deadline"]]);
  world.hands.advance(LINKLESS_MS - HANDSHAKE_DEADLINE_MS);
  assert.deepEqual(idle.outlet.closed, ["link"]);
  const live = world.device();
  await live.open();
  world.hands.advance(KEEP_ALIVE_MS);
  assert.deepEqual(await live.hear(), [], "an empty record");
  world.hands.advance(SILENCE_MS - KEEP_ALIVE_MS);
  assert.deepEqual(live.outlet.closed, ["link"]);
  assert.equal(world.hands.waiting, 0);
});

test("after a bye the device may begin another link on the same connection", async () => {
  using world = new TopicWorld();
  const device = world.device();
  for (let i = 0; i < 3; i++) {
    device.link = clientLink(device.key, "mqtt");
    await device.open();
    await answers(device);
    device.up(device.command({ bye: "done" }));
    assert.equal(world.links.counts.live, 0);
  }
  assert.deepEqual([device.outlet.closed, world.refused], [[], []]);
});

test("a device that acknowledges nothing is sent a window and no more, and goes on where it was", async () => {
  using world = new TopicWorld();
  const device = world.device();
  await device.open();
  for (let i = 0; i < 400; i++) world.control.say(text(`${i} ${"x".repeat(2000)}`));
  device.acknowledges = false;
  device.up(device.command({ cmd: "attach", session: SESSION, from: 1, id: "a" }));
  await device.hear();
  for (let i = 0; i < 50; i++) await turn();
  const [reader] = world.control.readers;
  assert.ok(device.outlet.sent.length <= 2 + MAX_UNACKNOWLEDGED, `${device.outlet.sent.length} messages`);
  assert.ok(reader?.full && reader.next < 400);
  device.acknowledges = true;
  const seqs: number[] = [];
  for (const { id } of device.outlet.sent) if (id !== undefined) device.end.acknowledged(id);
  while (seqs.length < 400) for (const frame of (await device.hear()) as [unknown, number][]) seqs.push(frame[1]);
  assert.deepEqual(
    seqs,
    Array.from({ length: 400 }, (_, i) => i + 1),
  );
});

test("a flood of hellos, the same or ever new ones, holds one link half-open and nothing more", async () => {
  using world = new TopicWorld();
  const key = world.key();
  const device = world.device(key);
  for (let i = 0; i < 500; i++) device.up(device.link.hello);
  assert.ok(device.outlet.sent.length <= MAX_UNACKNOWLEDGED);
  for (let i = 0; i < 100; i++) device.up(world.device(key).link.hello);
  assert.equal(world.links.counts.halfOpen, 1);
  assert.ok(device.outlet.sent.length <= 100 + MAX_UNACKNOWLEDGED);
});

test("whatever comes on the topic, nothing runs that no key has sealed, and nothing is thrown", async () => {
  using world = new TopicWorld();
  const other = world.device();
  await other.open();
  const key = world.key();
  const message = fc.oneof(
    fc.record({ kind: fc.constant("any" as const), bytes: fc.uint8Array({ maxLength: 100 }) }),
    fc.record({ kind: fc.constant("hello" as const), at: fc.nat(47), bit: fc.nat(8) }),
    fc.record({ kind: fc.constant("record" as const), at: fc.nat(60), bit: fc.integer({ min: 0, max: 7 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(message, { maxLength: 12 }), async (messages) => {
      const device = world.device(key);
      let greeted = false;
      for (const each of messages) {
        if (each.kind === "any") device.up(each.bytes);
        else if (each.kind === "hello") {
          device.up(
            device.link.hello.map((byte, i) => (i === each.at && each.bit < 8 ? byte ^ (1 << each.bit) : byte)),
          );
          const reply = device.outlet.sent.at(-1);
          if (!greeted && reply !== undefined) greeted = device.link.take(reply.payload).kind === "greeted";
        } else if (greeted) {
          const record = device.command(stop);
          device.up(record.map((byte, i) => (i === each.at % record.length ? byte ^ (1 << each.bit) : byte)));
        }
      }
      device.end.closed();
      await turn();
    }),
    { numRuns: 200 },
  );
  await answers(other);
  assert.equal(world.control.commands.filter(({ cmd }) => cmd === "sessions.stop").length, 0);
  assert.deepEqual([world.faults, world.links.counts.live], [[], 1]);
});
