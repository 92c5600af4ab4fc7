/**
 * Publisher: which of a session's frames goes to which topic. It follows the sessions of a principal and encodes only what
 * somebody wants; it knows topics and payloads and no broker: the one in this process and a bridge to another share it.
 */
import type { Attachment, Control, Principal, SessionInfo } from "../../control/control.ts";
import { CibError } from "../../errors.ts";
import type { Encoded } from "../../frame/codec.ts";
import type { SessionId } from "../../frame/frame.ts";
import type { CloseReason, Sink } from "../../frame/sink.ts";
import { TIMERS, type Timers } from "../timers.ts";
import { formatTopic, ROOT, type Topic, type TopicType } from "./topics.ts";

/** A log that could not be read is tried again after this; it doubles, */
export const FIRST_WAIT_MS = 100;
/** up to this: what stays broken costs a try a minute, and a line of the operator's log. */
export const LONGEST_WAIT_MS = 60_000;

/** What the world tells: somebody listens. Asked often, so it must be cheap; a change is told by `wantsChanged`. */
export interface Wants {
  /** Somebody is to get what is published to exactly this topic. */
  wanted(topic: string): boolean;
  /** Somebody is to get something at this topic or below it: `cib/<session>/frames`. */
  within(prefix: string): boolean;
}

/** What a retained status says, as JSON in this order. */
export interface Status {
  readonly state: string;
  readonly model: string | null;
  readonly title: string | null;
  /** Questions that wait for a person. */
  readonly waiting: number;
}

export interface PublisherOptions {
  readonly control: Pick<Control, "watch" | "attach">;
  /** Whose eyes it has: it needs sessions:read, and sees the sessions that this principal may see. */
  readonly who: Principal;
  readonly wants: Wants;
  /** Put before every topic; "cib" when left out, "cib/<box>" over a bridge. */
  readonly root?: string;
  /**
   * Takes one message; an empty payload with `retain` takes back what was retained. Returns false when nothing more fits
   * until `drained()`: the message itself has been taken.
   */
  publish(topic: string, payload: Buffer, retain: boolean): boolean;
  /** What is known of a session has changed; undefined: it is gone. Called before its status is published. */
  changed?(session: SessionId, status: Status | undefined): void;
  fault(thrown: unknown): void;
  readonly timers?: Timers;
}

const NOTHING = Buffer.alloc(0);

export class Publisher implements Disposable {
  readonly #options: PublisherOptions;
  readonly #root: string;
  readonly #sessions = new Map<SessionId, Followed>();
  #watching: Disposable | undefined;
  #begun = false;
  #looking = false;
  #stopped = false;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#root = options.root ?? ROOT;
  }

  /** Begins; what is there already is told in a later turn of the loop. Throws `forbidden` without sessions:read. */
  start(): void {
    this.#watching = this.#options.control.watch(this.#options.who, {
      changed: (info) => this.#changed(info),
      gone: (session) => this.#gone(session),
    });
    // Those that are there already are told in the coming turn; what comes later is new, and followed from its first frame.
    setImmediate(() => {
      this.#begun = true;
    });
  }

  /** Somebody wants something else than before: looked at once at the end of this turn, however often it is called. */
  wantsChanged(): void {
    if (this.#looking || this.#stopped) return;
    this.#looking = true;
    queueMicrotask(() => {
      this.#looking = false;
      for (const each of this.#sessions.values()) this.#look(each);
    });
  }

  /** There is room again. */
  drained(): void {
    for (const each of this.#sessions.values()) each.drained();
  }

  /** What is retained of the sessions, as it is now: each encoded only when its payload is asked for. */
  *retained(): Generator<{ readonly topic: string; readonly session: SessionId; payload(): Buffer }, void> {
    for (const { session, status } of this.#sessions.values()) {
      yield { topic: this.#topic({ kind: "status", session }), session, payload: () => json(status) };
    }
  }

  /** Those that it knows, with what their status says. */
  get sessions(): ReadonlyMap<SessionId, { readonly status: Status }> {
    return this.#sessions;
  }

  [Symbol.dispose](): void {
    this.#stopped = true;
    this.#watching?.[Symbol.dispose]();
    for (const each of this.#sessions.values()) each[Symbol.dispose]();
    this.#sessions.clear();
  }

  #changed(info: SessionInfo): void {
    const status = statusOf(info);
    const known = this.#sessions.get(info.session);
    if (known !== undefined && same(known.status, status)) return;
    const from = this.#begun ? 1 : undefined;
    const followed = known ?? new Followed(info.session, status, this.#reach(info.session), from);
    followed.status = status;
    this.#sessions.set(info.session, followed);
    if (known === undefined) {
      this.#look(followed);
      followed.late();
    }
    this.#options.changed?.(info.session, status);
    const topic = this.#topic({ kind: "status", session: info.session });
    if (this.#options.wants.wanted(topic)) this.#options.publish(topic, json(status), true);
  }

  #gone(session: SessionId): void {
    const known = this.#sessions.get(session);
    if (known === undefined) return;
    known[Symbol.dispose]();
    this.#sessions.delete(session);
    this.#options.changed?.(session, undefined);
    const topic = this.#topic({ kind: "status", session });
    if (this.#options.wants.wanted(topic)) this.#options.publish(topic, NOTHING, true);
  }

  /** Follows a session while somebody wants its frames. */
  #look(followed: Followed): void {
    const under = `${this.#root}/${followed.session}`;
    const { wants } = this.#options;
    if (wants.within(`${under}/frames`) || wants.within(`${under}/json`)) followed.follow();
    else followed[Symbol.dispose]();
  }

  #reach(session: SessionId): Reach {
    const { control, who, wants, publish, fault, timers = TIMERS } = this.#options;
    return {
      timers,
      attach: (from, sink) => control.attach(who, { session, ...(from !== undefined && { from }) }, sink),
      topic: (kind, type) => this.#topic({ kind, session, type }),
      wanted: (topic) => wants.wanted(topic),
      publish: (topic, payload) => publish(topic, payload, false),
      again: (followed) => {
        if (!this.#stopped && this.#sessions.get(session) === followed) this.#look(followed);
      },
      fault,
    };
  }

  #topic(topic: Topic): string {
    return formatTopic(topic, this.#root);
  }
}

/** What one session needs of the publisher. */
interface Reach {
  readonly timers: Timers;
  attach(from: number | undefined, sink: Sink): Attachment;
  topic(kind: "frames" | "json", type: TopicType): string;
  wanted(topic: string): boolean;
  publish(topic: string, payload: Buffer): boolean;
  again(followed: Followed): void;
  fault(thrown: unknown): void;
}

/** One session: its status, and while it is followed its frames. */
class Followed implements Sink, Disposable {
  readonly session: SessionId;
  status: Status;
  readonly #reach: Reach;
  #attachment: Attachment | undefined;
  /** Where it begins, or goes on after a fault; undefined: from now. */
  #next: number | undefined;
  #full = false;
  /** Until the next try, once a fault has ended it. */
  #wait = FIRST_WAIT_MS;
  #cancelTry: (() => void) | undefined;

  constructor(session: SessionId, status: Status, reach: Reach, from: number | undefined) {
    this.session = session;
    this.status = status;
    this.#reach = reach;
    this.#next = from;
  }

  /** Who begins to listen from now on hears what is new then. */
  late(): void {
    if (this.#attachment === undefined) this.#next = undefined;
  }

  follow(): void {
    if (this.#attachment !== undefined || this.#cancelTry !== undefined) return;
    try {
      this.#attachment = this.#reach.attach(this.#next, this);
    } catch (thrown) {
      // It went in this very turn, or the token did: that is told elsewhere.
      if (!(thrown instanceof CibError)) this.#reach.fault(thrown);
    }
  }

  write(frame: Encoded): "ok" | "full" {
    const type = frame.type as TopicType;
    const frames = this.#reach.topic("frames", type);
    const flat = this.#reach.topic("json", type);
    let room = true;
    if (this.#reach.wanted(frames)) room = this.#reach.publish(frames, frame.cbor());
    if (this.#reach.wanted(flat)) room = this.#reach.publish(flat, frame.json()) && room;
    this.#next = frame.seq + 1;
    this.#wait = FIRST_WAIT_MS;
    this.#full = !room;
    return room ? "ok" : "full";
  }

  /** The next frame's seq says the same to whoever reads these topics. */
  gap(): void {}

  close(reason: CloseReason): void {
    this.#attachment = undefined;
    if (reason !== "detached" && reason !== "too_far_behind") return;
    // A fault under it: it goes on where it was, and does not ask all the time for what is broken.
    this.#cancelTry = this.#reach.timers.after(this.#wait, () => {
      this.#cancelTry = undefined;
      this.#reach.again(this);
    });
    this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT_MS);
  }

  drained(): void {
    if (!this.#full) return;
    this.#full = false;
    this.#attachment?.drained();
  }

  /** Nobody listens; who comes later begins at what is then now. */
  [Symbol.dispose](): void {
    this.#attachment?.[Symbol.dispose]();
    this.#attachment = undefined;
    this.#cancelTry?.();
    this.#cancelTry = undefined;
    this.#wait = FIRST_WAIT_MS;
    this.#next = undefined;
    this.#full = false;
  }
}

export function statusOf({ state, model, title, waiting }: SessionInfo): Status {
  return {
    state: String(state),
    model: typeof model === "string" ? model : null,
    title: typeof title === "string" ? title : null,
    waiting: typeof waiting === "number" ? waiting : 0,
  };
}

function same(a: Status, b: Status): boolean {
  return a.state === b.state && a.model === b.model && a.title === b.title && a.waiting === b.waiting;
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
