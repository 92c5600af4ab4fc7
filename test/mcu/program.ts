/** A C program of mcu/ as a child: lines go in, lines of JSON come out, and what a sanitizer has to say fails the test. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { sessionText } from "../../src/frame/bytes.ts";
import type { SessionId } from "../../src/frame/frame.ts";
import { Inbox } from "../conformance/way.ts";

export type Told = Readonly<Record<string, unknown>>;

export class Program implements AsyncDisposable {
  /** Lines that nobody has read. */
  readonly #told = new Inbox<Told>();
  readonly #child: ChildProcess;
  readonly #over: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  #errors = "";
  #killed = false;

  constructor(path: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.#child = spawn(path, args, { env: { ...env }, stdio: ["pipe", "pipe", "pipe"] });
    const { stdin, stdout, stderr } = this.#child;
    assert.ok(stdin && stdout && stderr);
    // It may have ended by itself when a last word is written.
    stdin.on("error", () => undefined);
    stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#errors += text;
    });
    createInterface({ input: stdout }).on("line", (line) => {
      // One that was killed may have been in the middle of its last line.
      if (!this.#killed) this.hear(JSON.parse(line, plain) as Told);
    });
    this.#over = new Promise((resolve) => {
      this.#child.once("close", (code, signal) => {
        this.#told.end(new Error(`the program has ended: ${code ?? signal}\n${this.#errors}`));
        resolve({ code, signal });
      });
    });
  }

  /** Every line, as it comes; whoever takes this over has them instead of `next`. */
  hear: (told: Told) => void = (told) => this.#told.put(told);

  say(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  next(): Promise<Told> {
    return this.#told.take();
  }

  /** Ends it without a word. */
  kill(): void {
    this.#killed = true;
    this.#child.kill("SIGKILL");
  }

  /** When it is gone: its exit code. Throws what a sanitizer found. */
  async ended(): Promise<number | null> {
    const { code, signal } = await this.#over;
    if (this.#killed) return null;
    assert.equal(signal, null, this.#errors);
    assert.doesNotMatch(this.#errors, /Sanitizer|runtime error/);
    return code;
  }

  get errors(): string {
    return this.#errors;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.say("end");
    this.#child.stdin?.end();
    await this.ended();
  }
}

/** Byte strings come as {"$bytes":"<hex>"}: 16 of them under `session` are an id, as in every decoder of ours. */
function plain(key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("$bytes" in value)) return value;
  const bytes = Buffer.from(String(value.$bytes), "hex");
  return key === "session" && bytes.length === 16 ? sessionText(bytes) : new Uint8Array(bytes);
}

/** A session id as the programs take it. */
export function hexOf(session: string): string {
  return (session as SessionId).replaceAll("-", "");
}

/** A value in words (mcu/test/told.h). Undefined fields are left out; `session` ids become 16 bytes. */
export function words(value: unknown, key = ""): string {
  if (value === null || value === undefined) return "N";
  if (typeof value === "boolean") return value ? "T" : "F";
  if (typeof value === "number" || typeof value === "bigint")
    return value < 0 ? `n${-1n - BigInt(value)}` : `u${value}`;
  if (value instanceof Uint8Array) return `b${Buffer.from(value).toString("hex")}`;
  if (typeof value === "string")
    return key === "session" && /^[0-9a-f-]{36}$/.test(value)
      ? `b${hexOf(value)}`
      : `t${Buffer.from(value).toString("hex")}`;
  if (Array.isArray(value)) return [`[${value.length}`, ...value.map((item) => words(item))].join(" ");
  const entries = value instanceof Map ? [...value] : Object.entries(value).filter(([, item]) => item !== undefined);
  return [`{${entries.length}`, ...entries.flatMap(([name, item]) => [words(name), words(item, String(name))])].join(
    " ",
  );
}
