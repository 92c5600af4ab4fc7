/** A watcher: follows a session over WebSocket by docs/PROTOCOL.md alone, and is unforgiving: every frame must be the next one. */
import assert from "node:assert/strict";
import { decode } from "cborg";
import WebSocket from "ws";
import { type FrameTypeName, sessionId } from "../../src/frame/frame.ts";
import { TYPES } from "../../src/frame/registry.ts";
import { MASTER } from "./box.ts";

/** One frame as far as the watcher understands it. */
export interface Seen {
  readonly seq: number;
  readonly type: FrameTypeName;
  /** The frame's own bytes, to compare what different clients saw. */
  readonly body: string;
}

interface Verdict {
  readonly verdict: "ok" | "gap" | "ahead";
  readonly epoch: number;
  readonly from: number;
  readonly last: number;
}

const NAMES = new Map(Object.entries(TYPES).map(([name, { number }]) => [number as number, name as FrameTypeName]));

export class Watcher implements Disposable {
  readonly frames: Seen[] = [];
  readonly verdicts: Verdict[] = [];
  /** What went wrong; checked by the test. */
  readonly faults: string[] = [];
  readonly #session: string;
  readonly #format: "json" | "cbor";
  readonly #onFrame: (frame: Seen) => void;
  #socket: WebSocket | undefined;
  #epoch: number | undefined;
  #first = true;

  constructor(session: string, format: "json" | "cbor", onFrame: (frame: Seen) => void) {
    assert.ok(sessionId(session));
    this.#session = session;
    this.#format = format;
    this.#onFrame = onFrame;
  }

  get next(): number {
    return (this.frames.at(-1)?.seq ?? 0) + 1;
  }

  /** Connects to the box at `url` and goes on where it was. */
  connect(url: string): void {
    this.#socket?.terminate();
    const epoch = this.#epoch === undefined ? "" : `&epoch=${this.#epoch}`;
    const socket = new WebSocket(`${url.replace("http", "ws")}/ws?session=${this.#session}&from=${this.next}${epoch}`, [
      `cib.v1.${this.#format}`,
      `bearer.${MASTER}`,
    ]);
    this.#socket = socket;
    this.#first = true;
    socket.on("message", (data, binary) => {
      if (this.#socket !== socket) return;
      if (binary !== (this.#format === "cbor")) this.faults.push("a message of the other kind");
      this.#message(this.#format === "cbor" ? decode(data as Buffer, { useMaps: true }) : JSON.parse(String(data)));
    });
    // A killed daemon is what the test is about.
    socket.on("error", () => undefined);
  }

  [Symbol.dispose](): void {
    this.#socket?.terminate();
    this.#socket = undefined;
  }

  #message(message: unknown): void {
    const get = (key: string): unknown =>
      message instanceof Map ? message.get(key) : (message as Record<string, unknown>)[key];
    if (Array.isArray(message)) {
      const [type, seq, ts, session, data] = message as [number, number, number, Uint8Array, Map<number, unknown>];
      assert.equal(Buffer.from(session).toString("hex"), this.#session.replaceAll("-", ""));
      this.#frame(seq, NAMES.get(type) as FrameTypeName, `${ts} ${data.size}`);
      return;
    }
    if (typeof get("seq") === "number" && typeof get("type") === "string") {
      const { seq, type, ts, session, ...fields } = message as {
        seq: number;
        type: FrameTypeName;
        ts: number;
        session: string;
      };
      assert.equal(session, this.#session);
      this.#frame(seq, type, `${ts} ${Object.keys(fields).length}`);
      return;
    }
    if (get("verdict") !== undefined)
      this.#verdict({ verdict: get("verdict"), epoch: get("epoch"), from: get("from"), last: get("last") } as Verdict);
    else if (get("bye") === undefined) this.faults.push(`unexpected: ${JSON.stringify(message)}`);
  }

  #verdict(verdict: Verdict): void {
    if (!this.#first) this.faults.push("a second verdict");
    this.#first = false;
    this.verdicts.push(verdict);
    this.#epoch = verdict.epoch;
    if (verdict.verdict === "ahead") this.frames.splice(this.frames.findIndex((frame) => frame.seq >= verdict.from));
    if (verdict.from !== this.next) this.faults.push(`a verdict from ${verdict.from} where ${this.next} was next`);
  }

  #frame(seq: number, type: FrameTypeName, body: string): void {
    if (this.#first) this.faults.push("a frame before the verdict");
    if (seq !== this.next) this.faults.push(`frame ${seq} where ${this.next} was next`);
    const frame = { seq, type, body };
    this.frames.push(frame);
    this.#onFrame(frame);
  }
}
