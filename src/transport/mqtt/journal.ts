/** Journal: JSON lines appended to one file, several in one write and one sync, whose last line a kill may have torn. */
import { type FileHandle, open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";

const PRIVATE = 0o600;

interface Waiting {
  readonly line: string;
  readonly sync: boolean;
  resolve(): void;
  reject(failure: unknown): void;
}

export class Journal {
  readonly #path: string;
  #file: FileHandle;
  #bytes: number;
  /** What goes out with the next write; undefined: none is due. */
  #batch: Waiting[] | undefined;
  /** One write after the other, rewrites among them. */
  #last: Promise<void> = Promise.resolve();
  /** A write that failed may have left half a line. */
  #torn = false;

  private constructor(path: string, file: FileHandle, bytes: number) {
    this.#path = path;
    this.#file = file;
    this.#bytes = bytes;
  }

  /** Opens the file, made (0600) where there is none, and gives what is in it. A torn last line is cut off; lines that are no JSON are left out. */
  static async open(path: string): Promise<{ readonly journal: Journal; readonly values: unknown[] }> {
    const text = await readFile(path).catch((failure: NodeJS.ErrnoException) => {
      if (failure.code === "ENOENT") return Buffer.alloc(0);
      throw failure;
    });
    const whole = text.lastIndexOf(10) + 1;
    const file = await open(path, "a", PRIVATE);
    if (whole < text.length) await file.truncate(whole);
    const lines = text.toString("utf8", 0, whole).split("\n").slice(0, -1);
    return { journal: new Journal(path, file, whole), values: lines.flatMap(parsed) };
  }

  /** Bytes in the file. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Resolves when it is written; with `sync` when a power loss cannot take it back. Rejects with the system's error. */
  append(value: object, sync: boolean): Promise<void> {
    const line = `${JSON.stringify(value)}\n`;
    return new Promise((resolve, reject) => {
      const waiting = { line, sync, resolve, reject };
      if (this.#batch !== undefined) {
        this.#batch.push(waiting);
        return;
      }
      const batch: Waiting[] = [waiting];
      this.#batch = batch;
      this.#last = this.#last.then(() => this.#write(batch));
    });
  }

  /** Puts these in place of everything in it, durably. Rejects with the system's error; it goes on in the file that is there then. */
  rewrite(values: readonly object[]): Promise<void> {
    // What is appended from now on belongs behind these, not into the write before them.
    this.#batch = undefined;
    const done = this.#last.then(() => this.#replace(values));
    this.#last = done.catch(() => undefined);
    return done;
  }

  async close(): Promise<void> {
    await this.#last;
    await this.#file.close();
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    if (this.#batch === batch) this.#batch = undefined;
    const bytes = Buffer.from(`${this.#torn ? "\n" : ""}${batch.map(({ line }) => line).join("")}`);
    try {
      this.#torn = true;
      await this.#file.appendFile(bytes);
      this.#torn = false;
      this.#bytes += bytes.length;
      if (batch.some(({ sync }) => sync)) await this.#file.datasync();
      for (const each of batch) each.resolve();
    } catch (failure) {
      for (const each of batch) each.reject(failure);
    }
  }

  async #replace(values: readonly object[]): Promise<void> {
    const bytes = Buffer.from(values.map((value) => `${JSON.stringify(value)}\n`).join(""));
    const before = this.#file;
    // From the rename on nothing may fail before this: what is appended to the old file would be nowhere.
    this.#file = await putInPlace(this.#path, bytes);
    this.#bytes = bytes.length;
    this.#torn = false;
    await before.close();
    await syncFolder(this.#path);
  }
}

/** Replaces a file by write-rename, durably, without holding up the loop. Rejects with the system's error. */
export async function replaceFile(path: string, bytes: Uint8Array): Promise<void> {
  await (await putInPlace(path, bytes)).close();
  await syncFolder(path);
}

/** The same without its last step; the new file, open behind its last byte. */
async function putInPlace(path: string, bytes: Uint8Array): Promise<FileHandle> {
  const beside = `${path}.next`;
  const made = await open(beside, "w", PRIVATE);
  try {
    await made.writeFile(bytes);
    await made.datasync();
    await rename(beside, path);
    return made;
  } catch (failure) {
    await made.close();
    throw failure;
  }
}

/** POSIX leaves a rename itself to the folder's own sync. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function parsed(line: string): unknown[] {
  try {
    return [JSON.parse(line)];
  } catch {
    return [];
  }
}
