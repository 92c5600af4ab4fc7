/** Webhooks: brings chosen frames of every session to addresses outside, each rule with a cursor that survives restarts. */
import { existsSync, readFileSync } from "node:fs";
import * as v from "valibot";
import { FileError } from "../files.ts";
import type { Encoded } from "../frame/codec.ts";
import type { Frame, FrameBody, Seq, SessionId } from "../frame/frame.ts";
import { maskOf } from "../frame/select.ts";
import type { CloseReason, Sink } from "../frame/sink.ts";
import type { HookBook } from "../hooks/book.ts";
import { isAbout } from "../hooks/match.ts";
import { deliver, type PostOptions } from "../hooks/post.ts";
import { EVENTS, type PostRule, type Rule } from "../hooks/rules.ts";
import { type Clock, systemClock } from "./clock.ts";
import { nodeDisk } from "./disk.ts";
import type { Fanout, Reader } from "./fanout.ts";
import type { Log } from "./log.ts";

/** Cursors are written at most so often: after a crash the frames since come again, with the same x-cib-frame. */
export const SAVE_MS = 1_000;

/** By session, by rule: the last frame that is done with. */
const FILE = v.object({ v: v.literal(1), cursors: v.record(v.string(), v.record(v.string(), v.number())) });

export interface WebhooksOptions {
  /** `$CIB_DATA/webhooks.json`. */
  readonly file: string;
  readonly hooks: Pick<HookBook, "rules" | "watch">;
  readonly fault: (where: string, thrown: unknown) => void;
  readonly clock?: Clock;
  readonly random?: () => number;
  readonly fetch?: typeof fetch;
}

/** What it needs of a session. */
export interface Told {
  readonly id: SessionId;
  readonly log: Pick<Log, "numbered">;
  readonly fanout: Pick<Fanout, "attach">;
  readonly meta: { readonly hooks?: unknown[] | undefined; readonly title?: string | undefined };
  append(body: FrameBody): number;
}

export class Webhooks implements AsyncDisposable {
  readonly #o: WebhooksOptions;
  readonly #clock: Clock;
  readonly #post: PostOptions;
  readonly #watch: Disposable;
  readonly #cursors: Record<string, Record<string, number>>;
  readonly #sessions = new Map<SessionId, { readonly session: Told; readonly couriers: Map<string, Courier> }>();
  #unsave: (() => void) | undefined;
  #saving: Promise<void> = Promise.resolve();
  #closed = false;

  /** Throws FileError when the file is there and cannot be understood. */
  constructor(options: WebhooksOptions) {
    this.#o = options;
    this.#clock = options.clock ?? systemClock;
    const clock = this.#clock;
    this.#post = {
      now: () => clock.now(),
      after: (ms, run) => clock.after(ms, run),
      random: options.random ?? Math.random,
      ...(options.fetch && { fetch: options.fetch }),
    };
    this.#cursors = readCursors(options.file);
    this.#watch = options.hooks.watch(() => {
      for (const { session } of [...this.#sessions.values()]) this.follow(session);
    });
  }

  /** Follows a session by the rules that hold for it now. A rule that is new to it starts at the end of its log. */
  follow(session: Told): void {
    if (this.#closed) return;
    const { couriers } = this.#sessions.get(session.id) ?? { couriers: new Map<string, Courier>() };
    this.#note(session.id, couriers);
    this.#sessions.set(session.id, { session, couriers });
    const rules = this.#o.hooks.rules(session.meta.hooks).filter((rule): rule is PostRule => rule.post !== undefined);
    const keys = new Map(rules.map((rule) => [JSON.stringify(rule), rule]));
    for (const [key, courier] of couriers) {
      if (keys.has(key)) continue;
      courier[Symbol.dispose]();
      couriers.delete(key);
    }
    const before = this.#cursors[session.id] ?? {};
    const after: Record<string, number> = {};
    for (const [key, rule] of keys) {
      // What a power loss took from the log is given its numbers again.
      after[rule.name] = Math.min(before[rule.name] ?? session.log.numbered, session.log.numbered);
      if (couriers.has(key)) continue;
      const saves = (): void => this.#saveSoon();
      couriers.set(key, new Courier(session, rule, after[rule.name] ?? 0, this.#post, saves, this.#o.fault));
    }
    if (rules.length > 0) this.#cursors[session.id] = after;
    else delete this.#cursors[session.id];
    if (JSON.stringify(after) !== JSON.stringify(before)) this.#saveSoon();
  }

  /** The session is no more. */
  forget(session: SessionId): void {
    for (const courier of this.#sessions.get(session)?.couriers.values() ?? []) courier[Symbol.dispose]();
    this.#sessions.delete(session);
    delete this.#cursors[session];
    this.#saveSoon();
  }

  /** Delivers nothing more, and writes how far it got. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#watch[Symbol.dispose]();
    for (const { couriers } of this.#sessions.values())
      for (const courier of couriers.values()) courier[Symbol.dispose]();
    this.#unsave?.();
    if (this.#unsave !== undefined || Object.keys(this.#cursors).length > 0) this.#save();
    await this.#saving;
  }

  #note(session: SessionId, couriers: ReadonlyMap<string, Courier>): void {
    const cursors = this.#cursors[session];
    if (cursors !== undefined) for (const courier of couriers.values()) cursors[courier.name] = courier.at;
  }

  #saveSoon(): void {
    if (this.#closed) return;
    this.#unsave ??= this.#clock.after(SAVE_MS, () => {
      this.#unsave = undefined;
      this.#save();
    });
  }

  #save(): void {
    for (const [id, { couriers }] of this.#sessions) this.#note(id, couriers);
    const text = `${JSON.stringify({ v: 1, cursors: this.#cursors })}\n`;
    this.#saving = this.#saving
      .then(() => nodeDisk.replace(this.#o.file, Buffer.from(text)))
      .catch((failure: unknown) => this.#o.fault("webhooks.json", failure));
  }
}

/** One rule in one session: takes one frame after the other, the next when the one before is done with. */
class Courier implements Sink, Disposable {
  readonly #session: Told;
  readonly #rule: PostRule;
  readonly #post: PostOptions;
  readonly #done: () => void;
  readonly #fault: (where: string, thrown: unknown) => void;
  readonly #over = new AbortController();
  readonly #mask: number;
  #reader: Reader | undefined;
  #next: Seq;
  #busy = false;

  constructor(
    session: Told,
    rule: PostRule,
    seen: Seq,
    post: PostOptions,
    done: () => void,
    fault: (where: string, thrown: unknown) => void,
  ) {
    this.#session = session;
    this.#rule = rule;
    this.#post = post;
    this.#done = done;
    this.#fault = fault;
    this.#next = seen + 1;
    this.#mask = maskOf(rule.on.flatMap((event) => (event === "*" ? EVENTS : [event])));
    this.#attach();
  }

  get name(): string {
    return this.#rule.name;
  }

  /** The last frame that is done with. */
  get at(): Seq {
    if (!this.#busy) this.#next = Math.max(this.#next, this.#reader?.next ?? 0);
    return this.#next - 1;
  }

  write(encoded: Encoded): "ok" | "full" {
    const frame = encoded.frame() as Frame;
    if (frame.type === "hook" || !isAbout(this.#rule as Rule, frame)) {
      this.#next = frame.seq + 1;
      return "ok";
    }
    this.#next = frame.seq;
    this.#busy = true;
    this.#bring(frame).catch((thrown: unknown) => this.#fault(`webhook ${this.#rule.name}`, thrown));
    return "full";
  }

  gap(from: Seq, to: Seq): void {
    this.#tell("gap", { verdict: "failed", error: `frames ${from} to ${to - 1} are gone from the log` });
  }

  /** The fan-out lets go of a reader that is full for long: this one may be, and comes back. */
  close(reason: CloseReason): void {
    void this.at;
    this.#reader = undefined;
    if (reason === "stopping") this.#over.abort();
    else if (!this.#busy) this.#attach();
  }

  [Symbol.dispose](): void {
    void this.at;
    this.#over.abort();
    this.#reader?.[Symbol.dispose]();
    this.#reader = undefined;
  }

  async #bring(frame: Frame): Promise<void> {
    const { title } = this.#session.meta;
    const delivery = await deliver(this.#rule, frame, title, this.#post, this.#over.signal);
    this.#busy = false;
    if (delivery === undefined || this.#over.signal.aborted) return;
    this.#next = frame.seq + 1;
    this.#done();
    this.#tell(frame.type, delivery, { seq: frame.seq });
    if (this.#reader === undefined) this.#attach();
    else this.#reader.drained();
  }

  #attach(): void {
    if (this.#over.signal.aborted) return;
    this.#reader = this.#session.fanout.attach({ from: this.#next, mask: this.#mask, sink: this });
  }

  #tell(event: string, result: object, payload?: object): void {
    try {
      this.#session.append({ type: "hook", name: this.#rule.name, event, ...(payload && { payload }), result });
    } catch (failure) {
      this.#fault(`webhook ${this.#rule.name}`, failure);
    }
  }
}

function readCursors(file: string): Record<string, Record<string, number>> {
  if (!existsSync(file)) return {};
  try {
    return v.parse(FILE, JSON.parse(readFileSync(file, "utf8"))).cursors;
  } catch (cause) {
    throw new FileError(file, cause, "correct it, or move it away: webhooks then start at the end of each log");
  }
}
