/** Login and adopting, through the box: what a person does from a telephone, with real Claude Code behind it. */
import assert from "node:assert/strict";
import { existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { startModel } from "../../src/demo/model.ts";
import { startOAuth } from "../agent/oauth-server.ts";
import { TestBox } from "./box.ts";
import { ALL_VERSIONS, claudeCommand, JS_VERSION, offlineReason } from "./claude-versions.ts";

const TURN_MS = 30_000;

function* files(folder: string): Generator<string> {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (lstatSync(path).isDirectory()) yield* files(path);
    else if (lstatSync(path).isFile()) yield path;
  }
}

async function say(box: TestBox, session: unknown, text: string): Promise<string> {
  const { body } = await box.call("POST", `/api/sessions/${String(session)}/send`, { text, timeout_ms: TURN_MS });
  return JSON.stringify(body);
}

for (const version of ALL_VERSIONS) {
  describe(`the box with ${version}`, async () => {
    const skip = (await offlineReason(version)) ?? false;

    test("a login pays for the next session, outlives a restart and leaves no trace of itself", { skip }, async () => {
      await using server = await startOAuth();
      await using model = await startModel(({ last }) => ({ blocks: [{ text: `You said ${last}.\n` }] }));
      await using box = await TestBox.start({
        model: model.url,
        claude: await claudeCommand(version),
        env: { ...server.env, ANTHROPIC_API_KEY: "" },
      });
      const wish = { auth: { mode: "subscription" } };
      const early = await box.call("POST", "/api/sessions", wish);
      assert.equal(early.status, 409);
      assert.match(JSON.stringify(early.body), /\/api\/login/);
      assert.deepEqual((await box.call("GET", "/api/sessions")).body["sessions"], []);
      assert.equal((await box.call("GET", "/api/login")).body["logged_in"], false);
      assert.equal((await box.call("POST", "/api/login/code", { code: "too#early" })).status, 409);

      const { body: begun } = await box.call("POST", "/api/login");
      assert.equal(begun["state"], "waiting_for_code", JSON.stringify(begun));
      const code = server.approve(String(begun["url"]));
      const { body: done } = await box.call("POST", "/api/login/code", { code });
      assert.deepEqual([done["state"], done["logged_in"]], ["done", true], JSON.stringify(done));
      const token = server.tokens.at(-1) ?? assert.fail("no token");

      const created = await box.call("POST", "/api/sessions", wish);
      assert.equal(created.status, 201, JSON.stringify(created.body));
      assert.match(await say(box, created.body["session"], "hello"), /You said hello/);
      const paid = model.calls.filter(({ path }) => path.endsWith("/messages"));
      assert.ok(paid.length > 0);
      for (const { key, bearer } of paid) assert.deepEqual([key, bearer], [undefined, token]);
      const { body: page } = await box.call(
        "GET",
        `/api/sessions/${String(created.body["session"])}/frames?limit=1000`,
      );

      await box.end("SIGTERM");
      await box.start();
      assert.equal((await box.call("GET", "/api/login")).body["logged_in"], true);
      assert.equal(existsSync(join(box.data, "login.json")), version === JS_VERSION);
      await box.end("SIGTERM");
      const kept = [...files(box.data)].map((file) => readFileSync(file, "utf8"));
      for (const text of [JSON.stringify(page), box.printed.join("\n"), ...kept])
        for (const secret of [token, ...code.split("#")]) assert.equal(text.includes(secret), false);
    });

    test("a conversation of Claude's own is listed, adopted once, and copied", { skip }, async () => {
      await using model = await startModel(({ messages, last }) => ({
        blocks: [{ text: `${JSON.stringify(messages).includes("alpha") ? "knows" : "new"} ${last}\n` }],
      }));
      const folder = mkdtempSync(join(tmpdir(), "cib-adopt-"));
      try {
        const wish = { model: model.url, claude: await claudeCommand(version), folder };
        let id: string;
        {
          await using other = await TestBox.start(wish);
          id = String((await other.call("POST", "/api/sessions", {})).body["session"]);
          assert.match(await say(other, id, "remember alpha"), /knows remember alpha/);
        }
        // Another box on the same home knows nothing of that session: to it this is a conversation of Claude's own.
        await using box = await TestBox.start({ ...wish, env: { CIB_DATA: join(folder, "data2") } });
        const listed = (await box.call("GET", "/api/conversations")).body["conversations"] as Record<string, unknown>[];
        assert.deepEqual(
          listed.map((talk) => [talk["id"], talk["first_prompt"]]),
          [[id, "remember alpha"]],
        );
        const adopted = await box.call("POST", "/api/sessions", { adopt: id });
        assert.equal(adopted.status, 201, JSON.stringify(adopted.body));
        const path = `/api/sessions/${String(adopted.body["session"])}`;
        assert.match(await say(box, adopted.body["session"], "go on"), /knows go on/);
        const { body: page } = await box.call("GET", `${path}/frames?limit=1000`);
        assert.equal(JSON.stringify(page).includes("remember alpha"), false, "its past is not news");
        assert.deepEqual((await box.call("GET", "/api/conversations")).body["conversations"], []);
        assert.equal((await box.call("POST", "/api/sessions", { adopt: id })).status, 409);
        const copy = await box.call("POST", "/api/sessions", { adopt: id, copy: true });
        assert.equal(copy.status, 201, JSON.stringify(copy.body));
        assert.match(await say(box, copy.body["session"], "apart"), /knows apart/);
        const nobody = id.replace(/^./, id.startsWith("0") ? "1" : "0");
        assert.equal((await box.call("POST", "/api/sessions", { adopt: nobody })).status, 404);
      } finally {
        rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
      }
    });
  });
}
