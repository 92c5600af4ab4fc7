/** Records: what is due together travels together, no message is cut, and the end is said once. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { LinkPeer } from "../../src/control/control.ts";
import { decodeValue, encodeValue } from "../../src/frame/codec.ts";
import { itemsOf } from "../../src/frame/sequence.ts";
import { isBye, Records } from "../../src/transport/records.ts";
import { alive } from "../crypto/pair.ts";

function world(clientAccepts = 4096) {
  const { client, server } = alive({ clientAccepts });
  const state = { spent: false, now: 0, ended: 0, writes: 0 };
  const written: Uint8Array[] = [];
  const peer: LinkPeer = {
    get state() {
      return server.state;
    },
    room: server.room,
    get spent() {
      return state.spent;
    },
    who: undefined,
    keyId: server.keyId,
    take: (bytes) => [server.take(bytes)],
    seal: (plaintext) => server.seal(plaintext),
    farewell: () => server.farewell(),
    [Symbol.dispose]: () => void server.end(),
  };
  const carry = {
    write: (records: readonly Uint8Array[]) => {
      state.writes++;
      written.push(...records);
    },
    waiting: () => 7,
    end: () => void state.ended++,
  };
  const records = new Records(peer, carry, () => state.now);
  /** What the client finds in each record. */
  const read = () =>
    written.splice(0).map((record) => {
      const taken = client.take(record);
      assert.ok(taken.kind === "record");
      return Array.from(itemsOf(Buffer.from(taken.plaintext)), decodeValue);
    });
  return { records, state, peer, read };
}

test("what is sent together leaves in one record, in order", () => {
  const { records, state, read } = world();
  assert.equal(
    records.send(
      Array.from({ length: 5 }, (_, i) => encodeValue(i)),
      true,
    ),
    true,
  );
  assert.equal(records.send([encodeValue("alone")], true), true);
  assert.deepEqual(read(), [[0, 1, 2, 3, 4], ["alone"]]);
  assert.deepEqual([state.writes, records.buffered()], [2, 7]);
});

test("no message is cut, none is reordered, and no record is longer than the client takes", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(120), { maxLength: 30 }), (sizes) => {
      const { records, state, read } = world(128);
      const words = sizes.map((size, i) => `${i}`.padEnd(size, "x"));
      assert.equal(records.send(words.map(encodeValue), true), true);
      assert.equal(state.writes, Math.min(words.length, 1));
      const seen = read();
      assert.deepEqual(seen.flat(), words);
      assert.ok(seen.every((items) => items.length > 0));
    }),
  );
});

test("what does not fit is not taken: that is a mistake of ours, and the connection is told", () => {
  const { records } = world(128);
  assert.equal(records.send([Buffer.alloc(129)], true), false);
  assert.equal(records.room, 128);
});

test("the end is an authenticated bye, once, whoever says it", () => {
  for (const said of [false, true]) {
    const { records, state, read } = world();
    if (said) records.send([encodeValue({ bye: "stopping" })], true);
    records.end(4503, "stopping");
    records.end(4503, "stopping");
    assert.deepEqual(read(), [[{ bye: "stopping" }]]);
    assert.equal(state.ended, 1);
    assert.equal(records.send([encodeValue("late")], true), false);
    records.keepAlive();
    assert.deepEqual(read(), []);
  }
});

test("when the keys are nearly used up the client is told to come back", () => {
  const { records, state, read } = world();
  records.send([encodeValue("one")], true);
  state.spent = true;
  assert.equal(records.send([encodeValue("two")], true), false);
  assert.deepEqual(read(), [["one"], ["two"], [{ bye: "rekey" }]]);
  assert.equal(state.ended, 1);
});

test("keys that are used up among messages sent together end the link after the last record they may seal", () => {
  const { records, state, read } = world(128);
  const words = ["one", "two", "three"].map((word) => word.padEnd(100));
  state.spent = true;
  assert.equal(records.send(words.map(encodeValue), true), false);
  assert.deepEqual(read(), [[words[0]], [{ bye: "rekey" }]]);
  assert.equal(state.ended, 1);
});

test("after the client's bye nothing is sealed any more", () => {
  const { records, state, peer, read } = world();
  peer.farewell();
  assert.equal(records.send([encodeValue("late")], true), false);
  records.keepAlive();
  records.end(1000, "stopping");
  assert.deepEqual(read(), []);
  assert.equal(state.ended, 1);
});

test("an empty record keeps alive, and counts as sent", () => {
  const { records, state, read } = world();
  state.now = 5;
  records.keepAlive();
  assert.equal(records.sentAt, 5);
  assert.deepEqual(read(), [[]]);
});

test("a bye is known by its first bytes, and nothing else is one", () => {
  assert.equal(isBye(encodeValue({ bye: "done" })), true);
  for (const other of [{ cmd: "bye" }, { bye: "x", more: 1 }, "bye", { byes: 1 }])
    assert.equal(isBye(encodeValue(other)), false);
  assert.equal(isBye(Buffer.from("a163627965", "hex")), false);
});
