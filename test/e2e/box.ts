/** A real box for tests: the bundle as a child process, real Claude Code in it, a scripted model behind. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { pinnedClaude } from "../../src/cli/pinned.ts";
import { freePort } from "../free-port.ts";

const BUNDLE = fileURLToPath(new URL("../../dist/cib.mjs", import.meta.url));
export const MASTER = "test-master-token-of-at-least-32-characters";
/** Passes the seeded approval; no real key looks like it. */
const DUMMY_KEY = "sk-ant-dummy-000000000000000000000000000000";
/** A start with many sessions to resume on a loaded two-core machine. */
const START_DEADLINE_MS = 60_000;

export interface BoxWish {
  /** The scripted model's address. */
  readonly model: string;
  readonly claude?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Keep data here instead of in a scratch folder. */
  readonly folder?: string;
  readonly port?: number;
}

/** A running daemon. Disposing it ends it and removes its scratch folder. */
export class TestBox implements AsyncDisposable {
  readonly folder: string;
  readonly #wish: BoxWish;
  #child: ChildProcess | undefined;
  #port: number;
  /** What the daemon printed, for a failing test. */
  readonly printed: string[] = [];

  private constructor(wish: BoxWish) {
    this.#wish = wish;
    this.#port = wish.port ?? 0;
    this.folder = wish.folder ?? mkdtempSync(join(tmpdir(), "cib-box-"));
    mkdirSync(join(this.folder, "workspace"), { recursive: true });
  }

  static async start(wish: BoxWish): Promise<TestBox> {
    // A port found beforehand: one that the kernel chose for the daemon could not be taken again while old connections linger.
    const box = new TestBox({ ...wish, port: wish.port ?? (await freePort()) });
    await box.start();
    return box;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get pid(): number {
    assert.ok(this.#child?.pid);
    return this.#child.pid;
  }

  get data(): string {
    return join(this.folder, "data");
  }

  /** Starts (again) on the same port and resolves when it listens. */
  async start(env: Readonly<Record<string, string>> = {}): Promise<void> {
    const child = spawn(process.execPath, [BUNDLE, "serve"], {
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        PATH: process.env["PATH"] ?? "",
        CIB_AUTH_TOKEN: MASTER,
        CIB_LISTEN: `127.0.0.1:${this.#port}`,
        CIB_TCP_LISTEN: "off",
        CIB_MQTT_LISTEN: "off",
        CIB_MQTTS_LISTEN: "off",
        CIB_DATA: this.data,
        CIB_WORKSPACE: join(this.folder, "workspace"),
        CIB_HOME: join(this.folder, "home"),
        ANTHROPIC_BASE_URL: this.#wish.model,
        ANTHROPIC_API_KEY: DUMMY_KEY,
        CIB_CLAUDE: (this.#wish.claude ?? [pinnedClaude() ?? "claude"]).join(" "),
        ...this.#wish.env,
        ...env,
      },
    });
    this.#child = child;
    const listening = new Promise<void>((done, fail) => {
      const timer = setTimeout(
        () => fail(new Error(`the daemon did not listen:\n${this.printed.join("\n")}`)),
        START_DEADLINE_MS,
      );
      child.once("exit", (code) => fail(new Error(`the daemon ended with ${code}:\n${this.printed.join("\n")}`)));
      for (const stream of [child.stdout, child.stderr]) {
        createInterface({ input: stream as NonNullable<typeof stream> }).on("line", (line) => {
          this.printed.push(line.slice(0, 300));
          const port = /listens on https?:\/\/[^ ]*:(\d+)/.exec(line)?.[1];
          if (port === undefined) return;
          this.#port = Number(port);
          clearTimeout(timer);
          done();
        });
      }
    });
    await listening;
  }

  /** Ends the daemon; resolves when it is gone. */
  async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
    this.#child = undefined;
  }

  /** One REST call; the parsed body with its status. */
  async call(
    method: string,
    path: string,
    body?: unknown,
    token = MASTER,
  ): Promise<{ status: number; body: Record<string, unknown> }> {
    const response = await fetch(this.url + path, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { "content-type": "application/json" }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end("SIGTERM");
    if (this.#wish.folder === undefined) rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
