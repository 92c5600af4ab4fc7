/** Soon: after the running code, in order, and one that fails costs the others nothing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { soon } from "../../src/transport/soon.ts";

test("what is put off is called in order once the running code is done, and so is what is put off meanwhile", async () => {
  const called: string[] = [];
  soon(() => {
    called.push("one");
    soon(() => called.push("three"));
  });
  soon(() => called.push("two"));
  assert.deepEqual(called, []);
  await new Promise(setImmediate);
  assert.deepEqual(called, ["one", "two", "three"]);
});

test("one that throws is a failure of the process, as if it had been alone, and the others are called", async () => {
  const [called, failures]: [string[], unknown[]] = [[], []];
  process.setUncaughtExceptionCaptureCallback((thrown) => failures.push(thrown));
  try {
    soon(() => {
      throw new Error("broken");
    });
    soon(() => called.push("next"));
    await new Promise(setImmediate);
  } finally {
    process.setUncaughtExceptionCaptureCallback(null);
  }
  assert.deepEqual(called, ["next"]);
  assert.match(String(failures[0]), /broken/);
  assert.equal(failures.length, 1);
});
