/**
 * Texts: joins the accounts of one message, the tap's (tokens, at once), the display hook's (lines, soon) and the
 * transcript's (blocks, later), so that every character becomes a frame once. Tap and transcript share a message id, the
 * hook has its own: there the same message is known by its order and by one text being the beginning of the other.
 */

interface Entry {
  /** The id that frames carry: the first one known. */
  readonly key: string;
  display?: string;
  message?: string;
  /** What each account has delivered so far. */
  shown: string;
  written: string;
  heard: string;
  /** The tap's account: none, going on, whole, ended with Claude's own, or broken off where something could not be read. */
  tap: "none" | "open" | "whole" | "cut" | "lost";
  /** Characters that became frames. */
  sent: number;
  /** Index that the next display call must have; a hole means that the transcript tells the rest. */
  next: number;
  /** Framed by an earlier daemon: only the count is known. */
  readonly opaque: boolean;
}

/** Messages of one turn. A plain value: the translator owns it. */
export interface Texts {
  entries: Entry[];
}

/** Messages remembered: the accounts of one are less than this many messages apart. */
const MAX_ENTRIES = 512;

/** Characters to emit, and the message id to emit them under. */
export interface Piece {
  readonly key: string;
  readonly text: string;
}

/** `seen`: characters framed before a restart, by message id, in order. */
export function newTexts(seen: ReadonlyMap<string, number> = new Map()): Texts {
  return { entries: [...seen].map(([key, sent]) => ({ ...fresh(key, true), sent })) };
}

/** One call of the display hook. */
export function displayed(texts: Texts, id: string, index: number, delta: string): Piece | undefined {
  let entry = texts.entries.find((e) => e.display === id);
  if (entry === undefined) {
    const free = texts.entries.filter((e) => e.display === undefined && !e.opaque);
    entry = free.find((e) => e.written.startsWith(delta) && delta !== "");
    entry ??= overheard(free, delta) ?? add(texts, id);
    entry.display = id;
  }
  if (index !== entry.next) return undefined;
  entry.next++;
  entry.shown += delta;
  // The tap is always ahead of the display: what seems to go beyond it is another message that begins alike.
  return advance(entry, hearsAll(entry) ? entry.shown.slice(0, entry.heard.length) : entry.shown);
}

/**
 * The message that the display begins to show is the latest of those that the tap has told of. It may show other words
 * than were said: then it adds nothing to what the tap told. Where the tap lost the beginning there is nothing to compare.
 */
function overheard(free: readonly Entry[], delta: string): Entry | undefined {
  const lost = (e: Entry): boolean => e.tap === "lost" && e.heard === "" && e.written === "";
  return (
    free.findLast((e) => e.tap !== "none" && (begins(e.heard, delta) || lost(e))) ??
    free.findLast((e) => hearsAll(e) && e.heard !== "")
  );
}

function hearsAll({ tap }: Entry): boolean {
  return tap === "open" || tap === "whole" || tap === "cut";
}

/** The tap hears a message begin. */
export function hear(texts: Texts, id: string): void {
  const entry = texts.entries.find((e) => e.message === id) ?? add(texts, id);
  entry.message = id;
  if (entry.tap === "none" && entry.sent === 0) entry.tap = "open";
}

/** What the tap heard of it next; kept for the other accounts to tell where `tell` is false. */
export function heard(texts: Texts, id: string, delta: string, tell: boolean): Piece | undefined {
  const entry = texts.entries.find((e) => e.message === id);
  if (entry?.tap !== "open") return undefined;
  entry.heard += delta;
  return tell ? advance(entry, entry.heard) : undefined;
}

/** The tap hears no more of it. */
export function unhear(texts: Texts, id: string, why: "whole" | "cut" | "lost"): void {
  const entry = texts.entries.find((e) => e.message === id);
  if (entry?.tap === "open") entry.tap = why;
}

/** A new turn's: only what the tap hears right now is kept, if nothing of it is told. */
export function renewed(texts: Texts): Texts {
  return { entries: texts.entries.filter((e) => e.tap === "open" && e.sent === 0) };
}

/** One text block of the transcript. */
export function written(texts: Texts, id: string, block: string): Piece | undefined {
  let entry = texts.entries.find((e) => e.message === id || (e.opaque && e.key === id));
  entry ??= texts.entries.find((e) => e.message === undefined && (isForeign(e) || begins(e.shown, block)));
  // What Claude had of a message that it interrupted it writes down under an id of its own.
  entry ??= texts.entries.findLast(
    (e) => e.tap === "cut" && e.written === "" && block !== "" && e.heard.startsWith(block),
  );
  entry ??= add(texts, id);
  entry.message = id;
  entry.written += block;
  if (entry.tap === "whole" && entry.sent >= entry.heard.length) return undefined;
  return advance(entry, entry.written);
}

/** Framed under the display hook's id: the order is all that ties it to a message. */
function isForeign(entry: Entry): boolean {
  return entry.opaque && !entry.key.startsWith("msg_");
}

/** Whether some message ends with these words, by any account. */
export function isTold(texts: Texts, words: string): boolean {
  return texts.entries.some((e) => [e.shown, e.written, e.heard].some((said) => said.trimEnd().endsWith(words)));
}

function advance(entry: Entry, account: string): Piece | undefined {
  if (account.length <= entry.sent) return undefined;
  const text = account.slice(entry.sent);
  entry.sent = account.length;
  return { key: entry.key, text };
}

function begins(shown: string, block: string): boolean {
  return shown !== "" && (block.startsWith(shown) || shown.startsWith(block));
}

function add(texts: Texts, key: string): Entry {
  const entry = fresh(key, false);
  texts.entries.push(entry);
  if (texts.entries.length > MAX_ENTRIES) texts.entries.shift();
  return entry;
}

function fresh(key: string, opaque: boolean): Entry {
  return { key, shown: "", written: "", heard: "", tap: "none", sent: 0, next: 0, opaque };
}
