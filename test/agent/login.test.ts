/** Login: the real Claude Code of every version against a scripted OAuth server. */
import assert from "node:assert/strict";
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Login, type LoginOptions } from "../../src/agent/login.ts";
import { boxMarker, processesOf } from "../../src/agent/process-tree.ts";
import { ALL_VERSIONS, claudeCommand, JS_VERSION, offlineReason, PINNED } from "../e2e/claude-versions.ts";
import { needsRoot } from "../skip.ts";
import { type OAuthServer, startOAuth } from "./oauth-server.ts";

/** Between looks at processes: nothing tells when one that is not ours ends. */
const LOOK_MS = 50;

let server: OAuthServer;
before(async () => {
  server = await startOAuth();
});
after(() => server[Symbol.asyncDispose]());

interface Desk extends AsyncDisposable {
  readonly login: Login;
  readonly home: string;
  readonly box: string;
  /** What `keep` was given. */
  readonly kept: (string | undefined)[];
  readonly faults: unknown[];
}

async function desk(version: string, more: Partial<LoginOptions> = {}): Promise<Desk> {
  const home = mkdtempSync(join(tmpdir(), "cib-login-"));
  const box = `box-${home.slice(-6)}`;
  const kept: (string | undefined)[] = [];
  const faults: unknown[] = [];
  const login = new Login({
    command: await claudeCommand(version),
    box,
    home,
    token: () => kept.at(-1),
    keep: (token) => void kept.push(token),
    own: { PATH: process.env["PATH"], ...server.env },
    fault: (fault) => faults.push(fault),
    ...more,
  });
  return {
    login,
    home,
    box,
    kept,
    faults,
    async [Symbol.asyncDispose]() {
      await login[Symbol.asyncDispose]();
      rmSync(home, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

const url = (status: { readonly url?: string }): string => {
  assert.ok(status.url, JSON.stringify(status));
  return status.url;
};

for (const version of ALL_VERSIONS) {
  describe(`login with ${version}`, async () => {
    const skip = (await offlineReason(version)) ?? false;
    const js = version === JS_VERSION;

    test("goes from the URL to the code to a login that sessions find", { skip }, async () => {
      await using at = await desk(version);
      assert.deepEqual(await at.login.status(), { state: "idle", logged_in: false, method: "none" });
      assert.equal(await at.login.loggedIn(), false);
      const started = await at.login.start();
      assert.equal(started.state, "waiting_for_code");
      assert.deepEqual(await at.login.status(), started);
      const code = server.approve(url(started));
      const done = await at.login.code(code);
      assert.equal(done.state, "done", JSON.stringify(done));
      assert.equal(done.logged_in, true);
      assert.equal(done.method, js ? "oauth_token" : "claude.ai");
      assert.equal(await at.login.loggedIn(), true);
      if (js) assert.deepEqual(at.kept, [server.tokens.at(-1)]);
      else {
        assert.deepEqual(at.kept, [undefined]);
        const file = join(at.home, ".claude", ".credentials.json");
        assert.equal(statSync(file).mode & 0o777, 0o600);
        assert.ok(readFileSync(file, "utf8").includes(server.tokens.at(-1) ?? "-"));
      }
      assert.deepEqual(at.faults, []);
      assert.deepEqual(await processesOf(boxMarker(at.box), undefined), []);
      // Neither half of the code is left anywhere in the home.
      for (const half of code.split("#"))
        for (const file of files(at.home)) assert.equal(readFileSync(file, "utf8").includes(half), false, file);
    });

    test("tells a wrong code in Claude's words, without the code, and begins anew", { skip }, async () => {
      await using at = await desk(version);
      const first = await at.login.start();
      const wrong = `zzzz${server.approve(url(first)).slice(4)}`;
      const failed = await at.login.code(wrong);
      assert.equal(failed.state, "failed");
      assert.match(failed.message ?? "", /status code 400|wasn't accepted/);
      for (const half of wrong.split("#")) assert.equal(JSON.stringify(failed).includes(half), false);
      assert.equal(failed.logged_in, false);
      await assert.rejects(at.login.code(wrong), { code: "conflict" });
      assert.deepEqual(await processesOf(boxMarker(at.box), undefined), []);
      const second = await at.login.start();
      assert.notEqual(second.url, first.url);
      assert.equal((await at.login.code(server.approve(url(second)))).state, "done");
    });

    test("half a code is refused and the login still waits; a second start gets the same URL", { skip }, async () => {
      await using at = await desk(version);
      const [first, twin] = await Promise.all([at.login.start(), at.login.start()]);
      assert.deepEqual(twin, first);
      assert.deepEqual(await at.login.start(), first);
      const code = server.approve(url(first));
      await assert.rejects(at.login.code(code.split("#")[0] ?? ""), { code: "bad_request" });
      assert.equal((await at.login.status()).state, "waiting_for_code");
      assert.equal((await at.login.code(code)).state, "done");
    });

    test("a login after a login takes its place", { skip }, async () => {
      await using at = await desk(version);
      for (let turn = 0; turn < 2; turn++) {
        const done = await at.login.code(server.approve(url(await at.login.start())));
        assert.equal(done.state, "done", JSON.stringify(done));
        const kept = js ? at.kept.at(-1) : readFileSync(join(at.home, ".claude", ".credentials.json"), "utf8");
        assert.ok(kept?.includes(server.tokens.at(-1) ?? "-"));
      }
    });

    test("Claude killed meanwhile, a deadline and the box's end each leave a failed login and no process", {
      skip,
    }, async () => {
      await using at = await desk(version);
      await at.login.start();
      for (const pid of await processesOf(boxMarker(at.box), undefined)) process.kill(pid, "SIGKILL");
      await until(async () => (await at.login.status()).state === "failed");
      assert.match((await at.login.status()).message ?? "", /ended by signal/);

      await using hasty = await desk(version, { deadlineMs: 1 });
      await assert.rejects(hasty.login.start(), { code: "claude_failed", message: /in time/ });
      await until(async () => (await processesOf(boxMarker(hasty.box), undefined)).length === 0);

      await at.login.start();
      await at.login[Symbol.asyncDispose]();
      assert.deepEqual(await processesOf(boxMarker(at.box), undefined), []);
      await assert.rejects(at.login.start(), { code: "conflict" });
    });

    test("a server that fails is a failed login, not a login that waits", { skip }, async () => {
      await using at = await desk(version);
      const code = server.approve(url(await at.login.start()));
      server.refuse(500);
      try {
        const failed = await at.login.code(code);
        assert.equal(failed.state, "failed");
        assert.ok(failed.message);
      } finally {
        server.refuse(undefined);
      }
    });
  });
}

test("a login belongs to the sessions' user, and so does all that is made for it", needsRoot(), async () => {
  const user = { uid: 10_001, gid: 10_001 };
  for (const version of [PINNED, JS_VERSION]) {
    await using at = await desk(version, { user });
    chmodSync(at.home, 0o755);
    chownSync(at.home, user.uid, user.gid);
    const done = await at.login.code(server.approve(url(await at.login.start())));
    assert.equal(done.state, "done", JSON.stringify(done));
    assert.equal(done.logged_in, true);
    for (const file of files(at.home)) assert.equal(lstatSync(file).uid, user.uid, file);
  }
});

test("a login that would change nothing is refused with the reason", async () => {
  await using at = await desk(JS_VERSION, { command: ["/bin/false"], pointless: () => "the box has a token" });
  await assert.rejects(at.login.start(), { code: "conflict", message: /the box has a token/ });
});

test("a token that cannot be kept is a failed login", {
  skip: (await offlineReason(JS_VERSION)) ?? false,
}, async () => {
  await using at = await desk(JS_VERSION, {
    keep() {
      throw new Error("disk full");
    },
  });
  const failed = await at.login.code(server.approve(url(await at.login.start())));
  assert.equal(failed.state, "failed");
  assert.match(failed.message ?? "", /could not be kept/);
  assert.equal(at.faults.length, 1);
  assert.equal(JSON.stringify(failed).includes(server.tokens.at(-1) ?? "-"), false);
});

test("without Claude Code a login fails at once and says so", async () => {
  await using at = await desk(JS_VERSION, { command: ["/bin/false"] });
  await assert.rejects(at.login.start(), { code: "claude_failed" });
  assert.equal((await at.login.status()).state, "failed");
});

function files(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => join(folder, name))
    .filter((path) => existsSync(path) && statSync(path).isFile());
}

/** A process ends when the kernel says so: looked at until it has. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, "waited in vain");
    await pause(LOOK_MS);
  }
}
