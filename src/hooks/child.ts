/** Child: one process of a hook, with a clean environment, in a group of its own that ends with it. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { asUser } from "../as-user.ts";
import type { RunRule } from "./rules.ts";

/** What a hook says on stderr is kept up to here; the rest is read and thrown away. */
const MAX_STDERR_BYTES = 1024;
/** A hook that writes this much on stderr is broken: reading on would only burn the processor. */
export const MAX_STDERR_FLOOD_BYTES = 4 * 1024 * 1024;

/** Where and as whom a session's hooks run. */
export interface Place {
  readonly session: string;
  /** The session's folder. */
  readonly workdir: string;
  readonly home: string;
  /** The session's user; undefined: the daemon's. */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** Further variables that are no secret: the marker by which a later daemon finds what was left over. */
  readonly env?: Readonly<Record<string, string>>;
}

/** What the machine needs to find programs and write text; nothing of it is a secret. */
const INHERITED = ["PATH", "LANG", "LC_ALL", "TZ"];

export class Child {
  /** Resolves once, when the process has ended or could not start; `error` says why it is no good. */
  readonly ended: Promise<{ readonly error?: string }>;
  readonly #process: ChildProcessByStdio<Writable, Readable, Readable>;
  #stderr = "";
  #stderrBytes = 0;
  #over = false;
  #ended = false;

  /** `event`: the one it is started for; a kept process serves many. */
  constructor(rule: RunRule, place: Place, event: string | undefined, stdout: (text: string) => void) {
    const [file = "", ...args] = asUser(rule.run, place.user);
    const direct = file === rule.run[0];
    const child = spawn(file, args, {
      cwd: place.workdir,
      env: environment(place, event),
      stdio: ["pipe", "pipe", "pipe"],
      // Its own group: what it starts ends with it.
      detached: true,
      ...(direct && place.user !== undefined ? { uid: place.user.uid, gid: place.user.gid } : {}),
    });
    this.#process = child;
    child.stdin.on("error", () => undefined); // it may end without having read
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      if (!this.#over) stdout(text);
    });
    child.stderr.on("data", (bytes: Buffer) => this.#said(bytes));
    for (const stream of [child.stdout, child.stderr]) stream.on("error", () => undefined);
    this.ended = new Promise((done) => {
      child.once("error", (failure: NodeJS.ErrnoException) => done({ error: `could not run: ${failure.code}` }));
      child.once("exit", () => {
        this.#signal(); // whatever it left behind in its group
        this.#ended = true;
      });
      child.once("close", (code, signal) => {
        this.#over = true;
        if (code === 0) done({});
        else done({ error: signal === null ? `ended with status ${code}` : `ended by ${signal}` });
      });
    });
  }

  /** The beginning of what it said on stderr. */
  get stderr(): string {
    return this.#stderr.toWellFormed();
  }

  write(text: string): void {
    if (this.#process.stdin.writable) this.#process.stdin.write(text);
  }

  /** No more events. */
  end(text = ""): void {
    if (this.#process.stdin.writable) this.#process.stdin.end(text);
  }

  /** Ends it and its group, at once. Nothing it says is heard any more. */
  kill(): void {
    this.#over = true;
    this.#signal();
    // What has left the group may hold the other ends for ever.
    for (const stream of [this.#process.stdin, this.#process.stdout, this.#process.stderr]) stream.destroy();
  }

  /** After its end the number of the group may be another's. */
  #signal(): void {
    const { pid } = this.#process;
    if (pid === undefined || this.#ended) return;
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      // The group is empty already.
    }
  }

  #said(bytes: Buffer): void {
    this.#stderrBytes += bytes.length;
    if (this.#stderr.length < MAX_STDERR_BYTES)
      this.#stderr += bytes.toString("utf8", 0, MAX_STDERR_BYTES - this.#stderr.length);
    if (this.#stderrBytes > MAX_STDERR_FLOOD_BYTES) this.kill();
  }
}

function environment({ session, home, env }: Place, event: string | undefined): Record<string, string> {
  const inherited = INHERITED.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    PATH: "/usr/local/bin:/usr/bin:/bin",
    LANG: "C.UTF-8",
    ...Object.fromEntries(inherited),
    HOME: home,
    ...env,
    // Not CIB_SESSION: by that the session's own processes are found and ended, before its last frames are told.
    CIB_HOOK_SESSION: session,
    ...(event !== undefined && { CIB_EVENT: event }),
  };
}
