/** Skip, tested: nobody may overlook what did not run. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
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

test("every package that a test may need is installed by .ci/run", () => {
  const folder = fileURLToPath(new URL(".", import.meta.url));
  const script = readFileSync(join(folder, "../.ci/run"), "utf8").split("\n");
  const tests = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) =>
    /(?<!skip)\.test\.ts$/.test(file),
  );
  const named = tests.flatMap((file) => {
    const calls = readFileSync(join(folder, file), "utf8").matchAll(/\bneeds\(\s*"([^"]+)"/g);
    return Array.from(calls, ([, name = ""]) => name);
  });
  assert.ok(named.length > 0, "no test calls needs: the pattern is wrong");
  assert.deepEqual(
    named.filter((name) => !script.includes(name)),
    [],
  );
});
