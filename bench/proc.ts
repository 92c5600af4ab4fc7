/** Proc: what the kernel says of a process. Linux only. */
import { readdirSync, readFileSync } from "node:fs";

/** USER_HZ: what /proc counts CPU time in, on every Linux that Node runs on. */
const TICKS_PER_S = 100;

const read = (pid: number, file: string) => readFileSync(`/proc/${pid}/${file}`, "latin1");

/** Resident and proportional size in kB (1,024 bytes). */
export function memory(pid: number): { readonly rss: number; readonly pss: number } {
  const rollup = read(pid, "smaps_rollup");
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(rollup)?.[1]);
  return { rss: field("Rss"), pss: field("Pss") };
}

/** Voluntary context switches of all threads together: how often one of them woke and slept again. */
export function wakeups(pid: number): number {
  return readdirSync(`/proc/${pid}/task`).reduce((sum, task) => {
    const count = /^voluntary_ctxt_switches:\s+(\d+)/m.exec(read(pid, `task/${task}/status`))?.[1];
    return sum + Number(count);
  }, 0);
}

/** User and system time in seconds, in steps of 10 ms. */
export function cpuSeconds(pid: number): number {
  // The command may hold spaces and parentheses: fields count from the last one (proc(5)).
  const fields = read(pid, "stat").split(") ").at(-1)?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
}

export interface Io {
  /** Bytes handed to write(2) and its kin: files, sockets, terminals. */
  readonly wchar: number;
  /** Bytes that the page cache was made to send to a disk: whole pages, counted when they become dirty. */
  readonly write_bytes: number;
  /** Calls of write(2) and its kin. */
  readonly syscw: number;
}

export function io(pid: number): Io {
  const text = read(pid, "io");
  const field = (name: string) => Number(new RegExp(`^${name}: (\\d+)`, "m").exec(text)?.[1]);
  return { wchar: field("wchar"), write_bytes: field("write_bytes"), syscw: field("syscw") };
}
