/** cib doctor, tested with a machine made of probes. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { doctor, type Row } from "../../src/cli/doctor.ts";
import type { Probes } from "../../src/cli/probes.ts";
import { stage } from "./stage.ts";

const MIB = 1024 * 1024;
const ENV = {
  CIB_AUTH_TOKEN: "0123456789abcdef0123456789abcdef",
  CIB_SESSION_UID: "1000",
  CIB_DATA: "/data",
  CIB_LISTEN: "127.0.0.1:8080",
};

const HEALTHY: Probes = {
  node: "20.19.0",
  load: async () => undefined,
  claudeVersion: async () => "2.1.197",
  login: async () => ({ loggedIn: true, method: "claude.ai" }),
  folder: () => ({ mode: 0o40700, writable: true }),
  listen: async () => undefined,
  answers: async () => false,
  maySwitchUser: true,
  freeBytes: () => 10_000 * MIB,
};

async function examine(
  probes: Partial<Probes>,
  env: Record<string, string> = ENV,
): Promise<{ code: number; rows: Row[]; row: (what: string) => Row | undefined }> {
  const io = stage(env);
  const code = await doctor(["--json"], io, undefined, { ...HEALTHY, ...probes });
  const { ok, rows } = JSON.parse(io.said.out) as { ok: boolean; rows: Row[] };
  assert.equal(ok, code === 0);
  return { code, rows, row: (what) => rows.find((row) => row.what === what) };
}

const refuse = (message: string) => async () => {
  throw new Error(message);
};

describe("cib doctor", () => {
  test("finds nothing on a healthy machine", async () => {
    const { code, rows } = await examine({});
    assert.equal(code, 0);
    assert.deepEqual(
      rows.filter(({ state }) => state !== "ok"),
      [],
    );
    assert.equal(rows.length, 15);
  });

  const failing: readonly (readonly [string, string, Partial<Probes>, RegExp])[] = [
    ["an old Node", "node", { node: "20.18.3" }, /20\.19 or newer/],
    [
      "an addon for another Node",
      "node-pty",
      {
        load: async (name) =>
          name === "node-pty" ? refuse("node-pty does not load: built for another; run npm install")() : undefined,
      },
      /^run npm install/,
    ],
    ["no Claude Code", "claude", { claudeVersion: refuse("claude: not found") }, /CIB_CLAUDE/],
    [
      "folders of somebody else",
      "workspace",
      { folder: (path) => ({ mode: 0o40755, writable: path === "/data" }) },
      /CIB_WORKSPACE/,
    ],
    [
      "a data folder that others can read",
      "data",
      { folder: () => ({ mode: 0o40755, writable: true }) },
      /chmod 700 \/data/,
    ],
    ["a taken port", "port", { listen: async () => "EADDRINUSE" }, /another port/],
    ["a port below 1024", "port", { listen: async () => "EACCES" }, /1024/],
    ["an address of another machine", "port", { listen: async () => "EADDRNOTAVAIL" }, /address of this machine/],
    [
      "a taken port of raw TCP",
      "raw TCP",
      { listen: async (_host, port) => (port === 8081 ? "EADDRINUSE" : undefined) },
      /stop that, or set CIB_TCP_LISTEN to another port, or to "off"/,
    ],
    [
      "an MQTT port that is not for this user",
      "MQTT",
      { listen: async (_host, port) => (port === 1883 ? "EACCES" : undefined) },
      /1024 or more in CIB_MQTT_LISTEN/,
    ],
    [
      "an MQTT address of another machine",
      "MQTT over TLS",
      { listen: async (_host, port) => (port === 8883 ? "EADDRNOTAVAIL" : undefined) },
      /set CIB_MQTTS_LISTEN to an address/,
    ],
    ["a user it may not become", "isolation", { maySwitchUser: false }, /CAP_SETUID/],
    ["a full disk", "disk", { freeBytes: () => 10 * MIB }, /free some space/],
  ];
  for (const [what, name, probes, todo] of failing) {
    test(`${what} fails and says what to do`, async () => {
      const { code, row } = await examine(probes);
      assert.equal(code, 1);
      assert.equal(row(name)?.state, "fail");
      assert.match(row(name)?.todo ?? "", todo);
    });
  }

  const warning: readonly (readonly [string, string, Partial<Probes>, Record<string, string>])[] = [
    ["an untested Claude Code", "claude", { claudeVersion: async () => "2.1.250" }, ENV],
    ["nobody logged in", "login", { login: async () => ({ loggedIn: false, method: "none" }) }, ENV],
    ["a login that cannot be read", "login", { login: refuse("no such command") }, ENV],
    ["no isolation", "isolation", {}, { ...ENV, CIB_SESSION_UID: "" }],
    ["a tight disk", "disk", { freeBytes: () => 200 * MIB }, ENV],
  ];
  for (const [what, name, probes, env] of warning) {
    test(`${what} warns and lets the box start`, async () => {
      const { code, row } = await examine(probes, env);
      assert.equal(code, 0);
      assert.equal(row(name)?.state, "warn");
      assert.ok(row(name)?.todo);
    });
  }

  test("a box that runs already is no problem", async () => {
    const { code, row } = await examine({
      listen: async () => "EADDRINUSE",
      answers: async (url) => url === "http://127.0.0.1:8080",
    });
    assert.equal(code, 0);
    assert.match(row("port")?.found ?? "", /a box runs/);
    assert.equal(row("raw TCP")?.found, "0.0.0.0:8081 is taken, as it is while a box runs");
  });

  test("a listener that is off is not looked at", async () => {
    const { row } = await examine(
      { listen: async (_host, port) => (port === 8080 ? undefined : "EADDRINUSE") },
      {
        ...ENV,
        CIB_TCP_LISTEN: "off",
        CIB_MQTT_LISTEN: "off",
        CIB_MQTTS_LISTEN: "[::1]:0",
      },
    );
    assert.deepEqual([row("raw TCP"), row("MQTT")], [undefined, undefined]);
    assert.match(row("MQTT over TLS")?.found ?? "", /^\[::1\]:0 is taken/);
  });

  test("a port that nobody asked for warns only: with --dev the daemon does without it", async () => {
    const io = stage({});
    const taken = { ...HEALTHY, listen: async (_: string, port: number) => (port === 1883 ? "EADDRINUSE" : undefined) };
    assert.equal(await doctor(["--dev", "--json"], io, undefined, taken), 0);
    const { rows } = JSON.parse(io.said.out) as { rows: Row[] };
    assert.equal(rows.find(({ what }) => what === "MQTT")?.state, "warn");
  });

  test("a missing token fails and the rest is still looked at", async () => {
    const { code, rows, row } = await examine({}, { CIB_DATA: "/data" });
    assert.equal(code, 1);
    assert.match(row("configuration")?.found ?? "", /CIB_AUTH_TOKEN: not set/);
    assert.equal(rows.length, 15);
  });

  test("a configuration that cannot be read ends the look", async () => {
    const { code, row } = await examine({}, { ...ENV, CIB_FSYNC: "sometimes" });
    assert.equal(code, 1);
    assert.match(row("configuration")?.found ?? "", /CIB_FSYNC/);
    assert.equal(row("port"), undefined);
  });

  test("a key in the environment is a login, and is not shown", async () => {
    const { rows, row } = await examine(
      { login: refuse("must not be asked") },
      { ...ENV, ANTHROPIC_API_KEY: "sk-very-secret" },
    );
    assert.equal(row("login")?.state, "ok");
    assert.doesNotMatch(JSON.stringify(rows), /very-secret|0123456789abcdef/);
  });

  test("for people it is a line a row, with what to do below", async () => {
    const io = stage(ENV);
    await doctor([], io, undefined, { ...HEALTHY, maySwitchUser: false });
    assert.match(io.said.out, /^ok {4}node {11}20\.19\.0$/m);
    assert.match(io.said.out, /^fail {2}isolation {6}this user cannot.*\n {21}give the daemon/m);
    assert.match(io.said.err, /mend what failed/);
  });
});
