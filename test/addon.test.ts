/** Addons: what a person is told where a native package does not load. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { AddonError, addon } from "../src/addon.ts";

test("a package that is not there is named, with what to do", () => {
  assert.throws(addon("no-such-addon"), (thrown: unknown) => {
    assert.ok(thrown instanceof AddonError);
    assert.match(thrown.message, /^no-such-addon does not load: .*; run npm install beside the bundle/);
    assert.equal(thrown.message.includes("\n"), false);
    return true;
  });
});

test("one that loads is loaded once", () => {
  const path = addon<object>("node:path");
  assert.equal(path(), path());
});
