/** The demo, tested as a stranger runs it: the bundle, the real Claude Code, a scripted model, and nothing left behind. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { spawn as spawnTerminal } from "node-pty";
import { CLIENT_FILE } from "../../src/cli/box.ts";
import { pinnedClaude } from "../../src/cli/pinned.ts";

const BUNDLE = fileURLToPath(new URL("../../dist/cib.mjs", import.meta.url));
/** Claude Code starts in 0.6 s and the script takes 3 s; a busy two-core machine gets ten times that. */
const DEADLINE_MS = 60_000;
const skip =
  pinnedClaude() === undefined && process.env["CIB_REQUIRE_ALL"] !== "1" ? "no Claude Code for this platform" : false;

function wait(from: NodeJS.ReadableStream, pattern: RegExp): Promise<string> {
  let text = "";
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`never came: ${pattern}\n${text}`)), DEADLINE_MS);
    from.setEncoding("utf8");
    from.on("data", (chunk: string) => {
      text += chunk;
      if (!pattern.test(text)) return;
      clearTimeout(timer);
      resolve(text);
    });
    from.once("close", () => reject(new Error(`ended before ${pattern}\n${text}`)));
  });
}

/** What a person reads: Claude draws the space between two words by moving the cursor. */
function plain(screen: string): string {
  return screen.replace(/\x1b\[[\d;?<>=]*[A-Za-z]/g, "");
}

/** Processes that know this folder from their environment: the session's own, were one left behind. */
function processesIn(folder: string): string[] {
  return readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "latin1").includes(folder);
      } catch {
        return false;
      }
    });
}

function start(cwd: string): ChildProcess {
  return spawn(process.execPath, [BUNDLE, "serve", "--demo"], {
    cwd,
    env: {
      PATH: process.env["PATH"],
      HOME: cwd,
      CIB_LISTEN: "127.0.0.1:0",
      CIB_TCP_LISTEN: "off",
      CIB_MQTT_LISTEN: "off",
      CIB_MQTTS_LISTEN: "off",
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

test("serve --demo shows a session, can be attached to, and leaves nothing behind", {
  skip,
  timeout: 3 * DEADLINE_MS,
}, async (t) => {
  const cwd = mkdtempSync(join(tmpdir(), "cib-demo-"));
  const daemon = start(cwd);
  t.after(() => {
    daemon.kill("SIGKILL");
    rmSync(cwd, { recursive: true, force: true });
  });
  const { stdout } = daemon;
  assert.ok(stdout);
  const shown = await wait(stdout, /attach ([0-9a-f-]{36})/);
  for (const line of [
    /^ +\d+ {2}text +I will have a look/m,
    /tool +Bash {2}pwd/,
    /result +Bash /,
    /usage/,
    /stop +end_turn/,
  ])
    assert.match(shown, line);
  const [, session = ""] = /attach ([0-9a-f-]{36})/.exec(shown) ?? [];
  const left = join(cwd, ".cib/demo/data", CLIENT_FILE);
  assert.equal(statSync(left).mode & 0o777, 0o600);

  await t.test("the commands that it names work as typed", async () => {
    const { url, token } = JSON.parse(readFileSync(left, "utf8")) as { url: string; token: string };
    const response = await fetch(`${url}/api/sessions/${session}/frames`, {
      headers: { authorization: `Bearer ${token}` },
    });
    const { frames } = (await response.json()) as { frames: { seq: number }[] };
    assert.deepEqual(
      frames.map(({ seq }) => seq),
      Array.from(frames, (_, i) => i + 1),
    );
  });

  await t.test("attach shows its screen, types into it, leaves with ctrl-], and gives the terminal back", async () => {
    // No argument: beside serve --demo the address, the token and the only session are known.
    const terminal = spawnTerminal(process.execPath, [BUNDLE, "attach"], {
      cwd,
      env: { PATH: process.env["PATH"] ?? "", TERM: "xterm-256color" },
      cols: 100,
      rows: 30,
    });
    t.after(() => terminal.kill("SIGKILL"));
    const exited = new Promise<number>((resolve) => terminal.onExit(({ exitCode }) => resolve(exitCode)));
    let screen = "";
    const sees = (pattern: RegExp) =>
      new Promise<void>((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error(`never seen: ${pattern}\n${JSON.stringify(screen.slice(-2000))}`)),
          DEADLINE_MS,
        );
        const look = () => {
          if (!pattern.test(plain(screen))) return;
          clearTimeout(timer);
          resolve();
        };
        terminal.onData(look);
        look();
      });
    terminal.onData((text) => {
      screen += text;
    });
    await sees(/attached to/);
    await sees(/Everything *you *just *saw/);
    assert.doesNotMatch(plain(screen), /zebra/);
    terminal.write("zebra?");
    await sees(/zebra\?/);
    terminal.write("\x1d");
    assert.equal(await exited, 0);
    assert.match(screen, /\x1b\[\?1049l.*it goes on/s);
  });

  daemon.kill("SIGTERM");
  setTimeout(() => daemon.kill("SIGKILL"), DEADLINE_MS).unref();
  const [code] = (await once(daemon, "exit")) as [number | null];
  assert.equal(code, 0);
  assert.ok(!existsSync(left), "the token file is still there");
  assert.deepEqual(processesIn(cwd), []);
});
