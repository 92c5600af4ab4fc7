/** Process tree: every process of a session, found by descent and by marker, and ended until none is left. */
import { execFile } from "node:child_process";
import { readdir, readFile, stat } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { BOX_VARIABLE, SESSION_VARIABLE } from "./command.ts";

/** After TERM, this long until KILL: Claude writes its last transcript lines in 50 ms, a build tool may clean up. */
const TERM_GRACE_MS = 2_000;
/** Between looks at what is left. */
const LOOK_MS = 25;
/** After KILL only uninterruptible processes stay; nothing more can be done about them. */
const KILL_DEADLINE_MS = 5_000;

/** A variable of the environment that marks processes: `CIB_SESSION=<id>`. */
export interface Marker {
  readonly name: typeof BOX_VARIABLE | typeof SESSION_VARIABLE;
  readonly value: string;
}

export const sessionMarker = (value: string): Marker => ({ name: SESSION_VARIABLE, value });
export const boxMarker = (value: string): Marker => ({ name: BOX_VARIABLE, value });

interface User {
  readonly uid: number;
  readonly gid: number;
}

/** Ends everything that carries the marker, and everything below `root`. `term` asks first. Resolves with what would not go. */
export async function endTree(
  marker: Marker,
  root: number | undefined,
  signal: "term" | "kill",
  user?: User,
): Promise<number[]> {
  const started = Date.now();
  const asked = new Set<number>();
  for (;;) {
    const left = await processesOf(marker, root, user);
    if (left.length === 0) return [];
    const elapsed = Date.now() - started;
    if (elapsed > TERM_GRACE_MS + KILL_DEADLINE_MS) return left;
    const kill = signal === "kill" || elapsed > TERM_GRACE_MS;
    for (const pid of left) {
      if (kill) send(pid, "SIGKILL");
      else if (!asked.has(pid)) {
        asked.add(pid);
        send(pid, "SIGTERM");
      }
    }
    await pause(LOOK_MS);
  }
}

/**
 * Start of the daemon: ends every process that still carries this box's marker. Never the daemon itself, which has none.
 * Asks first: a Claude that ends in order writes down the prompt it has just been given.
 */
export function sweep(box: string, user?: User): Promise<number[]> {
  return endTree(boxMarker(box), undefined, "term", user);
}

/** Live processes: those below `root` and those that carry the marker, whoever their parent is now. Zombies do not count. */
export async function processesOf(marker: Marker, root: number | undefined, user?: User): Promise<number[]> {
  const parents = new Map<number, number>();
  const found = new Set<number>();
  let closed = false;
  for (const entry of await readdir("/proc")) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const parent = await parentOf(pid);
    if (parent === undefined) continue;
    parents.set(pid, parent);
    const carries = await carriesMarker(pid, marker);
    if (carries === true) found.add(pid);
    else if (carries === undefined && user !== undefined && (await ownerOf(pid)) === user.uid) closed = true;
  }
  if (closed && user !== undefined) {
    for (const pid of await askAs(user, marker)) if (parents.has(pid)) found.add(pid);
  }
  if (root !== undefined) {
    for (const pid of parents.keys()) if (pid === root || descends(pid, root, parents)) found.add(pid);
  }
  return [...found];
}

function descends(pid: number, root: number, parents: ReadonlyMap<number, number>): boolean {
  let at = parents.get(pid);
  for (let hops = 0; at !== undefined && at > 1 && hops < 1000; hops++) {
    if (at === root) return true;
    at = parents.get(at);
  }
  return false;
}

/** Fields 3 and 4 of /proc/<pid>/stat, behind the command name, which may hold spaces and parentheses (proc(5)). */
async function parentOf(pid: number): Promise<number | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, "latin1");
    const [state, parent] = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return state === "Z" || state === "X" ? undefined : Number(parent);
  } catch {
    return undefined;
  }
}

/** Undefined: this user may not look. */
async function carriesMarker(pid: number, marker: Marker): Promise<boolean | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/environ`, "latin1");
    return `\0${text}`.includes(`\0${marker.name}=${marker.value}\0`);
  } catch (fault) {
    const code = (fault as NodeJS.ErrnoException).code;
    return code === "EACCES" || code === "EPERM" ? undefined : false;
  }
}

async function ownerOf(pid: number): Promise<number | undefined> {
  return stat(`/proc/${pid}`).then(
    (found) => found.uid,
    () => undefined,
  );
}

/** Without CAP_SYS_PTRACE only the owner reads an environment: a shell of that user looks for us. */
function askAs(user: User, marker: Marker): Promise<number[]> {
  const script = 'grep -lzFx -e "$1" /proc/[0-9]*/environ 2>/dev/null';
  return new Promise((done) => {
    execFile(
      "/bin/sh",
      ["-c", script, "sh", `${marker.name}=${marker.value}`],
      { uid: user.uid, gid: user.gid, env: { PATH: "/usr/bin:/bin" }, timeout: KILL_DEADLINE_MS },
      (_, out) => done(Array.from(out.matchAll(/\/proc\/(\d+)\//g), (match) => Number(match[1]))),
    );
  });
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone already, or not ours to end: the next look tells.
  }
}
