/** cib login, tested. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { login } from "../../src/cli/login.ts";
import { type Asked, fakeBox, type Stage, stage } from "./stage.ts";

const STOP = new AbortController().signal;

function typing(url: string, line: string): Stage {
  return { ...stage({ CIB_URL: url, CIB_TOKEN: "master" }), line: async () => line };
}

function answers({ method, url }: Asked): { body: unknown } {
  if (url === "/api/login/code") return { body: { state: "done", logged_in: true, method: "claude.ai" } };
  if (method === "POST") return { body: { state: "waiting_for_code", url: "https://example.org/authorize?x=1" } };
  return { body: { state: "idle", logged_in: false } };
}

describe("cib login", () => {
  test("prints the page alone on standard output, asks for its code, and hands it over", async () => {
    await using box = await fakeBox(answers);
    const io = typing(box.url, " abc#def \n");
    assert.equal(await login([], io, STOP), 0);
    assert.equal(io.said.out, "https://example.org/authorize?x=1\n");
    assert.match(io.said.err, /Paste the code here: logged in \(claude\.ai\)\n$/);
    assert.deepEqual(box.asked.at(-1)?.body, { code: "abc#def" });
    assert.doesNotMatch(io.said.out + io.said.err, /abc/);
  });

  test("says why a login failed", async () => {
    await using box = await fakeBox((asked) =>
      asked.url === "/api/login/code" ? { body: { state: "failed", message: "wrong code\x1b[2J" } } : answers(asked),
    );
    await assert.rejects(login([], typing(box.url, "x"), STOP), /login failed: wrong code␛\[2J/);
  });

  test("with --status only asks, and its exit code tells", async () => {
    await using box = await fakeBox(answers);
    const io = typing(box.url, "");
    assert.equal(await login(["--status"], io, STOP), 1);
    assert.match(io.said.err, /not logged in/);
    assert.equal(box.asked.length, 1);
  });

  test("without a code does not finish, and a code as an argument is refused", async () => {
    await using box = await fakeBox(answers);
    await assert.rejects(login([], typing(box.url, "\n"), STOP), /no code/);
    await assert.rejects(login(["abc#def"], typing(box.url, ""), STOP), /others can read arguments/);
  });
});
