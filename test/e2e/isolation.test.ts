/** Isolation: what a session can reach when Claude, or what it runs, is turned against the box. Asked from inside a real session. */
import assert from "node:assert/strict";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startModel } from "../../src/demo/model.ts";
import type { Frame } from "../../src/frame/frame.ts";
import { needsRoot } from "../skip.ts";
import { MASTER, TestBox } from "./box.ts";

/** A uid that no package of Debian uses. */
const UID = 10_001;
const SECRET = "sk-ant-dummy-of-the-other-mode-0000000000000";

/** Runs one shell command in a session and returns what it printed. */
async function inside(
  folder: string,
  env: Readonly<Record<string, string>>,
  command: (box: TestBox) => string,
): Promise<{ out: string; health: Record<string, unknown>; folder: string }> {
  let box: TestBox | undefined;
  await using model = await startModel(({ last }) =>
    last.includes("look around") && box !== undefined
      ? { blocks: [{ tool: "Bash", input: { command: command(box), description: "look around" } }] }
      : { blocks: [{ text: "Seen.\n" }] },
  );
  await using running = await TestBox.start({
    model: model.url,
    folder,
    env: { CLAUDE_CODE_OAUTH_TOKEN: SECRET, CIB_CANARY: "canary-of-the-daemon", ...env },
  });
  box = running;
  const { body: health } = await running.call("GET", "/api/health");
  const { body } = await running.call("POST", "/api/sessions", { auth: { mode: "api_key" }, env: { MINE: "yes" } });
  const path = `/api/sessions/${String(body["session"])}`;
  const { status, body: reply } = await running.call("POST", `${path}/send`, {
    text: "look around",
    timeout_ms: 60_000,
  });
  assert.equal(status, 200, JSON.stringify(reply));
  const page = await running.call("GET", `${path}/frames?types=tool.use.result,error`);
  const results = (page.body["frames"] as Frame[]).filter((frame) => frame.type === "tool.use.result");
  assert.equal(results.length, 1, JSON.stringify(page.body));
  return { out: JSON.stringify(results[0]), health, folder: running.folder };
}

/** Its own and its parents' environment and command lines, and all that it may find of the daemon's. */
function probe({ pid, data }: TestBox): string {
  return [
    "cat /proc/self/environ /proc/$PPID/environ /proc/$PPID/cmdline | tr '\\0' '\\n'",
    `echo; echo ENVIRON $(head -c 40 /proc/${pid}/environ 2>&1 | tr '\\0' ' ')`,
    `echo FD $(ls /proc/${pid}/fd 2>&1 | head -1)`,
    `echo MEM $(head -c 1 /proc/${pid}/mem 2>&1 | tr '\\0' ' ')`,
    `echo DATA $(ls ${data} 2>&1 | head -1)`,
    `echo TOKENS $(cat ${data}/box.json 2>&1)`,
    `echo WRITE $(touch ${data}/x 2>&1 || true)`,
    `kill -0 ${pid} 2>&1 | sed 's/.*permitted.*/KILL refused/'`,
    "grep -E 'NoNewPrivs|CapEff' /proc/self/status",
  ].join("; ");
}

function scratch(uid: number | undefined): string {
  const folder = mkdtempSync(join(tmpdir(), "cib-isolation-"));
  chmodSync(folder, 0o711);
  mkdirSync(join(folder, "workspace"));
  if (uid !== undefined) chownSync(join(folder, "workspace"), uid, uid);
  return folder;
}

test("a session under its own uid reads nothing of the daemon's", needsRoot(), async () => {
  const folder = scratch(UID);
  try {
    const { out, health } = await inside(folder, { CIB_SESSION_UID: String(UID) }, probe);
    assert.equal(health["isolation"], "uid");
    for (const word of ["ENVIRON", "FD", "MEM", "DATA", "TOKENS", "WRITE"]) {
      assert.match(out, new RegExp(`${word}[^\\n]*?(Permission denied|not permitted)`), word);
    }
    assert.match(out, /KILL refused/);
    assert.match(out, /NoNewPrivs:(\\t|\s)*1/);
    assert.match(out, /CapEff:(\\t|\s)*0000000000000000/);
    checkClean(out);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("without an own uid the box says isolation none, and environment and arguments are clean all the same", async () => {
  const folder = scratch(undefined);
  try {
    const { out, health } = await inside(
      folder,
      {},
      (box) => `cat /proc/self/environ /proc/$PPID/environ /proc/$PPID/cmdline | tr '\\0' '\\n'; ls ${box.data}`,
    );
    assert.equal(health["isolation"], "none");
    assert.match(out, /ledger\.jsonl/); // honest: here the data folder is within reach
    checkClean(out);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

function checkClean(out: string): void {
  assert.match(out, /MINE=yes/);
  for (const secret of [MASTER, SECRET, "canary-of-the-daemon", "CIB_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"])
    assert.equal(out.includes(secret), false, secret);
  // The session's own key is in its environment, where Claude needs it, and never among arguments or settings.
  assert.equal(/--settings[^"]*\{/.test(out), false);
}
