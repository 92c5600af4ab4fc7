/** Box: the daemon under measurement: the bundle as a child process, with real Claude Code or a program in its place. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { pinnedClaude } from "../src/cli/pinned.ts";
import { NodeSocket } from "../src/client/node-socket.ts";
import { type Model, type Script, startModel } from "../src/demo/model.ts";
import { decodeValue } from "../src/frame/codec.ts";
import type { Frame, PtyFrame } from "../src/frame/frame.ts";
import { frameOf } from "../src/frame/item.ts";
import { MASTER, TestBox } from "../test/e2e/box.ts";

/** What a measurement waits for comes within seconds, or something is broken. */
export const DEADLINE_MS = 60_000;
const POLL_MS = 50;

/** Real Claude Code as the checkout pins it, or CIB_BENCH_CLAUDE. */
export function claude(): readonly string[] {
  const command = process.env["CIB_BENCH_CLAUDE"]?.split(" ") ?? [pinnedClaude()].filter((path) => path !== undefined);
  if (command.length === 0) throw new Error("bench: no Claude Code in this checkout; set CIB_BENCH_CLAUDE");
  return command;
}

/** A box and the model behind it. */
export interface World extends AsyncDisposable {
  readonly box: TestBox;
  readonly model: Model;
}

export async function world(script: Script, env: Readonly<Record<string, string>> = {}): Promise<World> {
  const model = await startModel(script);
  const box = await TestBox.start({ model: model.url, claude: claude(), env });
  return {
    box,
    model,
    async [Symbol.asyncDispose]() {
      await box[Symbol.asyncDispose]();
      await model[Symbol.asyncDispose]();
    },
  };
}

/** A box whose sessions run a shell script; no model stands behind it. */
export async function boxWith(body: string): Promise<TestBox & AsyncDisposable> {
  const folder = mkdtempSync(join(tmpdir(), "cib-bench-"));
  const program = join(folder, "program");
  writeFileSync(program, `#!/bin/sh\n[ "$1" = --version ] && echo "2.1.197 (Claude Code)" && exit\n${body}\n`);
  chmodSync(program, 0o755);
  const box = await TestBox.start({ model: "http://127.0.0.1:9", claude: [program] });
  const end = box[Symbol.asyncDispose].bind(box);
  box[Symbol.asyncDispose] = async () => {
    await end();
    rmSync(folder, { recursive: true, force: true });
  };
  return box;
}

export async function create(box: TestBox, body: object = {}): Promise<string> {
  const reply = await box.call("POST", "/api/sessions", body);
  if (reply.status !== 201) throw new Error(`bench: no session: ${JSON.stringify(reply.body)}`);
  return String(reply.body["session"]);
}

/** Resolves when the session is in this state. */
export async function reach(box: TestBox, session: string, state: string): Promise<void> {
  const until = Date.now() + DEADLINE_MS;
  for (;;) {
    const { body } = await box.call("GET", `/api/sessions/${session}`);
    if (body["state"] === state) return;
    if (Date.now() > until) throw new Error(`bench: ${session} is ${String(body["state"])}, not ${state}`);
    await pause(POLL_MS);
  }
}

/** Sends one text and waits for the end of its turn, as the session itself counts turns. */
export async function send(box: TestBox, session: string, text: string): Promise<void> {
  const before = await turns(box, session);
  const reply = await box.call("POST", `/api/sessions/${session}/input`, { text });
  if (reply.status !== 200) throw new Error(`bench: input: ${JSON.stringify(reply.body)}`);
  const until = Date.now() + DEADLINE_MS;
  while ((await turns(box, session)) === before) {
    if (Date.now() > until) throw new Error(`bench: the turn of ${JSON.stringify(text)} did not end`);
    await pause(POLL_MS);
  }
  await reach(box, session, "idle");
}

async function turns(box: TestBox, session: string): Promise<number> {
  const { body } = await box.call("GET", `/api/sessions/${session}`);
  return (body["usage"] as { turns: number }).turns;
}

/** A CBOR WebSocket that follows a session. */
export class Follower implements Disposable {
  readonly #socket: NodeSocket;
  readonly opened: Promise<void>;

  /** `query`: session, from, pty, as /ws takes them. `frame` is called with the time of arrival. */
  constructor(box: TestBox, query: string, frame: (frame: Frame | PtyFrame, at: number) => void) {
    const protocols = ["cib.v1.cbor", `bearer.${MASTER}`];
    this.#socket = new NodeSocket(`${box.url.replace("http", "ws")}/ws?${query}`, protocols);
    this.opened = new Promise((done, fail) => {
      this.#socket.onclose = ({ code, reason }) => fail(new Error(`bench: socket closed: ${code} ${reason}`));
      this.#socket.onmessage = ({ data }) => {
        const at = performance.now();
        const bytes = data as Buffer;
        // A reply or the verdict is a map, a frame an array (major type 4).
        if ((bytes[0] ?? 0) >> 5 !== 4) return done();
        const decoded = frameOf(decodeValue(bytes));
        if (decoded !== undefined) frame(decoded, at);
      };
    });
    this.opened.catch(() => undefined);
  }

  send(message: Buffer): void {
    this.#socket.send(message);
  }

  [Symbol.dispose](): void {
    this.#socket.onclose = null;
    this.#socket.terminate();
  }
}
