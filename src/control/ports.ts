/** Ports: what control needs from elsewhere; daemon.ts wires them. */

import type { SessionId } from "../frame/frame.ts";
import type { Session } from "../session/session.ts";
import type { NewSession, SessionObserver } from "../session/sessions.ts";

export interface SessionStore {
  /** Throws `not_found`. */
  get(id: SessionId): Session;
  has(id: SessionId): boolean;
  all(): readonly Session[];
  /** Makes the session durable, then starts Claude. Throws `bad_request` (workdir), `conflict`, `overloaded`, `claude_failed`. */
  create(want: NewSession): Promise<Session>;
  /** Told from now on of sessions that come, and of those that are gone for good. */
  observe(observer: SessionObserver): Disposable;
  /** What pays when the creator does not say: the box's API key where it has one and no login token. */
  defaultAuth(): "subscription" | "api_key";
}

/** What health tells those who may know. */
export interface HealthFacts {
  readonly version: string;
  readonly uptimeS: () => number;
  readonly details: () => Readonly<Record<string, unknown>>;
}

/** Claude's own conversations on this box. */
export interface Conversations {
  /** Newest first, without those in `except`. Throws `bad_request` for an unknown cursor. */
  list(want: {
    readonly except: ReadonlySet<string>;
    readonly cursor?: string | undefined;
    readonly limit: number;
  }): Promise<Readonly<Record<string, unknown>>>;
}

/** The user hooks of this box. */
export interface HookRules {
  /** All rules with their level, secrets masked. */
  list(): readonly unknown[];
  /** Replaces the user level. Throws `bad_request` naming the rule and field, `forbidden` for a locked name. */
  put(rules: readonly unknown[]): Promise<void>;
  /** Checks a session's own rules; throws as `put`. */
  check(rules: readonly unknown[]): unknown;
}

/** Where a login stands. `url`: what the person opens; what it shows then goes to `code`. */
export interface LoginState {
  readonly state: "idle" | "starting" | "waiting_for_code" | "checking" | "done" | "failed";
  readonly url?: string;
  readonly message?: string;
  readonly logged_in?: boolean;
  readonly method?: string;
}

/** The guided login of the subscription. */
export interface LoginPort {
  start(): Promise<LoginState>;
  status(): Promise<LoginState>;
  /** Throws `conflict` where no login waits for a code. */
  code(code: string): Promise<LoginState>;
}
