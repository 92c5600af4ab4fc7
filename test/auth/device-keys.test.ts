/** Device keys: encrypted at rest, lent and never shown, re-encrypted when the master token changes, gone with their token. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { inspect } from "node:util";
import { DeviceKeys, MAX_DEVICE_KEYS } from "../../src/auth/device-keys.ts";
import { Vault } from "../../src/auth/vault.ts";
import { nodeProvider } from "../../src/crypto/aead-node.ts";
import { ClientLink } from "../../src/crypto/link-client.ts";
import { ServerLink } from "../../src/crypto/link-server.ts";
import { LinkKey } from "../../src/crypto/schedule.ts";
import { CibError } from "../../src/errors.ts";
import { FileError } from "../../src/files.ts";
import { bytes } from "../crypto/hex.ts";
import { seeded } from "../crypto/pair.ts";

const folder = mkdtempSync(join(tmpdir(), "cib-device-keys-"));
after(() => rmSync(folder, { recursive: true }));

const SALT = Buffer.alloc(16, 7);
const MASTER = "m".repeat(40);
/** One vault a token: scrypt takes its time. */
const vaults = new Map<string, Vault>();
let files = 0;

function vaultOf(token: string): Vault {
  const vault = vaults.get(token) ?? new Vault(token, SALT);
  vaults.set(token, vault);
  return vault;
}

function open(file: string, token = MASTER, previous?: string): DeviceKeys {
  return new DeviceKeys({
    file,
    vault: vaultOf(token),
    previous: previous === undefined ? undefined : vaultOf(previous),
    provider: nodeProvider,
    now: () => 1_000_000,
  });
}

const fresh = () => join(folder, `devices-${files++}.json`);

/** Whether a device with this secret gets through a handshake. */
function shakes(keys: DeviceKeys, id: string, secret: string): boolean {
  const random = seeded("device");
  const common = { provider: nodeProvider, carrier: "stream", accepts: 512, random } as const;
  const client = new ClientLink({
    ...common,
    key: new LinkKey(nodeProvider, bytes(secret)),
    keyId: bytes(id),
    fresh: { boot: 1, counter: 0, random: random(16) },
  });
  const server = new ServerLink({ ...common, find: (each) => keys.find(each), dummy: keys.dummy });
  try {
    const reply = server.take(client.hello);
    return reply.kind === "reply" && client.take(reply.bytes).kind === "greeted";
  } catch {
    return false;
  }
}

function code(act: () => unknown): string {
  try {
    act();
  } catch (thrown) {
    assert.ok(thrown instanceof CibError);
    return thrown.code;
  }
  return "ok";
}

test("a device shakes hands with the secret it was shown once, also after a restart", () => {
  const file = fresh();
  const keys = open(file);
  const { id, secret } = keys.create("t1", false);
  assert.match(id, /^[0-9a-f]{16}$/);
  assert.match(secret, /^[0-9a-f]{64}$/);
  for (const each of [keys, open(file)]) {
    assert.equal(shakes(each, id, secret), true);
    assert.equal(each.find(id)?.owner, "t1");
    assert.equal(
      shakes(
        each,
        id,
        secret.replace(/^./, (digit) => (digit === "0" ? "1" : "0")),
      ),
      false,
    );
    assert.equal(shakes(each, "00".repeat(8), secret), false);
  }
});

test("a key that requires X25519 says so, also after a restart", () => {
  const file = fresh();
  const { id, secret } = open(file).create("t1", true);
  const again = open(file);
  assert.equal(again.find(id)?.requireX25519, true);
  assert.equal(shakes(again, id, secret), false, "a hello without it");
});

test("the file is its owner's alone, and holds no secret", () => {
  const file = fresh();
  const keys = open(file);
  const { id, secret } = keys.create("t1", false);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const text = readFileSync(file, "utf8");
  assert.ok(text.includes(id));
  for (const form of [secret, bytes(secret)]) {
    const forms = [Buffer.from(form), Buffer.from(form).toString("base64"), Buffer.from(form).toString("hex")];
    for (const each of forms) assert.ok(!text.includes(each.toString().slice(0, 40)));
  }
});

test("neither the list nor the object shows a secret", () => {
  const keys = open(fresh());
  const { id, secret } = keys.create("t1", false);
  assert.deepEqual(keys.list(), [{ id, token: "t1", require_x25519: false, created_at: 1_000_000, locked: false }]);
  const shown = inspect([keys, keys.find(id)], { showHidden: true, depth: 9 }) + JSON.stringify([keys, keys.find(id)]);
  assert.ok(!shown.includes(secret) && !shown.includes(Array.from(bytes(secret).subarray(0, 6)).join(", ")));
});

test("under another master token keys are kept, reported locked, and open nothing until it is back", () => {
  const file = fresh();
  const { id, secret } = open(file).create("t1", false);
  const before = readFileSync(file, "utf8");
  const other = open(file, "n".repeat(40));
  assert.equal(other.locked, 1);
  assert.equal(other.list()[0]?.locked, true);
  assert.equal(other.find(id), undefined);
  assert.equal(shakes(other, id, secret), false);
  assert.equal(readFileSync(file, "utf8"), before);
  const made = other.create("t2", false);
  const back = open(file);
  assert.equal(shakes(back, id, secret), true, "the locked one was written back as it was");
  assert.deepEqual(
    back.list().map(({ locked }) => locked),
    [false, true],
  );
  assert.equal(shakes(open(file, "n".repeat(40)), made.id, made.secret), true);
});

test("with the previous master token keys are sealed anew, once, and then need it no more", () => {
  const file = fresh();
  const { id, secret } = open(file).create("t1", true);
  const moved = open(file, "n".repeat(40), MASTER);
  assert.equal(moved.locked, 0);
  const after = readFileSync(file, "utf8");
  const alone = open(file, "n".repeat(40));
  assert.deepEqual([alone.locked, alone.find(id)?.requireX25519], [0, true]);
  open(file, "n".repeat(40), MASTER);
  assert.equal(readFileSync(file, "utf8"), after, "nothing left to do");
  assert.equal(open(file).locked, 1, "the old token opens nothing any more");
  assert.equal(secret.length, 64);
});

test("one device's sealed secret cannot stand in another's place", () => {
  const file = fresh();
  const keys = open(file);
  keys.create("t1", false);
  keys.create("t2", false);
  const stored = JSON.parse(readFileSync(file, "utf8")) as { devices: { sealed: string }[] };
  const [one, two] = stored.devices as [{ sealed: string }, { sealed: string }];
  [one.sealed, two.sealed] = [two.sealed, one.sealed];
  writeFileSync(file, JSON.stringify(stored));
  assert.equal(open(file).locked, 2);
});

test("keys go with their tokens, locked ones too, and do not come back", () => {
  const file = fresh();
  const first = open(file).create("t1", false);
  const keys = open(file, "n".repeat(40));
  const second = keys.create("t2", false);
  const third = keys.create("t3", false);
  keys.keepOnly((token) => token === "t3");
  assert.deepEqual(
    keys.list().map(({ id }) => id),
    [third.id],
  );
  assert.equal(keys.find(second.id), undefined);
  assert.deepEqual(
    open(file)
      .list()
      .map(({ id }) => id),
    [third.id],
  );
  assert.equal(open(file).find(first.id), undefined);
});

test("a token has one key, and a full store says so", () => {
  const keys = open(fresh());
  keys.create("t1", false);
  assert.equal(
    code(() => keys.create("t1", true)),
    "conflict",
  );
  const full = fresh();
  const device = JSON.parse(readFileSync(join(folder, "devices-0.json"), "utf8")) as { devices: object[] };
  const devices = Array.from({ length: MAX_DEVICE_KEYS }, (_, i) => ({
    ...device.devices[0],
    id: i.toString(16).padStart(16, "0"),
    token: `t${i}`,
  }));
  writeFileSync(full, JSON.stringify({ v: 1, devices }));
  assert.equal(
    code(() => open(full).create("more", false)),
    "overloaded",
  );
});

test("a key that could not be written is not there", () => {
  const file = fresh();
  const keys = open(file);
  // A folder in the way of the new file: what a full disk would do, without a full disk.
  mkdirSync(`${file}.next`);
  assert.throws(() => keys.create("t1", false));
  assert.deepEqual(keys.list(), []);
});

test("a file that is not understood is named, and not overwritten", () => {
  for (const text of ["", "garbage", "{}", '{"v":2,"devices":[]}', '{"v":1,"devices":[{"id":"short"}]}']) {
    const file = fresh();
    writeFileSync(file, text);
    assert.throws(
      () => open(file),
      (failure) => failure instanceof FileError && failure.message.startsWith(`${file}: not understood`),
    );
    assert.equal(readFileSync(file, "utf8"), text);
  }
});
