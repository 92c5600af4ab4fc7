/** Faults: what the operator reads when something goes wrong in the daemon itself. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DISK_FULL_QUIET_MS, tellFaults } from "../src/faults.ts";

function world() {
  const clock = { now: 0 };
  const printed: unknown[][] = [];
  const fault = tellFaults(
    (...said) => printed.push(said),
    () => clock.now,
  );
  return { clock, printed, fault };
}

test("a fault is told with where it happened and all that is known of it, each time", () => {
  const { printed, fault } = world();
  const thrown = new Error("why");
  fault("mqtt", thrown);
  fault("mqtt", thrown);
  assert.deepEqual(printed, [
    ["fault in mqtt:", thrown],
    ["fault in mqtt:", thrown],
  ]);
});

test("a full disk is one line a minute, however many writes fail", () => {
  const { clock, printed, fault } = world();
  const full = Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
  for (let i = 0; i < 100; i++) fault(`log ${i}`, full);
  assert.deepEqual(printed, [["fault in log 0: the disk under CIB_DATA is full; free some space"]]);
  fault("bridge", new Error("another"));
  assert.equal(printed.length, 2);
  clock.now += DISK_FULL_QUIET_MS;
  fault("log 1", full);
  assert.equal(printed.length, 3);
});
