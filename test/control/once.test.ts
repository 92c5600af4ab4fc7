/** Once: an id stands for one command, whatever is repeated, overtakes or restarts. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { digestOf, Once } from "../../src/control/once.ts";
import { CibError } from "../../src/errors.ts";
import { Ledger } from "../../src/session/ledger.ts";

const folder = mkdtempSync(join(tmpdir(), "cib-once-"));
after(() => rmSync(folder, { recursive: true }));
let files = 0;

async function world() {
  const file = join(folder, `ledger-${files++}.jsonl`);
  const open = () => Ledger.open({ file, now: Date.now });
  const ledger = await open();
  return { ledger, once: new Once(ledger), reopen: open };
}

const isConflict = (thrown: unknown): boolean => thrown instanceof CibError && thrown.code === "id_conflict";

test("a repeat gets the first reply and does not act again", async () => {
  const { once, ledger } = await world();
  let made = 0;
  const command = { reserve: () => ({ session: `s${++made}` }), act: async (reserved: object) => ({ ...reserved }) };
  const first = await once.run("me", "1", "d", command);
  const second = await once.run("me", "1", "d", command);
  assert.deepEqual(first, { reply: { session: "s1" }, duplicate: false });
  assert.deepEqual(second, { reply: { session: "s1" }, duplicate: true });
  await ledger.close();
});

test("two at once are one", async () => {
  const { once, ledger } = await world();
  let acts = 0;
  const command = {
    reserve: () => ({}),
    act: async () => {
      acts++;
      return {};
    },
  };
  const both = await Promise.all([once.run("me", "1", "d", command), once.run("me", "1", "d", command)]);
  assert.equal(acts, 1);
  assert.deepEqual(
    both.map(({ duplicate }) => duplicate),
    [false, true],
  );
  await ledger.close();
});

test("the same id for another command is a conflict, for another principal it is another id", async () => {
  const { once, ledger } = await world();
  const command = { reserve: () => ({ n: 1 }), act: async () => ({}) };
  await once.run("me", "1", "d", command);
  await assert.rejects(once.run("me", "1", "other", command), isConflict);
  assert.equal((await once.run("you", "1", "other", command)).duplicate, false);
  await ledger.close();
});

test("after a crash between reservation and act, the repeat acts on the same reservation", async () => {
  const { once, ledger, reopen } = await world();
  const crash = { reserve: () => ({ session: "s1" }), act: () => Promise.reject(new Error("killed")) };
  await assert.rejects(once.run("me", "1", "d", crash), /killed/);
  await ledger.close();
  const again = await reopen();
  const { reply, duplicate } = await new Once(again).run("me", "1", "d", {
    reserve: () => ({ session: "s2" }),
    act: async (reserved) => ({ made: reserved["session"] }),
  });
  assert.deepEqual(reply, { session: "s1", made: "s1" });
  assert.equal(duplicate, true);
  await again.close();
});

test("a digest depends on the content alone: not on the id, not on the order of keys", () => {
  assert.equal(digestOf({ id: "1", cmd: "input", text: "a" }), digestOf({ text: "a", cmd: "input", id: "2" }));
  assert.notEqual(digestOf({ cmd: "input", text: "a" }), digestOf({ cmd: "input", text: "b" }));
  const json = fc.jsonValue();
  fc.assert(
    fc.property(json, json, (a, b) => {
      assert.equal(digestOf({ a }) === digestOf({ a: b }), JSON.stringify(sorted(a)) === JSON.stringify(sorted(b)));
    }),
  );
});

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => [key, sorted(item)]),
  );
}
