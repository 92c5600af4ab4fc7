/** Control as the transports see it: the one way in. */

import type { EnvelopeFault, EnvelopeWish, OpenedEnvelope } from "../auth/envelopes.ts";
import type { Credential, Principal } from "../auth/gate.ts";
import type { LinkPeer, LinkWish } from "../auth/links.ts";
import type { SessionId } from "../frame/frame.ts";
import type { Sink } from "../frame/sink.ts";
import type { Attach, Command } from "./commands.ts";

/** The first thing a reader learns: where its stream begins. */
export interface Verdict {
  readonly session: SessionId;
  readonly epoch: number;
  /** First and last seq that the log holds; last is first - 1 when it is empty. */
  readonly first: number;
  readonly last: number;
  /** Frames follow from here. */
  readonly from: number;
  readonly verdict: "ok" | "gap" | "ahead";
}

/** A running attachment. Disposing it ends it without a word. */
export interface Attachment extends Disposable {
  readonly verdict: Verdict;
  /** The transport's buffer is empty again: go on from the cursor. */
  drained(): void;
}

/** What a list of sessions is made of, as `sessions.list` tells it. */
export type SessionInfo = Readonly<Record<string, unknown>> & { readonly session: SessionId };

/** Who is told of sessions. Never called before `watch` has returned. */
export interface Watcher {
  /** It is there, or something that `sessions.get` tells of it has changed: state, title, model, what it waits for. */
  changed(session: SessionInfo): void;
  /** It is gone for good. */
  gone(session: SessionId): void;
}

/** The fields of a successful reply, beyond `re` and `ok`; `status` is the HTTP status where it is not 200. */
export interface Reply {
  readonly status?: 201 | 202;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface Control {
  /** Who holds this credential. Throws `unauthorized`, `slow_down`, `plain_refused`. */
  enter(credential: Credential): Principal;
  /** A link to shake hands with: whoever holds a device key comes in by it. The keys stay inside. */
  link(wish: LinkWish): LinkPeer;
  /** Whose key this is (16 hex digits), for one whom TLS-PSK has let in by it. Undefined where it is no more. */
  proved(keyId: string): Principal | undefined;
  /** The TLS-PSK key of an identity, which is a key id (16 hex digits); for every other text a key that nobody knows. For the TLS library alone. */
  psk(identity: string): Uint8Array;
  /** Whose key it is by the MQTT password of a key, 16 bytes, which is sent in the clear: its holder may open links of this key, and do nothing else. */
  mqttLogin(keyId: string, password: Uint8Array): Principal | undefined;
  /** The token that a sealed HTTP request shows in place of a clock: 16 bytes, no secret, good for 120 s. */
  envelopeToken(): Uint8Array;
  /** Opens a sealed HTTP request that is here for the first time, or says why not, which is not for the caller's ears. */
  envelope(wish: EnvelopeWish): OpenedEnvelope | EnvelopeFault;
  /** Runs one command: `raw` is checked here, against schema, scope, session and id. Throws CibError. */
  run(who: Principal, raw: Command | Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<Reply>;
  /** Follows a session. The verdict is returned before the first frame is written: frames come in a later turn of the loop. */
  attach(who: Principal, raw: Attach | Readonly<Record<string, unknown>>, sink: Sink): Attachment;
  /** Tells of every session that the principal may see: all of them in a later turn of the loop, then each that changes, at most once a turn. Throws `forbidden` without sessions:read. */
  watch(who: Principal, watcher: Watcher): Disposable;
  /** Health for anyone; more with a principal. */
  health(who: Principal | undefined): Readonly<Record<string, unknown>>;
}

export type { Credential, EnvelopeFault, EnvelopeWish, LinkPeer, LinkWish, OpenedEnvelope, Principal };
