/** Files: a small file changes as a whole or not at all, and folders are their owner's. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { makeFolder, privateFolder, writeRename } from "../src/files.ts";

const folder = mkdtempSync(join(tmpdir(), "cib-files-"));
after(() => rmSync(folder, { recursive: true }));

test("a file is replaced whole, is its owner's, and leaves nothing beside it", () => {
  const path = join(folder, "a.json");
  writeRename(path, "one");
  writeRename(path, "two");
  assert.equal(readFileSync(path, "utf8"), "two");
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(folder), ["a.json"]);
});

test("a replacement that fails leaves the old file and throws", () => {
  assert.throws(() => writeRename(join(folder, "none", "b.json"), "x"), /ENOENT/);
});

test("a private folder is made with its parents, and kept as it is where it exists", () => {
  const path = join(folder, "p", "q");
  privateFolder(path);
  privateFolder(path);
  assert.equal(statSync(path).mode & 0o777, 0o700);
  assert.equal(statSync(join(folder, "p")).mode & 0o777, 0o700);
});

test("where no folder can be made the answer is an error, and it comes at once", () => {
  assert.throws(() => makeFolder("/proc/nope/deeper", 0o700), /ENOENT|EACCES/);
});
