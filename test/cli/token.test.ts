/** cib token, tested. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { token } from "../../src/cli/token.ts";
import { fakeBox, stage } from "./stage.ts";

describe("cib token", () => {
  test("create prints the token alone, so that a script can take it", async () => {
    await using box = await fakeBox(() => ({
      status: 201,
      body: { id: "0011", label: "phone", token: "cib_0011_secret" },
    }));
    const io = stage({ CIB_URL: box.url, CIB_TOKEN: "master" });
    assert.equal(await token(["create", "phone", "--scopes", "sessions:read,sessions:input", "--ttl", "30d"], io), 0);
    assert.equal(io.said.out, "cib_0011_secret\n");
    assert.match(io.said.err, /token 0011 for phone.*shown this once\n.*sessions:input permits whatever/s);
    assert.deepEqual(box.asked, [
      {
        method: "POST",
        url: "/api/tokens",
        token: "master",
        body: { label: "phone", scopes: ["sessions:read", "sessions:input"], ttl_s: 30 * 86_400 },
      },
    ]);
  });

  test("create --device prints the line that a device's settings take, and asks for X25519 where it is told to", async () => {
    const key = { id: "00112233445566aa", secret: "ab".repeat(32) };
    await using box = await fakeBox(() => ({ status: 201, body: { id: "0011", token: "t", key } }));
    const io = stage({ CIB_URL: box.url, CIB_TOKEN: "master" });
    assert.equal(await token(["create", "clock", "--device", "--x25519"], io), 0);
    assert.equal(io.said.out, `CIB_DEVICE_KEY=${key.id}:${key.secret}\n`);
    assert.match(io.said.err, /^device key of token 0011 for clock, .*shown this once/);
    assert.deepEqual(box.asked[0]?.body, { label: "clock", scopes: ["sessions:read"], device: true, x25519: true });
  });

  test("list shows who, since when, until when and for what", async () => {
    const tokens = [
      { id: "01", label: "wall\x1b[2J", scopes: ["sessions:read"], created_at: 0 },
      { id: "02", label: "phone", scopes: ["pty:read"], sessions: ["s1"], created_at: 0, expires_at: 86_400_000 },
    ];
    await using box = await fakeBox(() => ({ body: { tokens } }));
    const io = stage({ CIB_URL: box.url, CIB_TOKEN: "master" });
    assert.equal(await token(["list"], io), 0);
    assert.equal(
      io.said.out,
      "01  wall␛[2J  since 1970-01-01 00:00  no end  sessions:read\n02  phone  since 1970-01-01 00:00  until 1970-01-02 00:00  pty:read  only s1\n",
    );
  });

  test("revoke names the token in the path, whatever it holds", async () => {
    await using box = await fakeBox(() => ({ body: {} }));
    assert.equal(await token(["revoke", "a/b"], stage({ CIB_URL: box.url, CIB_TOKEN: "master" })), 0);
    assert.deepEqual(box.asked[0], { method: "DELETE", url: "/api/tokens/a%2Fb", token: "master", body: undefined });
  });

  for (const [args, message] of [
    [[], /expected create, list or revoke, got nothing/],
    [["make"], /got "make"/],
    [["create"], /expected a label/],
    [["revoke"], /expected the token's id/],
    [["list", "all"], /takes no name/],
    [["create", "a", "b"], /what to do with "b"/],
    [["create", "a", "--ttl", "soon"], /ttl: expected/],
    [["create", "a", "--x25519"], /--x25519 goes with --device/],
    [["create", "a", "--nonsense"], /Unknown option/],
  ] as const) {
    test(`"token ${args.join(" ")}" is refused with a reason`, async () => {
      await assert.rejects(token(args, stage({ CIB_TOKEN: "x", CIB_URL: "http://127.0.0.1:1" })), message);
    });
  }
});
