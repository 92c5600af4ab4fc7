/** Bridge memory: which commands came over the bridge, so that one that comes again runs once, whatever restarts in between. */
import * as v from "valibot";
import { Journal } from "./journal.ts";

/** Ids remembered after their command is done: what a broker or its client may still repeat. */
export const MAX_REMEMBERED = 1024;
/** A longer reply is not kept: a repeat is told that it ran, and nothing more. */
export const MAX_KEPT_REPLY_BYTES = 2048;
/** 1,024 × (2 KiB of reply as base64 + an id) are 3 MiB; the file is written anew past that. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;

/** A command as it came. */
export interface Kept {
  readonly who: string;
  readonly id: string;
  readonly digest: string;
  readonly topic: string;
  readonly payload: Buffer;
}

export interface Known {
  readonly digest: string;
  readonly running: boolean;
  /** What it was answered with, where that was kept. */
  readonly reply: Buffer | undefined;
}

const BEGUN = v.object({
  begun: v.string(),
  id: v.string(),
  digest: v.string(),
  topic: v.string(),
  payload: v.string(),
});
const ENDED = v.object({
  ended: v.string(),
  id: v.string(),
  digest: v.optional(v.string()),
  reply: v.optional(v.string()),
});

interface Ended {
  readonly who: string;
  readonly id: string;
  readonly digest: string;
  readonly reply: Buffer | undefined;
}

export class Memory {
  readonly #journal: Journal;
  readonly #fault: (thrown: unknown) => void;
  readonly #running = new Map<string, Kept>();
  readonly #ended = new Map<string, Ended>();

  private constructor(journal: Journal, fault: (thrown: unknown) => void) {
    this.#journal = journal;
    this.#fault = fault;
  }

  /** Rejects with the system's error. */
  static async open(path: string, fault: (thrown: unknown) => void): Promise<Memory> {
    const { journal, values } = await Journal.open(path);
    const memory = new Memory(journal, fault);
    for (const value of values) memory.#read(value);
    return memory;
  }

  /** Begun and not ended: after a start these are the ones that the last end cut off. */
  get unfinished(): readonly Kept[] {
    return [...this.#running.values()];
  }

  find(who: string, id: string): Known | undefined {
    const key = keyOf(who, id);
    const running = this.#running.get(key);
    if (running !== undefined) return { digest: running.digest, running: true, reply: undefined };
    const ended = this.#ended.get(key);
    return ended && { digest: ended.digest, running: false, reply: ended.reply };
  }

  /** Known at once; resolves when it is on disk, before which it may neither run nor be acknowledged. Rejects with the system's error, and has forgotten it then. */
  async begin(kept: Kept): Promise<void> {
    const key = keyOf(kept.who, kept.id);
    this.#running.set(key, kept);
    try {
      await this.#journal.append(lineOf(kept), true);
    } catch (failure) {
      this.#running.delete(key);
      throw failure;
    }
  }

  /** It is done. `remember`: a repeat finds `reply` where it is short; else a repeat runs again, for that is safe. */
  end(kept: Kept, remember: boolean, reply?: Buffer): void {
    const { who, id, digest } = kept;
    this.#running.delete(keyOf(who, id));
    const ended = { who, id, digest, reply: reply && reply.length <= MAX_KEPT_REPLY_BYTES ? reply : undefined };
    if (remember) this.#remember(ended);
    const line = remember ? endOf(ended) : { ended: who, id };
    this.#journal.append(line, false).catch(this.#fault);
    if (this.#journal.bytes > MAX_FILE_BYTES)
      this.#journal
        .rewrite([...Array.from(this.#ended.values(), endOf), ...Array.from(this.#running.values(), lineOf)])
        .catch(this.#fault);
  }

  close(): Promise<void> {
    return this.#journal.close();
  }

  #remember(ended: Ended): void {
    this.#ended.set(keyOf(ended.who, ended.id), ended);
    if (this.#ended.size <= MAX_REMEMBERED) return;
    const [oldest = ""] = this.#ended.keys();
    this.#ended.delete(oldest);
  }

  #read(value: unknown): void {
    if (v.is(BEGUN, value)) {
      const { begun: who, id, digest, topic, payload } = value;
      this.#running.set(keyOf(who, id), { who, id, digest, topic, payload: Buffer.from(payload, "base64") });
    } else if (v.is(ENDED, value)) {
      const { ended: who, id, digest, reply } = value;
      this.#running.delete(keyOf(who, id));
      if (digest === undefined) return;
      this.#remember({ who, id, digest, reply: reply === undefined ? undefined : Buffer.from(reply, "base64") });
    }
  }
}

function keyOf(who: string, id: string): string {
  return `${who}\0${id}`;
}

function lineOf({ who, id, digest, topic, payload }: Kept): object {
  return { begun: who, id, digest, topic, payload: payload.toString("base64") };
}

function endOf({ who, id, digest, reply }: Ended): object {
  return { ended: who, id, digest, ...(reply && { reply: reply.toString("base64") }) };
}
