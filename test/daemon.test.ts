/** The daemon's start: what it finds in its folder and cannot read, it names and leaves as it is. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { readConfig } from "../src/config.ts";
import { startDaemon } from "../src/daemon.ts";
import { FileError } from "../src/files.ts";

test("an identity that is not understood keeps the daemon from starting, is named and left as it is", async () => {
  const folder = mkdtempSync(join(tmpdir(), "cib-daemon-"));
  try {
    const data = join(folder, "data");
    const file = join(data, "box.json");
    mkdirSync(data);
    const config = readConfig({
      CIB_AUTH_TOKEN: "m".repeat(40),
      CIB_LISTEN: "127.0.0.1:0",
      CIB_TCP_LISTEN: "off",
      CIB_MQTT_LISTEN: "off",
      CIB_MQTTS_LISTEN: "off",
      CIB_DATA: data,
      CIB_WORKSPACE: join(folder, "workspace"),
      CIB_HOME: join(folder, "home"),
    });
    for (const text of ["", "garbage", "null", "{}", '{"id":"a"}', '{"id":"a","salt":"short"}']) {
      writeFileSync(file, text);
      await assert.rejects(startDaemon(config), (failure) => {
        assert.ok(failure instanceof FileError, String(failure));
        assert.ok(failure.message.startsWith(`${file}: not understood (`), failure.message);
        assert.match(failure.message, /move it away: the box gets a new identity/);
        return true;
      });
      assert.equal(readFileSync(file, "utf8"), text);
      assert.deepEqual(readdirSync(data), ["box.json"], "the lock is given back");
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
