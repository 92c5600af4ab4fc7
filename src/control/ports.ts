/** Ports: what control needs from elsewhere; daemon.ts wires them. */

import type { SessionId } from "../frame/frame.ts";
import type { Session } from "../session/session.ts";
import type { NewSession } from "../session/sessions.ts";

export interface SessionStore {
  /** Throws `not_found`. */
  get(id: SessionId): Session;
  has(id: SessionId): boolean;
  all(): readonly Session[];
  /** Makes the session durable, then starts Claude. Throws `bad_request` (workdir), `conflict`, `overloaded`, `claude_failed`. */
  create(want: NewSession): Promise<Session>;
  /** What pays when the creator does not say: the box's API key where it has one and no login token. */
  defaultAuth(): "subscription" | "api_key";
}

/** What health tells those who may know. */
export interface HealthFacts {
  readonly version: string;
  readonly uptimeS: () => number;
  readonly details: () => Readonly<Record<string, unknown>>;
}
