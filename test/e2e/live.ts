/** Live: one device on a WebSocket: follows a session, sends commands, and can be cut off in the middle of one. */
import assert from "node:assert/strict";
import { once } from "node:events";
import WebSocket from "ws";
import type { Body, Frame, FrameBody } from "../../src/frame/frame.ts";
import { MASTER, type TestBox } from "./box.ts";

/** A loaded two-core machine may start 2.1.112 in ten seconds. */
const PATIENCE_MS = 45_000;

type Json = Record<string, unknown>;

export class Live implements Disposable {
  readonly frames: Frame[] = [];
  readonly #socket: WebSocket;
  readonly #replies = new Map<string, (reply: Json) => void>();
  readonly #checks = new Set<() => void>();
  #sent = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on("message", (data) => this.#take(JSON.parse(String(data)) as Json));
    socket.on("error", () => undefined);
  }

  /** Follows the session from its first frame on. */
  static async open(box: TestBox, session: string, token = MASTER): Promise<Live> {
    const url = `${box.url.replace("http", "ws")}/ws?session=${session}&from=1`;
    const live = new Live(new WebSocket(url, ["cib.v1.json", `bearer.${token}`]));
    await once(live.#socket, "open");
    return live;
  }

  /** Waits for what the frames since `from` show; `what` is for the failure message. */
  until<T>(find: (frames: readonly Frame[]) => T | undefined | false, what: string, from = 0): Promise<T> {
    return new Promise((done, fail) => {
      const check = (): void => {
        const found = find(this.frames.slice(from));
        if (found === undefined || found === false) return;
        clearTimeout(timer);
        this.#checks.delete(check);
        done(found);
      };
      const timer = setTimeout(() => {
        this.#checks.delete(check);
        fail(new Error(`waited in vain for ${what}; frames: ${JSON.stringify(this.frames.slice(-15)).slice(0, 3000)}`));
      }, PATIENCE_MS);
      this.#checks.add(check);
      check();
    });
  }

  /** The first frame of a type since `from` that fits. */
  next<T extends FrameBody["type"]>(
    type: T,
    fits: (frame: Body<T>) => boolean = () => true,
    from = 0,
  ): Promise<Frame & Body<T>> {
    return this.until(
      (frames) =>
        frames.find((frame): frame is Frame & Body<T> => frame.type === type && fits(frame as unknown as Body<T>)),
      type,
      from,
    );
  }

  /** At rest: the last status says so. */
  idle(from = 0): Promise<true> {
    return this.until(
      (frames) => {
        const last = frames.findLast((frame) => frame.type === "status");
        return last?.type === "status" && last.state === "idle" ? true : undefined;
      },
      "idle",
      from,
    );
  }

  /** One command and its reply, `ok` or not. */
  async run(command: Json): Promise<Json> {
    const id = String(command["id"] ?? `r${this.#sent++}`);
    const reply = new Promise<Json>((done) => this.#replies.set(id, done));
    this.#socket.send(JSON.stringify({ ...command, id }));
    return reply;
  }

  /** Sends a command and is cut off in the same breath. */
  async sendAndDie(command: Json): Promise<void> {
    await new Promise((sent) => this.#socket.send(JSON.stringify(command), sent));
    this.#socket.terminate();
  }

  [Symbol.dispose](): void {
    this.#socket.terminate();
  }

  #take(message: Json): void {
    if (typeof message["seq"] === "number" && typeof message["type"] === "string") {
      const frame = message as unknown as Frame;
      assert.equal(frame.seq, (this.frames.at(-1)?.seq ?? 0) + 1, "frames follow each other");
      this.frames.push(frame);
      for (const check of [...this.#checks]) check();
      return;
    }
    const re = message["re"];
    if (typeof re !== "string") return;
    this.#replies.get(re)?.(message);
    this.#replies.delete(re);
  }
}
