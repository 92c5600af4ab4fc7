/** A disk in memory that fails where a test wants it to, counts what it is asked, and loses power. */
import type { Disk } from "../../src/session/disk.ts";

interface Inode {
  bytes: Buffer;
  length: number;
  synced: number;
}

type Operation =
  | "openAppend"
  | "openRead"
  | "write"
  | "read"
  | "truncate"
  | "rename"
  | "unlink"
  | "datasync"
  | "syncFolder"
  | "replace";

/** What an operation should do instead of working: throw this code, or for a write take only so many bytes. */
export type Fault = { readonly code: string } | { readonly take: number } | undefined;

export class MemoryDisk implements Disk {
  /** Names as programs see them, and as a power loss would find them at the latest folder sync plus some of the changes since. */
  readonly #names = new Map<string, Inode>();
  #durable = new Map<string, Inode>();
  #changes: ((names: Map<string, Inode>) => void)[] = [];
  readonly #open = new Map<number, Inode>();
  #nextFd = 3;
  readonly counts = new Map<string, number>();
  /** Asked before every operation. */
  fault: (operation: Operation, path: string) => Fault = () => undefined;
  /** Runs in place of a fdatasync's wait; the sync has begun, and ends after it. */
  duringSync: () => Promise<void> = () => Promise.resolve();
  readonly #paths = new Map<number, string>();
  readonly #replacing = new Set<string>();

  get openFiles(): number {
    return this.#open.size;
  }

  folder(): void {}

  list(path: string): string[] {
    return [...this.#names.keys()]
      .filter((name) => name.startsWith(`${path}/`))
      .map((name) => name.slice(path.length + 1));
  }

  openAppend(path: string): number {
    this.#ask("openAppend", path);
    let inode = this.#names.get(path);
    if (inode === undefined) {
      const fresh = { bytes: Buffer.alloc(0), length: 0, synced: 0 };
      inode = fresh;
      this.#change((names) => void names.set(path, fresh));
    }
    return this.#opened(path, inode);
  }

  openRead(path: string): number {
    this.#ask("openRead", path);
    return this.#opened(path, this.#inode(path));
  }

  write(fd: number, bytes: Uint8Array, from: number): number {
    const fault = this.#ask("write", this.#paths.get(fd) ?? "");
    const inode = this.#of(fd);
    const rest = bytes.subarray(from, fault && "take" in fault ? Math.min(bytes.length, from + fault.take) : undefined);
    this.#put(inode, rest);
    return rest.length;
  }

  read(fd: number, into: Uint8Array, position: number): number {
    this.#ask("read", this.#paths.get(fd) ?? "");
    const inode = this.#of(fd);
    return inode.bytes.copy(into, 0, position, Math.min(inode.length, position + into.length));
  }

  sizeOf(fd: number): number {
    return this.#of(fd).length;
  }

  size(path: string): number | undefined {
    return this.#names.get(path)?.length;
  }

  truncate(path: string, bytes: number): void {
    this.#ask("truncate", path);
    const inode = this.#inode(path);
    inode.length = bytes;
    inode.synced = Math.min(inode.synced, bytes);
  }

  rename(from: string, to: string): void {
    this.#ask("rename", from);
    const inode = this.#inode(from);
    this.#change((names) => {
      names.delete(from);
      names.set(to, inode);
    });
  }

  unlink(path: string): void {
    this.#ask("unlink", path);
    this.#inode(path);
    this.#change((names) => void names.delete(path));
  }

  close(fd: number): void {
    this.#of(fd);
    this.#open.delete(fd);
    this.#paths.delete(fd);
  }

  async datasync(fd: number): Promise<void> {
    const inode = this.#of(fd);
    const length = inode.length;
    const fault = this.#asked("datasync", this.#paths.get(fd) ?? "");
    await this.duringSync();
    if (fault && "code" in fault) throw failure(fault.code);
    inode.synced = Math.max(inode.synced, Math.min(length, inode.length));
  }

  async syncFolder(path: string): Promise<void> {
    this.#ask("syncFolder", path);
    await Promise.resolve();
    this.#durable = new Map(this.#names);
    this.#changes = [];
  }

  load(path: string): Buffer | undefined {
    const inode = this.#names.get(path);
    return inode && Buffer.from(inode.bytes.subarray(0, inode.length));
  }

  async replace(path: string, bytes: Uint8Array): Promise<void> {
    this.#ask("replace", path);
    // Both would write the same file beside it.
    if (this.#replacing.has(path)) throw new Error(`two replacements of ${path} at once`);
    this.#replacing.add(path);
    await Promise.resolve();
    this.#replacing.delete(path);
    const inode = { bytes: Buffer.from(bytes), length: bytes.length, synced: bytes.length };
    this.#change((names) => void names.set(path, inode));
    await this.syncFolder(path);
  }

  /** Bytes of a file as they are. */
  text(path: string): string {
    return this.load(path)?.toString() ?? "";
  }

  /** Writes a file as a test wants it to be, durably. */
  put(path: string, bytes: Uint8Array | string): void {
    const buffer = Buffer.from(bytes);
    const inode = { bytes: buffer, length: buffer.length, synced: buffer.length };
    this.#names.set(path, inode);
    this.#durable.set(path, inode);
  }

  unsynced(path: string): number {
    const inode = this.#inode(path);
    return inode.length - inode.synced;
  }

  /** What a power loss leaves: of names and of unsynced bytes only as much as `keep(max)` says, the cut off bytes sometimes as NULs. */
  powerLoss(keep: (max: number) => number, nuls: (max: number) => number = () => 0): MemoryDisk {
    const after = new MemoryDisk();
    const names = new Map(this.#durable);
    for (const change of this.#changes.slice(0, keep(this.#changes.length))) change(names);
    for (const [path, inode] of names) {
      const kept = inode.synced + keep(inode.length - inode.synced);
      const bytes = Buffer.concat([inode.bytes.subarray(0, kept), Buffer.alloc(nuls(inode.length - kept))]);
      after.put(path, bytes);
    }
    return after;
  }

  /** What a kill -9 of the process leaves: everything that was written, as durable or not as it was. */
  kill(): MemoryDisk {
    const after = new MemoryDisk();
    const copies = new Map<Inode, Inode>();
    const copy = (inode: Inode): Inode => {
      const same = copies.get(inode) ?? { ...inode, bytes: Buffer.from(inode.bytes) };
      copies.set(inode, same);
      return same;
    };
    for (const [path, inode] of this.#names) after.#names.set(path, copy(inode));
    for (const [path, inode] of this.#durable) after.#durable.set(path, copy(inode));
    // Changes not yet durable: as one, which a power loss keeps or takes.
    const names = new Map(after.#names);
    if (this.#changes.length > 0) {
      after.#changes.push((durable) => {
        durable.clear();
        for (const [path, inode] of names) durable.set(path, inode);
      });
    }
    return after;
  }

  #put(inode: Inode, bytes: Uint8Array): void {
    const need = inode.length + bytes.length;
    if (need > inode.bytes.length) {
      const grown = Buffer.alloc(Math.max(need, inode.bytes.length * 2));
      inode.bytes.copy(grown, 0, 0, inode.length);
      inode.bytes = grown;
    }
    inode.bytes.set(bytes, inode.length);
    inode.length = need;
  }

  #change(change: (names: Map<string, Inode>) => void): void {
    change(this.#names);
    this.#changes.push(change);
  }

  #opened(path: string, inode: Inode): number {
    const fd = this.#nextFd++;
    this.#open.set(fd, inode);
    this.#paths.set(fd, path);
    return fd;
  }

  #of(fd: number): Inode {
    const inode = this.#open.get(fd);
    if (inode === undefined) throw failure("EBADF");
    return inode;
  }

  #inode(path: string): Inode {
    const inode = this.#names.get(path);
    if (inode === undefined) throw failure("ENOENT");
    return inode;
  }

  #asked(operation: Operation, path: string): Fault {
    this.counts.set(operation, (this.counts.get(operation) ?? 0) + 1);
    return this.fault(operation, path);
  }

  #ask(operation: Operation, path: string): Fault {
    const fault = this.#asked(operation, path);
    if (fault && "code" in fault) throw failure(fault.code);
    return fault;
  }
}

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}
