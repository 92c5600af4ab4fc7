/** The log and the fan-out under any order of events, any crash and any failing disk. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Frame, FrameBody, SessionId } from "../../src/frame/frame.ts";
import { EVERY, maskOf } from "../../src/frame/select.ts";
import { endLife, judge, type Lives, MAX_EPOCHS } from "../../src/session/epochs.ts";
import { Fanout, type Reader, STALL_MS } from "../../src/session/fanout.ts";
import { Log } from "../../src/session/log.ts";
import { RETRY_MS } from "../../src/session/trouble.ts";
import { FakeClock, turn, until } from "./fake-clock.ts";
import { MemoryDisk } from "./memory-disk.ts";
import { Recorder } from "./recorder.ts";

const SESSION = "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId;
const STOPS = maskOf(["stop"]);

/** Every third frame is a stop, so that a mask has something to leave out; the content names the seq and the life. */
function body(seq: number, life: number, size: number): FrameBody {
  const word = `${life}:${seq}:${"x".repeat(size)}`;
  return seq % 3 === 0 ? { type: "stop", reason: word } : { type: "text.delta", text: word };
}

function wordOf(frame: Frame): string {
  if (frame.type === "stop") return frame.reason;
  assert.equal(frame.type, "text.delta");
  return frame.type === "text.delta" ? frame.text : "";
}

describe("any interleaving", () => {
  interface Client {
    readonly from: number;
    readonly mask: number;
    readonly sink: Recorder;
    readonly reader: Reader;
    disposed: boolean;
  }

  /** Walks what a client got: every wanted frame from `from` once and in order, and gaps exactly where frames are missing. */
  function check(client: Client, log: Log, words: Map<number, string>, complete: boolean): void {
    const { from, mask, sink } = client;
    let next = from;
    const skip = (to: number): void => {
      for (; next < to; next++)
        assert.ok(
          mask === STOPS && next % 3 !== 0,
          `frame ${next} is missing in ${JSON.stringify(sink.got)} from ${from}`,
        );
    };
    for (const item of sink.got) {
      if (typeof item === "number") {
        skip(item);
        assert.equal(next, item, `out of order: ${JSON.stringify(sink.got)}`);
        next = item + 1;
      } else {
        const [gone, to] = item.split("-").map(Number) as [number, number];
        skip(gone);
        assert.equal(next, gone);
        assert.ok(to <= log.first, "a gap over frames that are there");
        next = to;
      }
    }
    for (const frame of sink.frames) assert.equal(wordOf(frame.frame() as Frame), words.get(frame.seq));
    if (complete) skip(log.last + 1);
  }

  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ append: fc.integer({ min: 1, max: 12 }), size: fc.integer({ min: 0, max: 300 }) }),
    },
    { weight: 6, arbitrary: fc.record({ turns: fc.integer({ min: 1, max: 3 }) }) },
    {
      weight: 3,
      arbitrary: fc.record({ attach: fc.nat(), fullEvery: fc.constantFrom(0, 1, 2, 5), only: fc.boolean() }),
    },
    { weight: 3, arbitrary: fc.record({ drain: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ dispose: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ stall: fc.constantFrom(STALL_MS / 2, STALL_MS) }) },
    { weight: 1, arbitrary: fc.record({ disk: fc.constantFrom("full", "short", "well") }) },
    { weight: 1, arbitrary: fc.record({ sync: fc.constant(true) }) },
    { weight: 1, arbitrary: fc.record({ rest: fc.constant(true) }) },
  );

  it("gives every client exactly the frames from its place, once, in order, or tells the gap", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 80, size: "max" }),
        fc.constantFrom(
          { maxBytes: 3000, segmentBytes: 400, tailBytes: 300 },
          { maxBytes: 1e6, segmentBytes: 1000, tailBytes: 1 },
          { maxBytes: 1e6, segmentBytes: 1e6, tailBytes: 1e6 },
        ),
        async (steps, bounds) => {
          const disk = new MemoryDisk();
          const clock = new FakeClock();
          const log = Log.open({ session: SESSION, folder: "/log", disk, clock, ...bounds });
          const fanout = new Fanout({ log, clock, fault: (_, thrown) => assert.fail(String(thrown)) });
          const words = new Map<number, string>();
          const clients: Client[] = [];
          const pick = (n: number): Client | undefined => clients[n % Math.max(1, clients.length)];
          for (const step of steps) {
            if ("append" in step) {
              for (let i = 0; i < step.append; i++) {
                const frame = body(log.numbered + 1, 1, step.size);
                words.set(log.append(frame), frame.type === "stop" ? frame.reason : (frame as { text: string }).text);
              }
            } else if ("turns" in step) for (let i = 0; i < step.turns; i++) await turn();
            else if ("attach" in step) {
              const { from } = log.judge(step.attach % 4 === 0 ? {} : { from: step.attach % (log.last + 5) });
              const sink = new Recorder();
              let taken = 0;
              sink.answer = () => (step.fullEvery > 0 && ++taken % step.fullEvery === 0 ? "full" : "ok");
              const mask = step.only ? STOPS : EVERY;
              clients.push({ from, mask, sink, reader: fanout.attach({ from, mask, sink }), disposed: false });
            } else if ("drain" in step) pick(step.drain)?.reader.drained();
            else if ("dispose" in step) {
              const client = pick(step.dispose);
              if (client === undefined) continue;
              client.reader[Symbol.dispose]();
              client.disposed = true;
            } else if ("stall" in step) clock.pass(step.stall);
            else if ("disk" in step) {
              disk.fault = (operation) =>
                operation !== "write" || step.disk === "well"
                  ? undefined
                  : step.disk === "full"
                    ? { code: "ENOSPC" }
                    : { take: 30 };
            } else if ("sync" in step) await log.sync().catch(() => undefined);
            else await log.rest().catch(() => undefined);
          }
          disk.fault = () => undefined;
          clock.pass(RETRY_MS);
          await log.sync();
          const live = (): Client[] => clients.filter((client) => !client.disposed && client.sink.closed === undefined);
          await until(() => {
            for (const client of live()) client.reader.drained();
            return live().every((client) => client.reader.next > log.last);
          }, "everyone at the end");
          assert.equal(log.last, words.size);
          for (const client of clients) {
            assert.ok(client.sink.closed === undefined || client.sink.closed === "too_far_behind");
            check(client, log, words, live().includes(client));
          }
          await log.close();
          assert.equal(disk.openFiles, 0);
          assert.equal(clock.timers, 0);
          assert.deepEqual(
            [...log.frames(log.first)].map((frame) => [frame.seq, wordOf(frame)]),
            [...words].filter(([seq]) => seq >= log.first),
          );
        },
      ),
      { numRuns: 150 },
    );
  });
});

describe("any crash", () => {
  const work = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({ append: fc.integer({ min: 1, max: 8 }), size: fc.integer({ min: 0, max: 200 }) }),
    },
    { weight: 4, arbitrary: fc.constant("turn" as const) },
    { weight: 2, arbitrary: fc.constant("sync" as const) },
    { weight: 1, arbitrary: fc.constant("rest" as const) },
    { weight: 3, arbitrary: fc.record({ read: fc.nat(3) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        fail: fc.constantFrom("write", "short", "datasync", "rename", "replace", "openAppend", "syncFolder", "none"),
      }),
    },
  );
  const life = fc.record({
    steps: fc.array(work, { maxLength: 25, size: "max" }),
    end: fc.constantFrom("kill", "power", "nuls", "close"),
  });

  it("leaves a prefix with everything that was synced, and every client that comes back ends with exactly what the log holds", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(life, { minLength: 1, maxLength: 6, size: "max" }),
        fc.infiniteStream(fc.nat()),
        fc.constantFrom<"turn" | "off" | "always">("turn", "off", "always"),
        async (lives, random, policy) => {
          const any = (max: number): number => (random.next().value as number) % (max + 1);
          const clock = new FakeClock();
          /** What each client believes, and where it read it. */
          const clients = Array.from({ length: 4 }, () => ({
            epoch: undefined as number | undefined,
            next: 1,
            has: new Map<number, string>(),
          }));
          let disk = new MemoryDisk();
          /** Everything numbered, as if nothing was ever lost since. */
          let logged = new Map<number, string>();
          for (const [n, { steps, end }] of [
            ...lives,
            { steps: [{ read: 0 }, { read: 1 }, { read: 2 }, { read: 3 }] as const, end: "close" },
          ].entries()) {
            const log = Log.open({
              session: SESSION,
              folder: "/log",
              disk,
              clock,
              policy,
              maxBytes: 1e6,
              segmentBytes: 500,
              tailBytes: 200,
            });
            const found = [...log.frames(1)];
            assert.deepEqual(
              found.map((frame) => [frame.seq, wordOf(frame)]),
              [...logged].slice(0, found.length),
              "a prefix",
            );
            logged = new Map([...logged].slice(0, found.length));
            // Until the raised epoch is on disk: a power loss within that one sync could give it a second end.
            for (let i = 0; i < 3; i++) await turn();
            let durable = 0;
            const going: Promise<unknown>[] = [];
            for (const step of steps) {
              if (step === "turn") await turn();
              else if (step === "sync") {
                const upTo = log.numbered;
                going.push(
                  log.sync().then(
                    () => {
                      durable = Math.max(durable, upTo);
                    },
                    () => undefined,
                  ),
                );
              } else if (step === "rest") going.push(log.rest().catch(() => undefined));
              else if ("append" in step) {
                for (let i = 0; i < step.append; i++) {
                  const frame = body(log.numbered + 1, n, step.size);
                  logged.set(
                    log.append(frame),
                    frame.type === "stop" ? frame.reason : (frame as { text: string }).text,
                  );
                }
              } else if ("fail" in step) {
                disk.fault = (operation) =>
                  step.fail === "short"
                    ? operation === "write"
                      ? { take: 25 }
                      : undefined
                    : operation === step.fail
                      ? { code: "EIO" }
                      : undefined;
                if (step.fail === "none") clock.pass(RETRY_MS);
              } else {
                const client = clients[step.read];
                if (client === undefined) continue;
                const verdict = log.judge({ from: client.next, epoch: client.epoch });
                assert.notEqual(verdict.verdict, "gap");
                for (const seq of [...client.has.keys()]) if (seq >= verdict.from) client.has.delete(seq);
                if (verdict.verdict === "ok") assert.equal(verdict.from, client.next);
                for (const frame of log.frames(verdict.from)) client.has.set(frame.seq, wordOf(frame));
                client.next = log.last + 1;
                client.epoch = log.epoch;
                assert.deepEqual(
                  [...client.has],
                  [...logged].slice(0, log.last),
                  "what the log holds, and nothing else",
                );
              }
            }
            if (n % 2 === 0) await Promise.all(going);
            const shown = log.last;
            if (end === "close") {
              await log.close().then(
                () => {
                  durable = log.last;
                },
                () => undefined,
              );
              disk = disk.kill();
            } else disk = end === "kill" ? disk.kill() : disk.powerLoss(any, end === "nuls" ? any : undefined);
            const after = Log.open({ session: SESSION, folder: "/log", disk: disk.kill(), clock, policy });
            assert.ok(after.last >= durable, `${after.last} of ${durable} synced`);
            if (end === "kill" || policy === "always") assert.ok(after.last >= shown, "what was shown is still there");
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe("epochs", () => {
  it("tell every client of any earlier life to forget exactly what was lost since, or more where lives were merged", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ append: fc.nat(20), lose: fc.oneof(fc.nat(6), fc.nat(60)) }), {
          maxLength: 150,
          size: "max",
        }),
        fc.nat(),
        (turns, pick) => {
          let lives: Lives = [];
          let epoch = 1;
          let last = 0;
          /** By epoch: the last seq it ever had, and how much of it is still the same. */
          const had: { last: number; same: number }[] = [{ last: 0, same: 0 }];
          for (const { append, lose } of turns) {
            last += append;
            const current = had[epoch - 1];
            if (current !== undefined) had[epoch - 1] = { last, same: last };
            last = Math.max(0, last - lose);
            for (const [i, { last: most, same }] of had.entries()) had[i] = { last: most, same: Math.min(same, last) };
            lives = endLife(lives, epoch, last);
            epoch++;
            had.push({ last, same: last });
            assert.ok(lives.length <= MAX_EPOCHS);
          }
          last += 30; // new frames under the same numbers must not hide the loss
          for (const [i, { last: most, same }] of had.slice(0, -1).entries()) {
            const from = 1 + (pick % (most + 1));
            const verdict = judge(lives, epoch, 1, last, { from, epoch: i + 1 });
            if (from > same + 1) assert.equal(verdict.verdict, "ahead");
            if (verdict.verdict === "ahead") assert.ok(verdict.from <= same + 1);
            else assert.equal(verdict.from, from);
            const recent = i + 1 >= (lives[1]?.[0] ?? 0) || lives.length < MAX_EPOCHS;
            if (recent && verdict.verdict === "ahead") assert.equal(verdict.from, same + 1);
          }
        },
      ),
    );
  });

  it("are merged when there are too many so that no one keeps a lost frame", () => {
    let lives: Lives = [];
    for (let epoch = 1; epoch <= 3 * MAX_EPOCHS; epoch++) lives = endLife(lives, epoch, epoch * 10);
    assert.equal(lives.length, MAX_EPOCHS);
    for (let epoch = 1; epoch <= 3 * MAX_EPOCHS; epoch++) {
      const { verdict, from } = judge(lives, 3 * MAX_EPOCHS + 1, 1, 9999, { from: epoch * 10 + 5, epoch });
      assert.equal(verdict, "ahead");
      assert.ok(from <= epoch * 10 + 1, `epoch ${epoch}: ${from}`);
      if (epoch > 2 * MAX_EPOCHS + 1) assert.equal(from, epoch * 10 + 1);
    }
  });

  it("trust a client without an epoch only as far as the log goes, and one from the future not at all", () => {
    const lives: Lives = [[1, 5]];
    assert.deepEqual(judge(lives, 2, 1, 9, { from: 12 }), { epoch: 2, first: 1, last: 9, from: 10, verdict: "ahead" });
    assert.equal(judge(lives, 2, 1, 9, { from: 10 }).verdict, "ok");
    assert.deepEqual(judge(lives, 2, 3, 9, { from: 8, epoch: 7 }), {
      epoch: 2,
      first: 3,
      last: 9,
      from: 3,
      verdict: "ahead",
    });
    assert.deepEqual(judge(lives, 2, 3, 9, { from: 0 }), { epoch: 2, first: 3, last: 9, from: 3, verdict: "gap" });
    assert.deepEqual(judge(lives, 2, 1, 9, { from: 0 }), { epoch: 2, first: 1, last: 9, from: 1, verdict: "ok" });
    assert.deepEqual(judge(lives, 2, 3, 9, { epoch: 1 }), { epoch: 2, first: 3, last: 9, from: 10, verdict: "ok" });
    // What it must forget begins below what is still there: the gap is told on top.
    assert.deepEqual(judge(lives, 2, 8, 9, { from: 7, epoch: 1 }), {
      epoch: 2,
      first: 8,
      last: 9,
      from: 6,
      verdict: "ahead",
    });
  });
});
