/** Sessions: creates, finds and recovers them; the one list of what this box holds. */
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { CibError } from "../errors.ts";
import { privateFolder, syncFolder } from "../files.ts";
import { type SessionId, sessionId } from "../frame/frame.ts";
import type { Box, Secrets } from "./box.ts";
import { Fanout } from "./fanout.ts";
import { Log } from "./log.ts";
import { type Meta, readMeta, writeMeta } from "./meta.ts";
import { PtyLane } from "./pty-lane.ts";
import { Session } from "./session.ts";
import { workdirIn } from "./workdir.ts";

/** Sessions a box keeps: each costs a folder and, stopped, a few KB. */
export const MAX_SESSIONS = 1024;

export interface SessionsOptions {
  readonly box: Box;
  /** `$CIB_DATA/sessions`. */
  readonly folder: string;
  readonly workspace: string;
  readonly engine: Meta["engine"];
  readonly restore: "resume" | "off" | "continue";
  readonly fsync: "turn" | "always" | "off";
  readonly logMaxBytes: number;
  readonly ptyLogBytes: number;
  /** Where one of Claude's own conversations belongs. */
  readonly conversation: (id: string) => Promise<{ readonly workdir: string } | undefined>;
  /** Whether a subscription session would find a login; left out: it would. */
  readonly loggedIn?: () => Promise<boolean>;
  readonly apiKey: boolean;
  readonly oauthToken: () => boolean;
  /** A session is there, from now on or since before; and one that was to be is not. */
  readonly opened?: (session: Session) => void;
  readonly gone?: (id: SessionId) => void;
}

/** Who is told of sessions as they come and go. */
export interface SessionObserver {
  opened(session: Session): void;
  gone(id: SessionId): void;
}

/** What a creator asked for, checked by control. */
export interface NewSession {
  readonly id: SessionId;
  readonly by: string;
  readonly workdir?: string | undefined;
  readonly model?: string | undefined;
  readonly effort?: string | undefined;
  readonly auth: Meta["auth"];
  readonly key?: string | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly engine?: Meta["engine"] | undefined;
  readonly bypass: boolean;
  readonly gate?: readonly string[] | undefined;
  readonly ask_timeout_s?: number | undefined;
  readonly auto_continue?: boolean | undefined;
  readonly hooks?: readonly unknown[] | undefined;
  readonly title?: string | undefined;
  readonly fork?: SessionId | undefined;
  /** One of Claude's own conversations: goes on as this session, or, with `copy`, is copied by it. */
  readonly adopt?: string | undefined;
  readonly copy?: boolean | undefined;
}

export class Sessions {
  readonly #o: SessionsOptions;
  readonly #byId = new Map<SessionId, Session>();
  readonly #observers = new Set<SessionObserver>();

  /** Reads what the folder holds. A session that cannot be read is told to `fault` and left alone: the others go on. */
  constructor(options: SessionsOptions) {
    this.#o = options;
    privateFolder(options.folder);
    for (const name of readdirSync(options.folder)) {
      const id = sessionId(name);
      if (id === undefined) continue;
      try {
        const meta = readMeta(join(options.folder, id, "meta.json"));
        this.#byId.set(id, this.#open(meta));
      } catch (failure) {
        options.box.fault(`session ${id}`, failure);
      }
    }
  }

  get(id: SessionId): Session {
    const session = this.#byId.get(id);
    if (session === undefined) throw new CibError("not_found", `no session ${id}`);
    return session;
  }

  has(id: SessionId): boolean {
    return this.#byId.has(id);
  }

  all(): Session[] {
    return [...this.#byId.values()];
  }

  /** Told from now on of sessions that come, and of those that are gone for good. */
  observe(observer: SessionObserver): Disposable {
    this.#observers.add(observer);
    return { [Symbol.dispose]: () => void this.#observers.delete(observer) };
  }

  defaultAuth(): Meta["auth"] {
    return this.#o.apiKey && !this.#o.oauthToken() ? "api_key" : "subscription";
  }

  /** Durable before Claude starts; a start that fails leaves nothing behind. */
  async create(want: NewSession): Promise<Session> {
    if (this.#byId.size >= MAX_SESSIONS) throw new CibError("overloaded", `${MAX_SESSIONS} sessions exist already`);
    const { box, folder } = this.#o;
    const source = want.fork === undefined ? undefined : this.get(want.fork);
    if (want.auth === "subscription" && (await this.#o.loggedIn?.()) === false)
      throw new CibError("conflict", "auth: nobody is logged in; POST /api/login, or use mode api_key");
    const adopted = want.adopt === undefined ? undefined : await this.#adopted(want.adopt);
    // From here to its place among the others nothing is awaited: of two that ask at once the second finds the first.
    if (adopted !== undefined && !want.copy) this.#refuseTwice(adopted.id);
    const workdir =
      source?.meta.workdir ?? workdirIn(this.#o.workspace, adopted?.workdir ?? want.workdir, box.settings.user);
    const engine = want.engine ?? source?.meta.engine ?? this.#o.engine;
    const secrets: Secrets = { ...(want.key !== undefined && { key: want.key }), ...(want.env && { env: want.env }) };
    const meta: Meta = {
      v: 1,
      id: want.id,
      created_at: box.now(),
      by: want.by,
      workdir,
      model: want.model ?? source?.meta.model ?? "",
      engine,
      bypass: want.bypass,
      ...(want.gate && { gate: [...want.gate] }),
      ...(want.ask_timeout_s !== undefined && { ask_timeout_s: want.ask_timeout_s }),
      ...(want.auto_continue && { auto_continue: true }),
      ...(want.hooks && { hooks: [...want.hooks] }),
      auth: want.auth,
      wanted: true,
      conversation: want.id,
      started: false,
      usage: { input: 0, output: 0, cache_read: 0, cache_write: 0, turns: 0 },
      ...((want.effort ?? source?.meta.effort) !== undefined && { effort: want.effort ?? source?.meta.effort }),
      ...(want.title !== undefined && { title: want.title, named: true }),
      ...(source && { fork_of: source.meta.conversation }),
      ...(adopted && (want.copy ? { fork_of: adopted.id } : { conversation: adopted.id, started: true })),
      ...(Object.keys(secrets).length > 0 && { sealed: box.seal(secrets, want.id) }),
    };
    // Asking first what pays: a session that can never start should not come to be.
    box.credential(want.auth, want.key);
    const home = join(folder, want.id);
    privateFolder(home);
    let session: Session | undefined;
    try {
      writeMeta(join(home, "meta.json"), meta);
      syncFolder(folder);
      session = this.#open(meta);
      this.#byId.set(want.id, session);
      const { title, effort } = want;
      session.append({
        type: "meta",
        model: meta.model || box.settings.model,
        workdir,
        engine,
        auth: want.auth,
        ...(title !== undefined && { title }),
        ...(effort !== undefined && { effort }),
      });
      await session.start();
      return session;
    } catch (failure) {
      this.#byId.delete(want.id);
      // Also waits for meta.json: a write under way would put a file into the folder while it is removed.
      await session?.close("failed").catch(() => undefined);
      this.#o.gone?.(want.id);
      for (const observer of [...this.#observers]) observer.gone(want.id);
      rmSync(home, { recursive: true, force: true });
      throw failure;
    }
  }

  /** Where an adopted conversation goes on. */
  async #adopted(id: string): Promise<{ readonly id: string; readonly workdir: string }> {
    const found = await this.#o.conversation(id);
    if (found !== undefined) return { id, workdir: found.workdir };
    throw new CibError("not_found", `adopt: no conversation ${id}; GET /api/conversations lists them`);
  }

  /** Two Claudes writing one conversation would tear it apart. */
  #refuseTwice(conversation: string): void {
    const ours = this.all().find((session) => session.meta.conversation === conversation);
    if (ours !== undefined)
      throw new CibError(
        "conflict",
        `adopt: this conversation is session ${ours.id}; resume that one, or adopt a copy`,
      );
  }

  /** At the daemon's start, after the processes of the last one have been ended. */
  async recover(): Promise<void> {
    const starts: Promise<void>[] = [];
    for (const session of this.#byId.values()) {
      try {
        session.recover();
        if (session.meta.wanted && this.#o.restore !== "off") starts.push(this.#restart(session));
        else session.settle();
      } catch (failure) {
        // One session's broken disk is not the others'.
        this.#o.box.fault(`recover ${session.id}`, failure);
      }
    }
    await Promise.all(starts);
  }

  /** Stops every Claude and closes every log; they run again after the next start. */
  async close(): Promise<void> {
    const closing = this.all().map((session) =>
      session.close("daemon_stop").catch((thrown: unknown) => this.#o.box.fault("session.close", thrown)),
    );
    await Promise.all(closing);
  }

  async #restart(session: Session): Promise<void> {
    const open = session.turnOpen;
    try {
      await session.start();
      if (open && this.#o.restore === "continue") await session.queue.accept({ who: "box", text: "go on" });
    } catch (failure) {
      session.settle();
      const message = failure instanceof CibError ? failure.message : "could not be resumed; see the daemon's log";
      session.append({ type: "error", code: failure instanceof CibError ? failure.code : "internal", message });
      this.#o.box.fault(`resume ${session.id}`, failure);
    }
  }

  #open(meta: Meta): Session {
    const { box, folder, fsync, logMaxBytes, ptyLogBytes } = this.#o;
    const home = join(folder, meta.id);
    let session: Session | undefined;
    const log = Log.open({
      session: meta.id,
      folder: home,
      maxBytes: logMaxBytes,
      policy: fsync,
      events: {
        trouble: (error) => error && box.fault(`log ${meta.id}`, error),
        overflow: () => session?.overflow(),
        damaged: (message) => box.fault(`log ${meta.id}`, new Error(message)),
      },
    });
    const lane = PtyLane.open({
      session: meta.id,
      epoch: log.epoch,
      file: join(home, "output.log"),
      maxBytes: ptyLogBytes,
    });
    const fanout = new Fanout({ log, lane, fault: box.fault });
    session = new Session(box, meta, { folder: home, log, lane, fanout });
    this.#o.opened?.(session);
    for (const observer of [...this.#observers]) observer.opened(session);
    return session;
  }
}
