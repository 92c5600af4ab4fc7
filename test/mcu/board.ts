/** Board: one of QEMU's STM32 with its firmware, its log line by line, its buttons, and its serial line on a bridge. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { MCU } from "./firmware.ts";

/** QEMU emulates slowly where others need the cores, too. */
const LINE_DEADLINE_MS = 60_000;
/** Lines that a failure shows. */
const SHOWN_LINES = 25;

export interface BoardOptions {
  readonly machine: "netduinoplus2" | "stm32vldiscovery";
  /** Name of a program of mcu/test/qemu, without ".elf". */
  readonly firmware: string;
  /** Words that the program finds on its command line; without spaces and commas. */
  readonly words: readonly string[];
  /** Where its USART2 connects to, on 127.0.0.1. */
  readonly port: number;
}

export class Board implements AsyncDisposable {
  readonly lines: string[] = [];
  readonly #qemu: ChildProcess;
  readonly #finger: Server;
  readonly #touch: Promise<Socket>;
  readonly #exit: Promise<number | null>;
  readonly #watchers = new Set<() => void>();
  #exited = false;
  #code: number | null = null;

  private constructor(finger: Server, options: BoardOptions) {
    this.#finger = finger;
    this.#touch = once(finger, "connection").then(([socket]: Socket[]) => {
      (socket as Socket).on("error", () => {});
      return socket as Socket;
    });
    this.#qemu = spawn("qemu-system-arm", arguments_(options, (finger.address() as { port: number }).port), {
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#exit = once(this.#qemu, "exit").then(([code]: (number | null)[]) => {
      this.#exited = true;
      this.#code = code ?? null;
      this.#told();
      return this.#code;
    });
    createInterface({ input: this.#qemu.stderr as NodeJS.ReadableStream }).on("line", (line) => {
      this.lines.push(line);
      this.#told();
    });
  }

  static async start(options: BoardOptions): Promise<Board> {
    const finger = createServer().listen(0, "127.0.0.1");
    await once(finger, "listening");
    return new Board(finger, options);
  }

  /** A byte to USART1: what the program takes for a button. */
  async touch(letter: string): Promise<void> {
    (await this.#touch).write(letter);
  }

  /** Waits until the lines satisfy; throws when the board has ended before, or it takes too long. */
  async until<T>(what: string, find: (lines: readonly string[]) => T | undefined): Promise<T> {
    const late = Date.now() + LINE_DEADLINE_MS;
    for (;;) {
      const found = find(this.lines);
      if (found !== undefined) return found;
      if (this.#exited || Date.now() > late)
        throw new Error(`the board has not come to ${what} (exit code ${this.#code}):\n${this.tail()}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, late + 1 - Date.now());
        const watchers = this.#watchers;
        function done(): void {
          clearTimeout(timer);
          watchers.delete(done);
          resolve();
        }
        watchers.add(done);
      });
    }
  }

  /** The first line that reads so from line `from` on. */
  line(text: string, from = 0): Promise<number> {
    return this.until(`"${text}"`, (lines) => {
      const at = lines.indexOf(text, from);
      return at < 0 ? undefined : at;
    });
  }

  /** The numbers of all lines "<word> <number>" so far. */
  numbers(word: string): number[] {
    return this.lines.filter((line) => line.startsWith(`${word} `)).map((line) => Number(line.slice(word.length + 1)));
  }

  /** Its exit code, once it has ended. */
  async exit(): Promise<number | null> {
    await this.until("its end", () => (this.#exited ? true : undefined));
    return this.#exit;
  }

  tail(): string {
    return this.lines.slice(-SHOWN_LINES).join("\n");
  }

  #told(): void {
    for (const watcher of this.#watchers) watcher();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#exited) this.#qemu.kill("SIGKILL");
    await this.#exit;
    void this.#touch.then((socket) => socket.destroy());
    this.#finger.close();
  }
}

/** Without reconnect QEMU connects both lines before the board starts, so that no first word is lost. */
function arguments_({ machine, firmware, words, port }: BoardOptions, finger: number): string[] {
  const semihosting = ["enable=on", "target=native", ...words.map((word) => `arg=${word}`)].join(",");
  return [
    ...["-M", machine, "-kernel", join(MCU, `build/qemu/${firmware}.elf`)],
    ...["-nographic", "-monitor", "none", "-nic", "none", "-semihosting-config", semihosting],
    ...["-chardev", `socket,id=finger,host=127.0.0.1,port=${finger}`, "-serial", "chardev:finger"],
    ...["-chardev", `socket,id=line,host=127.0.0.1,port=${port}`, "-serial", "chardev:line"],
  ];
}
