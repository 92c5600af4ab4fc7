/** Conversations: what Claude Code keeps of its talks on this machine, to be listed and taken up as sessions. */
import { constants, type Dirent } from "node:fs";
import { type FileHandle, open, readdir } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import { CibError } from "../errors.ts";
import { type Json, object, text } from "./json.ts";
import { promptOf } from "./prompts.ts";

/** Read from each end of a file: the first prompts and the last title stand there; the files grow to gigabytes. */
export const EDGE_BYTES = 64 * 1024;
/** Enough to know a talk by. */
export const FIRST_PROMPT_CHARS = 200;
/** Files whose date is looked at: a year of forty talks a day. More are left out, whichever they are. */
const MAX_FILES = 16_384;
/** Files opened for one page beyond those on it: 256 × 128 KiB = 32 MiB at most are read for nothing. */
const MAX_BROKEN = 256;
/** Open at the same time. */
const AT_ONCE = 16;

const FILE = /^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\.jsonl$/;
const CURSOR = /^(\d{1,16})\.([0-9a-f-]{36})$/;

export interface Conversation {
  /** Claude's own id of it (UUID). */
  readonly id: string;
  /** Where it was begun; Claude resumes it only there. */
  readonly workdir: string;
  /** The name its user gave it, or Claude's own. */
  readonly title?: string;
  /** At most FIRST_PROMPT_CHARS; empty where it stands too deep in the file. */
  readonly first_prompt: string;
  /** Ms since 1970. */
  readonly updated_at: number;
  readonly bytes: number;
}

export interface Wish {
  /** Ids left out: those of the box's own sessions. */
  readonly except?: ReadonlySet<string>;
  /** From an earlier page. */
  readonly cursor?: string | undefined;
  readonly limit: number;
}

export interface Page {
  readonly conversations: readonly Conversation[];
  /** Where the next page begins; none: this is the last. A page with a cursor may be short. */
  readonly cursor?: string;
}

interface Entry {
  readonly id: string;
  readonly folder: string;
  readonly file: string;
  readonly updatedAt: number;
  readonly bytes: number;
}

/** Newest first. What holds no prompt, is damaged or is a subagent's is passed over. Throws `bad_request` (cursor). */
export async function listConversations(projectsDir: string, { except, cursor, limit }: Wish): Promise<Page> {
  const after = cursor === undefined ? undefined : parseCursor(cursor);
  const entries = (await everyEntry(projectsDir))
    .filter((entry) => entry.bytes > 0 && except?.has(entry.id) !== true)
    .sort(newestFirst)
    .filter((entry) => after === undefined || newestFirst(after, entry) < 0);
  const found: Conversation[] = [];
  let next = 0;
  while (found.length < limit && next < entries.length && next < limit + MAX_BROKEN) {
    const some = entries.slice(next, next + Math.min(AT_ONCE, limit - found.length));
    next += some.length;
    for (const read of await Promise.all(some.map(readConversation))) if (read !== undefined) found.push(read);
  }
  const last = entries[next - 1];
  const more = last !== undefined && next < entries.length;
  return { conversations: found, ...(more && { cursor: `${last.updatedAt}.${last.id}` }) };
}

/** One conversation by its id; undefined where there is none that could be resumed. */
export async function findConversation(
  projectsDir: string,
  id: string,
): Promise<(Conversation & { readonly file: string }) | undefined> {
  if (!FILE.test(`${id}.jsonl`)) return undefined;
  const copies: (Conversation & { file: string })[] = [];
  for (const folder of await foldersOf(projectsDir)) {
    const entry = await entryOf(projectsDir, folder, `${id}.jsonl`);
    const read = entry === undefined || entry.bytes === 0 ? undefined : await readConversation(entry);
    if (entry !== undefined && read !== undefined) copies.push({ ...read, file: entry.file });
  }
  return copies.sort((a, b) => b.updated_at - a.updated_at)[0];
}

function newestFirst(a: Pick<Entry, "id" | "updatedAt">, b: Pick<Entry, "id" | "updatedAt">): number {
  return b.updatedAt - a.updatedAt || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

function parseCursor(cursor: string): Pick<Entry, "id" | "updatedAt"> {
  const [, time, id] = CURSOR.exec(cursor) ?? [];
  if (time === undefined || id === undefined)
    throw new CibError("bad_request", "cursor: not one of ours; start again without one");
  return { id, updatedAt: Number(time) };
}

async function everyEntry(projectsDir: string): Promise<Entry[]> {
  const places: { folder: string; name: string }[] = [];
  for (const folder of await foldersOf(projectsDir)) {
    for (const { name } of await entriesOf(join(projectsDir, folder))) {
      // Subagents have names of their own here, or stand in folders below.
      if (FILE.test(name) && places.length < MAX_FILES) places.push({ folder, name });
    }
  }
  const entries: Entry[] = [];
  for (let at = 0; at < places.length; at += AT_ONCE) {
    const some = places.slice(at, at + AT_ONCE).map(({ folder, name }) => entryOf(projectsDir, folder, name));
    for (const entry of await Promise.all(some)) if (entry !== undefined) entries.push(entry);
  }
  return entries;
}

async function foldersOf(projectsDir: string): Promise<string[]> {
  return (await entriesOf(projectsDir)).filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  return readdir(folder, { withFileTypes: true }).catch(() => []);
}

async function entryOf(projectsDir: string, folder: string, name: string): Promise<Entry | undefined> {
  const id = FILE.exec(name)?.[1];
  const file = join(projectsDir, folder, name);
  const handle = await openFile(file);
  if (id === undefined || handle === undefined) return undefined;
  try {
    const { mtimeMs, size } = await handle.stat();
    return { id, folder, file, updatedAt: Math.floor(mtimeMs), bytes: size };
  } finally {
    await handle.close();
  }
}

/** The sessions write this folder: no link is followed to where only the daemon may read, no pipe holds us up. */
async function openFile(file: string): Promise<FileHandle | undefined> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const handle = await open(file, flags).catch(() => undefined);
  if (handle === undefined || (await handle.stat()).isFile()) return handle;
  await handle.close();
  return undefined;
}

async function readConversation(entry: Entry): Promise<Conversation | undefined> {
  const handle = await openFile(entry.file);
  if (handle === undefined) return undefined;
  try {
    const head = linesOf(await edge(handle, 0), entry.bytes > EDGE_BYTES ? "head" : "whole");
    const tail =
      entry.bytes > EDGE_BYTES ? linesOf(await edge(handle, Math.max(0, entry.bytes - EDGE_BYTES)), "tail") : [];
    return describe(entry, head, tail);
  } catch {
    return undefined;
  } finally {
    await handle.close();
  }
}

async function edge(handle: FileHandle, from: number): Promise<string> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(EDGE_BYTES), 0, EDGE_BYTES, from);
  return buffer.toString("utf8", 0, bytesRead);
}

/** The whole lines of a piece; what is cut off at its edge, or not JSON, is none. */
function linesOf(piece: string, which: "head" | "tail" | "whole"): Json[] {
  const raw = piece.split("\n");
  if (which === "head") raw.pop();
  if (which === "tail") raw.shift();
  return raw.map(parseLine).filter((line) => line !== undefined);
}

function parseLine(raw: string): Json | undefined {
  try {
    return object(JSON.parse(raw));
  } catch {
    return undefined;
  }
}

function describe(entry: Entry, head: readonly Json[], tail: readonly Json[]): Conversation | undefined {
  const lines = [...head, ...tail];
  const places = lines.map((line) => text(line["cwd"])).filter((cwd) => cwd !== undefined && isAbsolute(cwd));
  // The session may have gone elsewhere since; Claude looks for it where it began, by the name of the folder.
  const workdir = places.find((cwd) => cwd !== undefined && folderName(cwd) === entry.folder) ?? places[0];
  const prompt = firstOf(head, promptOf);
  // A talk of nothing but settings cannot be resumed. In a large file the prompt may just be too long to be seen.
  if (workdir === undefined || (prompt === undefined && tail.length === 0)) return undefined;
  const title = lastOf(lines, "custom-title", "customTitle") ?? lastOf(lines, "ai-title", "aiTitle");
  const summary = lastOf(lines, "summary", "summary");
  const name = title ?? summary;
  return {
    id: entry.id,
    workdir,
    ...(name !== undefined && { title: shortened(name) }),
    first_prompt: shortened(prompt ?? ""),
    updated_at: entry.updatedAt,
    bytes: entry.bytes,
  };
}

/** Claude's name for the folder of a working directory. */
function folderName(workdir: string): string {
  return workdir.replace(/[^a-zA-Z0-9]/g, "-");
}

function firstOf<T>(lines: readonly Json[], pick: (line: Json) => T | undefined): T | undefined {
  for (const line of lines) {
    const found = pick(line);
    if (found !== undefined) return found;
  }
  return undefined;
}

function lastOf(lines: readonly Json[], type: string, field: string): string | undefined {
  const found = text(lines.findLast((line) => line["type"] === type && text(line[field]))?.[field]);
  return found === "" ? undefined : found;
}

/** One line of whole characters: it goes on small screens. */
function shortened(words: string): string {
  const line = words.replace(/\s+/gu, " ").trim().toWellFormed();
  const signs = [...line.slice(0, (FIRST_PROMPT_CHARS + 1) * 2)];
  return signs.length <= FIRST_PROMPT_CHARS ? signs.join("") : `${signs.slice(0, FIRST_PROMPT_CHARS - 1).join("")}…`;
}
