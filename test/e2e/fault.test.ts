/**
 * Faults: the daemon is killed with -9 again and again while clients of every transport send inputs with ids and read,
 * over links that delay and cut, and at a foreign broker, which is killed in its turn. The oracle for inputs is the scripted model's own record of prompts, for frames the
 * log and unforgiving watchers.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Frame } from "../../src/frame/frame.ts";
import { needs } from "../skip.ts";
import { Mosquitto } from "../transport/mqtt/mosquitto.ts";
import { openFaultWorld, type World } from "./fault-world.ts";
import { type Random, randomness } from "./randomness.ts";

/** Fewer for a quick look: CIB_FAULT_KILLS=5. */
const KILLS = Number(process.env["CIB_FAULT_KILLS"] ?? 100);
/** Kills of the foreign broker, each followed by one of the daemon. */
const BROKER_KILLS = Math.min(KILLS, 12);
/** Frames without an acknowledgement, and those of the last second before a kill: what may come twice from a foreign broker. */
const MAX_BACK = 64 + 200;
/** Kills after which bytes are cut off the log, as a power loss would. */
const CUTS = Math.min(KILLS, 12);
/** Events that each watcher has before a kill comes, at most: about three turns. */
const MAX_EVENTS = 30;
const SEED = Number(process.env["CIB_SEED"] ?? 20261123);

const MOSQUITTO = needs("mosquitto", "mosquitto");
/** What it has acknowledged is on its way to the watcher: with the default of 20 under way the rest would wait in its memory, and die with it. */
const BROKER = ["allow_anonymous true", "max_inflight_messages 0"];

async function allFrames({ box, session }: World): Promise<Frame[]> {
  const frames: Frame[] = [];
  for (let from = 1; ; ) {
    const { body } = await box.call("GET", `/api/sessions/${session}/frames?from=${from}&limit=1000`);
    const page = body["frames"] as Frame[];
    if (page.length === 0) return frames;
    frames.push(...page);
    from = Number(body["next"]);
  }
}

/** Lets everything that was accepted be delivered, then asks the model one last time: its request holds the whole conversation. */
async function conclude(w: World): Promise<{ prompts: string; frames: Frame[] }> {
  const { status, body } = await w.box.call("POST", `/api/sessions/${w.session}/send`, {
    text: "say done",
    timeout_ms: 120_000,
  });
  assert.equal(status, 200, JSON.stringify(body));
  const messages = w.model.requests.at(-1)?.messages ?? [];
  const prompts = messages
    .filter(({ role }) => role === "user")
    .map(({ content }) => JSON.stringify(content))
    .join("\n");
  const frames = await allFrames(w);
  const last = frames.at(-1)?.seq ?? 0;
  const everyone = [...w.watchers, ...(w.afar ? [w.afar] : [])];
  await w.pulse.until(() => everyone.every((watcher) => watcher.next > last), 90_000);
  return { prompts, frames };
}

/** What docs/MQTT.md promises of a bridge: every frame in order, and after a break some of the last ones once more. */
function checkBridge(w: World, frames: readonly Frame[], breaks: number): void {
  const { afar } = w;
  assert.ok(afar);
  assert.deepEqual(afar.faults, []);
  assert.ok(afar.told.length <= breaks, `told ${afar.told.length} times of ${breaks} breaks`);
  assert.deepEqual(
    afar.frames.map(({ seq, type }) => `${seq} ${type}`),
    frames.map(({ seq, type }) => `${seq} ${type}`),
  );
  assert.ok(afar.backs.length <= breaks, `went back ${afar.backs.length} times for ${breaks} breaks`);
  assert.ok(Math.max(0, ...afar.backs) <= MAX_BACK, `went back by ${Math.max(...afar.backs)}`);
}

function times(text: string, word: string): number {
  return text.split(new RegExp(`say ${word}(?!\\d)`)).length - 1;
}

function checkInputs(w: World, prompts: string, frames: readonly Frame[]): void {
  const told = (n: number, state: string) =>
    frames.filter((frame) => frame.type === "input" && frame.id === `id-${n}` && frame.state === state).length;
  for (let n = 1; n <= w.inputs.sent; n++) {
    const count = times(prompts, `w${n}`);
    if (w.inputs.acknowledged.includes(n))
      assert.equal(count, 1, `input ${n} was acknowledged and reached the model ${count} times`);
    else assert.ok(count <= 1, `input ${n} was never acknowledged and reached the model ${count} times`);
    assert.equal(told(n, "accepted"), told(n, "delivered"), `input ${n}: accepted and delivered frames`);
    assert.ok(told(n, "accepted") <= 1, `input ${n}: accepted ${told(n, "accepted")} times`);
  }
}

function checkWatchers(w: World, frames: readonly Frame[]): void {
  assert.deepEqual(
    frames.map(({ seq }) => seq),
    frames.map((_, i) => i + 1),
    "the log has a hole or a repeat",
  );
  for (const watcher of w.watchers) {
    assert.deepEqual(watcher.faults, [], watcher.name);
    const common = watcher.frames.slice(0, frames.length);
    assert.deepEqual(
      common.map(({ seq, type }) => `${seq} ${type}`),
      frames.map(({ seq, type }) => `${seq} ${type}`),
      watcher.name,
    );
  }
}

test(`kill -9 at ${KILLS} points loses and doubles no acknowledged input and no frame`, {
  timeout: 900_000,
}, async (t) => {
  const random = randomness(SEED);
  // Where there is none, the others are watched all the same.
  await using broker = MOSQUITTO.skip ? undefined : await Mosquitto.run({ config: BROKER });
  await using w = await openFaultWorld(random, broker);
  const writing = w.write();
  for (let kill = 0; kill < KILLS; kill++) {
    // A seventh of the kills comes while the daemon is starting and resuming.
    await w.pulse.after(random(7) === 0 ? 0 : 1 + random(MAX_EVENTS * w.watchers.length), 8_000);
    await w.box.end("SIGKILL");
    await w.box.start();
    w.pulse.beat();
  }
  w.stopWriting();
  await writing;
  const { prompts, frames } = await conclude(w);
  checkWatchers(w, frames);
  checkInputs(w, prompts, frames);
  if (broker !== undefined) checkBridge(w, frames, KILLS);
  assert.ok(w.watchers.every(({ verdicts }) => verdicts.every(({ verdict }) => verdict === "ok")));
  t.diagnostic(
    `${w.inputs.acknowledged.length} inputs acknowledged, ${frames.length} frames, ${w.model.requests.length} model calls, ${w.cuts()} links cut`,
  );
});

test(`kill -9 of a foreign broker and of the daemon by turns, ${BROKER_KILLS} times, loses no frame there and doubles no command`, {
  timeout: 600_000,
  ...MOSQUITTO,
}, async (t) => {
  const random = randomness(SEED + 2);
  await using broker = await Mosquitto.run({ config: BROKER });
  await using w = await openFaultWorld(random, broker);
  const writing = w.write();
  const goesOn = async () => {
    const before = w.afar?.came ?? 0;
    await w.pulse.until(() => (w.afar?.came ?? 0) > before, 90_000);
    await w.pulse.after(random(MAX_EVENTS), 2_000);
  };
  for (let kill = 0; kill < BROKER_KILLS; kill++) {
    await goesOn();
    await broker.kill(random(2) === 0 ? "SIGKILL" : "SIGTERM");
    await w.pulse.after(random(MAX_EVENTS), 1_000);
    // Sometimes both are away at once.
    const both = random(3) === 0;
    if (both) await w.box.end("SIGKILL");
    await broker.start();
    if (both) await w.box.start();
    else {
      await goesOn();
      await w.box.end("SIGKILL");
      await w.box.start();
    }
    w.pulse.beat();
  }
  w.stopWriting();
  await writing;
  const { prompts, frames } = await conclude(w);
  checkInputs(w, prompts, frames);
  checkBridge(w, frames, 2 * BROKER_KILLS);
  t.diagnostic(`${frames.length} frames, ${w.afar?.came} at the broker, back by ${w.afar?.backs.join(", ")}`);
});

test(`a log cut short as by a power loss is told as ahead, and every client recovers (${CUTS} cuts)`, {
  timeout: 600_000,
}, async (t) => {
  const random = randomness(SEED + 1);
  await using broker = MOSQUITTO.skip ? undefined : await Mosquitto.run({ config: BROKER });
  await using w = await openFaultWorld(random, broker);
  const writing = w.write();
  /** How often each watcher knew frames that a cut took. */
  const robbed = w.watchers.map(() => 0);
  for (let kill = 0; kill < CUTS; kill++) {
    await w.pulse.after(10 + random(MAX_EVENTS * w.watchers.length), 8_000);
    await w.box.end("SIGKILL");
    const survived = cut(join(w.box.data, "sessions", w.session), random);
    const seen = w.watchers.map(({ verdicts }) => verdicts.length);
    for (const [i, watcher] of w.watchers.entries())
      if (survived !== undefined && watcher.next - 1 > survived) robbed[i] = (robbed[i] ?? 0) + 1;
    await w.box.start();
    w.pulse.beat();
    // Each is told of this cut before the next one comes.
    await w.pulse.until(() => w.watchers.every(({ verdicts }, i) => verdicts.length > (seen[i] ?? 0)), 60_000);
  }
  w.stopWriting();
  await writing;
  const { prompts, frames } = await conclude(w);
  checkWatchers(w, frames);
  checkInputs(w, prompts, frames);
  if (broker !== undefined) checkBridge(w, frames, CUTS);
  const ahead = w.watchers.map(({ verdicts }) => verdicts.filter(({ verdict }) => verdict === "ahead").length);
  assert.ok(
    robbed.some((count) => count > 0),
    "no cut took a frame that anyone knew",
  );
  for (const [i, count] of robbed.entries())
    assert.ok((ahead[i] ?? 0) >= count, `${w.watchers[i]?.name}: robbed ${count} times, told ${ahead[i]} times`);
  t.diagnostic(
    `frames taken ${robbed.join(", ")} times, ahead told ${ahead.join(", ")} times, ${frames.length} frames`,
  );
});

/**
 * Cuts into what was written after the last synced point: behind the last stop frame, whose sync the policy promises,
 * and behind the last frame that an earlier start found, which it has promised to every client with the new epoch.
 * The last seq that survives; undefined where nothing was loose.
 */
function cut(folder: string, random: Random): number | undefined {
  const file = join(folder, readdirSync(folder).find((name) => name === "transcript.jsonl") ?? "");
  const bytes = readFileSync(file);
  const lastStop = bytes.lastIndexOf('"type":"stop"');
  const stopped = lastStop < 0 ? 0 : bytes.indexOf(10, lastStop) + 1;
  const { epochs = [] } = JSON.parse(readFileSync(join(folder, "log.json"), "utf8")) as { epochs?: [number, number][] };
  const known = bytes.indexOf(`"seq":${epochs.at(-1)?.[1] ?? 0},`);
  const synced = Math.max(stopped, known < 0 ? 0 : bytes.indexOf(10, known) + 1);
  const loose = statSync(file).size - synced;
  if (loose < 2) return undefined;
  const end = synced + random(loose);
  truncateSync(file, end);
  const whole = bytes.subarray(0, bytes.subarray(0, end).lastIndexOf(10) + 1).toString();
  return Number([...whole.matchAll(/"seq":(\d+),/g)].at(-1)?.[1] ?? 0);
}
