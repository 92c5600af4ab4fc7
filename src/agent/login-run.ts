/** Login run: one login of Claude Code under way, by pipes or in a terminal; login.ts drives it. */
import { spawn } from "node:child_process";
import { asUser } from "../as-user.ts";
import { Grid } from "./grid.ts";
import { type PtySpec, spawnPty } from "./pty.ts";

/** An authorisation URL has 450 characters and must stand in one row; the widest terminal there is. */
const COLS = 1000;
const ROWS = 50;
/** Claude takes a text and an Enter that come as one for a paste. */
const ENTER_AFTER_MS = 200;
/** A program that printed this much has shown no login. */
const MAX_OUTPUT_CHARS = 64 * 1024;
/** On a refusal that ends it, Claude goes within 20 ms; ten times that on a Raspberry Pi, and room for both. */
const GOES_WITHIN_MS = 1_000;

export interface LoginListener {
  /** What a person opens in a browser. Once. */
  url(url: string): void;
  /** Claude did not understand the code and waits for another one. */
  again(why: string): void;
  /** Once, at the end. `token`: what Claude printed instead of keeping it. */
  over(result: LoginResult): void;
}

export type LoginResult =
  | { readonly ok: true; readonly token?: string }
  | { readonly ok: false; readonly message: string };

export interface LoginRun {
  readonly pid: number;
  enter(code: string): void;
}

type Place = Omit<PtySpec, "cols" | "rows">;

const URL_SHOWN = /https:\/\/\S+\/oauth\/authorize\S*/;

/** `claude auth login`: asks over pipes and keeps what it gets in its configuration (2.1.197 and newer). */
export function loginByPipes(place: Place, on: LoginListener): LoginRun {
  const [file = "claude", ...args] = asUser(place.argv, place.user);
  const child = spawn(file, args, {
    cwd: place.cwd,
    env: { ...place.env },
    stdio: ["pipe", "pipe", "pipe"],
    detached: true,
    ...(file === place.argv[0] && place.user !== undefined ? { uid: place.user.uid, gid: place.user.gid } : {}),
  });
  let out = "";
  let complaint = "";
  let shown = false;
  let over = false;
  let asking: NodeJS.Timeout | undefined;
  const end = (result: LoginResult): void => {
    if (over) return;
    over = true;
    clearTimeout(asking);
    on.over(result);
  };
  child.stdout.on("data", (bytes: Buffer) => {
    out = (out + bytes.toString()).slice(-MAX_OUTPUT_CHARS);
    // The question comes after the URL, so that the URL is whole.
    const url = out.includes("code here") ? URL_SHOWN.exec(out)?.[0] : undefined;
    if (shown || url === undefined) return;
    shown = true;
    on.url(url);
  });
  child.stderr.on("data", (bytes: Buffer) => {
    complaint = (complaint + bytes.toString()).slice(-MAX_OUTPUT_CHARS);
    if (!shown || over) return;
    clearTimeout(asking);
    asking = setTimeout(() => {
      on.again(lastLine(complaint));
      complaint = "";
    }, GOES_WITHIN_MS);
  });
  // It went away while we wrote: `close` tells.
  child.stdin.on("error", () => undefined);
  child.on("error", (fault) => end({ ok: false, message: `Claude Code could not be run: ${fault.message}` }));
  child.on("close", (code, signal) => {
    if (code === 0) end({ ok: true });
    else end({ ok: false, message: lastLine(complaint) || ended(code, signal) });
  });
  return {
    pid: child.pid ?? 0,
    enter(code) {
      complaint = "";
      if (child.stdin.writable) child.stdin.write(`${code}\n`);
    },
  };
}

/** `claude setup-token`: asks on a terminal and prints a token for a year, which it does not keep. */
export function loginByTerminal(place: Place, on: LoginListener): LoginRun {
  const grid = new Grid(COLS, ROWS);
  let shown = false;
  let over = false;
  const end = (result: LoginResult): void => {
    if (over) return;
    over = true;
    on.over(result);
  };
  const pty = spawnPty(
    { ...place, cols: COLS, rows: ROWS },
    {
      data(bytes) {
        if (over) return;
        grid.push(bytes);
        const screen = grid.lines().join("\n");
        const refused = /OAuth error: (.+)/.exec(screen)?.[1];
        if (refused !== undefined) return end({ ok: false, message: refused.trim() });
        const url = screen.includes("code here") ? URL_SHOWN.exec(screen)?.[0] : undefined;
        if (shown || url === undefined) return;
        shown = true;
        on.url(url);
      },
      exit(code, signal) {
        const token = /\bsk-ant-oat\d+-[\w-]{20,}/.exec(grid.lines().join("\n"))?.[0];
        if (code === 0 && token !== undefined) end({ ok: true, token });
        else end({ ok: false, message: code === 0 ? "Claude Code printed no token" : ended(code, signal) });
      },
    },
  );
  return {
    pid: pty.pid,
    enter(code) {
      pty.write(code);
      setTimeout(() => pty.write("\r"), ENTER_AFTER_MS);
    },
  };
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1)?.trim() ?? "";
}

function ended(code: number | null | undefined, signal: string | number | null | undefined): string {
  const how = signal === null || signal === undefined ? `with ${code ?? "no code"}` : `by signal ${signal}`;
  return `Claude Code ended ${how} before the login was done`;
}
