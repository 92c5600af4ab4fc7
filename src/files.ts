/** Small files that change as a whole: written beside, then renamed, so that a reader never sees half of one. */
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";

export const PRIVATE_FILE = 0o600;
export const PRIVATE_FOLDER = 0o700;

/** A file of ours that cannot be understood; the message names it and says what to do. */
export class FileError extends Error {
  override readonly name = "FileError";

  /** `todo`: what the person can do about it. */
  constructor(file: string, cause: unknown, todo: string) {
    // The parser's own message would quote what stands in the file.
    const why = cause instanceof SyntaxError ? "it is no JSON" : cause instanceof Error ? cause.message : String(cause);
    super(`${file}: not understood (${why}); ${todo}`, { cause });
  }
}

/** Replaces `path` with `text` (mode 0600), durably: after the return a power loss cannot bring the old content back. */
export function writeRename(path: string, text: string): void {
  const next = `${path}.next`;
  try {
    const fd = openSync(next, "w", PRIVATE_FILE);
    try {
      const bytes = Buffer.from(text);
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
      fdatasyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(next, path);
  } catch (failure) {
    try {
      unlinkSync(next);
    } catch {
      // Nothing was written: the first failure is the one to tell.
    }
    throw failure;
  }
  syncFolder(dirname(path));
}

/** Makes renames and new files in a folder durable (POSIX leaves that to the folder's own fsync). */
export function syncFolder(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** A folder only its owner may enter; existing ones keep their mode. */
export function privateFolder(path: string): void {
  makeFolder(path, PRIVATE_FOLDER);
}

/**
 * Makes a folder with its parents; none where it exists. One by one: in some file systems (/proc) Node's own
 * `recursive` tries for ever.
 */
export function makeFolder(path: string, mode: number): void {
  if (existsSync(path)) return;
  makeFolder(dirname(path), mode);
  mkdirSync(path, { mode });
}
