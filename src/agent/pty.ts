/** Pseudo-terminal of one session: bytes in and out, size, exit. The only file that knows node-pty. */
import type nodePty from "node-pty";
import { addon } from "../addon.ts";
import { asUser } from "../as-user.ts";

/** A terminal narrower than 2 breaks Claude's layout; wider than 1000 helps nobody. Never 0×0. */
const MIN_SIDE = 2;
const MAX_SIDE = 1000;

const native = addon<typeof nodePty>("node-pty");

export interface PtySpec {
  /** Program and arguments; nothing secret, every user of the machine can read them. */
  readonly argv: readonly string[];
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly cols: number;
  readonly rows: number;
  readonly user?: { readonly uid: number; readonly gid: number };
}

export interface Pty {
  readonly pid: number;
  readonly cols: number;
  readonly rows: number;
  write(bytes: Uint8Array | string): void;
  resize(cols: number, rows: number): void;
}

/** Starts the program. `data` gets every byte; `exit` comes once, after the last of them. */
export function spawnPty(
  spec: PtySpec,
  on: { data(bytes: Buffer): void; exit(code: number | undefined, signal: number | undefined): void },
): Pty {
  const [file = "claude", ...args] = asUser(spec.argv, spec.user);
  const direct = file === spec.argv[0];
  const pty = native().spawn(file, args, {
    name: "xterm-256color",
    cols: side(spec.cols),
    rows: side(spec.rows),
    cwd: spec.cwd,
    env: { ...spec.env },
    encoding: null,
    // node-pty changes uid and gid only: supplementary groups stay, so this is the second choice.
    ...(direct && spec.user !== undefined ? { uid: spec.user.uid, gid: spec.user.gid } : {}),
  });
  let alive = true;
  pty.onData((bytes) => on.data(bytes as unknown as Buffer));
  pty.onExit(({ exitCode, signal }) => {
    alive = false;
    on.exit(signal ? undefined : exitCode, signal || undefined);
  });
  return {
    pid: pty.pid,
    get cols() {
      return pty.cols;
    },
    get rows() {
      return pty.rows;
    },
    write(bytes) {
      if (alive) pty.write(typeof bytes === "string" ? bytes : (Buffer.from(bytes) as unknown as string));
    },
    resize(cols, rows) {
      if (alive) pty.resize(side(cols), side(rows));
    },
  };
}

export function side(wanted: number): number {
  return Math.min(MAX_SIDE, Math.max(MIN_SIDE, Math.trunc(wanted) || MIN_SIDE));
}
