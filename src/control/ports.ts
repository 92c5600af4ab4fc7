/** Ports: what control needs from elsewhere; daemon.ts wires them. */
import type { Session } from "../session/session.ts";
import type { SessionId } from "../frame/frame.ts";

/** What a creator asked for, checked; the names are those of `sessions.create`. */
export interface Creation {
  readonly id: SessionId;
  readonly by: string;
  readonly workdir?: string;
  readonly model?: string;
  readonly effort?: string;
  readonly auth: "subscription" | "api_key";
  readonly key?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly bypass: boolean;
  readonly title?: string;
  readonly fork?: SessionId;
}

export interface SessionStore {
  /** Throws `not_found`. */
  get(id: SessionId): Session;
  has(id: SessionId): boolean;
  all(): readonly Session[];
  /** Makes the session durable, then starts Claude. Throws `bad_request` (workdir), `conflict`, `overloaded`, `claude_failed`. */
  create(want: Creation): Promise<Session>;
  /** What pays when the creator does not say: the box's API key where it has one and no login token. */
  defaultAuth(): "subscription" | "api_key";
}

/** What health tells those who may know. */
export interface HealthFacts {
  readonly version: string;
  readonly uptimeS: () => number;
  readonly details: () => Readonly<Record<string, unknown>>;
}
