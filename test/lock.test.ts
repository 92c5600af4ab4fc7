/** The lock: one daemon a folder, and never a lock of the dead. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Lock, LockedError } from "../src/lock.ts";

const folder = mkdtempSync(join(tmpdir(), "cib-lock-"));
after(() => rmSync(folder, { recursive: true }));

test("a lock held by a live process keeps others out and names it", () => {
  const path = join(folder, "held");
  const stat = readFileSync(`/proc/${process.ppid}/stat`, "utf8");
  writeFileSync(path, `${process.ppid} ${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]}`);
  assert.throws(
    () => Lock.take(path),
    (thrown: unknown) => thrown instanceof LockedError && thrown.message.includes(String(process.ppid)),
  );
});

test("a lock whose pid now belongs to another process is taken over", () => {
  const path = join(folder, "reused");
  writeFileSync(path, `${process.ppid} 1`);
  using lock = Lock.take(path);
  assert.ok(lock);
  assert.match(readFileSync(path, "utf8"), new RegExp(`^${process.pid} `));
});

test("a lock given back can be taken again", () => {
  const path = join(folder, "again");
  Lock.take(path)[Symbol.dispose]();
  Lock.take(path)[Symbol.dispose]();
  assert.throws(() => readFileSync(path));
});
