/** Place: how far Claude's transcript was read when the log held, durably, all that was told of it. */
import type { Position } from "../agent/agent.ts";
import type { Log } from "./log.ts";
import type { MetaFile } from "./meta-file.ts";

export class Place {
  readonly #log: Log;
  readonly #meta: MetaFile;
  readonly #fault: (thrown: unknown) => void;
  #turns: number;
  #keeping: Promise<void> | undefined;

  /** `turns`: those that had ended when the stored place was taken (tail.ts counts them). */
  constructor(log: Log, meta: MetaFile, turns: number, fault: (thrown: unknown) => void) {
    this.#log = log;
    this.#meta = meta;
    this.#turns = turns;
    this.#fault = fault;
  }

  /** Of this many turns, those that have ended since the stored place. */
  turnsSince(turns: number): number {
    return turns - this.#turns;
  }

  /** Stores it once everything appended so far is on disk: what lay between would be told by nobody. */
  keep(at: Position, turns: number): void {
    this.#keeping = this.#keep(at, turns, this.#log.numbered);
  }

  /** Resolves when nothing waits to be stored. */
  async kept(): Promise<void> {
    await this.#keeping; // the latest: those before it are done when it is
  }

  async #keep({ file, offset }: Position, turns: number, seq: number): Promise<void> {
    try {
      await this.#log.sync();
    } catch (failure) {
      this.#fault(failure);
      return;
    }
    this.#turns = turns;
    this.#meta.change({ position: { file, offset, seq } });
  }
}
