/** Skip, tested: nobody may overlook what did not run. */
import assert from "node:assert/strict";
import { dirname } from "node:path";
import { test } from "node:test";
import { needs } from "./skip.ts";

const here = dirname(process.execPath);

test("a command on PATH lets the test run", () => {
  assert.deepEqual(needs("nodejs", "node", { PATH: `:/nowhere:${here}` }), { skip: false });
});

test("a missing command skips and names the Debian package", () => {
  const { skip } = needs("mosquitto-clients", "mosquitto_sub", { PATH: "/nowhere" });
  assert.equal(skip, "needs mosquitto_sub: apt-get install mosquitto-clients");
});

test("where nothing may be skipped, a missing command fails", () => {
  const env = { PATH: "/nowhere", CIB_REQUIRE_ALL: "1" };
  assert.throws(() => needs("mosquitto-clients", "mosquitto_sub", env), /apt-get install mosquitto-clients/);
});
