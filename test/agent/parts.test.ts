import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { AgentSpec } from "../../src/agent/agent.ts";
import { environment } from "../../src/agent/command.ts";
import { MAX_HOOK_BYTES, startInbox } from "../../src/agent/hook-inbox.ts";
import { boxMarker, endTree, processesOf, sessionMarker, sweep } from "../../src/agent/process-tree.ts";
import { side } from "../../src/agent/pty.ts";
import { readTitle, TitleScanner } from "../../src/agent/status.ts";
import { compare, rowFor, VERSIONS } from "../../src/agent/versions.ts";

describe("the hook inbox", () => {
  const post = (url: string, body: string): Promise<Response> => fetch(url, { method: "POST", body });

  it("hands a call to the session of its token and answers {} at once", async () => {
    await using inbox = await startInbox();
    const calls: [string, unknown][] = [];
    using lease = inbox.open((event, body) => {
      calls.push([event, body]);
      return {};
    });
    const reply = await post(lease.url("Stop"), '{"a":1}');
    assert.equal(reply.status, 200);
    assert.deepEqual(await reply.json(), {});
    assert.deepEqual(calls, [["Stop", { a: 1 }]]);
  });

  it("knows no other token, no closed one, no other method, no nonsense", async () => {
    await using inbox = await startInbox();
    const calls: string[] = [];
    const lease = inbox.open((event) => {
      calls.push(event);
      return {};
    });
    const url = lease.url("Stop");
    assert.equal((await post(url.replace(/[0-9a-f]{32}/, "0".repeat(32)), "{}")).status, 404);
    assert.equal((await fetch(url)).status, 404);
    assert.equal((await post(url, "no json")).status, 400);
    assert.equal((await post(url, "[]")).status, 400);
    lease[Symbol.dispose]();
    assert.equal((await post(url, "{}")).status, 404);
    assert.equal(inbox.refused, 5);
    assert.deepEqual(calls, []);
  });

  it("refuses a body above its limit without keeping it", async () => {
    await using inbox = await startInbox();
    using lease = inbox.open(() => assert.fail("too long to be heard"));
    const status = await post(lease.url("Stop"), `"${"x".repeat(MAX_HOOK_BYTES)}"`).then(
      (r) => r.status,
      () => 413,
    );
    assert.equal(status, 413);
  });
});

describe("titles", () => {
  it("are found wherever the bytes are cut", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(80)), (cuts) => {
        const bytes = Buffer.from("\x1b[2Jtext\x1b]0;✳ Über 🙂\x07more\x1b]2;⠂ Busy\x1b\\\x1b]8;;link\x07");
        const got: string[] = [];
        const scanner = new TitleScanner();
        let from = 0;
        for (const to of [...cuts.filter((c) => c < bytes.length).sort((a, b) => a - b), bytes.length]) {
          scanner.push(bytes.subarray(from, to), (title) => got.push(title));
          from = to;
        }
        assert.deepEqual(got, ["✳ Über 🙂", "⠂ Busy"]);
      }),
    );
  });

  it("tell idle by their sign, and busy by any other", () => {
    assert.deepEqual(readTitle("✳ Claude Code"), { state: "idle", text: "Claude Code" });
    assert.deepEqual(readTitle("◐ Work"), { state: "busy", text: "Work" });
    assert.equal(readTitle("vim file"), undefined);
    assert.equal(readTitle(""), undefined);
  });
});

describe("versions", () => {
  it("are ordered by number, and an unknown one is treated as the newest it is not older than", () => {
    assert.ok(compare("2.1.112", "2.1.97") > 0);
    assert.equal(rowFor("2.1.197").note, undefined);
    assert.equal(rowFor("2.1.250").row.version, "2.1.197");
    assert.match(rowFor("2.1.250").note ?? "", /2\.1\.250.*2\.1\.197/);
    assert.equal(rowFor("9.0.0").row.version, VERSIONS.at(-1)?.version);
    assert.equal(rowFor("1.0.0").row.version, VERSIONS[0]?.version);
  });
});

it("a terminal is never smaller than 2 nor larger than 1000", () => {
  assert.deepEqual([0, -5, Number.NaN, 1, 80.9, 5000].map(side), [2, 2, 2, 2, 80, 1000]);
});

describe("the environment of a session", () => {
  const spec = {
    session: "s",
    configDir: "/c",
    home: "/h",
    credential: { mode: "api_key", key: "k" },
    env: { LD_PRELOAD: "/evil.so", CIB_SESSION: "forged", CLAUDE_CONFIG_DIR: "/elsewhere", MINE: "1" },
  } as unknown as AgentSpec;
  const own = {
    PATH: "/bin",
    CIB_AUTH_TOKEN: "secret",
    ANTHROPIC_API_KEY: "daemon's",
    LANG: "de_DE.UTF-8",
    NODE_OPTIONS: "--x",
  };

  it("is built: nothing of the daemon's but what the machine needs, and markers that the creator cannot set", () => {
    const env = environment(spec, "box", own);
    assert.equal(env["CIB_AUTH_TOKEN"], undefined);
    assert.equal(env["NODE_OPTIONS"], undefined);
    assert.equal(env["ANTHROPIC_API_KEY"], "k");
    assert.equal(env["LANG"], "de_DE.UTF-8");
    assert.equal(env["CIB_SESSION"], "s");
    assert.equal(env["CIB_BOX"], "box");
    assert.equal(env["CLAUDE_CONFIG_DIR"], "/c");
    assert.equal(env["MINE"], "1");
  });

  it("does not steer the loader of the program that changes the user", () => {
    assert.equal(environment({ ...spec, user: { uid: 1, gid: 1 } }, "box", own)["LD_PRELOAD"], undefined);
  });
});

describe("a process tree", () => {
  const child = async (env: Record<string, string>, script: string): Promise<ChildProcess> => {
    const started = spawn("/bin/sh", ["-c", script], {
      env: { PATH: process.env["PATH"] ?? "", ...env },
      stdio: ["ignore", "pipe", "ignore"],
    });
    await once(started.stdout, "data");
    return started;
  };

  it("is found by marker where its parents are gone, and ended", async () => {
    const marker = sessionMarker(`test-${process.pid}-a`);
    const parent = await child({ CIB_SESSION: marker.value }, "setsid sleep 300 & echo on; wait");
    parent.kill("SIGKILL");
    await once(parent, "exit");
    assert.ok((await processesOf(marker, undefined)).length >= 1);
    assert.deepEqual(await endTree(marker, undefined, "term"), []);
    assert.deepEqual(await processesOf(marker, undefined), []);
  });

  it("is found by descent where its environment is gone, and ended although it ignores TERM", async () => {
    const parent = await child({}, "trap '' TERM; env -i sleep 300 & echo on; wait; wait");
    const marker = sessionMarker(`test-${process.pid}-b`);
    const pid = parent.pid ?? 0;
    assert.ok((await processesOf(marker, pid)).length >= 2);
    assert.deepEqual(await endTree(marker, pid, "kill"), []);
  });

  it("of an earlier daemon is swept by the box's name, and no other box's", async () => {
    const [mine, other] = [`box-${process.pid}-1`, `box-${process.pid}-11`];
    const ours = await child({ CIB_BOX: mine }, "echo on; sleep 300");
    const theirs = await child({ CIB_BOX: other }, "echo on; sleep 300");
    const gone = once(ours, "exit");
    assert.deepEqual(await sweep(mine), []);
    await gone;
    assert.ok((await processesOf(boxMarker(other), undefined)).includes(theirs.pid ?? 0));
    await sweep(other);
  });
});
