/** Stream process: Claude Code as a child without a terminal, one JSON message a line in both directions. */
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { asUser } from "../as-user.ts";
import { type Json, object } from "./json.ts";
import { LineCutter } from "./lines.ts";
import type { PtySpec } from "./pty.ts";

/** What Claude says last on its error output, for a person: enough for a stack trace. */
const MAX_WORDS_CHARS = 2_000;

/** After its end, what Claude wrote is read within this, also on a loaded Raspberry Pi. */
const LAST_WORDS_MS = 1_000;

export interface StreamListener {
  /** One message from Claude, in order. */
  message(message: Json): void;
  /** A line that is no message: so many bytes too long, or, with 0, not JSON. */
  skipped(bytes: number): void;
  /** Comes once, after the last message. */
  exit(code: number | undefined, signal: number | undefined): void;
}

export interface StreamProcess {
  readonly pid: number;
  /** The end of its error output. */
  readonly words: string;
  /** Sends one message; after its end, nothing. */
  write(message: object): void;
}

/**
 * Starts the program. Node gives a child socket pairs, no pipes: another process of the same user cannot open their ends
 * through /proc, so what arrives here is Claude's own word.
 */
export function spawnStream(spec: Omit<PtySpec, "cols" | "rows">, on: StreamListener): StreamProcess {
  const [file = "claude", ...args] = asUser(spec.argv, spec.user);
  const direct = file === spec.argv[0];
  const child = spawn(file, args, {
    cwd: spec.cwd,
    env: { ...spec.env },
    stdio: ["pipe", "pipe", "pipe"],
    // A session of its own: Ctrl+C at the daemon's terminal is not meant for Claude.
    detached: true,
    ...(direct && spec.user !== undefined ? { uid: spec.user.uid, gid: spec.user.gid } : {}),
  });
  let words = "";
  let alive = true;
  const cutter = new LineCutter(0);
  const line = (raw: string): void => {
    const message = parse(raw);
    if (message === undefined) on.skipped(0);
    else on.message(message);
  };
  child.stdout.on("data", (bytes: Buffer) => cutter.push(bytes, line, (length) => on.skipped(length)));
  child.stderr.on("data", (bytes: Buffer) => {
    words = (words + bytes.toString("utf8")).slice(-MAX_WORDS_CHARS);
  });
  // It went away while we wrote: `exit` tells.
  child.stdin.on("error", () => undefined);
  const end = (code: number | undefined, signal: number | undefined): void => {
    if (!alive) return;
    alive = false;
    on.exit(code, signal);
  };
  child.on("error", (fault) => {
    words = String(fault);
    if (child.pid === undefined) end(127, undefined);
  });
  child.on("exit", (code, signal) => {
    // A grandchild may hold the pipes open: what Claude wrote itself has arrived by the next turn of the loop.
    const late = setTimeout(() => end(code ?? undefined, signalNumber(signal)), LAST_WORDS_MS);
    child.on("close", () => {
      clearTimeout(late);
      end(code ?? undefined, signalNumber(signal));
    });
  });
  return {
    pid: child.pid ?? 0,
    get words() {
      return words.trim();
    },
    write(message) {
      if (alive && child.stdin.writable) child.stdin.write(`${JSON.stringify(message)}\n`);
    },
  };
}

function signalNumber(name: NodeJS.Signals | null): number | undefined {
  return name === null ? undefined : constants.signals[name];
}

function parse(raw: string): Json | undefined {
  try {
    return object(JSON.parse(raw));
  } catch {
    return undefined;
  }
}
