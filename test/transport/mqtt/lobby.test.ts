import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CibError } from "../../../src/errors.ts";
import { admit, ConnectRefused, type Hello } from "../../../src/transport/mqtt/lobby.ts";

const KEY = "00112233445566ff";
const PASSWORD = "0f".repeat(16);
const who = (name: string, ended = new AbortController().signal) => ({
  name,
  label: name,
  scopes: new Set(["sessions:read"] as const),
  ended,
});
const LAMP = who("aaaaaaaaaaaaaaaa");

/** Knows the token "right" of bbbb…, the master token "master-token", and one key. */
const control = {
  enter: ({ bearer, encrypted, address }: { bearer: string | undefined; encrypted: boolean; address: string }) => {
    if (!encrypted && address !== "127.0.0.1") throw new CibError("plain_refused", "no");
    if (bearer === "right") return who("bbbbbbbbbbbbbbbb");
    if (bearer === "master-token") return who("master");
    throw new CibError(bearer === "again" ? "slow_down" : "unauthorized", "no");
  },
  proved: (keyId: string) => (keyId === KEY ? LAMP : undefined),
  mqttLogin: (keyId: string, password: Uint8Array) =>
    keyId === KEY && Buffer.from(password).toString("hex") === PASSWORD ? LAMP : undefined,
};
const HERE = { address: "127.0.0.1", encrypted: false };
const AWAY = { address: "203.0.113.7", encrypted: false };
const hello = (clientId: string, user?: string, password?: string, will?: Hello["will"]): Hello => ({
  clientId,
  user,
  password: password === undefined ? undefined : Buffer.from(password),
  will,
});
const refused = (code: number) => (thrown: unknown) => thrown instanceof ConnectRefused && thrown.code === code;

describe("the lobby", () => {
  test("a token comes in by its id and text, the master by its name", () => {
    const one = admit(control, HERE, hello("bbbbbbbbbbbbbbbb-x", "bbbbbbbbbbbbbbbb", "right"));
    assert.deepEqual(
      [one.name, one.guest.who?.name, one.guest.link],
      ["bbbbbbbbbbbbbbbb", "bbbbbbbbbbbbbbbb", undefined],
    );
    assert.equal(admit(control, HERE, hello("master-x", "master", "master-token")).guest.who?.name, "master");
  });

  test("a right token under a wrong name, a wrong one, and none are refused alike", () => {
    for (const [user, password] of [
      ["master", "right"],
      ["aaaaaaaaaaaaaaaa", "right"],
      [undefined, "right"],
      ["bbbbbbbbbbbbbbbb", "wrong"],
      ["bbbbbbbbbbbbbbbb", undefined],
      [undefined, undefined],
    ] as const)
      assert.throws(() => admit(control, HERE, hello("bbbbbbbbbbbbbbbb-x", user, password)), refused(4));
  });

  test("who guesses is told to come later; where CIB_PLAIN says no, that it may not; over TLS it may", () => {
    const right = hello("bbbbbbbbbbbbbbbb-x", "bbbbbbbbbbbbbbbb", "right");
    assert.throws(() => admit(control, HERE, { ...right, password: Buffer.from("again") }), refused(3));
    assert.throws(() => admit(control, AWAY, right), refused(5));
    assert.equal(admit(control, { ...AWAY, encrypted: true }, right).name, "bbbbbbbbbbbbbbbb");
  });

  test("a key that TLS has proved needs no password, and none helps a key that is no more", () => {
    const secure = { ...AWAY, encrypted: true };
    const lamp = admit(control, { ...secure, keyId: KEY }, hello(`${KEY}-x`, "master", "master-token"));
    assert.deepEqual([lamp.guest.who, lamp.guest.link, lamp.name], [LAMP, undefined, LAMP.name]);
    assert.throws(
      () => admit(control, { ...secure, keyId: KEY }, hello("master-x", "master", "master-token")),
      refused(2),
    );
    const gone = { ...secure, keyId: "ff".repeat(8) };
    assert.throws(() => admit(control, gone, hello("master-x", "master", "master-token")), refused(4));
  });

  test("a link's password opens its own topics, from anywhere, and is nobody's token", () => {
    const link = admit(control, AWAY, hello(`${KEY}-x`, KEY, PASSWORD));
    assert.deepEqual([link.guest.who, link.guest.link, link.ended], [undefined, KEY, LAMP.ended]);
    assert.throws(() => admit(control, HERE, hello(`${KEY}-x`, KEY, "0e".repeat(16))), refused(4));
    assert.throws(() => admit(control, HERE, hello("master-x", "master", PASSWORD)), refused(4));
  });

  test("a client id begins with the caller's own name", () => {
    const token = (clientId: string) => admit(control, HERE, hello(clientId, "bbbbbbbbbbbbbbbb", "right"));
    for (const bad of [
      "",
      "x",
      "bbbbbbbbbbbbbbbb",
      "bbbbbbbbbbbbbbbbx",
      "master-x",
      `${KEY}-x`,
      "bbbbbbbbbbbbbbbb-a/b",
      "bbbbbbbbbbbbbbbb-+",
    ])
      assert.throws(() => token(bad), refused(2), bad);
    assert.equal(token("bbbbbbbbbbbbbbbb-").guest.clientId, "bbbbbbbbbbbbbbbb-");
  });

  test("a will goes where its client may publish, and is not retained", () => {
    const will = (topic: string, retain = false) => hello("master-x", "master", "master-token", { topic, retain });
    assert.equal(admit(control, HERE, will("cib/cmd")).name, "master");
    for (const bad of [will("cib/cmd", true), will("cib/online"), will("a/b"), will(`cib/link/${KEY}/up`)])
      assert.throws(() => admit(control, HERE, bad), refused(5));
    const link = (topic: string) => hello(`${KEY}-x`, KEY, PASSWORD, { topic, retain: false });
    assert.throws(() => admit(control, HERE, link("cib/cmd")), refused(5));
    assert.equal(admit(control, HERE, link(`cib/link/${KEY}/up`)).guest.link, KEY);
  });

  test("a fault of ours is no refusal", () => {
    const broken = {
      ...control,
      enter: () => {
        throw new TypeError("broken");
      },
    };
    assert.throws(() => admit(broken, HERE, hello("master-x", "master", "x")), TypeError);
  });
});
