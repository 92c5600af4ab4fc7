/** Where the box is and with which token, tested: the token comes from safe places and goes to one place. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { CLIENT_FILE, call, findBox } from "../../src/cli/box.ts";
import { fakeBox, stage } from "./stage.ts";

function folderWith(box: object): string {
  const folder = mkdtempSync(join(tmpdir(), "cib-box-"));
  mkdirSync(join(folder, ".cib/data"), { recursive: true });
  writeFileSync(join(folder, ".cib/data", CLIENT_FILE), JSON.stringify(box));
  return folder;
}

describe("which box", () => {
  test("what serve --dev left is enough", () => {
    const left = { url: "http://127.0.0.1:9999", token: "dev-token" };
    assert.deepEqual(findBox({}, stage({}, folderWith(left))), left);
  });

  test("a token that belongs to one address is not sent to another", () => {
    const cwd = folderWith({ url: "http://127.0.0.1:9999", token: "dev-token" });
    assert.throws(
      () => findBox({ url: "https://elsewhere.example" }, stage({}, cwd)),
      /no token for https:\/\/elsewhere.example/,
    );
  });

  test("the command line beats the environment, a file named there beats a token set here", () => {
    const cwd = mkdtempSync(join(tmpdir(), "cib-box-"));
    writeFileSync(join(cwd, "secret"), "from-file\n");
    const env = { CIB_URL: "http://127.0.0.1:1", CIB_TOKEN: "from-env", CIB_AUTH_TOKEN: "master" };
    assert.deepEqual(findBox({}, stage(env)), { url: "http://127.0.0.1:1", token: "from-env" });
    assert.deepEqual(findBox({ url: "http://127.0.0.1:2/", "token-file": "secret" }, stage(env, cwd)), {
      url: "http://127.0.0.1:2",
      token: "from-file",
    });
    assert.equal(findBox({}, stage({ CIB_AUTH_TOKEN_FILE: join(cwd, "secret") })).token, "from-file");
  });

  test("an address with a token in it, or none at all, is refused", () => {
    for (const url of ["ftp://box", "box:8080", "http://user:pass@box", "http://box/?token=x", ""]) {
      assert.throws(() => findBox({ url }, stage({ CIB_TOKEN: "x" })), /url: expected/, url);
    }
  });

  test("an unencrypted way to another machine is pointed out", () => {
    const io = stage({ CIB_TOKEN: "x" });
    findBox({ url: "http://127.0.0.1:1" }, io);
    assert.equal(io.said.err, "");
    findBox({ url: "http://box.example" }, io);
    assert.match(io.said.err, /not encrypted/);
  });

  test("a token file that is not there is named", () => {
    assert.throws(() => findBox({ "token-file": "missing" }, stage({}, "/nowhere")), /cannot read missing \(ENOENT\)/);
  });
});

describe("a call", () => {
  test("carries the token in its header and gives the reply", async () => {
    await using box = await fakeBox(() => ({ body: { fine: true } }));
    assert.deepEqual(await call({ url: box.url, token: "secret" }, "POST", "/api/x", { a: 1 }), { fine: true });
    assert.deepEqual(box.asked, [{ method: "POST", url: "/api/x", token: "secret", body: { a: 1 } }]);
  });

  test("a refusal is told in the box's own words", async () => {
    await using box = await fakeBox(() => ({
      status: 403,
      body: { error: { code: "forbidden", message: "not yours", retryable: false } },
    }));
    await assert.rejects(call({ url: box.url, token: "x" }, "GET", "/api/x"), /^Failure: forbidden: not yours$/);
  });

  test("something else that answers there is told by its status", async () => {
    await using box = await fakeBox(() => ({ status: 404, body: "hello" }));
    await assert.rejects(call({ url: box.url, token: "x" }, "GET", "/api/x"), /HTTP 404/);
  });

  test("nobody there says so and what to look at", async () => {
    const box = await fakeBox(() => ({ body: {} }));
    await box[Symbol.asyncDispose]();
    await assert.rejects(
      call({ url: box.url, token: "x" }, "GET", "/"),
      /no box answers at .*ECONNREFUSED.*cib doctor/,
    );
  });
});
