/** Disk: the few file operations that the log, the ledger and the terminal lane need, so that tests can make each of them fail. */
import {
  closeSync,
  fdatasync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { open, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { PRIVATE_FILE, PRIVATE_FOLDER } from "../files.ts";

/** All throw the system's error. Paths are absolute, sizes and positions are bytes. */
export interface Disk {
  /** Makes the folder (0700) with its parents. */
  folder(path: string): void;
  /** Names in a folder; none when it does not exist. */
  list(path: string): string[];
  /** For appending, made (0600) when missing. */
  openAppend(path: string): number;
  openRead(path: string): number;
  /** Appends what follows `from`; may take less than all of it. Returns the bytes taken. */
  write(fd: number, bytes: Uint8Array, from: number): number;
  /** Fills `into` from `position`; fewer bytes only at the end of the file. */
  read(fd: number, into: Uint8Array, position: number): number;
  sizeOf(fd: number): number;
  /** Undefined when there is no such file. */
  size(path: string): number | undefined;
  truncate(path: string, bytes: number): void;
  rename(from: string, to: string): void;
  unlink(path: string): void;
  close(fd: number): void;
  datasync(fd: number): Promise<void>;
  syncFolder(path: string): Promise<void>;
  /** A small file whole; undefined when there is none. */
  load(path: string): Buffer | undefined;
  /** Replaces a small file by write-rename, durably when it resolves. */
  replace(path: string, bytes: Uint8Array): Promise<void>;
}

const datasync = promisify(fdatasync);

export const nodeDisk: Disk = {
  folder: (path) => void mkdirSync(path, { recursive: true, mode: PRIVATE_FOLDER }),
  list: (path) => unlessMissing(() => readdirSync(path)) ?? [],
  openAppend: (path) => openSync(path, "a", PRIVATE_FILE),
  openRead: (path) => openSync(path, "r"),
  write: (fd, bytes, from) => writeSync(fd, bytes, from),
  read(fd, into, position) {
    let got = 0;
    while (got < into.length) {
      const n = readSync(fd, into, got, into.length - got, position + got);
      if (n === 0) break;
      got += n;
    }
    return got;
  },
  sizeOf: (fd) => fstatSync(fd).size,
  size: (path) => statSync(path, { throwIfNoEntry: false })?.size,
  truncate: (path, bytes) => truncateSync(path, bytes),
  rename: (from, to) => renameSync(from, to),
  unlink: (path) => unlinkSync(path),
  close: (fd) => closeSync(fd),
  datasync,
  async syncFolder(path) {
    await using folder = await open(path, "r");
    await folder.sync();
  },
  load: (path) => unlessMissing(() => readFileSync(path)),
  async replace(path, bytes) {
    const next = `${path}.next`;
    try {
      await using file = await open(next, "w", PRIVATE_FILE);
      await file.writeFile(bytes);
      await file.datasync();
    } catch (failure) {
      await unlink(next).catch(() => undefined); // the first failure is the one to tell
      throw failure;
    }
    await rename(next, path);
    await nodeDisk.syncFolder(dirname(path));
  },
};

function unlessMissing<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code === "ENOENT") return undefined;
    throw thrown;
  }
}
