/** Login: Claude's own subscription login, driven from outside: the URL goes out, the code comes in, and neither is kept. */
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { asUser } from "../as-user.ts";
import { CibError } from "../errors.ts";
import { BOX_VARIABLE, baseEnvironment, SESSION_VARIABLE } from "./command.ts";
import { object, text } from "./json.ts";
import { type LoginListener, type LoginResult, type LoginRun, loginByPipes, loginByTerminal } from "./login-run.ts";
import { endTree, sessionMarker } from "./process-tree.ts";
import { privateFolder } from "./seed.ts";
import { detectVersion, rowFor } from "./versions.ts";

/** A person finds the phone, signs in, confirms by mail: ten minutes, then Claude is ended. */
export const LOGIN_DEADLINE_MS = 600_000;
/** 2.1.112 shows the URL after 4 s on a desktop, after a good half minute on a Raspberry Pi 2. */
const URL_DEADLINE_MS = 90_000;
/** Three calls to Anthropic over a slow line. */
const CODE_DEADLINE_MS = 60_000;
const STATUS_DEADLINE_MS = 30_000;
/** A sentence of Claude's, not a page of it. */
const MAX_MESSAGE_CHARS = 300;

/** Where a login stands. `url`: what a person opens; what the page shows then goes to `code`. */
export interface LoginStatus {
  readonly state: "idle" | "starting" | "waiting_for_code" | "checking" | "done" | "failed";
  readonly url?: string;
  /** Why the last code or login failed, in Claude's words. */
  readonly message?: string;
  /** Told at rest only. */
  readonly logged_in?: boolean;
  /** `claude.ai`: kept by Claude; `oauth_token`: a token of the box. */
  readonly method?: string;
}

export interface LoginOptions {
  /** What runs Claude Code. */
  readonly command: readonly string[];
  /** This box's id: marks the process, as every other. */
  readonly box: string;
  /** HOME of the sessions; a login is kept in `.claude` of it, where subscription sessions look. */
  readonly home: string;
  readonly user?: { readonly uid: number; readonly gid: number };
  /** The token that subscription sessions are given, if any. */
  readonly token: () => string | undefined;
  /** Why a login would be without effect (the daemon was started with a token); undefined: it would not. */
  readonly pointless?: () => string | undefined;
  /** Keeps the token that Claude only prints; undefined forgets an older one, since Claude keeps the new login itself. */
  readonly keep: (token: string | undefined) => void | Promise<void>;
  /** The daemon's own environment, for proxies and certificates. */
  readonly own?: NodeJS.ProcessEnv;
  readonly deadlineMs?: number;
  readonly fault?: (fault: unknown) => void;
}

interface AtRest {
  readonly logged_in: boolean;
  readonly method: string;
}

/** One under way. */
interface Attempt {
  readonly id: string;
  state: "starting" | "waiting_for_code" | "checking";
  run: LoginRun | undefined;
  url: string | undefined;
  message: string | undefined;
  /** Not to be repeated by anyone. */
  code: string;
  readonly timers: Set<NodeJS.Timeout>;
}

/** One login at a time; a second start while one waits gets the same URL. */
export class Login implements AsyncDisposable {
  readonly #o: LoginOptions;
  #attempt: Attempt | undefined;
  #last: { readonly state: "idle" | "done" | "failed"; readonly message?: string } = { state: "idle" };
  #starting: Promise<LoginStatus> | undefined;
  #listeners = new Set<() => void>();
  #closed = false;
  #asking: Promise<AtRest> | undefined;

  constructor(options: LoginOptions) {
    this.#o = options;
  }

  /** Resolves with the URL. Rejects with `conflict` where a login would have no effect, `claude_failed` where none begins. */
  start(): Promise<LoginStatus> {
    const why = this.#closed ? "the box is stopping" : this.#o.pointless?.();
    if (why !== undefined) return Promise.reject(new CibError("conflict", `login: ${why}`));
    const attempt = this.#attempt;
    if (attempt !== undefined && attempt.state !== "starting") return Promise.resolve(underWay(attempt));
    this.#starting ??= this.#begin().finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  /** Where it stands; at rest, whether subscription sessions have a login. Asks Claude, so it may take a second. */
  async status(): Promise<LoginStatus> {
    if (this.#attempt !== undefined) return underWay(this.#attempt);
    return { ...this.#last, ...(await this.#atRest()) };
  }

  /**
   * Hands over what the page showed. Resolves when Claude has judged it: `done`, `failed`, or `waiting_for_code` with a
   * message where it asks for another. Rejects with `conflict` where no login waits, `bad_request` for half a code.
   */
  async code(code: string): Promise<LoginStatus> {
    const attempt = this.#attempt;
    if (attempt?.state !== "waiting_for_code")
      throw new CibError("conflict", "login: none waits for a code; POST /api/login first");
    if (!/^[\x21-\x7e]+#[\x21-\x7e]+$/.test(code))
      throw new CibError("bad_request", "code: expected all of what the page shows, with the # in the middle");
    attempt.state = "checking";
    attempt.code = code;
    attempt.message = undefined;
    const checking = (): boolean => attempt.state === "checking" && attempt.code === code;
    this.#within(attempt, CODE_DEADLINE_MS, "Claude Code did not judge the code in time", checking);
    attempt.run?.enter(code);
    await this.#until(() => this.#attempt !== attempt || attempt.state !== "checking");
    return this.#attempt === attempt ? underWay(attempt) : this.status();
  }

  /** Whether a subscription session would find a login. Cheap; asks Claude only where the file is out of reach. */
  async loggedIn(): Promise<boolean> {
    if (this.#o.token() !== undefined) return true;
    try {
      const kept = object(JSON.parse(await readFile(join(this.#configDir, ".credentials.json"), "utf8")));
      return text(object(kept?.["claudeAiOauth"])?.["accessToken"]) !== undefined;
    } catch (failure) {
      if ((failure as { code?: unknown }).code !== "EACCES") return false;
      return (await this.#atRest()).logged_in;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    const attempt = this.#attempt;
    if (attempt !== undefined) await this.#over(attempt, { ok: false, message: "the box is stopping" });
  }

  readonly #fault = (fault: unknown): void => this.#o.fault?.(fault);

  get #configDir(): string {
    return join(this.#o.home, ".claude");
  }

  async #begin(): Promise<LoginStatus> {
    const { command, home, user, deadlineMs = LOGIN_DEADLINE_MS } = this.#o;
    const attempt: Attempt = {
      id: `login-${randomUUID()}`,
      state: "starting",
      run: undefined,
      url: undefined,
      message: undefined,
      code: "",
      timers: new Set(),
    };
    this.#attempt = attempt;
    try {
      const env = this.#environment(attempt.id);
      for (const folder of [home, this.#configDir]) await privateFolder(folder, user);
      const { row } = rowFor(await detectVersion(command, env));
      const place = { cwd: home, env, ...(user && { user }) };
      const on: LoginListener = {
        url: (url) => {
          attempt.url = url;
          this.#waits(attempt);
        },
        again: (why) => {
          attempt.message = cleaned(why, attempt.code);
          this.#waits(attempt);
        },
        over: (result) => void this.#over(attempt, result).catch(this.#fault),
      };
      if (this.#attempt === attempt)
        attempt.run = row.pastesLogin
          ? loginByPipes({ ...place, argv: [...command, "auth", "login"] }, on)
          : loginByTerminal({ ...place, argv: [...command, "setup-token"] }, on);
    } catch (failure) {
      await this.#over(attempt, { ok: false, message: failure instanceof CibError ? failure.message : "not started" });
      throw failure;
    }
    this.#within(attempt, URL_DEADLINE_MS, "Claude Code showed no URL", () => attempt.state === "starting");
    this.#within(attempt, deadlineMs, "nobody entered a code in time", () => true);
    await this.#until(() => this.#attempt !== attempt || attempt.state !== "starting");
    if (this.#attempt === attempt) return underWay(attempt);
    throw new CibError("claude_failed", `login: ${this.#last.message ?? "did not begin"}`);
  }

  #waits(attempt: Attempt): void {
    attempt.state = "waiting_for_code";
    this.#wake();
  }

  /** Ends the attempt after so long, if `still` holds then. */
  #within(attempt: Attempt, ms: number, message: string, still: () => boolean): void {
    const timer = setTimeout(() => {
      attempt.timers.delete(timer);
      if (still()) this.#over(attempt, { ok: false, message }).catch(this.#fault);
    }, ms);
    timer.unref();
    attempt.timers.add(timer);
  }

  async #over(attempt: Attempt, result: LoginResult): Promise<void> {
    if (this.#attempt !== attempt) return;
    for (const timer of attempt.timers) clearTimeout(timer);
    attempt.timers.clear();
    let end: { state: "done" } | { state: "failed"; message: string } = result.ok
      ? { state: "done" }
      : { state: "failed", message: cleaned(result.message, attempt.code) };
    try {
      // Nobody sees "done" before the login can be used.
      if (result.ok) await this.#o.keep(result.token);
    } catch (failure) {
      end = { state: "failed", message: "the token could not be kept; see the daemon's log" };
      this.#o.fault?.(failure);
    }
    if (this.#attempt !== attempt) return;
    this.#attempt = undefined;
    this.#last = end;
    this.#wake();
    await endTree(sessionMarker(attempt.id), attempt.run?.pid, "kill", this.#o.user);
  }

  /** What Claude says of itself: a local check, no call to anyone. Asked once for all who ask meanwhile. */
  #atRest(): Promise<AtRest> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #ask(): Promise<AtRest> {
    if (this.#o.token() !== undefined) return { logged_in: true, method: "oauth_token" };
    const { command, home, user } = this.#o;
    const env = this.#environment(`login-${randomUUID()}`);
    const argv = [...command, "auth", "status", "--json"];
    const [file = "claude", ...args] = asUser(argv, user);
    const direct = file === argv[0] && user !== undefined ? { uid: user.uid, gid: user.gid } : {};
    const how = { env, cwd: home, timeout: STATUS_DEADLINE_MS, ...direct };
    const out = await new Promise<string>((done) => {
      // Where nobody is logged in it ends with 1, and says so all the same.
      execFile(file, args, how, (_fault, printed) => done(printed));
    });
    const told = parse(out);
    return { logged_in: told?.["loggedIn"] === true, method: text(told?.["authMethod"]) ?? "none" };
  }

  #environment(id: string): Record<string, string> {
    return {
      ...baseEnvironment(this.#o.home, this.#configDir, this.#o.own),
      // A box has no screen: without this Claude looks for a browser.
      BROWSER: "/bin/false",
      [BOX_VARIABLE]: this.#o.box,
      [SESSION_VARIABLE]: id,
    };
  }

  #until(condition: () => boolean): Promise<void> {
    return new Promise((done) => {
      const look = (): void => {
        if (!condition()) return;
        this.#listeners.delete(look);
        done();
      };
      this.#listeners.add(look);
      look();
    });
  }

  #wake(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

function underWay({ state, url, message }: Attempt): LoginStatus {
  return { state, ...(url !== undefined && { url }), ...(message !== undefined && { message }) };
}

/** The code, or a half of it, may stand in what Claude says of it. */
function cleaned(message: string, code: string): string {
  let text = message;
  for (const part of [code, ...code.split("#")]) if (part.length > 3) text = text.replaceAll(part, "…");
  return text.slice(0, MAX_MESSAGE_CHARS);
}

function parse(out: string): Record<string, unknown> | undefined {
  try {
    return object(JSON.parse(out));
  } catch {
    return undefined;
  }
}
