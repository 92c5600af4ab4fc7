/**
 * Texts: joins the two accounts of one message, the display hook's (lines, at once) and the transcript's (blocks, later),
 * so that every character becomes a frame once. They use different message ids: the same message is known by its order
 * and by one text being the beginning of the other.
 */

interface Entry {
  /** The id that frames carry: the first one known. */
  readonly key: string;
  display?: string;
  message?: string;
  /** What each account has delivered so far. */
  shown: string;
  written: string;
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
    entry = texts.entries.find(
      (e) => e.display === undefined && !e.opaque && e.written.startsWith(delta) && delta !== "",
    );
    entry ??= add(texts, id);
    entry.display = id;
  }
  if (index !== entry.next) return undefined;
  entry.next++;
  entry.shown += delta;
  return advance(entry, entry.shown);
}

/** One text block of the transcript. */
export function written(texts: Texts, id: string, block: string): Piece | undefined {
  let entry = texts.entries.find((e) => e.message === id || (e.opaque && e.key === id));
  entry ??= texts.entries.find((e) => e.message === undefined && (isForeign(e) || begins(e.shown, block)));
  entry ??= add(texts, id);
  entry.message = id;
  entry.written += block;
  return advance(entry, entry.written);
}

/** Framed under the display hook's id: the order is all that ties it to a message. */
function isForeign(entry: Entry): boolean {
  return entry.opaque && !entry.key.startsWith("msg_");
}

/** Whether some message ends with these words, by either account. */
export function isTold(texts: Texts, words: string): boolean {
  return texts.entries.some((e) => e.shown.trimEnd().endsWith(words) || e.written.trimEnd().endsWith(words));
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
  return entry;
}

function fresh(key: string, opaque: boolean): Entry {
  return { key, shown: "", written: "", sent: 0, next: 0, opaque };
}
