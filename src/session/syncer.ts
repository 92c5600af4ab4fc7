/** Syncer: when written frames are made durable, and how those who wait for it share one sync. */
import { CibError, isDiskFull } from "../errors.ts";
import type { Seq } from "../frame/frame.ts";

/** When written frames are synced: after every turn, after every batch (and before anyone sees them), or only when asked. */
export type FsyncPolicy = "turn" | "always" | "off";

export interface SyncerOptions {
  readonly policy: FsyncPolicy;
  /** The last frame found at the start. */
  readonly found: Seq;
  /** The last frame written. */
  readonly written: () => Seq;
  /** Makes everything durable that was written before the call. */
  readonly sync: () => Promise<void>;
  /** Told once, of the first sync that failed. */
  readonly trouble: (error: Error) => void;
  /** A sync is done. */
  readonly done: () => void;
}

export class Syncer {
  readonly #options: SyncerOptions;
  #synced: Seq;
  #wanted = false;
  #syncing: Promise<void> | undefined;
  #spoilt: Error | undefined;

  constructor(options: SyncerOptions) {
    this.#options = options;
    this.#synced = options.found;
  }

  /** The last frame known to be durable. */
  get synced(): Seq {
    return this.#synced;
  }

  /** A failed fdatasync may have lost pages that later calls no longer know of: nothing is promised after it. */
  get spoilt(): boolean {
    return this.#spoilt !== undefined;
  }

  /** What is written next is to be synced. */
  want(): void {
    this.#wanted = true;
  }

  /** A turn has ended. */
  turn(): void {
    if (this.#options.policy === "turn") this.#wanted = true;
  }

  /** New frames are in the file: a sync begins, if one is due. */
  wrote(): void {
    if (this.#options.policy === "always") this.#wanted = true;
    if (!this.#wanted || this.spoilt) return;
    this.#wanted = false;
    void this.upTo(this.#options.written()).catch(() => undefined); // told as trouble
  }

  /** Resolves when this frame, which is written, is durable: by a sync that began after it was written. Rejects when the disk refuses. */
  async upTo(seq: Seq): Promise<void> {
    while (this.#synced < seq) {
      // One that is under way may have begun before our frames were written: then one more.
      this.#syncing ??= this.#sync();
      await this.#syncing;
    }
  }

  async #sync(): Promise<void> {
    const { written, sync, trouble, done } = this.#options;
    const upTo = written();
    try {
      if (this.#spoilt !== undefined) throw this.#spoilt;
      await sync();
      this.#synced = upTo;
    } catch (error) {
      if (this.#spoilt === undefined) trouble(error as Error);
      this.#spoilt ??= error as Error;
      throw refusal(error);
    } finally {
      this.#syncing = undefined;
    }
    done();
  }
}

/** What a caller is told of a disk that refuses. */
export function refusal(error: unknown): CibError {
  if (error instanceof CibError) return error;
  if (isDiskFull(error)) return new CibError("disk_full", "the disk under CIB_DATA is full", { cause: error });
  return new CibError("internal", "the disk under CIB_DATA failed", { cause: error });
}
