/** Device tokens and the gate: who may come in, for how long, and how guessing is slowed. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { authorise, Gate } from "../../src/auth/gate.ts";
import { Tokens } from "../../src/auth/tokens.ts";
import { Vault } from "../../src/auth/vault.ts";
import { CibError } from "../../src/errors.ts";
import { FileError } from "../../src/files.ts";
import type { SessionId } from "../../src/frame/frame.ts";

const folder = mkdtempSync(join(tmpdir(), "cib-auth-"));
after(() => rmSync(folder, { recursive: true }));

let files = 0;
const MASTER = "m".repeat(40);

function world(plain: "loopback" | "private" | "any" = "private") {
  const clock = { now: 1_000_000 };
  const file = join(folder, `tokens-${files++}.json`);
  const tokens = new Tokens(file, () => clock.now);
  const gate = new Gate({ masterToken: MASTER, tokens, plain, now: () => clock.now });
  return {
    clock,
    file,
    tokens,
    gate,
    enter: (bearer?: string, address = "127.0.0.1", encrypted = false) => gate.enter({ bearer, address, encrypted }),
  };
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

const issue = (tokens: Tokens, more: object = {}) =>
  tokens.issue(Tokens.newId(), { label: "lamp", scopes: ["sessions:read"], ...more });

test("the master token opens, another one of the same length does not", () => {
  const { enter } = world();
  assert.equal(enter(MASTER).name, "master");
  assert.equal(
    code(() => enter("n".repeat(40))),
    "unauthorized",
  );
  assert.equal(
    code(() => enter(undefined)),
    "unauthorized",
  );
});

test("a file that is not understood is named, with what to do and without what stands in it", () => {
  const file = join(folder, "broken.json");
  for (const text of ["", "deadbeef", '{"v":2,"tokens":[]}', '{"v":1,"tokens":[{"id":"deadbeef"}]}', "null"]) {
    writeFileSync(file, text);
    assert.throws(
      () => new Tokens(file, () => 0),
      (failure) =>
        failure instanceof FileError &&
        failure.message.startsWith(`${file}: not understood (`) &&
        failure.message.endsWith("move it away to start without device tokens") &&
        !/deadbeef|\n/.test(failure.message),
      text,
    );
    assert.equal(readFileSync(file, "utf8"), text, "left as it was");
  }
});

test("a device token opens with its scopes, and its secret is nowhere on disk", () => {
  const { tokens, enter, file } = world();
  const { token, record } = issue(tokens);
  const who = enter(token);
  assert.equal(who.name, record.id);
  assert.deepEqual([...who.scopes], ["sessions:read"]);
  const secret = token.split("_")[2] ?? "";
  assert.equal(readFileSync(file, "utf8").includes(secret), false);
  assert.equal(statSync(file).mode & 0o777, 0o600);
});

test("a token of another daemon's making is refused even with a known id", () => {
  const { tokens, enter } = world();
  const { record } = issue(tokens);
  assert.equal(
    code(() => enter(`cib_${record.id}_${"A".repeat(43)}`)),
    "unauthorized",
  );
});

test("tokens survive a restart of the daemon", () => {
  const { tokens, file, clock } = world();
  const { token } = issue(tokens);
  const again = new Tokens(file, () => clock.now);
  assert.ok(again.find(token));
});

test("revoking a token ends it, what was minted with it, and their principals at once", () => {
  const { tokens, enter } = world();
  const parent = issue(tokens);
  const child = issue(tokens, { parent: parent.record.id });
  const grandchild = issue(tokens, { parent: child.record.id });
  const stranger = issue(tokens);
  const who = enter(grandchild.token);
  assert.equal(tokens.revoke(parent.record.id), true);
  assert.equal(who.ended.aborted, true);
  assert.equal(who.ended.reason, "revoked");
  assert.equal(
    code(() => enter(child.token)),
    "unauthorized",
  );
  assert.equal(
    code(() => enter(stranger.token)),
    "ok",
  );
});

test("an expired token is refused and its live principal ends", () => {
  const { tokens, enter, clock } = world();
  const { token } = issue(tokens, { expires_at: clock.now + 1000 });
  const who = enter(token);
  clock.now += 1001;
  assert.equal(
    code(() => enter(token)),
    "unauthorized",
  );
  assert.equal(who.ended.aborted, true);
  assert.equal(who.ended.reason, "expired");
});

test("an expiry ends live connections without anyone asking", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { tokens, enter, clock } = world();
  const who = enter(issue(tokens, { expires_at: clock.now + 5000 }).token);
  clock.now += 5000;
  t.mock.timers.tick(5000);
  assert.equal(who.ended.reason, "expired");
});

/** A folder in the way of the new file: what a full disk would do, without a full disk. Disposing it makes room. */
function fullDisk(file: string): Disposable {
  mkdirSync(`${file}.next`);
  return { [Symbol.dispose]: () => rmdirSync(`${file}.next`) };
}

test("an expiry that the disk refuses ends the token all the same, and harms nobody", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { tokens, enter, clock, file } = world();
  const short = issue(tokens, { expires_at: clock.now + 5000 });
  const longer = issue(tokens, { expires_at: clock.now + 9000 });
  const [who, other] = [enter(short.token), enter(longer.token)];
  {
    using _ = fullDisk(file);
    clock.now += 5000;
    t.mock.timers.tick(5000);
    assert.equal(who.ended.reason, "expired");
    assert.equal(
      code(() => enter(short.token)),
      "unauthorized",
    );
    clock.now += 4000;
    t.mock.timers.tick(4000);
    assert.equal(other.ended.reason, "expired");
  }
  const again = new Tokens(file, () => clock.now);
  assert.deepEqual(again.list(), []);
});

test("a revocation that the disk refuses cuts at once, can be repeated, and then holds", () => {
  const { tokens, enter, clock, file } = world();
  const { record, token } = issue(tokens);
  const child = issue(tokens, { parent: record.id });
  const who = enter(child.token);
  {
    using _ = fullDisk(file);
    assert.throws(() => tokens.revoke(record.id));
    assert.throws(() => tokens.revoke(record.id));
  }
  assert.equal(who.ended.reason, "revoked");
  assert.deepEqual(tokens.list(), []);
  assert.ok(new Tokens(file, () => clock.now).find(token), "it would be back with a restart");
  assert.deepEqual(
    tokens.revocable().map(({ id }) => id),
    [record.id, child.record.id],
  );
  assert.equal(tokens.revoke(record.id), true);
  assert.deepEqual(new Tokens(file, () => clock.now).list(), []);
  assert.equal(tokens.revoke(record.id), false);
});

test("a revocation that the disk refused is written when the daemon stops", () => {
  const { tokens, clock, file } = world();
  const { record } = issue(tokens);
  {
    using _ = fullDisk(file);
    assert.throws(() => tokens.revoke(record.id));
  }
  tokens[Symbol.dispose]();
  assert.deepEqual(new Tokens(file, () => clock.now).list(), []);
});

test("guessing slows the address down, and a right token is never slowed", () => {
  const { enter, clock } = world();
  const codes = Array.from({ length: 8 }, () => code(() => enter("wrong".repeat(10), "10.0.0.9")));
  assert.deepEqual(codes.slice(0, 5), Array(5).fill("unauthorized"));
  assert.deepEqual(codes.slice(5), Array(3).fill("slow_down"));
  assert.equal(enter(MASTER, "10.0.0.9").name, "master");
  assert.equal(
    code(() => enter("wrong".repeat(10), "10.0.0.8")),
    "unauthorized",
  );
  clock.now += 11 * 60_000;
  assert.equal(
    code(() => enter("wrong".repeat(10), "10.0.0.9")),
    "unauthorized",
  );
});

test("unencrypted tokens count only from where CIB_PLAIN says", () => {
  const cases: [Parameters<typeof world>[0], string, string][] = [
    ["loopback", "127.0.0.1", "ok"],
    ["loopback", "::1", "ok"],
    ["loopback", "0000:0000:0000:0000:0000:0000:0000:0001", "ok"],
    ["loopback", "192.168.1.4", "plain_refused"],
    ["private", "192.168.1.4", "ok"],
    ["private", "::ffff:172.17.0.1", "ok"],
    ["private", "fd12::1", "ok"],
    ["private", "8.8.8.8", "plain_refused"],
    ["private", "172.32.0.1", "plain_refused"],
    ["any", "8.8.8.8", "ok"],
  ];
  for (const [plain, address, want] of cases)
    assert.equal(
      code(() => world(plain).enter(MASTER, address)),
      want,
      `${plain} ${address}`,
    );
  assert.equal(
    code(() => world("loopback").enter(MASTER, "8.8.8.8", true)),
    "ok",
  );
});

test("a missing scope is forbidden by name, a session out of reach looks like none", () => {
  const { tokens, enter } = world();
  const mine = "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId;
  const other = "0190f0c2-7a11-7c33-9a55-1234567890ac" as SessionId;
  const who = enter(issue(tokens, { sessions: [mine] }).token);
  assert.equal(
    code(() => authorise(who, ["sessions:read"], mine)),
    "ok",
  );
  assert.equal(
    code(() => authorise(who, ["sessions:write"], mine)),
    "forbidden",
  );
  assert.equal(
    code(() => authorise(who, ["sessions:read"], other)),
    "not_found",
  );
});

test("any number of connections may wait for the end of a token", async () => {
  const { tokens, enter } = world();
  const warnings: Error[] = [];
  const note = (warning: Error) => warnings.push(warning);
  process.on("warning", note);
  for (const token of [MASTER, issue(tokens).token])
    for (let i = 0; i < 20; i++) enter(token).ended.addEventListener("abort", () => undefined);
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", note);
  assert.deepEqual(
    warnings.filter(({ name }) => name === "MaxListenersExceededWarning"),
    [],
  );
});

test("the vault opens with its own token and purpose only, and never an altered text", () => {
  const salt = Buffer.alloc(16, 7);
  const vault = new Vault(MASTER, salt);
  const sealed = vault.seal({ key: "sk-1" }, "session a");
  assert.deepEqual(vault.open(sealed, "session a"), { key: "sk-1" });
  assert.equal(vault.open(sealed, "session b"), undefined);
  assert.equal(new Vault("x".repeat(40), salt).open(sealed, "session a"), undefined);
  const bytes = Buffer.from(sealed, "base64");
  bytes[14] = (bytes[14] ?? 0) ^ 1;
  assert.equal(vault.open(bytes.toString("base64"), "session a"), undefined);
  assert.equal(vault.open("AAAA", "session a"), undefined);
});
