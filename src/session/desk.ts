/** Desk: what a session's clients work with, put together: its queue of texts, its questions, its switches. */
import type { Agent } from "../agent/agent.ts";
import type { FrameBody } from "../frame/frame.ts";
import { Answers } from "./answers.ts";
import type { Box } from "./box.ts";
import { systemClock } from "./clock.ts";
import type { Log } from "./log.ts";
import type { MetaFile } from "./meta-file.ts";
import { Patience } from "./patience.ts";
import { Queue } from "./queue.ts";
import { Switches } from "./switches.ts";
import type { Tail } from "./tail.ts";

export interface DeskOptions {
  readonly box: Box;
  readonly meta: MetaFile;
  readonly log: Log;
  readonly tail: Tail;
  readonly agent: () => Agent | undefined;
  /** Throws `conflict` when the session is stopped, with what it cannot do then. */
  readonly running: (what: string) => Agent;
  /** The agent, when it can take a text now. */
  readonly free: () => Agent | undefined;
  readonly append: (body: FrameBody) => number;
  /** A usage limit is over. */
  readonly limitOver: () => void;
}

export interface Desk {
  readonly queue: Queue;
  readonly answers: Answers;
  readonly switches: Switches;
  readonly patience: Patience;
}

export function furnish({ box, meta, log, tail, agent, running, free, append, limitOver }: DeskOptions): Desk {
  const { id, ask_timeout_s } = meta.value;
  const clock = { ...systemClock, now: box.now };
  const fault = (thrown: unknown): void => box.fault(`session ${id}`, thrown);
  const queue = new Queue({
    session: id,
    ledger: box.ledger,
    engine: box.engine,
    log,
    free,
    alive: agent,
    append,
    fault: box.fault,
  });
  const answers = new Answers({
    open: tail.asks,
    settled: tail.settled,
    agent,
    append,
    sync: () => log.sync(),
    clock,
    timeoutMs: (ask_timeout_s ?? box.settings.askTimeoutS) * 1000,
    fault,
  });
  const switches = new Switches({
    agent: () => running("be switched"),
    append,
    keep: (what, value) => {
      meta.change({ [what]: value });
      return meta.saved();
    },
    done: () => queue.wake(),
    clock,
    fault,
  });
  const patience = new Patience({ limit: tail.limit, clock, over: limitOver });
  return { queue, answers, switches, patience };
}
