import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_APART, QUIET_MS, Refusals } from "../../src/transport/refusals.ts";
import { Hands } from "./hands.ts";

function begin() {
  const lines: string[] = [];
  const hands = new Hands();
  const refusals = new Refusals({ say: (line) => lines.push(line), words: { mac: "wrong mac" }, timers: hands });
  return { lines, hands, refusals };
}

test("the first refusal is told at once, those of the next minute together at its end", () => {
  const { lines, hands, refusals } = begin();
  for (let i = 0; i < 4; i++) refusals.refused("tcp", "10.0.0.7", "mac");
  assert.deepEqual(lines, ["tcp: 1 link refused from 10.0.0.7: wrong mac"]);
  hands.advance(QUIET_MS - 1);
  assert.equal(lines.length, 1);
  hands.advance(1);
  assert.deepEqual(lines.slice(1), ["tcp: 3 links refused from 10.0.0.7: wrong mac"]);
  hands.advance(QUIET_MS);
  assert.equal(lines.length, 2, "nothing happened, nothing is said");
  assert.equal(hands.waiting, 0, "and nothing waits");
  refusals.refused("tcp", "10.0.0.7", "mac");
  assert.equal(lines.length, 3);
});

test("addresses, reasons and carriers have lines of their own", () => {
  const { lines, refusals } = begin();
  refusals.refused("tcp", "10.0.0.7", "mac");
  refusals.refused("tcp", "10.0.0.8", "mac");
  refusals.refused("tcp", "10.0.0.8", "deadline");
  refusals.refused("aes", "fe80::1%eth0", "mac");
  assert.deepEqual(lines, [
    "tcp: 1 link refused from 10.0.0.7: wrong mac",
    "tcp: 1 link refused from 10.0.0.8: wrong mac",
    "tcp: 1 link refused from 10.0.0.8: deadline",
    "aes: 1 request refused from fe80::1%eth0: wrong mac",
  ]);
  assert.deepEqual(refusals.counts, { tcp: { mac: 2, deadline: 1 }, aes: { mac: 1 } });
});

test("a reason may mean something else on one carrier, and what a bridge turns away are messages", () => {
  const lines: string[] = [];
  const words = { tag: "altered", "aes tag": "altered, or the wrong key", retained: "a retained command" };
  const refusals = new Refusals({ say: (line) => lines.push(line), words, timers: new Hands() });
  refusals.refused("tcp", "10.0.0.7", "tag");
  refusals.refused("aes", "10.0.0.7", "tag");
  refusals.refused("bridge", "broker.lan", "retained");
  refusals.refused("mqtt", "bridge-0011223344556677", "tag");
  assert.deepEqual(lines, [
    "tcp: 1 link refused from 10.0.0.7: altered",
    "aes: 1 request refused from 10.0.0.7: altered, or the wrong key",
    "bridge: 1 message refused from broker.lan: a retained command",
    "mqtt: 1 link refused from bridge-0011223344556677: altered",
  ]);
});

test("a flood from ever new addresses gives a bounded number of lines and timers, and is counted whole", () => {
  const { lines, hands, refusals } = begin();
  for (let i = 0; i < 10_000; i++) refusals.refused("websocket", `10.1.${i >> 8}.${i & 255}`, "mac");
  assert.equal(lines.length, MAX_APART + 1);
  assert.equal(hands.waiting, MAX_APART + 1);
  assert.deepEqual(refusals.counts, { websocket: { mac: 10_000 } });
  hands.advance(QUIET_MS);
  assert.equal(lines.length, MAX_APART + 2);
  assert.equal(lines.at(-1), `websocket: ${10_000 - MAX_APART - 1} links refused from other addresses: wrong mac`);
});

test("what is untold when the box stops is told then", () => {
  const { lines, hands, refusals } = begin();
  refusals.refused("mqtt", "10.0.0.7", "mac");
  refusals.refused("mqtt", "10.0.0.7", "mac");
  refusals[Symbol.dispose]();
  assert.deepEqual(lines.slice(1), ["mqtt: 1 link refused from 10.0.0.7: wrong mac"]);
  assert.equal(hands.waiting, 0);
});

test("an address that is none reaches no terminal", () => {
  const { lines, refusals } = begin();
  refusals.refused("tcp", "\x1b[2J", "mac");
  refusals.refused("tcp", "", "deadline");
  assert.deepEqual(lines, [
    "tcp: 1 link refused from an unknown address: wrong mac",
    "tcp: 1 link refused from an unknown address: deadline",
  ]);
});
