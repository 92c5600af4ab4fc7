/** Watch: who wants to know of sessions as a whole is told when one comes, goes or changes. */
import { reaches } from "../auth/gate.ts";
import type { SessionId } from "../frame/frame.ts";
import { maskOf } from "../frame/select.ts";
import type { Sink } from "../frame/sink.ts";
import type { Session } from "../session/session.ts";
import type { Principal, SessionInfo, Watcher } from "./control.ts";
import type { SessionStore } from "./ports.ts";

/** What changes the answer of sessions.get in ways that people look for. */
const CHANGES = maskOf(["status", "meta", "usage", "stop", "input", "ask.question", "ask.answer"]);
/** A log that could not be read is followed again after this. */
const AGAIN_MS = 1_000;

/** Follows every session once, however many watch, and none while nobody does. */
export class Watches {
  readonly #store: SessionStore;
  readonly #watching = new Map<Watcher, Principal>();
  readonly #following = new Map<SessionId, Disposable>();
  readonly #changed = new Set<SessionId>();
  /** Who has not yet been told of those that were there before. */
  readonly #fresh = new Set<Watcher>();
  #observing: Disposable | undefined;
  #turn: NodeJS.Immediate | undefined;

  constructor(store: SessionStore) {
    this.#store = store;
  }

  watch(who: Principal, watcher: Watcher): Disposable {
    this.#watching.set(watcher, who);
    this.#fresh.add(watcher);
    this.#observing ??= this.#observe();
    this.#soon();
    return { [Symbol.dispose]: () => this.#leave(watcher) };
  }

  #observe(): Disposable {
    for (const session of this.#store.all()) this.#follow(session);
    return this.#store.observe({
      opened: (session) => {
        this.#follow(session);
        this.#mark(session.id);
      },
      gone: (id) => {
        this.#following.get(id)?.[Symbol.dispose]();
        this.#following.delete(id);
        this.#changed.delete(id);
        for (const [watcher, who] of [...this.#watching]) if (!who.ended.aborted && reaches(who, id)) watcher.gone(id);
      },
    });
  }

  #follow(session: Session): void {
    const changed = (): void => this.#mark(session.id);
    const sink: Sink = {
      write: () => {
        changed();
        return "ok";
      },
      gap: changed,
      close: (reason) => {
        if (reason === "detached") this.#again(session);
      },
    };
    this.#following.set(session.id, session.fanout.attach({ from: session.log.last + 1, mask: CHANGES, sink }));
  }

  /** A fault ended it: it goes on from then, and whatever was missed is told at once. */
  #again(session: Session): void {
    if (!this.#following.has(session.id)) return;
    const timer = setTimeout(() => {
      this.#follow(session);
      this.#mark(session.id);
    }, AGAIN_MS).unref();
    this.#following.set(session.id, { [Symbol.dispose]: () => clearTimeout(timer) });
  }

  #mark(id: SessionId): void {
    this.#changed.add(id);
    this.#soon();
  }

  #soon(): void {
    this.#turn ??= setImmediate(() => this.#tell());
  }

  #tell(): void {
    this.#turn = undefined;
    const fresh = new Set(this.#fresh);
    this.#fresh.clear();
    const changed = [...this.#changed].filter((id) => this.#store.has(id));
    this.#changed.clear();
    const all = fresh.size > 0 ? this.#store.all().map(({ id }) => id) : [];
    for (const [watcher, who] of [...this.#watching]) {
      for (const id of fresh.has(watcher) ? all : changed) {
        // It may have left in between.
        if (!this.#watching.has(watcher) || who.ended.aborted) break;
        if (reaches(who, id)) watcher.changed(infoOf(this.#store.get(id)));
      }
    }
  }

  #leave(watcher: Watcher): void {
    this.#watching.delete(watcher);
    this.#fresh.delete(watcher);
    if (this.#watching.size > 0) return;
    this.#observing?.[Symbol.dispose]();
    this.#observing = undefined;
    for (const each of this.#following.values()) each[Symbol.dispose]();
    this.#following.clear();
    this.#changed.clear();
    if (this.#turn !== undefined) clearImmediate(this.#turn);
    this.#turn = undefined;
  }
}

function infoOf(session: Session): SessionInfo {
  return { ...session.info(), session: session.id };
}
