/** A way in, as the suite sees it: every transport is one, and says what it can. */
import type { Frame, SessionId } from "../../src/frame/frame.ts";
import type { World } from "./world.ts";

export interface Verdict {
  readonly session: SessionId;
  readonly epoch: number;
  readonly first: number;
  readonly last: number;
  readonly from: number;
  readonly verdict: "ok" | "gap" | "ahead";
}

export interface Want {
  readonly session: SessionId;
  readonly from?: number;
  readonly epoch?: number;
  readonly types?: readonly string[];
  readonly max_bytes?: number;
  readonly pty?: boolean;
}

/** A stream of one session. */
export interface Stream {
  readonly verdict: Verdict;
  /** The next frame as it arrived, pieces one by one, with its size in bytes. Rejects when the stream has ended. */
  next(): Promise<{ readonly frame: Frame; readonly bytes: number }>;
  /** Why the box ended it: "revoked", "expired", "stopping", "too_far_behind". */
  readonly ended: Promise<string>;
  /** Stops reading; the box has to cope. */
  stall(): void;
  resume(): void;
  /** Cuts the connection without a word. */
  cut(): void;
}

/** One client with one token. */
export interface Caller {
  /** A command and the fields of its reply. Rejects with an error that has `code` and `retryable`. */
  run(command: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>>;
  follow(want: Want): Promise<Stream>;
  close(): void;
}

export interface Way {
  readonly name: string;
  /** Smallest max_bytes that it allows. */
  readonly leastBytes: number;
  /** Whether it can carry this command, or `attach`, at all, as it stands; left out: every one. */
  says?(command: Readonly<Record<string, unknown>>): boolean;
  connect(world: World, token: string): Promise<Caller>;
}

/** A refusal as a client sees it. */
export class Refused extends Error {
  readonly code: string;
  readonly retryable: boolean;

  constructor(body: unknown) {
    const { code, message, retryable } = body as { code: string; message: string; retryable: boolean };
    super(message);
    this.code = code;
    this.retryable = retryable;
  }
}

export interface Outcome {
  readonly code: string;
  readonly message?: string;
  readonly retryable?: boolean;
  /** Names of the fields of a reply. */
  readonly fields?: readonly string[];
}

/** What came of a command, `attach` among them: "ok", or the refusal as it was told. */
export async function outcomeOf(caller: Caller, command: Readonly<Record<string, unknown>>): Promise<Outcome> {
  try {
    const { cmd, ...want } = command;
    const reply = cmd === "attach" ? (await caller.follow(want as unknown as Want)).verdict : await caller.run(command);
    // Ways that need a device key ask for one with each token, and those without a connection give each change an id.
    const fields = Object.keys(reply).filter((name) => name !== "key" && name !== "id");
    return { code: "ok", fields: fields.sort() };
  } catch (thrown) {
    if (!(thrown instanceof Refused)) throw thrown;
    return { code: thrown.code, message: thrown.message, retryable: thrown.retryable };
  }
}

/** Values in the order they come, each for one reader. */
export class Inbox<T> {
  readonly #values: T[] = [];
  readonly #readers: { resolve(value: T): void; reject(why: Error): void }[] = [];
  #why: Error | undefined;

  put(value: T): void {
    const reader = this.#readers.shift();
    if (reader === undefined) this.#values.push(value);
    else reader.resolve(value);
  }

  end(why: Error): void {
    this.#why ??= why;
    for (const reader of this.#readers.splice(0)) reader.reject(this.#why);
  }

  take(): Promise<T> {
    if (this.#values.length > 0) return Promise.resolve(this.#values.shift() as T);
    if (this.#why !== undefined) return Promise.reject(this.#why);
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
  }
}
