/** Bridge cursors: of each session the last frame that a foreign broker has acknowledged; the log is the queue, this is its place in it. */
import { readFile } from "node:fs/promises";
import * as v from "valibot";
import type { SessionId } from "../../frame/frame.ts";
import type { Timers } from "../timers.ts";
import { replaceFile } from "./journal.ts";

/** Cursors are written at most so often: after a crash the frames since come again, with the same seq. */
export const SAVE_MS = 1_000;

/** A session without an entry that is younger than `since` is published from its first frame, an older one from now on. */
const FILE = v.object({
  v: v.literal(1),
  since: v.number(),
  cursors: v.record(v.string(), v.object({ epoch: v.number(), seq: v.number() })),
});

export interface Place {
  readonly epoch: number;
  /** All frames up to it have arrived; 0: none. */
  readonly seq: number;
}

export interface CursorsOptions {
  readonly file: string;
  readonly now: () => number;
  readonly timers: Timers;
  fault(thrown: unknown): void;
}

export class Cursors {
  /** When a bridge was first set up here, ms since 1970. */
  readonly since: number;
  readonly #o: CursorsOptions;
  readonly #places: Map<string, Place>;
  #unsave: (() => void) | undefined;
  #saving: Promise<void>;

  private constructor(options: CursorsOptions, since: number, places: Map<string, Place>, fresh: boolean) {
    this.#o = options;
    this.since = since;
    this.#places = places;
    this.#saving = fresh ? this.#save() : Promise.resolve();
  }

  /** Rejects with the system's error. A file that cannot be understood is started anew, and told: from then on is what can be promised. */
  static async open(options: CursorsOptions): Promise<Cursors> {
    const text = await readFile(options.file, "utf8").catch((failure: NodeJS.ErrnoException) => {
      if (failure.code === "ENOENT") return undefined;
      throw failure;
    });
    if (text !== undefined) {
      try {
        const { since, cursors } = v.parse(FILE, JSON.parse(text));
        return new Cursors(options, since, new Map(Object.entries(cursors)), false);
      } catch {
        options.fault(new Error(`${options.file}: not understood; sessions are published from now on`));
      }
    }
    const cursors = new Cursors(options, options.now(), new Map(), true);
    await cursors.#saving;
    return cursors;
  }

  get(session: SessionId): Place | undefined {
    return this.#places.get(session);
  }

  set(session: SessionId, place: Place): void {
    this.#places.set(session, place);
    this.#saveSoon();
  }

  delete(session: SessionId): void {
    if (this.#places.delete(session)) this.#saveSoon();
  }

  /** Every session that has been published here. */
  get sessions(): readonly SessionId[] {
    return [...this.#places.keys()] as SessionId[];
  }

  /** Writes what is not yet written. */
  async close(): Promise<void> {
    if (this.#unsave !== undefined) {
      this.#unsave();
      this.#unsave = undefined;
      this.#saving = this.#saving.then(() => this.#save());
    }
    await this.#saving;
  }

  #saveSoon(): void {
    this.#unsave ??= this.#o.timers.after(SAVE_MS, () => {
      this.#unsave = undefined;
      this.#saving = this.#saving.then(() => this.#save());
    });
  }

  async #save(): Promise<void> {
    const text = JSON.stringify({ v: 1, since: this.since, cursors: Object.fromEntries(this.#places) });
    try {
      await replaceFile(this.#o.file, Buffer.from(`${text}\n`));
    } catch (failure) {
      this.#o.fault(failure);
    }
  }
}
