/** A watcher: follows a session by docs/PROTOCOL.md alone, over whatever it is given, and is unforgiving: every frame must be the next one. */
import assert from "node:assert/strict";
import { type FrameTypeName, sessionId } from "../../src/frame/frame.ts";
import { TYPES } from "../../src/frame/registry.ts";
import type { Dial } from "./dials.ts";

/** Before a lost connection is dialled again. */
const REDIAL_MS = 50;

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
  readonly name: string;
  readonly frames: Seen[] = [];
  readonly verdicts: Verdict[] = [];
  /** What went wrong; checked by the test. */
  readonly faults: string[] = [];
  readonly #session: string;
  readonly #dial: Dial;
  /** Told of every frame, and of every verdict. */
  readonly #onNews: (frame: Seen | undefined) => void;
  #cut: (() => void) | undefined;
  #redial: NodeJS.Timeout | undefined;
  #epoch: number | undefined;
  #first = true;

  constructor(name: string, session: string, dial: Dial, onNews: (frame: Seen | undefined) => void) {
    assert.ok(sessionId(session));
    this.name = name;
    this.#session = session;
    this.#dial = dial;
    this.#onNews = onNews;
    this.#connect();
  }

  get next(): number {
    return (this.frames.at(-1)?.seq ?? 0) + 1;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#redial);
    const cut = this.#cut;
    this.#cut = undefined;
    cut?.();
  }

  /** Goes on where it was, and comes back when the connection is lost: to a box that is killed, over links that are cut. */
  #connect(): void {
    this.#first = true;
    const mine = this.#dial(
      { session: this.#session, from: this.next, epoch: this.#epoch },
      {
        message: (value) => {
          if (this.#cut === mine) this.#message(value);
        },
        closed: () => {
          if (this.#cut !== mine) return;
          this.#redial = setTimeout(() => this.#connect(), REDIAL_MS);
        },
      },
    );
    this.#cut = mine;
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
    this.#onNews(undefined);
  }

  #frame(seq: number, type: FrameTypeName, body: string): void {
    if (this.#first) this.faults.push("a frame before the verdict");
    if (seq !== this.next) this.faults.push(`frame ${seq} where ${this.next} was next`);
    const frame = { seq, type, body };
    this.frames.push(frame);
    this.#onNews(frame);
  }
}
