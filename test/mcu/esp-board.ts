/** An ESP32 that is a program of this machine: an ESP-IDF example against its stand-in (mcu/test/shim/idf), with its pins, its log and its flash. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

const DEADLINE_MS = 30_000;

export interface Settings {
  /** Port of the box on 127.0.0.1. */
  readonly port: number;
  /** "<16 hex digits>:<64 hex digits>". */
  readonly key: string;
  readonly session: string;
  /** The file that is its flash. */
  readonly flash: string;
  /** How long a question must have been on show before a press counts; 0. */
  readonly seenMs?: number;
}

export class EspBoard implements AsyncDisposable {
  /** Everything it said: its log, and "gpio <pin> <level>" for each pin that it moved. */
  readonly lines: string[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #waiting = new Set<() => void>();

  constructor(program: string, settings: Settings) {
    this.#child = spawn(program, [], {
      env: {
        CIB_SHIM_FLASH: settings.flash,
        CIB_SHIM_CONFIG_STATION_SSID: "a network",
        CIB_SHIM_CONFIG_BOX_HOST: "127.0.0.1",
        CIB_SHIM_CONFIG_BOX_PORT: `${settings.port}`,
        CIB_SHIM_CONFIG_BOX_DEVICE_KEY: settings.key,
        CIB_SHIM_CONFIG_BOX_SESSION: settings.session,
        CIB_SHIM_CONFIG_DESK_SEEN_MS: `${settings.seenMs ?? 0}`,
      },
      stdio: ["pipe", "pipe", "pipe"],
    });
    const { stdin, stdout, stderr } = this.#child;
    if (stdin === null || stdout === null || stderr === null) throw new Error("spawn gave no pipes");
    stdin.on("error", () => {});
    for (const from of [stdout, stderr]) createInterface(from).on("line", this.#take);
    this.#ended = once(this.#child, "close").then(() => this.#tell());
  }

  readonly #take = (line: string): void => {
    this.lines.push(line);
    this.#tell();
  };

  #tell(): void {
    for (const look of this.#waiting) look();
  }

  /** Moves a wire, or takes the Wi-Fi away: "gpio 1 0", "wifi down". */
  say(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Its next line from `from` on that fits; the number of the line behind it. */
  async said(fits: RegExp, from = 0): Promise<number> {
    return await new Promise((resolve, reject) => {
      const settle = (then: () => void): void => {
        clearTimeout(deadline);
        this.#waiting.delete(look);
        then();
      };
      const fail = (why: string): void =>
        settle(() => reject(new Error(`${why} without ${fits} from line ${from}:\n${this.lines.join("\n")}`)));
      const look = (): void => {
        const at = this.lines.findIndex((line, index) => index >= from && fits.test(line));
        if (at >= 0) settle(() => resolve(at + 1));
        else if (this.#child.exitCode !== null) fail(`it ended with ${this.#child.exitCode}`);
      };
      const deadline = setTimeout(() => fail(`${DEADLINE_MS} ms went by`), DEADLINE_MS);
      this.#waiting.add(look);
      look();
    });
  }

  /** Cuts its power: its exit code, which is not 0 where a sanitizer has found something. */
  async cut(): Promise<number | null> {
    const deadline = setTimeout(() => this.#child.kill("SIGKILL"), DEADLINE_MS);
    this.#child.stdin?.end();
    await this.#ended;
    clearTimeout(deadline);
    return this.#child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }
}
