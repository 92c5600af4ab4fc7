/** The ledger by behaviour: what it accepts is on disk, is accepted once, and survives any crash. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { CibError } from "../../src/errors.ts";
import type { SessionId } from "../../src/frame/frame.ts";
import { COMPACT_BYTES } from "../../src/session/journal.ts";
import { ID_TTL_MS, type InputWanted, KEPT_SETTLED, Ledger, MAX_IDS } from "../../src/session/ledger.ts";
import { FakeClock, turn } from "./fake-clock.ts";
import { MemoryDisk } from "./memory-disk.ts";

const SESSION = "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId;
const OTHER = "0190f0c2-7a11-7c33-9a55-1234567890ff" as SessionId;
const FILE = "/data/ledger.jsonl";

function open(
  disk: MemoryDisk,
  clock = new FakeClock(),
  fault?: (where: string, thrown: unknown) => void,
): Promise<Ledger> {
  return Ledger.open({ file: FILE, disk, now: () => clock.now(), ...(fault && { fault }) });
}

const input = (n: number | string, more: Partial<InputWanted> = {}): InputWanted => ({
  who: "master",
  input: `i${n}`,
  session: SESSION,
  text: `text ${n}`,
  after: 7,
  ...more,
});
const is = (code: string) => (error: unknown) => error instanceof CibError && error.code === code;
const waiting = (ledger: Ledger, session = SESSION): string[] => ledger.pending(session).map((entry) => entry.input);

describe("ledger", () => {
  it("knows an accepted command after a restart, by principal and id", async () => {
    const disk = new MemoryDisk();
    const ledger = await open(disk);
    await ledger.accept({ who: "master", id: "a", digest: "d1", reply: { session: "s" } });
    assert.equal(disk.unsynced(FILE), 0);
    const again = await open(disk.powerLoss(() => 0));
    assert.deepEqual(again.find("master", "a"), { digest: "d1", reply: { session: "s" } });
    assert.equal(again.find("phone", "a"), undefined);
    assert.equal(again.find("master", "b"), undefined);
  });

  it("keeps accepted inputs with and without an id, in order, until they are settled", async () => {
    const disk = new MemoryDisk();
    const ledger = await open(disk);
    await ledger.accept(input(1, { id: "x", digest: "d" }));
    await ledger.accept(input(2));
    await ledger.accept(input(3, { session: OTHER }));
    await ledger.accept(input(4));
    ledger.announce("i1", 12);
    await ledger.typing("i1", { file: "t.jsonl", offset: 99 });
    ledger.settle("i2", "failed");
    await ledger.sync();
    for (const known of [ledger, await open(disk.powerLoss(() => 0))]) {
      assert.deepEqual(waiting(known), ["i1", "i4"]);
      assert.deepEqual(waiting(known, OTHER), ["i3"]);
      const [first, second] = known.inputs(SESSION);
      assert.deepEqual(first, {
        input: "i1",
        session: SESSION,
        id: "x",
        by: "master",
        text: "text 1",
        ts: new FakeClock().now(),
        after: 7,
        seq: 12,
        typing: { file: "t.jsonl", offset: 99 },
        state: "accepted",
      });
      assert.equal(second?.state, "failed");
      assert.deepEqual(known.find("master", "x"), { digest: "d", input: "i1", seq: 12 });
    }
  });

  it("does not know a command before it is on disk, and shares one sync among those at the same time", async () => {
    const disk = new MemoryDisk();
    const ledger = await open(disk);
    let release = (): void => undefined;
    disk.duringSync = () =>
      new Promise((resolve) => {
        release = resolve;
      });
    const all = ["a", "b", "c"].map((id) => ledger.accept({ who: "master", id, digest: "d", reply: {} }));
    await turn();
    assert.equal(ledger.find("master", "a"), undefined);
    release();
    await Promise.all(all);
    assert.equal(disk.counts.get("datasync"), 1);
    assert.ok(ledger.find("master", "c"));
  });

  it("refuses an id that is known or on its way", async () => {
    const ledger = await open(new MemoryDisk());
    const first = ledger.accept({ who: "master", id: "a", digest: "d", reply: {} });
    await assert.rejects(ledger.accept({ who: "master", id: "a", digest: "d", reply: {} }), is("id_conflict"));
    await first;
    await assert.rejects(ledger.accept(input(1, { id: "a", digest: "e" })), is("id_conflict"));
    await ledger.accept({ who: "phone", id: "a", digest: "d", reply: {} });
  });

  it("holds 1,024 ids of a principal, refuses more, and takes them again after 24 hours", async () => {
    const clock = new FakeClock();
    const disk = new MemoryDisk();
    const ledger = await open(disk, clock);
    await Promise.all(
      Array.from({ length: MAX_IDS }, (_, i) => ledger.accept({ who: "m", id: `${i}`, digest: "d", reply: {} })),
    );
    await assert.rejects(ledger.accept({ who: "m", id: "more", digest: "d", reply: {} }), is("ids_full"));
    await ledger.accept({ who: "phone", id: "more", digest: "d", reply: {} });
    await ledger.accept(input(1));
    clock.pass(ID_TTL_MS - 1);
    assert.ok(ledger.find("m", "0"), "never evicted early");
    await assert.rejects(ledger.accept({ who: "m", id: "more", digest: "d", reply: {} }), is("ids_full"));
    clock.pass(1);
    assert.equal(ledger.find("m", "0"), undefined);
    await ledger.accept({ who: "m", id: "0", digest: "other", reply: {} });
    assert.equal((await open(disk.kill(), clock)).find("m", "0")?.digest, "other");
  });

  it("keeps an input that waits longer than its id is kept", async () => {
    const clock = new FakeClock();
    const disk = new MemoryDisk();
    const ledger = await open(disk, clock);
    await ledger.accept(input(1, { id: "a", digest: "d" }));
    clock.pass(2 * ID_TTL_MS);
    const again = await open(disk.kill(), clock);
    assert.deepEqual(waiting(again), ["i1"]);
    assert.ok(again.find("master", "a"));
    again.settle("i1", "delivered");
    assert.equal(again.find("master", "a"), undefined);
  });

  it("lets go of settled texts but keeps their ids", async () => {
    const disk = new MemoryDisk();
    const ledger = await open(disk);
    for (let i = 1; i <= 20; i++) {
      await ledger.accept(input(i, { id: `id${i}`, digest: "d" }));
      ledger.announce(`i${i}`, i);
      ledger.settle(`i${i}`, "delivered");
    }
    await ledger.close();
    for (const known of [ledger, await open(disk)]) {
      assert.deepEqual(
        known.inputs(SESSION).map((entry) => entry.text),
        Array.from({ length: KEPT_SETTLED }, (_, i) => `text ${i + 13}`),
      );
      assert.deepEqual(known.find("master", "id1"), { digest: "d", input: "i1", seq: 1 });
    }
  });

  it("writes its file anew when most of it no longer counts, and loses nothing by it", async () => {
    const disk = new MemoryDisk();
    const ledger = await open(disk);
    let largest = 0;
    await ledger.accept({ who: "master", id: "keep", digest: "d", reply: { a: 1 } });
    await ledger.accept(input("waits"));
    for (let i = 0; i < 200; i++) {
      await ledger.accept(input(i, { text: "x".repeat(10_000) }));
      ledger.settle(`i${i}`, "delivered");
      largest = Math.max(largest, disk.size(FILE) ?? 0);
    }
    assert.ok(largest < 2 * COMPACT_BYTES, `${largest} bytes`);
    assert.ok((disk.counts.get("replace") ?? 0) < 20);
    await ledger.close();
    assert.equal(disk.openFiles, 0);
    const again = await open(disk.powerLoss(() => 0));
    assert.deepEqual(waiting(again), ["iwaits"]);
    assert.deepEqual(again.find("master", "keep"), { digest: "d", reply: { a: 1 } });
  });

  it("accepts nothing while the disk refuses, forgets what it refused, and goes on when there is room", async () => {
    for (const failing of ["write", "datasync"] as const) {
      const disk = new MemoryDisk();
      const ledger = await open(disk);
      await ledger.accept(input(1));
      disk.fault = (operation) => (operation === failing ? { code: "ENOSPC" } : undefined);
      await assert.rejects(ledger.accept(input(2, { id: "a", digest: "d" })), is("disk_full"));
      assert.equal(ledger.find("master", "a"), undefined);
      assert.deepEqual(waiting(await open(disk.kill())), ["i1"], "what was refused does not come back");
      ledger.announce("i1", 3);
      await turn();
      disk.fault = () => undefined;
      await ledger.accept(input(2, { id: "a", digest: "e" }));
      const again = await open(disk.powerLoss(() => 0));
      assert.deepEqual(waiting(again), ["i1", "i2"]);
      assert.equal(again.inputs(SESSION)[0]?.seq, 3, "marks made meanwhile are not lost");
      assert.equal(again.find("master", "a")?.digest, "e");
    }
  });

  it("skips lines it does not understand and says how many", async () => {
    const disk = new MemoryDisk();
    const ledger = await open(disk);
    await ledger.accept(input(1));
    await ledger.accept(input(2));
    const lines = disk.text(FILE).trimEnd().split("\n");
    disk.put(FILE, `${lines[0]}\nrubbish\n{"k":"new","x":1}\n\0\0\0\0${lines[1]}\n{"k":"acc`);
    const faults: string[] = [];
    const again = await open(disk, new FakeClock(), (_, thrown) => faults.push(String(thrown)));
    assert.deepEqual(waiting(again), ["i1", "i2"]);
    assert.equal(faults.length, 1);
    assert.match(faults[0] ?? "", /2 lines/);
    await again.accept(input(3));
    assert.deepEqual(waiting(await open(disk.kill())), ["i1", "i2", "i3"]);
  });

  it("loses no mark that is made while another line is being synced", async () => {
    const disk = new MemoryDisk();
    const ledger = await open(disk);
    for (let i = 0; i < 20; i++) {
      await ledger.accept(input(i));
      ledger.announce(`i${i}`, i + 1);
    }
    await turn();
    assert.deepEqual(
      (await open(disk.kill())).inputs(SESSION).map((entry) => entry.seq),
      Array.from({ length: 20 }, (_, i) => i + 1),
    );
  });

  it("keeps every accepted entry whatever a power loss takes, and whatever the disk refused before", async () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ accept: fc.integer({ min: 0, max: 3000 }), together: fc.boolean() }) },
      { weight: 2, arbitrary: fc.record({ settle: fc.nat() }) },
      { weight: 1, arbitrary: fc.record({ typing: fc.nat() }) },
      {
        weight: 1,
        arbitrary: fc.record({
          fail: fc.constantFrom("write", "datasync", "truncate", "replace", "syncFolder", "half", "none"),
        }),
      },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 40, size: "max" }),
        fc.infiniteStream(fc.nat()),
        fc.nat(200),
        async (steps, random, nuls) => {
          const disk = new MemoryDisk();
          const ledger = await Ledger.open({ file: FILE, disk, now: () => 1000 });
          const accepted = new Map<string, { settled: boolean; typing: boolean }>();
          const refused = new Set<string>();
          let going: Promise<void>[] = [];
          let n = 0;
          const join = async (): Promise<void> => {
            await Promise.all(going);
            going = [];
          };
          for (const step of steps) {
            if ("fail" in step) {
              await join();
              disk.fault = (operation) =>
                step.fail === "half" && operation === "write"
                  ? { take: 20 }
                  : operation === step.fail
                    ? { code: "ENOSPC" }
                    : undefined;
            } else if ("accept" in step) {
              const name = n++;
              going.push(
                ledger.accept(input(name, { id: `id${name}`, digest: "d", text: "x".repeat(step.accept) })).then(
                  () => void accepted.set(`i${name}`, { settled: false, typing: false }),
                  (error: unknown) => {
                    assert.ok(is("disk_full")(error));
                    refused.add(`i${name}`);
                  },
                ),
              );
              if (!step.together) await join();
            } else {
              await join();
              const names = [...accepted.keys()];
              const name = names[("settle" in step ? step.settle : step.typing) % Math.max(1, names.length)];
              const entry = name === undefined ? undefined : accepted.get(name);
              if (name === undefined || entry === undefined || entry.settled) continue;
              if ("settle" in step) {
                entry.settled = true;
                ledger.settle(name, "delivered");
              } else
                await ledger.typing(name, { file: "f", offset: 5 }).then(
                  () => {
                    entry.typing = true;
                  },
                  () => undefined,
                );
            }
          }
          await join();
          const after = await Ledger.open({
            file: FILE,
            disk: disk.powerLoss(
              (max) => (random.next().value as number) % (max + 1),
              () => nuls,
            ),
            now: () => 1000,
          });
          const inputs = new Map(after.inputs(SESSION).map((entry) => [entry.input, entry]));
          for (const [name, { settled, typing }] of accepted) {
            assert.ok(after.find("master", name.replace("i", "id")), `${name} is known`);
            if (settled) continue;
            assert.equal(inputs.get(name)?.state, "accepted", name);
            if (typing) assert.ok(inputs.get(name)?.typing);
          }
          const order = [...accepted].filter(([, { settled }]) => !settled).map(([name]) => name);
          assert.deepEqual(
            after
              .pending(SESSION)
              .map((entry) => entry.input)
              .filter((name) => order.includes(name)),
            order,
          );
        },
      ),
      { numRuns: 150 },
    );
  });
});
