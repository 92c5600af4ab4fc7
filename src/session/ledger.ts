/** Ledger: the commands this box has accepted, on disk before they are acknowledged, so that each happens exactly once. */
import type { Position } from "../agent/agent.ts";
import { CibError, isDiskFull } from "../errors.ts";
import type { Seq, SessionId } from "../frame/frame.ts";
import { type Disk, nodeDisk } from "./disk.ts";
import { Journal } from "./journal.ts";
import { type Entry, entryLine, type InputState, parseLine, type Reply } from "./ledger-lines.ts";

/** How long an id is known (FRAMES, exactly once). */
export const ID_TTL_MS = 24 * 3_600_000;
/** Ids of one principal at a time: 1,024 × 300 bytes = 300 KB. */
export const MAX_IDS = 1024;
/** Settled inputs of a session that keep their text: a power loss can take the frames of the latest turns only, older ones were synced. */
export const KEPT_SETTLED = 8;

export interface LedgerOptions {
  /** `$CIB_DATA/ledger.jsonl`. */
  readonly file: string;
  readonly now: () => number;
  /** Told once at the start when lines were not understood. */
  readonly fault?: (where: string, thrown: unknown) => void;
  readonly disk?: Disk;
}

/** A command with an id, to be accepted. `reply` must hold no secret: it is stored as it is. */
export interface CommandWanted {
  readonly who: string;
  readonly id: string;
  readonly digest: string;
  readonly reply: Reply;
}

/** A text for Claude, to be accepted, with or without an id. `after`: the session's last seq, before its accepted frame. */
export interface InputWanted {
  readonly who: string;
  readonly id?: string;
  readonly digest?: string;
  readonly input: string;
  readonly session: SessionId;
  readonly text: string;
  readonly after: Seq;
}

/** An accepted text. Changes as the input moves on. */
export interface InputEntry {
  readonly input: string;
  readonly session: SessionId;
  readonly id?: string;
  readonly by: string;
  readonly text: string;
  readonly ts: number;
  readonly after: Seq;
  /** Its accepted frame; without it that frame, if there is one, lies after `after`. */
  readonly seq?: Seq;
  /** It may have been typed: if so, Claude's transcript shows it at or after this place. */
  readonly typing?: Position;
  readonly state: InputState;
}

/** What is known of an id. */
export interface Known {
  readonly digest: string;
  /** Of a command. */
  readonly reply?: Reply;
  /** Of an input. */
  readonly input?: string;
  readonly seq?: Seq;
}

export class Ledger {
  readonly #now: () => number;
  readonly #journal: Journal;
  /** In order of acceptance. */
  readonly #entries = new Set<Entry>();
  readonly #ids = new Map<string, Map<string, Entry>>();
  readonly #inputs = new Map<string, Entry>();
  readonly #sessions = new Map<SessionId, Set<Entry>>();
  /** Ids that are being written: how many by principal, and which. */
  readonly #arriving = new Map<string, Set<string>>();

  private constructor({ file, now, fault, disk = nodeDisk }: LedgerOptions) {
    this.#now = now;
    this.#journal = new Journal({ file, disk, snapshot: () => this.#snapshot() });
    let damaged = 0;
    for (const line of this.#journal.lines()) if (!this.#replay(line)) damaged++;
    if (damaged > 0)
      fault?.("ledger", new Error(`ledger: ${damaged} lines of ${file} are not understood and were skipped`));
    this.#forgetOld(this.#entries);
  }

  /** Reads what was accepted; a torn last line is taken away. Throws what the disk throws. */
  static async open(options: LedgerOptions): Promise<Ledger> {
    return new Ledger(options);
  }

  /** What was accepted under this id in the last 24 hours; not what is still being written. */
  find(who: string, id: string): Known | undefined {
    const entry = this.#ids.get(who)?.get(id);
    if (entry === undefined || this.#old(entry)) return undefined;
    const { digest = "", reply, input } = entry;
    return {
      digest,
      ...(reply && { reply }),
      ...(input && { input: input.input }),
      ...(input?.seq !== undefined && { seq: input.seq }),
    };
  }

  /**
   * Resolves when the command or input is on disk. Throws `ids_full`, `disk_full`, and `id_conflict` when the id
   * is known or being written: look it up first.
   */
  accept(wanted: InputWanted): Promise<InputEntry>;
  accept(wanted: CommandWanted): Promise<undefined>;
  async accept(wanted: InputWanted | CommandWanted): Promise<InputEntry | undefined> {
    const { who, id, digest } = wanted;
    const entry: Entry = { who, ts: this.#now(), ...(id !== undefined && { id, digest: digest ?? "" }) };
    if ("reply" in wanted) entry.reply = wanted.reply;
    else entry.input = inputOf(wanted, entry.ts);
    const release = this.#reserve(who, id);
    try {
      await this.#journal.append(entryLine(entry), () => this.#add(entry));
    } catch (error) {
      throw refusal(error);
    } finally {
      release();
    }
    return entry.input;
  }

  /** Inputs of a session that Claude does not have yet, in order of acceptance. */
  pending(session: SessionId): readonly InputEntry[] {
    return this.inputs(session).filter((input) => input.state === "accepted");
  }

  /** The same with the last KEPT_SETTLED that are settled. */
  inputs(session: SessionId): readonly InputEntry[] {
    return [...(this.#sessions.get(session) ?? [])].map((entry) => entry.input as InputEntry);
  }

  /** Its accepted frame has this seq. Not synced: after a power loss the log is looked through from `after`. */
  announce(input: string, seq: Seq): void {
    this.#change(input, { seq });
    this.#journal.note(JSON.stringify({ k: "announce", input, seq }));
  }

  /** It is about to be typed; resolves when that is on disk. Throws `disk_full`: then do not type. */
  async typing(input: string, at: Position): Promise<void> {
    if (!this.#inputs.has(input)) return;
    try {
      await this.#journal.append(JSON.stringify({ k: "typing", input, at }), () => this.#change(input, { typing: at }));
    } catch (error) {
      throw refusal(error);
    }
  }

  /** Claude has it, or it never will. Not synced: `sync()` does, where an acknowledgement depends on it. */
  settle(input: string, state: Exclude<InputState, "accepted">): void {
    if (!this.#inputs.has(input)) return;
    this.#change(input, { state });
    this.#journal.note(JSON.stringify({ k: "settle", input, state }));
  }

  /** Resolves when everything said before is on disk. Throws `disk_full`. */
  async sync(): Promise<void> {
    try {
      await this.#journal.sync();
    } catch (error) {
      throw refusal(error);
    }
  }

  /** Writes and syncs what waits, and closes the file. */
  async close(): Promise<void> {
    await this.#journal.close();
  }

  #reserve(who: string, id: string | undefined): () => void {
    if (id === undefined) return () => undefined;
    const ids = this.#ids.get(who);
    const arriving = this.#arriving.get(who) ?? new Set();
    if (ids !== undefined) this.#forgetOld(ids.values());
    if (ids?.has(id) || arriving.has(id)) throw new CibError("id_conflict", `id: "${id}" is in use`);
    if ((ids?.size ?? 0) + arriving.size >= MAX_IDS) {
      throw new CibError(
        "ids_full",
        `id: ${MAX_IDS} ids in 24 hours, the most a principal may have; wait, or send without id`,
      );
    }
    arriving.add(id);
    this.#arriving.set(who, arriving);
    return () => {
      arriving.delete(id);
      if (arriving.size === 0) this.#arriving.delete(who);
    };
  }

  #add(entry: Entry): void {
    const { who, id, input } = entry;
    if (id !== undefined) {
      const before = this.#ids.get(who)?.get(id);
      // In a file the same id may come again after 24 hours: the later one counts.
      if (before !== undefined && before.input?.state !== "accepted") this.#forget(before);
      within(this.#ids, who, () => new Map<string, Entry>()).set(id, entry);
    }
    this.#entries.add(entry);
    if (input === undefined) return;
    this.#inputs.set(input.input, entry);
    within(this.#sessions, input.session, () => new Set<Entry>()).add(entry);
    if (input.state !== "accepted") this.#trim(input.session);
  }

  #change(input: string, part: Partial<Pick<InputEntry, "seq" | "typing" | "state">>): void {
    const entry = this.#inputs.get(input);
    if (entry?.input === undefined) return;
    Object.assign(entry.input, part);
    if (part.state !== undefined) this.#trim(entry.input.session);
  }

  /** Settled inputs beyond those that keep their text: only their id is known from then on. */
  #trim(session: SessionId): void {
    const entries = this.#sessions.get(session);
    if (entries === undefined) return;
    const settled = [...entries].filter(({ input }) => input?.state !== "accepted");
    for (const entry of settled.slice(0, -KEPT_SETTLED)) {
      entries.delete(entry);
      if (entry.input !== undefined) entry.input.text = "";
      if (entry.id === undefined || this.#old(entry)) this.#forget(entry);
    }
  }

  /** Its id counts no more, and no input hangs on it. */
  #old({ ts, input }: Entry): boolean {
    return ts + ID_TTL_MS <= this.#now() && input?.state !== "accepted";
  }

  /** Oldest first, up to the first that is not old. */
  #forgetOld(entries: Iterable<Entry>): void {
    for (const entry of entries) {
      if (entry.ts + ID_TTL_MS > this.#now()) return;
      if (this.#old(entry)) this.#forget(entry);
    }
  }

  #forget(entry: Entry): void {
    const { who, id, input } = entry;
    this.#entries.delete(entry);
    const ids = this.#ids.get(who);
    if (id !== undefined && ids?.get(id) === entry) ids.delete(id);
    if (ids?.size === 0) this.#ids.delete(who);
    if (input === undefined) return;
    this.#inputs.delete(input.input);
    const entries = this.#sessions.get(input.session);
    if (entries?.delete(entry) && entries.size === 0) this.#sessions.delete(input.session);
  }

  /** What a fresh file must hold. */
  #snapshot(): string[] {
    this.#forgetOld(this.#entries);
    return [...this.#entries].map(entryLine);
  }

  /** Takes one line of the file; false when it is not understood. Each may come twice: a snapshot may hold it already. */
  #replay(text: string): boolean {
    const line = parseLine(text);
    if (line === undefined) return false;
    if (line.k !== "accept") {
      const { k: _k, input, ...part } = line;
      this.#change(input, "at" in part ? { typing: part.at } : part);
      return true;
    }
    const { k: _k, ...entry } = line;
    if (entry.input === undefined || !this.#inputs.has(entry.input.input)) this.#add(entry);
    return true;
  }
}

function inputOf({ who, id, input, session, text, after }: InputWanted, ts: number): NonNullable<Entry["input"]> {
  return { input, session, ...(id !== undefined && { id }), by: who, text, ts, after, state: "accepted" };
}

function within<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}

function refusal(error: unknown): CibError {
  if (isDiskFull(error))
    return new CibError("disk_full", "the disk under CIB_DATA is full: nothing was accepted", { cause: error });
  if (error instanceof CibError) return error;
  return new CibError("internal", "the disk under CIB_DATA failed: nothing was accepted", { cause: error });
}
