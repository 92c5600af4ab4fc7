/** Child: another process of a measurement, which says one line when it is ready and ends with its owner. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
/** A child that says nothing for this long is not going to: the slowest opens 500 connections. */
const READY_DEADLINE_MS = 60_000;

export class Child implements AsyncDisposable {
  readonly process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess) {
    this.process = child;
    this.#lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  }

  /** JavaScript run as it is, with nothing else loaded: what a footprint can be compared with. */
  static script(code: string): Child {
    return new Child(spawn(process.execPath, ["-e", code], { cwd: ROOT, stdio: ["pipe", "pipe", "inherit"] }));
  }

  /** A TypeScript file of bench/. */
  static file(name: string, args: readonly string[]): Child {
    const argv = ["--import", "tsx", `bench/${name}`, ...args];
    return new Child(spawn(process.execPath, argv, { cwd: ROOT, stdio: ["pipe", "pipe", "inherit"] }));
  }

  get pid(): number {
    const { pid } = this.process;
    if (pid === undefined) throw new Error("child: did not start");
    return pid;
  }

  /** The next line it prints, as JSON. Rejects when it ends or stays silent. */
  async line<T>(): Promise<T> {
    const late = AbortSignal.timeout(READY_DEADLINE_MS);
    const silence = new Promise<never>((_, fail) =>
      late.addEventListener("abort", () => fail(new Error("child: no answer in time")), { once: true }),
    );
    const { value, done } = await Promise.race([this.#lines.next(), silence]);
    if (done === true) throw new Error("child: ended without an answer");
    return JSON.parse(value) as T;
  }

  say(value: unknown): void {
    this.process.stdin?.write(`${JSON.stringify(value)}\n`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const gone = once(this.process, "exit");
    this.process.kill("SIGKILL");
    await gone;
  }
}

/** uWebSockets.js and nothing else: a WebSocket on every path, no subprotocol asked. Prints its port. */
export const BARE_UWS = `
  const uWS = require("uWebSockets.js");
  uWS.App().ws("/*", { idleTimeout: 120, sendPingsAutomatically: true }).any("/*", (res) => res.end("ok"))
    .listen("127.0.0.1", 0, (socket) => console.log(uWS.us_socket_local_port(socket)));
`;
/** A Node that waits. */
export const EMPTY_NODE = `setInterval(() => {}, 2 ** 30); console.log(0);`;
