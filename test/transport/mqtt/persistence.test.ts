import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import {
  MAX_KEPT_CLIENTS,
  MAX_KEPT_SUBSCRIPTIONS,
  MAX_UNRELEASED,
  Persistence,
  type PersistenceOptions,
} from "../../../src/transport/mqtt/persistence.ts";

const folder = mkdtempSync(join(tmpdir(), "cib-mqtt-"));
after(() => rmSync(folder, { recursive: true }));
let files = 0;

function open(more: Partial<PersistenceOptions> = {}) {
  const file = more.file ?? join(folder, `${files++}.json`);
  const faults: unknown[] = [];
  let writes = 0;
  const persistence = new Persistence({
    file,
    write: (path, text) => {
      writes++;
      writeFileSync(path, text);
    },
    granted: () => true,
    acknowledged: () => undefined,
    fault: (thrown) => faults.push(thrown),
    ...more,
  });
  return { persistence, file, faults, writes: () => writes };
}
const sub = (topic: string, qos: 0 | 1 | 2 = 1) => ({ topic, qos });
const A = { id: "master-a" };

describe("what the broker keeps", () => {
  test("subscriptions are on the disk when they are confirmed, and there again after a restart", async () => {
    const { persistence, file } = open();
    await persistence.addSubscriptions(A, [sub("cib/+/status"), sub("cib/online", 0)]);
    assert.deepEqual(await open({ file }).persistence.subscriptionsByClient(A), [
      sub("cib/+/status"),
      sub("cib/online", 0),
    ]);
    await persistence.removeSubscriptions(A, ["cib/+/status"]);
    assert.deepEqual(await open({ file }).persistence.subscriptionsByClient(A), [sub("cib/online", 0)]);
    await persistence.cleanSubscriptions(A);
    assert.deepEqual(await open({ file }).persistence.subscriptionsByClient(A), []);
  });

  test("one write serves all that changed in a turn, and nothing is written where nothing changed", async () => {
    const { persistence, writes } = open();
    await Promise.all(["a", "b", "c"].map((id) => persistence.addSubscriptions({ id }, [sub("cib/online")])));
    assert.equal(writes(), 1);
    await persistence.addSubscriptions({ id: "a" }, [sub("cib/online")]);
    await persistence.cleanSubscriptions({ id: "nobody" });
    assert.equal(writes(), 1);
  });

  test("a subscription that was refused is not kept", async () => {
    const { persistence } = open({ granted: (_, topic) => topic === "cib/online" });
    await persistence.addSubscriptions(A, [sub("cib/online"), sub("home/light")]);
    assert.deepEqual(await persistence.subscriptionsByClient(A), [sub("cib/online")]);
  });

  test("there are so many clients and subscriptions and no more: who was away longest goes", async () => {
    const { persistence, file } = open();
    for (let i = 0; i <= MAX_KEPT_CLIENTS; i++)
      await persistence.addSubscriptions({ id: `c${i}` }, [sub("cib/online")]);
    assert.deepEqual(await persistence.subscriptionsByClient({ id: "c0" }), []);
    assert.equal((await persistence.subscriptionsByClient({ id: "c1" })).length, 1);
    const many = Array.from({ length: MAX_KEPT_SUBSCRIPTIONS - 1 }, (_, i) => sub(`cib/${i}`));
    await persistence.addSubscriptions(A, many);
    assert.equal((await persistence.subscriptionsByClient(A)).length, many.length);
    const kept = JSON.parse(readFileSync(file, "utf8")).clients as { subscriptions: unknown[] }[];
    assert.ok(kept.reduce((sum, { subscriptions }) => sum + subscriptions.length, 0) <= MAX_KEPT_SUBSCRIPTIONS);
  });

  test("a file that is not understood is told and costs subscriptions; a disk that is full costs nothing now", async () => {
    for (const text of ["", "garbage", "{}", '{"v":1,"clients":[{"id":"a/b","subscriptions":[]}]}']) {
      const file = join(folder, `${files++}.json`);
      writeFileSync(file, text);
      const { persistence, faults } = open({ file });
      assert.equal(faults.length, 1, text);
      assert.ok(String(faults[0]).startsWith(`Error: ${file}: not understood`), String(faults[0]));
      assert.deepEqual(await persistence.subscriptionsByClient(A), []);
    }
    const full = open({
      write: () => {
        throw new Error("ENOSPC");
      },
    });
    await full.persistence.addSubscriptions(A, [sub("cib/online")]);
    assert.equal((await full.persistence.subscriptionsByClient(A)).length, 1);
    assert.equal(full.faults.length, 1);
  });

  test("a message of QoS 2 is taken once until it is released, and few wait", async () => {
    const { persistence } = open();
    const message = { messageId: 7 };
    await assert.rejects(persistence.incomingGetPacket(A, message));
    await persistence.incomingStorePacket(A, message);
    await persistence.incomingStorePacket(A, message);
    assert.deepEqual([persistence.first(A, message), persistence.first(A, message)], [true, false]);
    await persistence.incomingGetPacket(A, message);
    await persistence.incomingDelPacket(A, message);
    await assert.rejects(persistence.incomingDelPacket(A, message));
    await persistence.incomingStorePacket(A, message);
    assert.equal(persistence.first(A, message), true);
    for (let id = 100; id < 100 + MAX_UNRELEASED - 1; id++) await persistence.incomingStorePacket(A, { messageId: id });
    await assert.rejects(persistence.incomingStorePacket(A, { messageId: 200 }), /wait for PUBREL/);
    await persistence.cleanIncoming(A);
    await persistence.incomingStorePacket(A, { messageId: 200 });
  });

  test("an acknowledgement is told once, and a PUBCOMP is none", async () => {
    const told: number[] = [];
    const { persistence } = open({ acknowledged: (_, id) => told.push(id) });
    await persistence.outgoingClearMessageId(A, { cmd: "puback", messageId: 5 });
    await persistence.outgoingClearMessageId(A, { cmd: "pubcomp", messageId: 6 });
    assert.deepEqual(told, [5]);
  });
});
