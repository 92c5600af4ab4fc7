/** Segments: the log's files as one whole: opened, repaired, appended to, rolled, pruned and synced. */
import { join } from "node:path";
import type { Seq } from "../frame/frame.ts";
import type { Disk } from "./disk.ts";
import { CHUNK_BYTES, firstSeq, type Segment, soundEnd } from "./segment.ts";

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
  /** For a person: what is wrong with the files and what follows from it. */
  readonly damage?: string | undefined;
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

  /**
   * Opens a folder's segments. With a matching `clean` that is one directory read, one stat and one small read; else the
   * end is checked and repaired. `ends`: last seqs of earlier lives; what was once known to exist is never numbered again.
   */
  static open(disk: Disk, folder: string, session: string, clean?: Clean, ends: readonly Seq[] = []): Found {
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
    const found = (first: Seq, bytes: number, last: Seq, ts: number): Omit<Found, "clean" | "damage"> => {
      const list = [...closed, { first, path, bytes, gone: false }];
      return { segments: new Segments(disk, folder, list), last, ts, any };
    };
    const first = size ? firstSeq(disk, path) : 0;
    if (clean !== undefined && clean.bytes === (size ?? 0) && (clean.bytes === 0 || first === clean.segment))
      return { ...found(clean.segment, clean.bytes, clean.seq, clean.ts), clean: true };

    const end = size ? soundEnd(disk, path, session) : undefined;
    const alone = closed.length === 0;
    const before = lastOf(disk, closed, session, clean === undefined) ?? { seq: 0, ts: 0 };
    const known = Math.max(clean?.seq ?? 0, ...ends);
    const last = Math.max(before.seq, end?.seq ?? 0, known);
    const ts = Math.max(before.ts, end?.ts ?? 0, clean?.ts ?? 0);
    // After a power loss: the file before it was synced before any sync of this one was answered, so a hole between them
    // means that nothing after it was promised; unless an earlier life began behind that hole.
    const follows =
      before.seq + 1 === first || (first > before.seq && (clean !== undefined || ends.includes(first - 1)));
    if (end && first > 0 && (alone || follows)) {
      if (end.bytes !== size) {
        if (clean !== undefined) copyAside(disk, path, end.bytes);
        disk.truncate(path, end.bytes);
      }
      const damage = describe(path, clean, end.holes, end.seq, last);
      return { ...found(first, end.bytes, last, ts), clean: false, damage };
    }
    const aside = end !== undefined || (clean !== undefined && size);
    if (aside) disk.rename(path, `${path}.damaged`);
    else if (size) disk.truncate(path, 0);
    const kept = end === undefined ? last : Math.max(before.seq, known);
    const damage = describe(path, clean, end !== undefined, before.seq, kept);
    return {
      ...found(kept + 1, 0, kept, end === undefined ? ts : Math.max(before.ts, clean?.ts ?? 0)),
      clean: false,
      damage: damage && `${damage}${aside ? `; what was there is in ${path}.damaged` : ""}`,
    };
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

/** What to tell a person of files that a power loss alone does not leave; undefined: nothing. */
function describe(path: string, clean: Clean | undefined, holes: boolean, sound: Seq, last: Seq): string | undefined {
  if (clean === undefined && !holes && sound === last) return undefined;
  const what = clean === undefined ? "is damaged" : "is not as it was left";
  const lost = sound < last ? `, frames ${sound + 1} to ${last} are lost` : holes ? ", some frames in it are lost" : "";
  return `log: ${path} ${what}${lost}; readers are told the gap, numbers go on at ${last + 1}`;
}

/** Keeps what follows `from` for a person to look at; without room for it the log must still open. */
function copyAside(disk: Disk, path: string, from: number): void {
  const open: number[] = [];
  try {
    const source = disk.openRead(path);
    open.push(source);
    const target = disk.openAppend(`${path}.damaged`);
    open.push(target);
    const chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
    for (let at = from, got = disk.read(source, chunk, at); got > 0; got = disk.read(source, chunk, at)) {
      for (let done = 0; done < got; ) done += disk.write(target, chunk.subarray(0, got), done);
      at += got;
    }
  } catch {
    // The frames that are sound matter more.
  } finally {
    for (const fd of open) disk.close(fd);
  }
}

/**
 * The last sound line before the open file. With `repair` (after an unclean stop) what follows it is cut off, and a file
 * that holds none is set aside for a person to look at.
 */
function lastOf(disk: Disk, closed: Segment[], session: string, repair: boolean): { seq: Seq; ts: number } | undefined {
  for (let i = closed.length - 1; i >= 0; i--) {
    const segment = closed[i] as Segment;
    const end = soundEnd(disk, segment.path, session);
    if (end !== undefined) {
      if (repair && end.bytes !== segment.bytes) {
        disk.truncate(segment.path, end.bytes);
        segment.bytes = end.bytes;
      }
      return end;
    }
    if (!repair) continue;
    disk.rename(segment.path, `${segment.path}.damaged`);
    closed.pop();
  }
  return undefined;
}
