/** Config: what the environment may say, and what a person is told when it says something else. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { type Config, ConfigError, readConfig } from "../src/config.ts";
import { makeCertificate } from "./transport/mqtt/certificate.ts";

const TOKEN = "t".repeat(32);

test("without a token there is no start, and the message says how to make one", () => {
  assert.throws(
    () => readConfig({}),
    (thrown: unknown) => thrown instanceof ConfigError && /openssl rand/.test(thrown.message),
  );
});

test("a short or unprintable token is refused without being repeated", () => {
  for (const bad of ["hunter2", "a b".repeat(20), "ü".repeat(40)]) {
    assert.throws(
      () => readConfig({ CIB_AUTH_TOKEN: bad }),
      (thrown: unknown) => thrown instanceof ConfigError && !thrown.message.includes(bad),
    );
  }
});

test("--dev mints a token, and then serves loopback only", () => {
  const config = readConfig({}, { dev: "/tmp/x" });
  assert.equal(config.minted, true);
  assert.ok(config.token.length >= 43);
  assert.equal(config.listen.host, "127.0.0.1");
  assert.notEqual(readConfig({}, { dev: "/tmp/x" }).token, config.token);
  assert.throws(() => readConfig({ CIB_LISTEN: "0.0.0.0:1" }, { dev: "/tmp/x" }), ConfigError);
  assert.equal(readConfig({ CIB_LISTEN: "0.0.0.0:1", CIB_AUTH_TOKEN: TOKEN }, { dev: "/tmp/x" }).minted, false);
});

test("the other ports have their defaults, can be turned off, and with --dev are on loopback and done without", () => {
  const all = (config: Config) => [config.tcpListen, config.mqttListen, config.mqttsListen];
  assert.deepEqual(
    all(readConfig({ CIB_AUTH_TOKEN: TOKEN })),
    [8081, 1883, 8883].map((port) => ({ host: "0.0.0.0", port })),
  );
  assert.deepEqual(
    all(readConfig({}, { dev: "/tmp/x" })),
    [8081, 1883, 8883].map((port) => ({ host: "127.0.0.1", port, optional: true })),
  );
  const off = { CIB_TCP_LISTEN: "off", CIB_MQTT_LISTEN: "off", CIB_MQTTS_LISTEN: "off" };
  assert.deepEqual(all(readConfig({ CIB_AUTH_TOKEN: TOKEN, ...off })), [undefined, undefined, undefined]);
  // A minted token stays on loopback, whatever carries it; with one of one's own any address will do.
  assert.throws(() => readConfig({ CIB_MQTT_LISTEN: ":1" }, { dev: "/tmp/x" }), ConfigError);
  const own = readConfig({ CIB_MQTT_LISTEN: ":1", CIB_AUTH_TOKEN: TOKEN }, { dev: "/tmp/x" });
  assert.deepEqual(own.mqttListen, { host: "0.0.0.0", port: 1 });
});

test("defaults are those of the manual", () => {
  const config = readConfig({ CIB_AUTH_TOKEN: TOKEN });
  assert.deepEqual(config.listen, { host: "0.0.0.0", port: 8080 });
  assert.equal(config.data, "/var/lib/claude-in-box");
  assert.equal(config.workspace, "/workspace");
  assert.equal(config.plain, "private");
  assert.equal(config.fsync, "turn");
  assert.equal(config.logMaxBytes, 64 * 1024 * 1024);
  assert.equal(config.ptyLogBytes, 1024 * 1024);
  assert.equal(config.restore, "resume");
  assert.deepEqual(config.claude, ["claude"]);
  assert.ok(Object.isFrozen(config));
});

test("a wrong value names its variable", () => {
  for (const [name, value] of [
    ["CIB_FSYNC", "sometimes"],
    ["CIB_LISTEN", "8080"],
    ["CIB_LISTEN", "host:99999"],
    ["CIB_MQTT_LISTEN", "1883"],
    ["CIB_MQTTS_LISTEN", "on"],
    ["CIB_LOG_MAX_BYTES", "1 GB"],
    ["CIB_SESSION_UID", "root"],
    ["CIB_TLS_CERT", "/nowhere.pem"],
    ["CIB_AUTH_TOKEN_FILE", "/nowhere"],
  ] as const) {
    const env = name === "CIB_AUTH_TOKEN_FILE" ? { [name]: value } : { CIB_AUTH_TOKEN: TOKEN, [name]: value };
    assert.throws(
      () => readConfig(env),
      (thrown: unknown) => thrown instanceof ConfigError && thrown.message.includes(name),
      name,
    );
  }
});

test("a certificate and a key are looked at before anything listens, and what is wrong names its variable", () => {
  using own = makeCertificate();
  using other = makeCertificate();
  const read = (cert: string, key: string) =>
    readConfig({ CIB_AUTH_TOKEN: TOKEN, CIB_TLS_CERT: cert, CIB_TLS_KEY: key });
  assert.deepEqual(read(own.cert, own.key).tls, { cert: own.cert, key: own.key });
  const garbage = `${other.cert}.txt`;
  writeFileSync(garbage, "hunter2");
  for (const [cert, key, why] of [
    [garbage, own.key, /^CIB_TLS_CERT: .*cannot be used/],
    [own.cert, garbage, /^CIB_TLS_KEY: .*cannot be used/],
    [own.cert, "/", /^CIB_TLS_KEY: \/ cannot be used \(EISDIR\)/],
    [own.cert, other.key, /^CIB_TLS_CERT, CIB_TLS_KEY: .*not that of this key/],
  ] as const) {
    assert.throws(
      () => read(cert, key),
      (thrown: unknown) =>
        thrown instanceof ConfigError && why.test(thrown.message) && !thrown.message.includes("hunter2"),
      String(why),
    );
  }
});

test("addresses may be IPv6, and a uid may bring its gid", () => {
  const config = readConfig({ CIB_AUTH_TOKEN: TOKEN, CIB_LISTEN: "[::1]:81", CIB_SESSION_UID: "1000:1001" });
  assert.deepEqual(config.listen, { host: "::1", port: 81 });
  assert.deepEqual(config.sessionUser, { uid: 1000, gid: 1001 });
});

test("a token that --dev minted before is used again, and one that is set beats it", () => {
  const kept = "k".repeat(43);
  const config = readConfig({}, { dev: "/tmp/x", devToken: kept });
  assert.deepEqual([config.token, config.minted], [kept, true]);
  assert.equal(readConfig({ CIB_AUTH_TOKEN: TOKEN }, { dev: "/tmp/x", devToken: kept }).token, TOKEN);
});

test("a variable that is no setting is named", () => {
  assert.deepEqual(readConfig({ CIB_AUTH_TOKEN: TOKEN, CIB_MODELL: "x", CIB_URL: "y" }).unknown, ["CIB_MODELL"]);
});

test("a bridge is off, or an address whose secrets no message repeats; Home Assistant is off, on, or a prefix", () => {
  const config = readConfig({ CIB_AUTH_TOKEN: TOKEN });
  assert.deepEqual([config.bridge, config.homeAssistant], [undefined, undefined]);
  const set = { CIB_AUTH_TOKEN: TOKEN, CIB_MQTT_BRIDGE: "mqtts://me:hunter2@broker", CIB_HOME_ASSISTANT: "on" };
  const { bridge, homeAssistant } = readConfig(set);
  assert.deepEqual([bridge?.address.port, bridge?.frames, homeAssistant], [8883, "both", "homeassistant"]);
  for (const bad of [
    { CIB_MQTT_BRIDGE: "mqtts://me:hunter2@broker/topic" },
    { CIB_MQTT_BRIDGE_CA: "/nowhere/ca.pem" },
    { CIB_MQTT_BRIDGE_NAME: "a/b" },
    { CIB_MQTT_BRIDGE_FRAMES: "xml" },
    { CIB_HOME_ASSISTANT: "cib" },
  ])
    assert.throws(
      () => readConfig({ ...set, ...bad }),
      (thrown: unknown) =>
        thrown instanceof ConfigError &&
        thrown.message.startsWith(`${Object.keys(bad)[0]}: `) &&
        !thrown.message.includes("hunter2"),
    );
});

test("what belongs to a bridge is no setting without one, unless that is off by name", () => {
  const set = { CIB_AUTH_TOKEN: TOKEN };
  for (const [name, value] of [
    ["CIB_MQTT_BRIDGE_TOKEN", "hunter2"],
    ["CIB_MQTT_BRIDGE_NAME", "kitchen"],
    ["CIB_MQTT_BRIDGE_CA", "/nowhere/ca.pem"],
  ] as const) {
    assert.throws(
      () => readConfig({ ...set, [name]: value }),
      (thrown: unknown) =>
        thrown instanceof ConfigError &&
        thrown.message.startsWith(`${name}: does nothing without CIB_MQTT_BRIDGE`) &&
        !thrown.message.includes("hunter2"),
    );
    assert.equal(readConfig({ ...set, [name]: value, CIB_MQTT_BRIDGE: "off" }).bridge, undefined);
  }
});
