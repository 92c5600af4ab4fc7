/** Callers: every sealed link of one carrier: few that have proved nothing yet, those that live, and one sweep for all of them. */
import type { Control } from "../control/control.ts";
import { HalfOpen } from "./half-open.ts";
import { type House, KEEP_ALIVE_MS, type Line, LinkCaller } from "./link-caller.ts";
import { TIMERS, type Timers } from "./timers.ts";

export interface CallersOptions {
  readonly control: Control;
  readonly now: () => number;
  fault(thrown: unknown): void;
  /** Told of every caller who was refused, and why: for the log. The caller is told nothing. */
  refused?: ((address: string, why: string) => void) | undefined;
  readonly timers?: Timers | undefined;
  readonly limits?: CallerLimits | undefined;
}

export interface CallerLimits {
  readonly halfOpen?: number;
  readonly halfOpenAnAddress?: number;
}

/** Links that live, callers that do not yet, and how many were refused since the start. */
export interface CallerCounts {
  readonly live: number;
  readonly halfOpen: number;
  readonly refused: number;
}

export class Callers {
  readonly #house: House;
  readonly #timers: Timers;
  readonly #waiting: HalfOpen;
  readonly #live = new Set<LinkCaller>();
  readonly #all = new Set<LinkCaller>();
  /** Runs while a link lives, and only then. */
  #cancelSweep: (() => void) | undefined;
  #refused = 0;

  constructor({ control, now, fault, refused, timers = TIMERS, limits }: CallersOptions) {
    this.#timers = timers;
    this.#waiting = new HalfOpen(limits?.halfOpen, limits?.halfOpenAnAddress);
    this.#house = {
      control,
      timers,
      now,
      lives: (caller) => this.#lives(caller),
      ends: (caller) => this.#ends(caller),
      gone: (caller) => this.#all.delete(caller),
      refused: (address, why) => {
        this.#refused++;
        refused?.(address, why);
      },
      fault,
    };
  }

  get counts(): CallerCounts {
    return { live: this.#live.size, halfOpen: this.#waiting.size, refused: this.#refused };
  }

  /** A new connection. What it brings goes to the caller's `take`, its end to `closed`. */
  add(line: Line): LinkCaller {
    const caller = new LinkCaller(line, this.#house);
    this.#all.add(caller);
    this.#waiting.add(caller);
    return caller;
  }

  /** Says goodbye to those that live, and cuts the others. Whether anybody was told. */
  stop(): boolean {
    const told = this.#live.size > 0;
    for (const caller of [...this.#all]) caller.stop();
    return told;
  }

  cut(): void {
    for (const caller of [...this.#all]) caller.cut();
  }

  #lives(caller: LinkCaller): void {
    this.#waiting.delete(caller);
    this.#live.add(caller);
    this.#cancelSweep ??= this.#timers.every(KEEP_ALIVE_MS, () => {
      for (const each of [...this.#live]) each.sweep();
    });
  }

  #ends(caller: LinkCaller): void {
    this.#waiting.delete(caller);
    this.#live.delete(caller);
    if (this.#live.size > 0) return;
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
  }
}
