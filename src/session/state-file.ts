/** State file: log.json as one log keeps it: what it says of the files beside it, and under which epoch. */
import type { Disk } from "./disk.ts";
import { endLife, type Lives } from "./epochs.ts";
import { type LogState, parseState, STATE_NAME, stateBytes } from "./log-state.ts";
import type { Clean, Found } from "./segments.ts";

/** What log.json says of the files: how they are; something outdated; nothing (only then may they change). */
export type Says = "clean" | "stale" | "open";

export class StateFile {
  readonly #disk: Disk;
  readonly #path: string;
  readonly #loaded: boolean;
  #epoch = 1;
  #lives: Lives = [];
  #says: Says = "stale";
  #found: Found["segments"] | undefined;
  #writing: Promise<void> | undefined;
  /** What it said at the start. */
  readonly before: LogState | undefined;

  constructor(disk: Disk, folder: string) {
    this.#disk = disk;
    this.#path = `${folder}/${STATE_NAME}`;
    const bytes = disk.load(this.#path);
    this.#loaded = bytes !== undefined;
    this.before = bytes && parseState(bytes);
  }

  get epoch(): number {
    return this.#epoch;
  }

  get lives(): Lives {
    return this.#lives;
  }

  get says(): Says {
    return this.#says;
  }

  /** A write under way. */
  get writing(): Promise<void> | undefined {
    return this.#writing;
  }

  /** Begins this life of the log with the files that were found. False after an unclean stop: then the epoch is raised. */
  begin(found: Found, now: number): boolean {
    const { before } = this;
    if (found.clean && before !== undefined) {
      [this.#epoch, this.#lives, this.#says] = [before.epoch, before.epochs, "clean"];
      return true;
    }
    if (!this.#loaded && !found.any) return true;
    // Without a state the epochs that were are unknown: seconds since 1970 are above any that was counted.
    const ended = before?.epoch ?? Math.max(1, Math.floor(now / 1000));
    this.#lives = endLife(before?.epochs ?? [], ended, found.last);
    this.#epoch = ended + 1;
    this.#found = found.segments;
    return false;
  }

  /** Rewrites it: `open` before the files change, `clean`, how they are now, once they will not. One at a time. */
  write(clean: Clean | "open"): Promise<void> {
    const write = async (): Promise<void> => {
      try {
        if (this.#found !== undefined) await this.#found.syncFound();
        this.#found = undefined;
        this.#says = "stale"; // whether a failed rename took place is unknown
        const state = { epoch: this.#epoch, epochs: this.#lives, clean: clean === "open" ? undefined : clean };
        await this.#disk.replace(this.#path, stateBytes(state));
        this.#says = clean === "open" ? "open" : "clean";
      } finally {
        this.#writing = undefined;
      }
    };
    this.#writing = write();
    return this.#writing;
  }
}
