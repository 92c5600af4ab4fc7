/** Switches: model, effort and mode of a running Claude, confirmed by it, or promised until its turn is over. */
import type { Agent, Setting } from "../agent/agent.ts";
import { asCibError, CibError } from "../errors.ts";
import type { FrameBody } from "../frame/frame.ts";
import type { Clock } from "./clock.ts";

export type { Setting };

/** A caller waits this long for Claude's word; then `meta` brings it. */
export const CONFIRM_MS = 5_000;
/** A switch that waits for the end of a turn is forgotten when the turn takes longer. */
export const SWITCH_DEADLINE_MS = 3_600_000;
/** Switches of one session under way: a caller that repeats itself must not pile them up. */
export const MAX_SWITCHES = 8;

export interface SwitchesOptions {
  /** Throws `conflict` when the session is stopped. */
  readonly agent: () => Pick<Agent, "switch">;
  readonly append: (body: FrameBody) => unknown;
  /** Claude has it: the next start asks for it again. Resolves when that is on disk, or the disk does not take it. */
  readonly keep: (what: Setting, value: string) => Promise<void>;
  /** No switch is under way any more: texts may go on. */
  readonly done: () => void;
  /** An error frame could not be told. */
  readonly fault: (thrown: unknown) => void;
  readonly clock: Clock;
}

export class Switches {
  readonly #o: SwitchesOptions;
  #running = 0;

  constructor(options: SwitchesOptions) {
    this.#o = options;
  }

  /** A switch waits or is being typed: no text must come between. */
  get busy(): boolean {
    return this.#running > 0;
  }

  /** What Claude says it has now; undefined when it has not said so within CONFIRM_MS. Throws as Agent.switch, and `overloaded`. */
  async set(what: Setting, value: string): Promise<string | undefined> {
    const { agent, clock } = this.#o;
    if (this.#running >= MAX_SWITCHES)
      throw new CibError("overloaded", `${what}: ${MAX_SWITCHES} switches of this session wait already`);
    const work = this.#switch(agent(), what, value);
    let late = false;
    let cancel: () => void = () => undefined;
    const patience = new Promise<undefined>((over) => {
      cancel = clock.after(CONFIRM_MS, () => {
        late = true;
        over(undefined);
      });
    });
    work.then(cancel, (failure: unknown) => {
      cancel();
      if (late) this.#failed(failure);
    });
    return Promise.race([work, patience]);
  }

  /** Claude starts in the mode of its flags; the one that a person chose since must not be forgotten. */
  restore(mode: string | undefined): void {
    if (mode === undefined) return;
    this.set("mode", mode).catch((failure: unknown) => this.#failed(failure));
  }

  /** Nobody waits for it any more: the frame is the only word. The log may be closed or full by now. */
  #failed(failure: unknown): void {
    const { code, message } = asCibError(failure);
    try {
      this.#o.append({ type: "error", code, message });
    } catch (thrown) {
      this.#o.fault(thrown);
    }
  }

  async #switch(agent: Pick<Agent, "switch">, what: Setting, value: string): Promise<string> {
    this.#running++;
    try {
      const got = await agent.switch(what, value, AbortSignal.timeout(SWITCH_DEADLINE_MS));
      await this.#o.keep(what, value);
      return got;
    } finally {
      this.#running--;
      if (this.#running === 0) this.#o.done();
    }
  }
}
