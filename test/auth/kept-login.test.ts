/** Kept login: what stands on disk is sealed, and follows the master token. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { KeptLogin } from "../../src/auth/kept-login.ts";
import { Vault } from "../../src/auth/vault.ts";

const TOKEN = "sk-ant-oat01-dummy-of-a-year-000000000000000000";
const salt = randomBytes(16);
const [old, fresh] = ["an-old-master-token", "a-new-master-token"].map((token) => new Vault(token, salt)) as [
  Vault,
  Vault,
];

function scratch(): Disposable & { readonly file: string } {
  const folder = mkdtempSync(join(tmpdir(), "cib-kept-"));
  return { file: join(folder, "login.json"), [Symbol.dispose]: () => rmSync(folder, { recursive: true }) };
}

test("a kept login is found after a restart, is sealed on disk, and can be forgotten", () => {
  using at = scratch();
  const kept = new KeptLogin(at.file, [old]);
  assert.equal(kept.token, undefined);
  kept.keep(TOKEN);
  assert.equal(readFileSync(at.file, "utf8").includes(TOKEN.slice(-20)), false);
  assert.equal(statSync(at.file).mode & 0o777, 0o600);
  const again = new KeptLogin(at.file, [old]);
  assert.equal(again.token, TOKEN);
  again.keep(undefined);
  assert.equal(again.token, undefined);
  assert.equal(existsSync(at.file), false);
});

test("a new master token locks it, unless the previous one is named once", () => {
  using at = scratch();
  new KeptLogin(at.file, [old]).keep(TOKEN);
  const locked = new KeptLogin(at.file, [fresh]);
  assert.deepEqual([locked.token, locked.locked], [undefined, true]);
  assert.equal(new KeptLogin(at.file, [fresh, old]).token, TOKEN);
  assert.equal(new KeptLogin(at.file, [fresh]).token, TOKEN);
  assert.equal(new KeptLogin(at.file, [old]).locked, true);
});

test("a damaged file is named, with what to do", () => {
  using at = scratch();
  writeFileSync(at.file, "{}");
  assert.throws(() => new KeptLogin(at.file, [old]), /login\.json: .*log in again/);
});
