/** Links: of one key the newest lives, on whatever carrier; and a key is worth what its token is worth. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { DeviceKeys } from "../../src/auth/device-keys.ts";
import { Gate } from "../../src/auth/gate.ts";
import { type LinkPeer, Links, MAX_HALF_OPEN_A_KEY } from "../../src/auth/links.ts";
import { Tokens } from "../../src/auth/tokens.ts";
import { Vault } from "../../src/auth/vault.ts";
import { nodeProvider } from "../../src/crypto/aead-node.ts";
import type { Carrier, Taken } from "../../src/crypto/link.ts";
import { ClientLink } from "../../src/crypto/link-client.ts";
import { LinkKey } from "../../src/crypto/schedule.ts";

const folder = mkdtempSync(join(tmpdir(), "cib-links-"));
after(() => rmSync(folder, { recursive: true }));
const MASTER = "m".repeat(40);
const vault = new Vault(MASTER, Buffer.alloc(16));
const NOTHING = new Uint8Array();
let files = 0;

function world() {
  const clock = { now: 1_000_000 };
  const now = () => clock.now;
  const tokens = new Tokens(join(folder, `tokens-${files++}.json`), now);
  const keys = new DeviceKeys({ file: join(folder, `devices-${files}.json`), vault, provider: nodeProvider, now });
  const gate = new Gate({ masterToken: MASTER, tokens, plain: "loopback", now });
  const links = new Links({ keys, gate, provider: nodeProvider, random: randomBytes });
  const device = (more: { expires_at?: number } = {}) => {
    const token = Tokens.newId();
    tokens.issue(token, { label: "lamp", scopes: ["sessions:read"], ...more });
    return { token, ...keys.create(token, false) };
  };
  return { clock, tokens, links, device };
}

type World = ReturnType<typeof world>;
type Device = ReturnType<World["device"]>;

/** A caller whose hello has been answered, and how to go on. */
function caller(world: World, device: Device, carrier: Carrier = "stream") {
  const ends: string[] = [];
  const peer: LinkPeer = world.links.greet({
    carrier,
    accepts: 4096,
    superseded: () => ends.push(peer.state),
  });
  const client = new ClientLink({
    provider: nodeProvider,
    carrier,
    accepts: 4096,
    key: new LinkKey(nodeProvider, Buffer.from(device.secret, "hex")),
    keyId: Buffer.from(device.id, "hex"),
    fresh: { boot: 1, counter: 0, random: randomBytes(16) },
    random: (size) => randomBytes(size),
  });
  const only = (bytes: Uint8Array): Taken => {
    const [taken, ...more] = [...peer.take(bytes)];
    assert.ok(taken !== undefined && more.length === 0);
    return taken;
  };
  const greet = () => {
    const reply = only(client.hello);
    assert.ok(reply.kind === "reply");
    client.take(reply.bytes);
  };
  return { peer, client, ends, only, greet, live: () => only(client.seal(NOTHING)) };
}

test("who it is, is known when the link lives, and not before", () => {
  for (const carrier of ["stream", "socket", "mqtt"] as const) {
    const box = world();
    const device = box.device();
    const { peer, greet, live } = caller(box, device, carrier);
    assert.deepEqual([peer.who, peer.keyId, peer.state], [undefined, undefined, "greeting"]);
    greet();
    assert.deepEqual([peer.who, peer.keyId, peer.state], [undefined, device.id, "half-open"]);
    live();
    assert.deepEqual([peer.who?.name, peer.who?.label, peer.room], [device.token, "lamp", 4096]);
    assert.equal(box.links.size, 1);
    peer[Symbol.dispose]();
    assert.equal(box.links.size, 0);
  }
});

test("going live ends the older links of the key on every carrier, in the order of their hellos", () => {
  const box = world();
  const device = box.device();
  const other = caller(box, box.device());
  other.greet();
  other.live();
  const tcp = caller(box, device);
  tcp.greet();
  tcp.live();
  const half = caller(box, device, "mqtt");
  half.greet();
  const socket = caller(box, device, "socket");
  socket.greet();
  socket.live();
  assert.deepEqual(tcp.ends, ["live"], "it may still say bye");
  assert.deepEqual(half.ends, ["half-open"]);
  assert.deepEqual([tcp.peer.state, half.peer.state, socket.peer.state], ["closed", "closed", "live"]);
  assert.deepEqual(other.ends, [], "another key's link is left alone");
  assert.equal(box.links.size, 2);
});

test("an older link that lives late ends nothing newer", () => {
  const box = world();
  const device = box.device();
  const [older, newer] = [caller(box, device), caller(box, device)];
  older.greet();
  newer.greet();
  older.live();
  assert.deepEqual(newer.ends, []);
  newer.live();
  assert.deepEqual(older.ends, ["live"]);
});

test("replayed hellos push each other out, and leave the living link alone", () => {
  const box = world();
  const device = box.device();
  const lives = caller(box, device);
  lives.greet();
  lives.live();
  const flood = Array.from({ length: 20 }, () => caller(box, device));
  for (const { greet } of flood) greet();
  assert.equal(box.links.size, 1 + MAX_HALF_OPEN_A_KEY);
  assert.deepEqual(lives.ends, []);
  assert.equal(lives.only(lives.client.seal(NOTHING)).kind, "record");
});

test("TLS-PSK: a device has its own key, and everybody else one that is nobody's", () => {
  const world_ = world();
  const [one, two] = [world_.device(), world_.device({ expires_at: 1_000_001 })];
  const own = new LinkKey(nodeProvider, Buffer.from(one.secret, "hex")).tlsPsk();
  assert.deepEqual(world_.links.psk(one.id), own);
  assert.notDeepEqual(world_.links.psk(two.id), own);
  const nobodys = world_.links.psk("ff".repeat(8));
  assert.equal(nobodys.length, own.length);
  for (const identity of ["", "__proto__", `${one.id} `, "x".repeat(128)])
    assert.deepEqual(world_.links.psk(identity), nobodys);
  world_.tokens.revoke(one.token);
  world_.clock.now += 2;
  for (const { id } of [one, two])
    assert.deepEqual([world_.links.psk(id), world_.links.proved(id)], [nobodys, undefined]);
  assert.notDeepEqual(world().links.psk("ff".repeat(8)), nobodys, "another boot has another");
});

test("a hello that MQTT brings twice counts once", () => {
  const box = world();
  const { greet, only, client } = caller(box, box.device(), "mqtt");
  greet();
  assert.equal(only(client.hello).kind, "reply");
  assert.equal(box.links.size, 1);
});

test("the key of a revoked or an expired token is as good as none", () => {
  const box = world();
  const [revoked, expired] = [box.device(), box.device({ expires_at: 1_000_500 })];
  box.tokens.revoke(revoked.token);
  box.clock.now = 1_000_500;
  for (const device of [revoked, expired]) assert.throws(() => caller(box, device).greet(), { fault: "mac" });
  assert.equal(box.links.size, 0);
});
