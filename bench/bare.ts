/** Bare: Claude Code alone in a terminal, with one hook of its own: what allowing a tool costs without the daemon. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { baseEnvironment } from "../src/agent/command.ts";
import { spawnPty } from "../src/agent/pty.ts";
import { seedConfig } from "../src/agent/seed.ts";
import { claude, DEADLINE_MS } from "./box.ts";

const KEY = "sk-ant-dummy-0123456789abcdefghijklmnop";
const ALLOW = JSON.stringify({
  hookSpecificOutput: { hookEventName: "PermissionRequest", decision: { behavior: "allow" } },
});
/** Claude has drawn its last word when the terminal rests this long. */
const REST_MS = 500;

export interface BareClaude extends AsyncDisposable {
  /** Types a prompt, waits for the permission it leads to and `readingMs` more, and allows it. Returns when that was, ms since 1970. */
  allow(prompt: string, readingMs: number): Promise<number>;
  /** Resolves when the terminal rests. */
  rest(): Promise<void>;
}

/** `model`: the scripted API it talks to. Every Bash call asks. */
export async function bareClaude(model: string): Promise<BareClaude> {
  const base = mkdtempSync(join(tmpdir(), "cib-bare-"));
  const folder = (name: string): string => {
    mkdirSync(join(base, name));
    return join(base, name);
  };
  let asked: (held: ServerResponse) => void = () => undefined;
  const server = createServer((req, res) => req.resume().once("end", () => asked(res)));
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const settings = join(base, "settings.json");
  const hooks = { PermissionRequest: [{ hooks: [{ type: "http", url, timeout: 600 }] }] };
  writeFileSync(settings, JSON.stringify({ hooks, allowedHttpHookUrls: ["*"], permissions: { ask: ["Bash"] } }));
  const config = folder("config");
  await seedConfig(config, KEY, undefined);

  let drawnAt = Date.now();
  const pty = spawnPty(
    {
      argv: [...claude(), "--model", "sonnet", "--settings", settings],
      env: { ...baseEnvironment(folder("home"), config), ANTHROPIC_BASE_URL: model, ANTHROPIC_API_KEY: KEY },
      cwd: folder("work"),
      cols: 120,
      rows: 40,
    },
    {
      data: () => {
        drawnAt = Date.now();
      },
      exit: () => undefined,
    },
  );
  const rest = async (): Promise<void> => {
    const late = Date.now() + DEADLINE_MS;
    while (Date.now() - drawnAt < REST_MS) {
      if (Date.now() > late) throw new Error("bench: Claude's terminal never rests");
      await pause(REST_MS / 10);
    }
  };
  await pause(REST_MS);
  await rest();
  return {
    rest,
    async allow(prompt, readingMs) {
      const held = new Promise<ServerResponse>((done, fail) => {
        const timer = setTimeout(() => fail(new Error("bench: Claude alone did not ask")), DEADLINE_MS);
        asked = (response) => {
          clearTimeout(timer);
          done(response);
        };
      });
      pty.write(`\x1b[200~${prompt}\x1b[201~`);
      await rest();
      pty.write("\r");
      const response = await held;
      await pause(readingMs);
      const at = performance.timeOrigin + performance.now();
      response.writeHead(200, { "content-type": "application/json" }).end(ALLOW);
      return at;
    },
    async [Symbol.asyncDispose]() {
      process.kill(pty.pid, "SIGKILL");
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
      rmSync(base, { recursive: true, force: true, maxRetries: 10 });
    },
  };
}
