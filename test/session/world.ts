/** A world for session tests: real sessions, log and ledger in a scratch folder, a scripted engine in Claude's place, that stops, starts again and dies. */
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Credential } from "../../src/agent/agent.ts";
import { Vault } from "../../src/auth/vault.ts";
import { CibError } from "../../src/errors.ts";
import type { Frame, SessionId } from "../../src/frame/frame.ts";
import { HookBook } from "../../src/hooks/book.ts";
import type { Box, Secrets } from "../../src/session/box.ts";
import { Ledger } from "../../src/session/ledger.ts";
import type { Meta } from "../../src/session/meta.ts";
import { newSessionId } from "../../src/session/meta.ts";
import type { Session } from "../../src/session/session.ts";
import { type NewSession, Sessions, type SessionsOptions } from "../../src/session/sessions.ts";
import { ScriptedEngine } from "./scripted-engine.ts";

/** Far above what a loaded machine needs: it only ends a test that would never end. */
const DEADLINE_MS = 20_000;

const VAULT = new Vault("world-master-token", Buffer.alloc(16, 7));

export interface WorldWish {
  readonly restore?: SessionsOptions["restore"];
  /** The box's own API key; undefined: none. */
  readonly apiKey?: string;
  readonly oauthToken?: boolean;
}

export class World implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "cib-session-"));
  readonly data = join(this.folder, "data");
  readonly workspace = join(this.folder, "workspace");
  readonly engine = new ScriptedEngine();
  readonly faults: (readonly [where: string, thrown: unknown])[] = [];
  /** Claude's own conversations. */
  readonly conversations = new Set<string>();
  now = Date.now();
  vault: Vault | undefined = VAULT;
  readonly #wish: WorldWish;
  #ledger: Ledger | undefined;
  #sessions: Sessions | undefined;
  #hooks: HookBook | undefined;
  /** In the daemon its listener keeps the process alive: deadlines alone do not. */
  readonly #alive = setInterval(() => undefined, DEADLINE_MS);

  private constructor(wish: WorldWish) {
    this.#wish = wish;
    mkdirSync(this.workspace);
  }

  static async open(wish: WorldWish = {}): Promise<World> {
    const world = new World(wish);
    await world.start();
    return world;
  }

  get ledger(): Ledger {
    assert.ok(this.#ledger);
    return this.#ledger;
  }

  get hooks(): HookBook {
    assert.ok(this.#hooks);
    return this.#hooks;
  }

  get sessions(): Sessions {
    assert.ok(this.#sessions);
    return this.#sessions;
  }

  async start(wish: WorldWish = this.#wish): Promise<void> {
    mkdirSync(this.data, { recursive: true });
    const ledger = await Ledger.open({ file: join(this.data, "ledger.jsonl"), now: () => this.now });
    this.#ledger = ledger;
    const hooks = new HookBook({
      image: join(this.data, "image-hooks.json"),
      user: join(this.data, "hooks.json"),
      fault: (thrown) => this.faults.push(["hooks", thrown]),
    });
    this.#hooks = hooks;
    const box: Box = {
      engine: this.engine,
      ledger,
      now: () => this.now,
      settings: {
        home: join(this.folder, "home"),
        model: "default-model",
        thinking: true,
        tap: false,
        askTimeoutS: 600,
      },
      credential: (mode, key) => credentialOf(mode, key ?? wish.apiKey),
      seal: (secrets, session) => VAULT.seal(secrets, session),
      unseal: (text, session) => this.vault?.open(text, session) as Secrets | undefined,
      hooks,
      fault: (where, thrown) => this.faults.push([where, thrown]),
    };
    this.#sessions = new Sessions({
      box,
      folder: join(this.data, "sessions"),
      engine: "pty",
      conversation: async (id) => (this.conversations.has(id) ? { workdir: this.workspace } : undefined),
      workspace: this.workspace,
      restore: wish.restore ?? "resume",
      fsync: "turn",
      logMaxBytes: 1024 * 1024,
      ptyLogBytes: 64 * 1024,
      apiKey: wish.apiKey !== undefined,
      oauthToken: () => wish.oauthToken ?? false,
    });
    await this.#sessions.recover();
  }

  /** A clean stop of the daemon. */
  async stop(): Promise<void> {
    await this.#sessions?.close();
    await this.#ledger?.close();
    this.#sessions = undefined;
    this.#ledger = undefined;
  }

  /** What kill -9 leaves: the files as they are in this very moment. `change` may take something away. Then starts again. */
  async crash(change: () => void = () => undefined, wish: WorldWish = this.#wish): Promise<void> {
    const image = join(this.folder, "image");
    cpSync(this.data, image, { recursive: true });
    await this.stop();
    rmSync(this.data, { recursive: true });
    renameSync(image, this.data);
    change();
    await this.start(wish);
  }

  async create(more: Partial<NewSession> = {}): Promise<Session> {
    const session = await this.sessions.create({
      id: newSessionId(),
      by: "master",
      auth: "subscription",
      bypass: true,
      ...more,
    });
    await until(() => session.state === "idle", "idle");
    return session;
  }

  /** A session as it is now, after a restart too. */
  get(id: SessionId): Session {
    return this.sessions.get(id);
  }

  file(id: SessionId, name: string): string {
    return join(this.data, "sessions", id, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    clearInterval(this.#alive);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function credentialOf(mode: Meta["auth"], key: string | undefined): Credential {
  if (mode === "subscription") return { mode };
  if (key === undefined) throw new CibError("conflict", "auth: mode api_key needs a key");
  return { mode, key };
}

/** What a session's log holds. */
export function framesOf(session: Session): Frame[] {
  return [...session.log.frames(1)];
}

/** Its frames in one word each, those that a test of behaviour looks at. */
export function story(session: Session): string[] {
  return framesOf(session).flatMap((frame) => {
    if (frame.type === "input") return [`${frame.state} ${frame.text ?? ""}${frame.reason ?? ""}`.trim()];
    if (frame.type === "status") return [frame.state];
    if (frame.type === "stop") return [`stop ${frame.reason}`];
    if (frame.type === "text.delta") return [frame.text];
    return [];
  });
}

/** Waits for what the disk and the engine do; fails rather than waiting for ever. */
export async function until(holds: () => boolean, what: string): Promise<void> {
  const end = performance.now() + DEADLINE_MS;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`never came: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** For assert.rejects: a refusal with this code whose message fits. */
export const refused =
  (code: string, words: RegExp = /./) =>
  (thrown: unknown): boolean => {
    assert.ok(thrown instanceof CibError, String(thrown));
    assert.equal(thrown.code, code, thrown.message);
    assert.match(thrown.message, words);
    return true;
  };
