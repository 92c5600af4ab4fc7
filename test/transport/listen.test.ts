import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { readConfig } from "../../src/config.ts";
import { startDaemon } from "../../src/daemon.ts";
import { CannotListen, unlessTaken } from "../../src/transport/listen.ts";

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
            (failure) => failure instanceof CannotListen && failure.message.startsWith(`${variable}: port ${port} `),
          );
        }
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("an address that cannot be listened on for another reason is named as well, with what to do", async () => {
    const by = (failure: object, addresses: Parameters<typeof CannotListen.by>[0]): string => {
      try {
        return CannotListen.by(addresses)(Object.assign(new Error("no"), { syscall: "listen" }, failure));
      } catch (thrown) {
        assert.ok(thrown instanceof CannotListen);
        return thrown.message;
      }
    };
    const two = { CIB_A: { host: "10.0.0.1", port: 80 }, CIB_B: { host: "10.0.0.2", port: 80 }, CIB_C: undefined };
    assert.equal(
      by({ code: "EACCES", address: "10.0.0.2", port: 80 }, two),
      'CIB_B: this user may not listen on port 80; choose another one, as in CIB_B=10.0.0.2:8080, or "off"',
    );
    assert.match(
      by({ code: "EADDRNOTAVAIL", address: "10.0.0.1", port: 80 }, two),
      /^CIB_A: 10\.0\.0\.1 is no address/,
    );
    assert.match(
      by({ code: "ENOTFOUND", syscall: "getaddrinfo", hostname: "nobody" }, { CIB_D: { host: "nobody", port: 1 } }),
      /^CIB_D: no address is known for "nobody"/,
    );
    assert.match(by({ code: "EINVAL", address: "10.0.0.1", port: 80 }, two), /^CIB_A: cannot listen .* \(EINVAL\)/);
    // As the system says it: TEST-NET-1 (RFC 5737) is nobody's.
    const server = createServer().listen(0, "192.0.2.1");
    const [failure] = (await once(server, "error")) as [object];
    assert.match(by(failure, { CIB_E: { host: "192.0.2.1", port: 0 } }), /^CIB_E: 192\.0\.2\.1 is no address/);
  });

  test("what else is wrong is told as it is", () => {
    const by = CannotListen.by({ CIB_X: { host: "127.0.0.1", port: 1 } });
    const other = Object.assign(new Error("no"), { code: "EACCES", syscall: "open", port: 1 });
    assert.throws(
      () => by(other),
      (failure) => failure === other,
    );
    const elsewhere = Object.assign(new Error("no"), { code: "EADDRINUSE", syscall: "listen", port: 2 });
    assert.throws(
      () => by(elsewhere),
      (failure) => failure === elsewhere,
    );
  });
});
