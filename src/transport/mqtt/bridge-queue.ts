/** Bridge queue: replies that a foreign broker has not yet acknowledged, on disk and bounded; what the bound cuts is counted, to be told. */
import * as v from "valibot";
import { Journal } from "./journal.ts";

/** Payloads that wait, together: 1,024 replies of 1 KiB. They are held in memory, too. */
export const MAX_QUEUE_BYTES = 1024 * 1024;
/** The file is written anew when it is so much longer than twice what waits: 64 KiB. */
const SLACK_BYTES = 64 * 1024;

export interface Queued {
  /** Its place: later ones have higher numbers, also after a restart. */
  readonly n: number;
  readonly topic: string;
  readonly payload: Buffer;
}

/** Lines of the file: a message, one that is done with, and how many were cut and not yet told. */
const MESSAGE = v.object({ n: v.number(), topic: v.string(), payload: v.string() });
const DONE = v.object({ done: v.number() });
const LOST = v.object({ lost: v.number() });

export class Queue {
  readonly #journal: Journal;
  readonly #most: number;
  readonly #fault: (thrown: unknown) => void;
  readonly #waiting = new Map<number, Queued>();
  #bytes = 0;
  #next = 1;
  #lost = 0;
  #rewriting = false;

  private constructor(journal: Journal, most: number, fault: (thrown: unknown) => void) {
    this.#journal = journal;
    this.#most = most;
    this.#fault = fault;
  }

  /** Rejects with the system's error. `fault`: told of a write that failed where nobody waits for it. */
  static async open(path: string, fault: (thrown: unknown) => void, most = MAX_QUEUE_BYTES): Promise<Queue> {
    const { journal, values } = await Journal.open(path);
    const queue = new Queue(journal, most, fault);
    for (const value of values) queue.#read(value);
    return queue;
  }

  /** Messages cut by the bound that nobody was told of. */
  get lost(): number {
    return this.#lost;
  }

  /** Messages that wait, and their payloads together. */
  get size(): { readonly messages: number; readonly bytes: number } {
    return { messages: this.#waiting.size, bytes: this.#bytes };
  }

  /** Resolves when it is on disk; the oldest make room for it. Rejects with the system's error: it waits in memory alone then. */
  async push(topic: string, payload: Buffer): Promise<void> {
    const entry = { n: this.#next++, topic, payload };
    this.#hold(entry);
    const cut = this.#cut();
    const written = this.#journal.append({ n: entry.n, topic, payload: payload.toString("base64") }, true);
    if (cut.length > 0) {
      for (const n of cut) this.#note({ done: n });
      this.#note({ lost: this.#lost });
    }
    await written;
    this.#tidy();
  }

  /** The oldest that waits behind the `after`th; the first of all with 0. */
  next(after: number): Queued | undefined {
    for (const entry of this.#waiting.values()) if (entry.n > after) return entry;
    return undefined;
  }

  /** It has arrived. After a crash it may be sent once more. */
  done(n: number): void {
    if (!this.#drop(n)) return;
    this.#note({ done: n });
    this.#tidy();
  }

  /** So many of the lost have been told of. */
  told(lost: number): void {
    this.#lost -= lost;
    this.#note({ lost: this.#lost });
  }

  close(): Promise<void> {
    return this.#journal.close();
  }

  #hold(entry: Queued): void {
    this.#waiting.set(entry.n, entry);
    this.#bytes += entry.payload.length;
  }

  #drop(n: number): boolean {
    const entry = this.#waiting.get(n);
    if (entry === undefined) return false;
    this.#waiting.delete(n);
    this.#bytes -= entry.payload.length;
    return true;
  }

  #cut(): number[] {
    const cut: number[] = [];
    for (const { n } of this.#waiting.values()) {
      if (this.#bytes <= this.#most) break;
      this.#drop(n);
      cut.push(n);
    }
    this.#lost += cut.length;
    return cut;
  }

  #note(value: object): void {
    this.#journal.append(value, false).catch(this.#fault);
  }

  #tidy(): void {
    if (this.#rewriting || this.#journal.bytes <= SLACK_BYTES + 2 * ((this.#bytes * 4) / 3)) return;
    this.#rewriting = true;
    const lines = Array.from(this.#waiting.values(), (entry) => ({
      ...entry,
      payload: entry.payload.toString("base64"),
    }));
    // With the next number, so that it goes on counting where everything has been sent.
    const values = [{ done: this.#next - 1 }, { lost: this.#lost }, ...lines];
    this.#journal
      .rewrite(values)
      .catch(this.#fault)
      .finally(() => {
        this.#rewriting = false;
      });
  }

  #read(value: unknown): void {
    if (v.is(MESSAGE, value)) {
      this.#hold({ ...value, payload: Buffer.from(value.payload, "base64") });
      this.#next = Math.max(this.#next, value.n + 1);
    } else if (v.is(DONE, value)) {
      this.#drop(value.done);
      this.#next = Math.max(this.#next, value.done + 1);
    } else if (v.is(LOST, value)) this.#lost = value.lost;
  }
}
