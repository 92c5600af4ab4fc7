/** Journal: an append-only file of lines with group commit; when it has grown it is written anew from what still counts. */
import { dirname } from "node:path";
import type { Disk } from "./disk.ts";

/** A file below this is never rewritten: a thousand lines of 256 bytes. Above, when it has doubled since the last time. */
export const COMPACT_BYTES = 256 * 1024;

export interface JournalOptions {
  readonly file: string;
  readonly disk: Disk;
  /** The lines that stand for everything applied so far. */
  readonly snapshot: () => readonly string[];
  readonly compactBytes?: number;
}

interface Waiting {
  readonly line: string;
  /** Present: to be synced. `applied` runs before anything else is written. */
  readonly done?: { applied(): void; resolve(): void; reject(error: unknown): void };
}

export class Journal {
  readonly #file: string;
  readonly #disk: Disk;
  readonly #snapshot: () => readonly string[];
  readonly #leastCompact: number;
  #compactAt: number;
  #fd: number | undefined;
  #bytes = 0;
  #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;
  #folderChanged = false;
  /** A write or sync failed: what the file holds is unknown, nothing is added before it has been written anew. */
  #damaged = false;
  #closed = false;

  constructor({ file, disk, snapshot, compactBytes = COMPACT_BYTES }: JournalOptions) {
    this.#file = file;
    this.#disk = disk;
    this.#snapshot = snapshot;
    this.#leastCompact = compactBytes;
    this.#compactAt = compactBytes;
  }

  /** The lines the file holds. Once, before anything is written; a torn last line is cut off. */
  lines(): string[] {
    const bytes = this.#disk.load(this.#file) ?? Buffer.alloc(0);
    const end = bytes.lastIndexOf(10) + 1;
    if (end < bytes.length) this.#disk.truncate(this.#file, end);
    this.#bytes = end;
    return end === 0 ? [] : bytes.toString("utf8", 0, end - 1).split("\n");
  }

  /** Resolves when the line is on disk; those at the same time share one sync. `applied` runs right then. Rejects with what the disk throws: then the line does not count. */
  append(line: string, applied: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#put({ line, done: { applied, resolve, reject } });
    });
  }

  /** Writes a line, soon and without a sync. The snapshot must hold it already: a failed write is made good by the next rewrite. */
  note(line: string): void {
    this.#put({ line });
  }

  /** Resolves when every line before is on disk. */
  sync(): Promise<void> {
    return this.append("", () => undefined);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    try {
      if (this.#fd !== undefined || this.#waiting.length > 0) await this.sync();
    } finally {
      this.#closed = true;
      await this.#running;
      this.#shut();
    }
  }

  #put(waiting: Waiting): void {
    if (this.#closed) {
      waiting.done?.reject(new Error("journal: closed"));
      return;
    }
    this.#waiting.push(waiting);
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    await Promise.resolve(); // what the same turn of the loop adds goes into the same batch
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.#write(batch);
      } catch (error) {
        for (const { done } of batch) done?.reject(error);
        continue;
      }
      for (const { done } of batch) done?.applied();
      for (const { done } of batch) done?.resolve();
    }
    this.#running = undefined; // in the same breath as the last look: nothing can be added in between
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    if (this.#damaged || this.#bytes > this.#compactAt) await this.#compact();
    const bytes = Buffer.from(batch.map(({ line }) => (line === "" ? "" : `${line}\n`)).join(""));
    const before = this.#bytes;
    try {
      if (this.#fd === undefined) {
        this.#folderChanged ||= this.#disk.size(this.#file) === undefined;
        this.#fd = this.#disk.openAppend(this.#file);
      }
      for (let at = 0; at < bytes.length; ) {
        const taken = this.#disk.write(this.#fd, bytes, at);
        if (taken <= 0) throw Object.assign(new Error("journal: the disk took nothing"), { code: "ENOSPC" });
        at += taken;
      }
      this.#bytes += bytes.length;
      if (!batch.some(({ done }) => done !== undefined)) return;
      await this.#disk.datasync(this.#fd);
      if (this.#folderChanged) await this.#disk.syncFolder(dirname(this.#file));
      this.#folderChanged = false;
    } catch (error) {
      this.#damaged = true;
      this.#takeBack(before);
      throw error;
    }
  }

  /** Those who waited are told that it failed: their lines should not come back after a crash. If this fails too, the rewrite takes them away. */
  #takeBack(bytes: number): void {
    this.#bytes = bytes;
    try {
      this.#disk.truncate(this.#file, bytes);
    } catch {
      // The first failure is the one to tell.
    }
  }

  async #compact(): Promise<void> {
    this.#damaged = true; // until it has worked: after a failed rename the path may name either file
    this.#shut();
    const bytes = Buffer.from(
      this.#snapshot()
        .map((line) => `${line}\n`)
        .join(""),
    );
    await this.#disk.replace(this.#file, bytes);
    this.#damaged = false;
    this.#bytes = bytes.length;
    this.#compactAt = Math.max(this.#leastCompact, 2 * bytes.length);
  }

  #shut(): void {
    if (this.#fd !== undefined) this.#disk.close(this.#fd);
    this.#fd = undefined;
  }
}
