/** Segments: the log's files as one whole: opened, repaired, appended to, rolled, pruned and synced. */
import { join } from "node:path";
import type { Seq } from "../frame/frame.ts";
import type { Disk } from "./disk.ts";
import { firstSeq, type Segment, soundEnd } from "./segment.ts";

const OPEN_NAME = "transcript.jsonl";
const CLOSED_NAME = /^transcript\.([1-9]\d{0,15})\.jsonl$/;

/** How a clean stop left the files: it must match them exactly to count. */
export interface Clean {
  /** The last frame's seq and ts; 0 in an empty log. */
  readonly seq: Seq;
  readonly ts: number;
  /** First seq and length of the open segment. */
  readonly segment: Seq;
  readonly bytes: number;
}

/** What was found on disk. */
export interface Found {
  readonly segments: Segments;
  readonly last: Seq;
  readonly ts: number;
  /** The files are exactly as a clean stop left them. */
  readonly clean: boolean;
  /** There was anything at all. */
  readonly any: boolean;
}

export class Segments {
  /** Oldest first; the last one is open. Never empty. */
  readonly list: Segment[];
  readonly #disk: Disk;
  readonly #folder: string;
  #fd: number | undefined;
  /** Files rolled away and not synced yet. */
  #unsynced: number[] = [];
  #folderChanged = false;

  private constructor(disk: Disk, folder: string, list: Segment[]) {
    this.#disk = disk;
    this.#folder = folder;
    this.list = list;
  }

  /** Opens a folder's segments. With a matching `clean` that is one directory read, one stat and one small read; else the end is checked and repaired. */
  static open(disk: Disk, folder: string, session: string, clean: Clean | undefined): Found {
    const path = join(folder, OPEN_NAME);
    const closed = disk
      .list(folder)
      .map((name) => CLOSED_NAME.exec(name))
      .filter((match) => match !== null)
      .map((match) => ({ first: Number(match[1]), path: join(folder, match[0]), bytes: 0, gone: false }))
      .sort((a, b) => a.first - b.first);
    for (const segment of closed) segment.bytes = disk.size(segment.path) ?? 0;
    const size = disk.size(path);
    const any = closed.length > 0 || size !== undefined;
    const done = (first: Seq, bytes: number, last: Seq, ts: number, isClean: boolean): Found => {
      const list = [...closed, { first, path, bytes, gone: false }];
      return { segments: new Segments(disk, folder, list), last, ts, clean: isClean, any };
    };
    if (
      clean !== undefined &&
      clean.bytes === (size ?? 0) &&
      (clean.bytes === 0 || firstSeq(disk, path) === clean.segment)
    ) {
      return done(clean.segment, clean.bytes, clean.seq, clean.ts, true);
    }

    const end = size ? soundEnd(disk, path, session) : undefined;
    const first = end && firstSeq(disk, path);
    // The file before it was synced before any sync of this one was answered: a hole between them means that nothing after the hole was promised.
    const alone = closed.length === 0;
    const before = lastOf(disk, closed, session) ?? { seq: 0, ts: 0 };
    if (end && first && (alone || before.seq + 1 === first)) {
      if (end.bytes !== size) disk.truncate(path, end.bytes);
      return done(first, end.bytes, end.seq, end.ts, false);
    }
    if (end) disk.rename(path, `${path}.damaged`);
    else if (size) disk.truncate(path, 0);
    return done(before.seq + 1, 0, before.seq, before.ts, false);
  }

  get first(): Seq {
    return (this.list[0] as Segment).first;
  }

  get open(): Segment {
    return this.list[this.list.length - 1] as Segment;
  }

  /** Whether the open file may be rolled: only one rolled file at a time waits for its sync, so that an unclean stop can damage two at most. */
  get mayRoll(): boolean {
    return this.#unsynced.length === 0;
  }

  /** Appends to the open file what follows `from`; may take less. Throws what the disk throws. */
  write(bytes: Uint8Array, from: number): number {
    if (this.#fd === undefined) {
      if (this.#disk.size(this.open.path) === undefined) this.#folderChanged = true;
      this.#fd = this.#disk.openAppend(this.open.path);
    }
    return this.#disk.write(this.#fd, bytes, from);
  }

  /** Closes the open segment and begins the next with `first`. */
  roll(first: Seq): void {
    const old = this.open;
    const path = join(this.#folder, `transcript.${old.first}.jsonl`);
    const openPath = old.path;
    this.#disk.rename(openPath, path);
    old.path = path;
    this.#folderChanged = true;
    if (this.#fd !== undefined) this.#unsynced.push(this.#fd);
    this.#fd = undefined;
    this.list.push({ first, path: openPath, bytes: 0, gone: false });
  }

  /** Unlinks the oldest closed segments until the rest is at most `max` bytes. */
  prune(max: number): void {
    let total = this.list.reduce((sum, segment) => sum + segment.bytes, 0);
    while (total > max && this.list.length > 1) {
      const oldest = this.list[0] as Segment;
      this.#disk.unlink(oldest.path);
      oldest.gone = true;
      total -= oldest.bytes;
      this.list.shift();
    }
  }

  /** Makes durable what was written before the call. */
  async sync(): Promise<void> {
    const folderChanged = this.#folderChanged;
    this.#folderChanged = false;
    const fd = this.#fd;
    // The older file first: a sync that is answered leaves no hole before what it covers.
    for (const old of [...this.#unsynced]) {
      await this.#disk.datasync(old);
      this.#unsynced.splice(this.#unsynced.indexOf(old), 1);
      this.#disk.close(old);
    }
    if (fd !== undefined) await this.#disk.datasync(fd);
    if (folderChanged) await this.#disk.syncFolder(this.#folder);
  }

  /** Syncs files that an earlier life wrote. */
  async syncFound(): Promise<void> {
    for (const segment of this.list.slice(-2)) {
      if (segment.bytes === 0 || segment.gone) continue;
      const fd = this.#disk.openAppend(segment.path);
      try {
        await this.#disk.datasync(fd);
      } finally {
        this.#disk.close(fd);
      }
    }
    await this.#disk.syncFolder(this.#folder);
  }

  /** Closes what is open; a later write opens again. */
  close(): void {
    for (const fd of [...this.#unsynced, this.#fd]) if (fd !== undefined) this.#disk.close(fd);
    this.#unsynced = [];
    this.#fd = undefined;
  }
}

/** The last sound line before the open file; a file that holds none is set aside for a person to look at. */
function lastOf(disk: Disk, closed: Segment[], session: string): { seq: Seq; ts: number } | undefined {
  for (let segment = closed.at(-1); segment !== undefined; segment = closed.at(-1)) {
    const end = soundEnd(disk, segment.path, session);
    if (end !== undefined) {
      if (end.bytes !== segment.bytes) disk.truncate(segment.path, end.bytes);
      segment.bytes = end.bytes;
      return end;
    }
    disk.rename(segment.path, `${segment.path}.damaged`);
    closed.pop();
  }
  return undefined;
}
