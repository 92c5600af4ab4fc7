/** Bridge online: the retained word that a box is there, set right where somebody at a foreign broker has altered it. */
import type { Timers } from "../timers.ts";

/** It is set right at most so often: whoever keeps on altering it shall not make us his echo. */
export const CORRECT_MS = 60_000;

const HERE = Buffer.from("1");

export interface OnlineOptions {
  readonly topic: string;
  readonly now: () => number;
  readonly timers: Timers;
}

/** Sends one, QoS 1 and retained. */
type Publish = (topic: string, payload: Buffer) => boolean;

export class Online {
  /** `cib/<box>/online`: what is to be subscribed to, and handed to `heard`. */
  readonly topic: string;
  readonly #o: OnlineOptions;
  #publish: Publish | undefined;
  #correctedAt = Number.NEGATIVE_INFINITY;
  #cancel: (() => void) | undefined;

  constructor(options: OnlineOptions) {
    this.topic = options.topic;
    this.#o = options;
  }

  /** A line is there. */
  begin(publish: Publish): void {
    this.#publish = publish;
    publish(this.topic, HERE);
  }

  /** What everybody hears on our topic: our own word most of the time. */
  heard(payload: Uint8Array): void {
    if (this.#publish === undefined || this.#cancel !== undefined || HERE.equals(payload)) return;
    const wait = this.#correctedAt + CORRECT_MS - this.#o.now();
    if (wait <= 0) this.#correct();
    else
      this.#cancel = this.#o.timers.after(wait, () => {
        this.#cancel = undefined;
        this.#correct();
      });
  }

  /** The line is gone, or the box goes: what is said from now on is the will's, or the goodbye's. */
  end(): void {
    this.#publish = undefined;
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #correct(): void {
    this.#correctedAt = this.#o.now();
    this.#publish?.(this.topic, HERE);
  }
}
