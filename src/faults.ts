/** Faults: what goes wrong in the daemon itself, told to the operator: with all that is known of it, but a full disk in one line a minute. */
import { isDiskFull } from "./errors.ts";

/** Every write fails while a disk is full, and their log may be on that very disk. */
export const DISK_FULL_QUIET_MS = 60_000;

/** Takes faults; may be passed on by itself. `print`: as console.error. */
export function tellFaults(
  print: (line: string, thrown?: unknown) => void,
  now: () => number,
): (where: string, thrown: unknown) => void {
  let told = Number.NEGATIVE_INFINITY;
  return (where, thrown) => {
    if (!isDiskFull(thrown)) {
      print(`fault in ${where}:`, thrown);
      return;
    }
    if (now() - told < DISK_FULL_QUIET_MS) return;
    told = now();
    print(`fault in ${where}: the disk under CIB_DATA is full; free some space`);
  };
}
