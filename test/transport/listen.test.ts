import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { readConfig } from "../../src/config.ts";
import { startDaemon } from "../../src/daemon.ts";
import { PortTaken, unlessTaken } from "../../src/transport/listen.ts";

/** A port that somebody else has, for as long as `body` runs. */
async function withTaken(body: (port: number) => Promise<void>): Promise<void> {
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  try {
    await body((other.address() as AddressInfo).port);
  } finally {
    other.close();
  }
}

describe("a port that somebody else has", () => {
  test("is done without where it is a default, with a note that names the variable", async () => {
    await withTaken(async (port) => {
      const notes: string[] = [];
      const note = (line: string) => notes.push(line);
      const taken = { host: "127.0.0.1", port };
      assert.equal(await unlessTaken("CIB_X", { ...taken, optional: true }, note), undefined);
      assert.equal(notes.length, 1);
      assert.match(
        notes[0] ?? "",
        new RegExp(`^CIB_X: port ${port} on 127.0.0.1 is taken; .*CIB_X=127.0.0.1:${port + 1}, or "off"$`),
      );
      // Whatever was asked for is tried, and free ones are taken.
      assert.deepEqual(await unlessTaken("CIB_X", taken, note), taken);
      const free = { host: "127.0.0.1", port: 0, optional: true } as const;
      assert.equal(await unlessTaken("CIB_X", free, note), free);
      assert.equal(await unlessTaken("CIB_X", undefined, note), undefined);
      assert.equal(notes.length, 1);
    });
  });

  test("keeps the daemon from starting where it was asked for, by the name of its variable", async () => {
    const folder = mkdtempSync(join(tmpdir(), "cib-listen-"));
    try {
      await withTaken(async (port) => {
        for (const variable of ["CIB_TCP_LISTEN", "CIB_MQTT_LISTEN", "CIB_MQTTS_LISTEN"]) {
          const config = readConfig({
            CIB_AUTH_TOKEN: "m".repeat(40),
            CIB_LISTEN: "127.0.0.1:0",
            CIB_TCP_LISTEN: "off",
            CIB_MQTT_LISTEN: "127.0.0.1:0",
            CIB_MQTTS_LISTEN: "off",
            CIB_DATA: join(folder, "data"),
            CIB_WORKSPACE: join(folder, "workspace"),
            CIB_HOME: join(folder, "home"),
            [variable]: `127.0.0.1:${port}`,
          });
          await assert.rejects(
            startDaemon(config),
            (failure) => failure instanceof PortTaken && failure.message.startsWith(`${variable}: port ${port} `),
          );
        }
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("what else is wrong is told as it is", () => {
    const by = PortTaken.by({ CIB_X: { host: "127.0.0.1", port: 1 } });
    const other = Object.assign(new Error("no"), { code: "EACCES", port: 1 });
    assert.throws(
      () => by(other),
      (failure) => failure === other,
    );
    const elsewhere = Object.assign(new Error("no"), { code: "EADDRINUSE", port: 2 });
    assert.throws(
      () => by(elsewhere),
      (failure) => failure === elsewhere,
    );
  });
});
