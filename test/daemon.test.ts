/** The daemon's start: what it finds in its folder and cannot read, it names and leaves as it is. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { readConfig } from "../src/config.ts";
import { startDaemon } from "../src/daemon.ts";
import { FileError } from "../src/files.ts";
import { ScriptEngine } from "./conformance/engine.ts";

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

test("device keys of another master token, and settings without effect, are told at the start", async () => {
  const folder = mkdtempSync(join(tmpdir(), "cib-daemon-"));
  try {
    const start = (env: Readonly<Record<string, string>>) =>
      startDaemon(
        readConfig({
          CIB_AUTH_TOKEN: "m".repeat(40),
          CIB_LISTEN: "127.0.0.1:0",
          CIB_TCP_LISTEN: "off",
          CIB_MQTT_LISTEN: "off",
          CIB_MQTTS_LISTEN: "off",
          CIB_DATA: join(folder, "data"),
          CIB_WORKSPACE: join(folder, "workspace"),
          CIB_HOME: join(folder, "home"),
          ...env,
        }),
        { engine: new ScriptEngine() },
      );
    const first = await start({});
    const response = await fetch(`${first.url}/api/tokens`, {
      method: "POST",
      headers: { authorization: `Bearer ${"m".repeat(40)}`, "content-type": "application/json" },
      body: JSON.stringify({ label: "lamp", scopes: ["sessions:read"], device: true }),
    });
    assert.equal(response.status, 201);
    assert.deepEqual(first.notes, []);
    await first.stop();
    const other = await start({ CIB_AUTH_TOKEN: "n".repeat(40), CIB_HOME_ASSISTANT: "on" });
    assert.equal(other.notes.length, 2);
    assert.match(other.notes[0] ?? "", /another CIB_AUTH_TOKEN: 1; .*CIB_AUTH_TOKEN_PREVIOUS/);
    assert.match(other.notes[1] ?? "", /^CIB_HOME_ASSISTANT does nothing here/);
    await other.stop();
    const moved = await start({ CIB_AUTH_TOKEN: "n".repeat(40), CIB_AUTH_TOKEN_PREVIOUS: "m".repeat(40) });
    assert.deepEqual(moved.notes, []);
    await moved.stop();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
