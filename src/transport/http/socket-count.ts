/** Socket count: how many connections the HTTP port holds, and who is turned away so that the box keeps descriptors for itself. */
import { readFileSync } from "node:fs";

/** Where the system does not say how many there may be: what Linux gives a process that asks for nothing. */
const OPEN_FILES = 1024;

/**
 * Open sockets, from before the first byte to the end: half of the descriptors are left for everything else. Without any
 * left uWebSockets.js turns in a circle at accept(2) and serves nobody, until its idle sockets are 10 s old.
 */
export class SocketCount {
  readonly #most: number;
  #open = 0;

  constructor(most = Math.floor(openFiles() / 2)) {
    this.#most = most;
  }

  /** As the library tells: +1 for a newcomer, who is closed where there is no room, -1 when it is gone. */
  changed(socket: { close(): unknown }, change: number): void {
    this.#open += change;
    if (change > 0 && this.#open > this.#most) socket.close();
  }

  /** The library does not tell of the end of those that were upgraded. */
  upgradedGone(): void {
    this.#open--;
  }
}

/** Descriptors that this process may have. */
function openFiles(): number {
  try {
    const [, most] = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
    return Number(most ?? OPEN_FILES);
  } catch {
    return OPEN_FILES;
  }
}
