/**
 * Reconnecting: C clients over every carrier follow a real box with real Claude Code and speak in it, over lines that delay, split, cut
 * and fall silent, while the daemon is killed with -9. Nothing may be lost and nothing may happen twice: the seqs that the clients print
 * are compared with the log, and the inputs with the scripted model's own record of prompts.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startModel } from "../../src/demo/model.ts";
import type { Frame } from "../../src/frame/frame.ts";
import type { DeviceKey } from "../conformance/link-client.ts";
import { MASTER, TestBox } from "../e2e/box.ts";
import { Pulse } from "../e2e/fault-world.ts";
import { randomness } from "../e2e/randomness.ts";
import { freePort } from "../free-port.ts";
import { needs } from "../skip.ts";
import { built } from "./built.ts";
import { type Carrier, environment } from "./c-way.ts";
import { Line } from "./line.ts";
import { Program } from "./program.ts";
import { Watch } from "./watch.ts";

const SEED = Number(process.env["CIB_SEED"] ?? 20261124);
const KILLS = Number(process.env["CIB_MCU_KILLS"] ?? 5);
const CARRIERS: readonly Carrier[] = ["tcp", "http", "mqtt", "mqtt-sealed"];
/** Things told to all clients together before a kill comes: about two turns at least, at most six. */
const [LEAST_EVENTS, MAX_EVENTS] = [40, 120];
/** Past every silence that a client bears. */
const TOO_LONG_MS = 91_000;
/** Texts that may wait for Claude at once: it types them one by one. */
const MAX_AHEAD = 6;

test(`${KILLS} kills and as many silent cuts lose and double nothing`, {
  timeout: 300_000,
  ...needs("gcc", "gcc"),
}, async (t) => {
  const random = randomness(SEED);
  const pulse = new Pulse();
  const folder = mkdtempSync(join(tmpdir(), "cib-mcu-"));
  const path = await built("client");
  await using model = await startModel(({ last }) => {
    const said = [...last.matchAll(/say (w\d+|done)/g)].map((match) => match[1]);
    return { blocks: [{ text: [`You said ${said.at(-1)}.\n`, "And ", "that ", "was it."], everyMs: 4 }] };
  });
  const ports = { tcp: await freePort(), mqtt: await freePort() };
  await using box = await TestBox.start({
    model: model.url,
    env: { CIB_TCP_LISTEN: `127.0.0.1:${ports.tcp}`, CIB_MQTT_LISTEN: `127.0.0.1:${ports.mqtt}` },
  });
  const session = String((await box.call("POST", "/api/sessions", {})).body["session"]);
  await using owned = {
    things: [] as AsyncDisposable[],
    async [Symbol.asyncDispose]() {
      for (const thing of this.things.reverse()) await thing[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };

  const lines = new Map<Carrier, Line>();
  const watches: Watch[] = [];
  for (const carrier of CARRIERS) {
    const port = carrier === "http" ? Number(new URL(box.url).port) : carrier === "tcp" ? ports.tcp : ports.mqtt;
    const line = await Line.open(() => port, random);
    owned.things.push(line);
    lines.set(carrier, line);
    const wish = { label: carrier, scopes: ["sessions:read", "sessions:input"], device: true };
    const key = (await box.call("POST", "/api/tokens", wish)).body["key"] as DeviceKey;
    const env = environment(folder, carrier === "mqtt" ? MASTER : key);
    const watch = new Watch(carrier, new Program(path, ["watch", carrier, line.address, session, "1"], env));
    owned.things.push(watch);
    watch.onNews = pulse.beat;
    watches.push(watch);
  }

  let sent = 0;
  let stop = false;
  const acknowledged: number[] = [];
  const delivered = () =>
    watches[0]?.frames.filter((frame) => frame.type === "input" && frame.state === "delivered").length ?? 0;
  const write = async (watch: Watch) => {
    for (;;) {
      await pulse.until(() => stop || sent - delivered() < MAX_AHEAD, 120_000);
      if (stop) return;
      const n = ++sent;
      const reply = await watch.once(`say id-${n} ${Buffer.from(`say w${n}`).toString("hex")}`);
      assert.equal(reply["ok"], true, JSON.stringify(reply));
      acknowledged.push(n);
      pulse.beat();
    }
  };
  const writing = Promise.all(watches.map(write));
  writing.catch(() => undefined);

  let silences = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    await pulse.after(LEAST_EVENTS + random(MAX_EVENTS - LEAST_EVENTS), 8_000);
    // One line falls silent, and the daemon is another one before its client can know.
    const carrier = CARRIERS[kill % CARRIERS.length] as Carrier;
    lines.get(carrier)?.silence();
    silences++;
    await pulse.after(random(10), 2_000);
    await box.end("SIGKILL");
    await box.start();
    const watch = watches[kill % CARRIERS.length] as Watch;
    watch.program.say(`later ${TOO_LONG_MS}`);
    // Everyone is back before the next one comes.
    const before = watches.map(({ frames }) => frames.length);
    await pulse.until(() => watches.every(({ frames }, i) => frames.length > (before[i] ?? 0)), 90_000);
  }
  stop = true;
  pulse.beat();
  await writing;

  const { status, body } = await box.call("POST", `/api/sessions/${session}/send`, {
    text: "say done",
    timeout_ms: 120_000,
  });
  assert.equal(status, 200, JSON.stringify(body));
  const log: Frame[] = [];
  for (let from = 1; ; ) {
    const page = (await box.call("GET", `/api/sessions/${session}/frames?from=${from}&limit=1000`)).body;
    const frames = page["frames"] as Frame[];
    if (frames.length === 0) break;
    log.push(...frames);
    from = Number(page["next"]);
  }
  const last = log.at(-1)?.seq ?? 0;
  await pulse.until(() => watches.every((watch) => watch.next > last), 90_000);
  for (const watch of watches) {
    assert.deepEqual(watch.faults, [], watch.name);
    assert.deepEqual(
      watch.frames.slice(0, log.length).map(({ seq, type, ts }) => `${seq} ${type} ${ts}`),
      log.map(({ seq, type, ts }) => `${seq} ${type} ${ts}`),
      watch.name,
    );
  }
  const prompts = (model.requests.at(-1)?.messages ?? [])
    .filter(({ role }) => role === "user")
    .map(({ content }) => JSON.stringify(content))
    .join("\n");
  assert.equal(acknowledged.length, sent);
  for (let n = 1; n <= sent; n++) {
    assert.equal(prompts.split(new RegExp(`say w${n}(?!\\d)`)).length - 1, 1, `input ${n}`);
    assert.equal(
      log.filter((frame) => frame.type === "input" && frame.id === `id-${n}` && frame.state === "accepted").length,
      1,
    );
  }
  const dead = watches.flatMap(({ news }) => news).filter((told) => told["down"] === "dead").length;
  assert.ok(dead > 0, "no client ever found a line dead");
  const cuts = [...lines.values()].reduce((sum, line) => sum + line.cuts, 0);
  const connections = [...lines.values()].reduce((sum, line) => sum + line.connections, 0);
  t.diagnostic(
    `${log.length} frames, ${sent} inputs, ${silences} silent cuts, ${dead} found dead, ${cuts} cuts by chance, ${connections} connections`,
  );
});
