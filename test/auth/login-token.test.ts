/** The login token at rest: sealed, and worth nothing without the master token. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { LoginToken } from "../../src/auth/login-token.ts";
import { Vault } from "../../src/auth/vault.ts";
import { FileError } from "../../src/files.ts";

const folder = mkdtempSync(join(tmpdir(), "cib-login-"));
after(() => rmSync(folder, { recursive: true }));
const vault = (token: string) => new Vault(token, Buffer.alloc(16, 1));
const TOKEN = "sk-ant-oat01-dummy-token-that-pays";

test("a kept token is there after a restart, and in no file in the clear", () => {
  const file = join(folder, "a.json");
  new LoginToken(file, [vault("master")]).keep(TOKEN);
  assert.equal(new LoginToken(file, [vault("master")]).value, TOKEN);
  assert.equal(readFileSync(file, "utf8").includes("sk-ant"), false);
  assert.equal(statSync(file).mode & 0o777, 0o600);
});

test("under another master token it is locked; with the one before it is sealed anew", () => {
  const file = join(folder, "b.json");
  new LoginToken(file, [vault("old")]).keep(TOKEN);
  assert.equal(new LoginToken(file, [vault("new")]).value, undefined);
  assert.equal(new LoginToken(file, [vault("new"), vault("old")]).value, TOKEN);
  assert.equal(new LoginToken(file, [vault("new")]).value, TOKEN);
});

test("a forgotten one leaves no file, and a broken file says what to do", () => {
  const file = join(folder, "c.json");
  const kept = new LoginToken(file, [vault("master")]);
  kept.keep(TOKEN);
  kept.keep(undefined);
  assert.equal(kept.value, undefined);
  assert.equal(existsSync(file), false);
  writeFileSync(file, "{}");
  assert.throws(() => new LoginToken(file, [vault("master")]), FileError);
});
