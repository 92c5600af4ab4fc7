/** Box: what the daemon gives every session. */
import type { Credential, Engine } from "../agent/agent.ts";
import type { SessionId } from "../frame/frame.ts";
import type { HookBook } from "../hooks/book.ts";
import type { Ledger } from "./ledger.ts";
import type { Meta } from "./meta.ts";

/** What the box gives every session. */
export interface Box {
  readonly engine: Engine;
  readonly ledger: Ledger;
  readonly now: () => number;
  /** The part of a start that is the same for all: home, user, model default, thinking, base URL. */
  readonly settings: {
    readonly home: string;
    readonly model: string;
    readonly thinking: boolean;
    readonly tap: boolean;
    readonly askTimeoutS: number;
    readonly baseUrl?: string;
    readonly user?: { readonly uid: number; readonly gid: number };
  };
  /** What pays for a session of this mode; throws `conflict` saying what to set when there is nothing. */
  credential(mode: Meta["auth"], key: string | undefined): Credential;
  seal(value: Secrets, session: SessionId): string;
  /** Undefined when the master token has changed since. */
  unseal(text: string, session: SessionId): Secrets | undefined;
  /** The user hooks of this box; left out: there are none. */
  readonly hooks?: Pick<HookBook, "rules" | "watch" | "env">;
  /** Our own faults go here: counted and printed, never swallowed. */
  fault(where: string, thrown: unknown): void;
}

/** What meta.json holds only sealed. */
export interface Secrets {
  readonly key?: string;
  readonly env?: Readonly<Record<string, string>>;
}
