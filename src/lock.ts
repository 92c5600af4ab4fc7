/** The lock: one daemon a data folder. Two would number the same log. */
import { closeSync, linkSync, openSync, readFileSync, renameSync, rmSync, unlinkSync, writeSync } from "node:fs";
import { PRIVATE_FILE } from "./files.ts";

/** Held by another daemon that runs. */
export class LockedError extends Error {
  override readonly name = "LockedError";
}

/** A process, told apart from a later one with the same pid by its start time (clock ticks since boot, proc(5) field 22). */
function identity(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name in field 2 may hold spaces and brackets: the fields after its last bracket are counted.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // A zombie runs no more: only its parent has not looked yet.
    return fields[0] === "Z" || fields[0] === "X" ? undefined : `${pid} ${fields[19]}`;
  } catch {
    return undefined;
  }
}

export class Lock implements Disposable {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  /** Throws LockedError naming the process that holds it. A lock whose process is gone is taken over. */
  static take(path: string): Lock {
    const mine = `${path}.${process.pid}`;
    try {
      const fd = openSync(mine, "w", PRIVATE_FILE);
      writeSync(fd, identity(process.pid) ?? `${process.pid} ?`);
      closeSync(fd);
    } catch (failure) {
      rmSync(mine, { force: true });
      throw failure;
    }
    try {
      linkSync(mine, path);
      unlinkSync(mine);
      return new Lock(path);
    } catch (failure) {
      if ((failure as NodeJS.ErrnoException).code !== "EEXIST") throw failure;
    }
    const held = readFileSync(path, "utf8").trim();
    const pid = Number.parseInt(held, 10);
    if (pid !== process.pid && identity(pid) === held) {
      unlinkSync(mine);
      throw new LockedError(
        `another daemon (pid ${pid}) uses this data folder; stop it, or set CIB_DATA to another one`,
      );
    }
    renameSync(mine, path);
    return new Lock(path);
  }

  [Symbol.dispose](): void {
    try {
      unlinkSync(this.#path);
    } catch {
      // Gone already: nobody is kept out.
    }
  }
}
