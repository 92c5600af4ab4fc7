/** Stock clients over TLS: a device's key or a certificate, on one port of a whole daemon. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { SCOPES } from "../../../src/auth/scopes.ts";
import type { SessionId } from "../../../src/frame/frame.ts";
import { mqtt } from "../../conformance/mqtt-way.ts";
import { type Caller, Inbox } from "../../conformance/way.ts";
import { openWorld } from "../../conformance/world.ts";
import { needs } from "../../skip.ts";
import { makeCertificate } from "./certificate.ts";

const MOSQUITTO = needs("mosquitto-clients", "mosquitto_sub");

/** As docs/MQTT.md has it, and not as src/ does. */
function pskOf(secret: string): string {
  const label = Buffer.alloc(32);
  label.write("claude-in-box link v1");
  const prk0 = createHmac("sha256", label).update(Buffer.from(secret, "hex")).digest();
  return createHmac("sha256", prk0).update(Uint8Array.of(0x30)).digest("hex");
}

/** A stock command: its lines, and its exit. */
function run(command: string, args: readonly string[]) {
  const child = spawn(command, ["-h", "127.0.0.1", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const lines = new Inbox<string>();
  createInterface({ input: child.stdout }).on("line", (line) => lines.put(line));
  child.stderr.resume();
  const exit = new Promise<number | null>((resolve) => {
    child.on("close", (code) => {
      lines.end(new Error(`${command} has ended with ${code}`));
      resolve(code);
    });
  });
  return { lines, exit, end: () => child.kill() };
}

interface Device {
  readonly token: string;
  readonly id: string;
  readonly key: { readonly id: string; readonly secret: string };
}

async function deviceOf(master: Caller): Promise<Device> {
  const command = { cmd: "tokens.create", label: "lamp", scopes: SCOPES, device: true };
  return (await master.run(command)) as unknown as Device;
}

test(
  "by key: mosquitto_sub watches, mosquitto_pub speaks, and a revoked key is cut off and stays out",
  MOSQUITTO,
  async () => {
    await using world = await openWorld({ CIB_MQTTS_LISTEN: "127.0.0.1:0" });
    const master = await mqtt("json").connect(world, world.master);
    const session = (await master.run({ cmd: "sessions.create" }))["session"] as SessionId;
    const device = await deviceOf(master);
    const by = (secret: string, name: string) => [
      ...["-p", String(world.mqttsPort), "--psk-identity", device.key.id, "--psk", secret],
      ...["-i", `${device.key.id}-${name}`],
    ];
    const psk = pskOf(device.key.secret);
    const watcher = run("mosquitto_sub", [...by(psk, "watch"), "-t", "cib/online", "-t", `cib/${session}/json/input`]);
    assert.equal(await watcher.lines.take(), "1");
    const said = JSON.stringify({ cmd: "input", text: "hello", id: "button-1" });
    const spoken = run("mosquitto_pub", [...by(psk, "button"), "-q", "1", "-t", `cib/${session}/cmd`, "-m", said]);
    assert.equal(await spoken.exit, 0);
    const lineOf = async (): Promise<string> => {
      const line = await watcher.lines.take();
      // What is retained may be told twice to one who subscribes while it comes in.
      return line === "1" ? lineOf() : line;
    };
    const heard = JSON.parse(await lineOf()) as { text: string; by: string };
    assert.deepEqual([heard.text, heard.by], ["hello", device.id]);
    const wrong = run("mosquitto_pub", [
      ...by(pskOf("00".repeat(32)), "wrong"),
      "-q",
      "1",
      "-t",
      "cib/cmd",
      "-m",
      said,
    ]);
    assert.notEqual(await wrong.exit, 0);
    await master.run({ cmd: "tokens.revoke", token: device.id });
    // It tries again and again, and is not let in: so it is told to end.
    const late = run("mosquitto_pub", [...by(psk, "late"), "-q", "1", "-t", `cib/${session}/cmd`, "-m", said]);
    assert.notEqual(await late.exit, 0);
    const { mqtt: counts } = (await master.run({ cmd: "health" })) as { mqtt: { clients: number } };
    assert.equal(counts.clients, 1, "only the master is in");
    watcher.end();
    await watcher.exit;
    master.close();
    assert.deepEqual(world.faults, []);
  },
);

test("by certificate: the token is the password, and the key still works on the same port", MOSQUITTO, async () => {
  using certificate = makeCertificate();
  await using world = await openWorld({
    CIB_MQTTS_LISTEN: "127.0.0.1:0",
    CIB_TLS_CERT: certificate.cert,
    CIB_TLS_KEY: certificate.key,
  });
  const master = await mqtt("json").connect(world, world.master);
  const device = await deviceOf(master);
  const port = ["-p", String(world.mqttsPort), "-t", "cib/online", "-C", "1"];
  const token = ["--cafile", certificate.cert, "-u", device.id, "-P", device.token, "-i", `${device.id}-a`];
  const key = ["--psk-identity", device.key.id, "--psk", pskOf(device.key.secret), "-i", `${device.key.id}-b`];
  for (const args of [token, key]) {
    const watcher = run("mosquitto_sub", [...port, ...args]);
    assert.equal(await watcher.lines.take(), "1");
    assert.equal(await watcher.exit, 0);
  }
  const stranger = run("mosquitto_sub", [
    ...port,
    "--cafile",
    certificate.cert,
    "-u",
    device.id,
    "-P",
    "wrong",
    "-i",
    "x",
  ]);
  assert.notEqual(await stranger.exit, 0);
  master.close();
});
