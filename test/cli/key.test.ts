/** The command line with a device key, tested against a real daemon: over raw TCP and over WebSocket without TLS. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { attach } from "../../src/cli/attach.ts";
import { findAnyBox, type KeyedBox } from "../../src/cli/box.ts";
import { inputs, openLink } from "../../src/cli/link.ts";
import type { Terminal } from "../../src/cli/terminal.ts";
import { token } from "../../src/cli/token.ts";
import { connect } from "../../src/client/client.ts";
import { NodeSocket } from "../../src/client/node-socket.ts";
import type { SessionId } from "../../src/frame/frame.ts";
import { main } from "../../src/main.ts";
import { deviceKey } from "../conformance/keys.ts";
import { openWorld, type World } from "../conformance/world.ts";
import { stage } from "./stage.ts";

const NEVER = new AbortController().signal;

async function newSession(world: World): Promise<SessionId> {
  const client = connect({ url: world.url, token: world.master, WebSocket: NodeSocket });
  const { session } = await client.run({ cmd: "sessions.create" });
  client.close();
  return session as SessionId;
}

const envOf = async (world: World, url: string) => {
  const { id, secret } = await deviceKey(world);
  return { CIB_URL: url, CIB_DEVICE_KEY: `${id}:${secret}` };
};

const nobody: Terminal = {
  isTTY: false,
  cols: 80,
  rows: 24,
  take: () => assert.fail("must not take the terminal"),
  write: () => assert.fail("must not write"),
  giveBack: () => {},
};

for (const way of ["tcp", "http", "ws"] as const) {
  test(`frames come over ${way} with a device key, from the only session that there is`, async () => {
    await using world = await openWorld();
    const session = await newSession(world);
    const url = way === "tcp" ? `tcp://127.0.0.1:${world.tcpPort}` : world.url.replace("http", way);
    const stop = new AbortController();
    const io = stage(await envOf(world, url));
    const watching = {
      ...io,
      out: (text: string) => {
        io.out(text);
        if (io.said.out.includes("hello over a link")) stop.abort();
      },
    };
    const done = attach(["--json", "--from", "1"], watching, stop.signal, { open: openLink, terminal: nobody });
    world.say(session, { type: "text.delta", text: "hello over a link" });
    assert.equal(await done, 0);
    assert.match(io.said.out, /"text":"hello over a link"/);
    assert.equal(io.said.err, "");
  });
}

test("each piece of a paste fits a link, and all of it together does not", async () => {
  await using world = await openWorld();
  const session = await newSession(world);
  const { url, key } = findAnyBox({}, stage(await envOf(world, `tcp://127.0.0.1:${world.tcpPort}`))) as KeyedBox;
  const link = openLink({ url, key }, () => {});
  const pasted = new Uint8Array(40_000);
  for (const input of inputs(session, pasted)) assert.equal((await link.run(input))["ok"], true);
  await assert.rejects(link.run({ cmd: "input", session, data: pasted }), /too_large|takes 16384/);
  link.close();
});

test("cib token makes, lists and revokes over a link", async () => {
  await using world = await openWorld();
  const io = stage(await envOf(world, `tcp://127.0.0.1:${world.tcpPort}`));
  assert.equal(await token(["create", "clock", "--device"], io), 0);
  const [, id] = /device key of token (\w+) for clock/.exec(io.said.err) ?? [];
  assert.ok(id);
  // What it printed opens a link by itself.
  const [name = "", key = ""] = io.said.out.trim().split("=");
  const own = stage({ CIB_URL: io.env["CIB_URL"], [name]: key });
  await assert.rejects(token(["list"], own), /^Failure: forbidden: /);
  io.said.out = "";
  assert.equal(await token(["list"], io), 0);
  assert.match(io.said.out, new RegExp(`^${id}  clock`, "m"));
  assert.equal(await token(["revoke", id], io), 0);
  io.said.out = "";
  await token(["list"], io);
  assert.doesNotMatch(io.said.out, /clock/);
});

test("a wrong key is told in a sentence, with exit code 1, and never repeated", async () => {
  await using world = await openWorld();
  const { id } = await deviceKey(world);
  const key = `${id}:${"ab".repeat(32)}`;
  for (const args of [
    ["attach", "--frames"],
    ["token", "list"],
  ]) {
    const io = stage({ CIB_URL: `tcp://127.0.0.1:${world.tcpPort}`, CIB_DEVICE_KEY: key });
    assert.equal(await main(args, io, NEVER), 1);
    assert.match(io.said.err, /^cib: unauthorized: key: the box closes without a word; id or secret is wrong/);
    assert.doesNotMatch(io.said.err, /abab/);
  }
});

test("a box that is not there is told at once, whatever the way", async () => {
  const key = `${"0".repeat(16)}:${"0".repeat(64)}`;
  for (const env of [
    { CIB_URL: "tcp://127.0.0.1:1", CIB_DEVICE_KEY: key },
    { CIB_URL: "http://127.0.0.1:1", CIB_DEVICE_KEY: key },
    { CIB_URL: "http://127.0.0.1:1", CIB_TOKEN: "x" },
  ]) {
    const io = stage(env);
    assert.equal(await main(["attach", "--frames"], io, NEVER), 1);
    assert.match(io.said.err, /cib: no box answers at \S+ \(ECONNREFUSED\); is it running/);
  }
});

test("a token that the box does not know is told in its words, at once", async () => {
  await using world = await openWorld();
  const io = stage({ CIB_URL: world.url, CIB_TOKEN: "wrong" });
  assert.equal(await main(["attach", "--frames"], io, NEVER), 1);
  assert.match(io.said.err, /^cib: unauthorized: /);
});

test("a key that is none is a fault of the command line, and not repeated", () => {
  const good = `${"0".repeat(16)}:${"a".repeat(64)}`;
  for (const key of ["secretsecret", "0011:secretsecret", `${good}secretsecret`]) {
    const refused = (thrown: Error) =>
      /^CIB_DEVICE_KEY: expected/.test(thrown.message) && !/secrets/.test(thrown.message);
    assert.throws(() => findAnyBox({}, stage({ CIB_DEVICE_KEY: key })), refused);
  }
  for (const url of ["tcp://box", "tcp://user@box:1", "ftp://box:1", "http://box?x=1"])
    assert.throws(() => findAnyBox({ url }, stage({ CIB_DEVICE_KEY: good })), /url: expected/, url);
  const found = findAnyBox({ url: "tcp://[::1]:8081/" }, stage({ CIB_DEVICE_KEY: good, CIB_TOKEN: "x" }));
  assert.deepEqual(found, { url: "tcp://[::1]:8081", key: { id: "0".repeat(16), secret: "a".repeat(64) } });
});
