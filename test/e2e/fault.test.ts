/**
 * Faults: the daemon is killed with -9 again and again while one client sends inputs with ids and others read.
 * The oracle for inputs is the scripted model's own record of prompts, for frames the log and two unforgiving watchers.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Model, startModel } from "../../src/demo/model.ts";
import type { Frame } from "../../src/frame/frame.ts";
import { TestBox } from "./box.ts";
import { Watcher } from "./watcher.ts";

/** Fewer for a quick look: CIB_FAULT_KILLS=5. */
const KILLS = Number(process.env["CIB_FAULT_KILLS"] ?? 100);
/** Kills after which bytes are cut off the log, as a power loss would. */
const CUTS = Math.min(KILLS, 12);
/** Events (frames, replies, model calls) after which a kill comes, at most: about three turns. */
const MAX_EVENTS = 60;
const SEED = Number(process.env["CIB_SEED"] ?? 20261123);

/** Mulberry32: the same kills for the same seed. */
function randomness(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** Counts what happens and lets others wait for it. */
class Pulse {
  #count = 0;
  readonly #waiting = new Set<{ readonly check: () => boolean; readonly done: () => void }>();

  readonly beat = (): void => {
    this.#count++;
    for (const waiting of [...this.#waiting]) if (waiting.check()) waiting.done();
  };

  /** Resolves after `n` more events, or when `ms` have passed without enough of them. */
  after(n: number, ms: number): Promise<void> {
    const goal = this.#count + n;
    return this.until(() => this.#count >= goal, ms).catch(() => undefined);
  }

  until(check: () => boolean, ms: number): Promise<void> {
    if (check()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const entry = {
        check,
        done: () => {
          clearTimeout(timer);
          this.#waiting.delete(entry);
          resolve();
        },
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(entry);
        reject(new Error("it did not happen in time"));
      }, ms);
      this.#waiting.add(entry);
    });
  }
}

/** Sends `say w<n>` with id n, one after the other, each repeated until it is acknowledged. */
class Writer {
  readonly acknowledged: number[] = [];
  /** Sent at least once, perhaps without a reply. */
  sent = 0;
  readonly #box: TestBox;
  readonly #session: string;
  readonly #pulse: Pulse;
  #stop = false;

  constructor(box: TestBox, session: string, pulse: Pulse) {
    this.#box = box;
    this.#session = session;
    this.#pulse = pulse;
  }

  async run(mayGoOn: () => boolean): Promise<void> {
    while (!this.#stop) {
      await this.#pulse.until(() => mayGoOn() || this.#stop, 120_000);
      if (this.#stop) return;
      await this.#one(++this.sent);
    }
  }

  stop(): void {
    this.#stop = true;
    this.#pulse.beat();
  }

  async #one(n: number): Promise<void> {
    for (;;) {
      try {
        const { status, body } = await this.#box.call("POST", `/api/sessions/${this.#session}/input`, {
          text: `say w${n}`,
          id: `id-${n}`,
        });
        if (status === 200) {
          this.acknowledged.push(n);
          this.#pulse.beat();
          return;
        }
        assert.equal((body["error"] as { retryable: boolean }).retryable, true, JSON.stringify(body));
      } catch (failure) {
        if (failure instanceof assert.AssertionError) throw failure;
        // Killed under the call: the same id goes out again.
      }
      await this.#pulse.after(1, 250);
    }
  }
}

interface World extends AsyncDisposable {
  readonly model: Model;
  readonly box: TestBox;
  readonly session: string;
  readonly pulse: Pulse;
  readonly watchers: readonly Watcher[];
  readonly writer: Writer;
  delivered(): number;
}

async function world(): Promise<World> {
  const pulse = new Pulse();
  const model = await startModel(({ last }) => {
    pulse.beat();
    const words = [...last.matchAll(/say (w\d+|done)/g)].map((match) => match[1]);
    return { blocks: [{ text: [`You said ${words.at(-1)}.\n`, "And ", "that ", "was it."], everyMs: 4 }] };
  });
  const box = await TestBox.start({ model: model.url });
  const { body } = await box.call("POST", "/api/sessions", {});
  const session = String(body["session"]);
  let delivered = 0;
  const watchers = [
    new Watcher(session, "json", (frame) => {
      if (frame.type === "stop") delivered++;
      pulse.beat();
    }),
    new Watcher(session, "cbor", pulse.beat),
  ];
  for (const watcher of watchers) watcher.connect(box.url);
  return {
    model,
    box,
    session,
    pulse,
    watchers,
    writer: new Writer(box, session, pulse),
    delivered: () => delivered,
    async [Symbol.asyncDispose]() {
      for (const watcher of watchers) watcher[Symbol.dispose]();
      await box[Symbol.asyncDispose]();
      await model[Symbol.asyncDispose]();
    },
  };
}

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
  await w.pulse.until(() => w.watchers.every((watcher) => watcher.next > last), 20_000);
  return { prompts, frames };
}

function times(text: string, word: string): number {
  return text.split(new RegExp(`say ${word}(?!\\d)`)).length - 1;
}

function checkInputs(w: World, prompts: string, frames: readonly Frame[]): void {
  const told = (n: number, state: string) =>
    frames.filter((frame) => frame.type === "input" && frame.id === `id-${n}` && frame.state === state).length;
  for (let n = 1; n <= w.writer.sent; n++) {
    const count = times(prompts, `w${n}`);
    if (w.writer.acknowledged.includes(n))
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
    assert.deepEqual(watcher.faults, []);
    const common = watcher.frames.slice(0, frames.length);
    assert.deepEqual(
      common.map(({ seq, type }) => `${seq} ${type}`),
      frames.map(({ seq, type }) => `${seq} ${type}`),
    );
  }
}

test(`kill -9 at ${KILLS} points loses and doubles no acknowledged input and no frame`, {
  timeout: 900_000,
}, async (t) => {
  const random = randomness(SEED);
  await using w = await world();
  const writing = w.writer.run(() => w.writer.acknowledged.length - w.delivered() < 4);
  for (let kill = 0; kill < KILLS; kill++) {
    // A seventh of the kills comes while the daemon is starting and resuming.
    await w.pulse.after(random(7) === 0 ? 0 : 1 + random(MAX_EVENTS), 8_000);
    await w.box.end("SIGKILL");
    await w.box.start();
    for (const watcher of w.watchers) watcher.connect(w.box.url);
    w.pulse.beat();
  }
  w.writer.stop();
  await writing;
  const { prompts, frames } = await conclude(w);
  checkWatchers(w, frames);
  checkInputs(w, prompts, frames);
  assert.ok(w.watchers.every(({ verdicts }) => verdicts.every(({ verdict }) => verdict === "ok")));
  t.diagnostic(
    `${w.writer.acknowledged.length} inputs acknowledged, ${frames.length} frames, ${w.model.requests.length} model calls`,
  );
});

test(`a log cut short as by a power loss is told as ahead, and every client recovers (${CUTS} cuts)`, {
  timeout: 600_000,
}, async (t) => {
  const random = randomness(SEED + 1);
  await using w = await world();
  const writing = w.writer.run(() => w.writer.acknowledged.length - w.delivered() < 4);
  let cuts = 0;
  for (let kill = 0; kill < CUTS; kill++) {
    await w.pulse.after(10 + random(MAX_EVENTS), 8_000);
    await w.box.end("SIGKILL");
    if (cut(join(w.box.data, "sessions", w.session), random)) cuts++;
    await w.box.start();
    for (const watcher of w.watchers) watcher.connect(w.box.url);
    w.pulse.beat();
  }
  w.writer.stop();
  await writing;
  const { prompts, frames } = await conclude(w);
  checkWatchers(w, frames);
  checkInputs(w, prompts, frames);
  const ahead = w.watchers.map(({ verdicts }) => verdicts.filter(({ verdict }) => verdict === "ahead").length);
  assert.ok(
    ahead.every((count) => count >= 1),
    `${cuts} cuts, ahead told ${ahead.join(" and ")} times`,
  );
  t.diagnostic(`${cuts} cuts, ahead told ${ahead.join(" and ")} times, ${frames.length} frames`);
});

/**
 * Cuts into what was written after the last synced point: behind the last stop frame, whose sync the policy promises,
 * and behind the last frame that an earlier start found, which it has promised to every client with the new epoch.
 */
function cut(folder: string, random: (below: number) => number): boolean {
  const file = join(folder, readdirSync(folder).find((name) => name === "transcript.jsonl") ?? "");
  const bytes = readFileSync(file);
  const lastStop = bytes.lastIndexOf('"type":"stop"');
  const stopped = lastStop < 0 ? 0 : bytes.indexOf(10, lastStop) + 1;
  const { epochs = [] } = JSON.parse(readFileSync(join(folder, "log.json"), "utf8")) as { epochs?: [number, number][] };
  const known = bytes.indexOf(`"seq":${epochs.at(-1)?.[1] ?? 0},`);
  const synced = Math.max(stopped, known < 0 ? 0 : bytes.indexOf(10, known) + 1);
  const loose = statSync(file).size - synced;
  if (loose < 2) return false;
  truncateSync(file, synced + random(loose));
  return true;
}
