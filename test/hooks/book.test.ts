/** The box's hooks files: read, merged, replaced; locked names and kept secrets. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { FileError } from "../../src/files.ts";
import { HookBook } from "../../src/hooks/book.ts";
import { refused } from "../session/world.ts";

class Box implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), "cib-book-"));
  readonly image = join(this.folder, "image.json");
  readonly user = join(this.folder, "user.json");
  readonly faults: string[] = [];

  open(image?: unknown, user?: unknown): HookBook {
    if (image !== undefined) writeFileSync(this.image, JSON.stringify({ hooks: image }));
    if (user !== undefined) writeFileSync(this.user, JSON.stringify({ hooks: user }));
    return new HookBook({ image: this.image, user: this.user, fault: (thrown) => this.faults.push(String(thrown)) });
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true });
  }
}

const rule = (name: string, more: object = {}) => ({ name, on: ["input"], run: ["x"], ...more });
const post = (url: string, headers: Record<string, string>) => ({ name: "p", on: ["stop"], post: { url, headers } });
const names = (rules: readonly { name: string }[]) => rules.map(({ name }) => name);

test("without files there are no rules; what is put is there for the next daemon, for nobody else to read", async () => {
  using box = new Box();
  const book = box.open();
  assert.deepEqual(book.list(), []);
  let told = 0;
  const watch = book.watch(() => told++);
  await book.put([rule("a")]);
  watch[Symbol.dispose]();
  await book.put([rule("a"), rule("b")]);
  assert.equal(told, 1);
  assert.equal(statSync(box.user).mode & 0o777, 0o600);
  assert.deepEqual(names(box.open().rules()), ["a", "b"]);
});

test("what list shows may be put again as it is", async () => {
  using box = new Box();
  const book = box.open([rule("i"), rule("j", { locked: true })], [rule("u"), post("https://x/a", { A: "secret" })]);
  const before = book.list();
  assert.doesNotMatch(JSON.stringify(before), /secret/);
  await book.put(before);
  assert.deepEqual(book.list(), before);
  assert.match(readFileSync(box.user, "utf8"), /secret/);
});

test("a kept header does not go to another address", async () => {
  using box = new Box();
  const book = box.open([], [post("https://x/a", { A: "secret" })]);
  await book.put([post("https://x/other-path", { A: "(kept)" })]);
  assert.match(readFileSync(box.user, "utf8"), /other-path[\s\S]*secret/);
  await assert.rejects(
    book.put([post("https://evil/a", { A: "(kept)" })]),
    refused("bad_request", /rule "p": .*A: nothing is kept/),
  );
  await assert.rejects(book.put([post("https://x/a", { B: "(kept)" })]), refused("bad_request", /B: nothing is kept/));
  assert.match(readFileSync(box.user, "utf8"), /other-path/);
});

test("a locked name is refused below, and wins over a file that has it all the same", async () => {
  using box = new Box();
  const book = box.open([rule("a", { locked: true })], [rule("a", { run: ["evil"] }), rule("b", { locked: true })]);
  assert.match(box.faults.join(), /user rule "a" is left out: the image level/);
  await assert.rejects(book.put([rule("a")]), refused("forbidden", /rule "a" is locked by the image level/));
  assert.throws(() => book.check([rule("b")]), refused("forbidden", /rule "b" is locked by the user level/));
  assert.deepEqual(names(book.check([rule("c")])), ["c"]);
  assert.deepEqual(names(book.rules([rule("a", { run: ["evil"] }), rule("c")])), ["c", "b", "a"]);
  assert.deepEqual(book.rules([rule("a", { run: ["evil"] })]).find(({ name }) => name === "a")?.run, ["x"]);
});

test("a rule that is none is named", async () => {
  using box = new Box();
  const book = box.open();
  await assert.rejects(book.put([rule("a", { timeout_ms: 0 })]), refused("bad_request", /rule "a": timeout_ms/));
  assert.throws(() => book.check(["x"]), refused("bad_request", /rule 0/));
});

test("a file that cannot be understood keeps the daemon from starting, and its content out of the message", () => {
  using box = new Box();
  writeFileSync(box.image, '{"hooks":[{"name":"a","secret');
  assert.throws(
    () => box.open(),
    (thrown) => thrown instanceof FileError && /image.json: not understood \(it is no JSON\)/.test(thrown.message),
  );
});
