/** Transcript: follows Claude's own record of the conversation, from file to file, and tells whether it shows a prompt. */
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve, sep } from "node:path";
import type { Position } from "./agent.ts";
import { type Json, object, text } from "./json.ts";
import { Tail } from "./lines.ts";
import { isPrompt, promptOf } from "./prompts.ts";
import { FolderWatch } from "./watch.ts";

export interface TranscriptListener {
  /** Each whole line; `agent` is the subagent whose file it stands in. */
  line(line: Json, agent: string | undefined): void;
  /** A line of so many bytes, longer than MAX_LINE_BYTES, was passed over; `agent` as above. */
  skipped(bytes: number, agent: string | undefined): void;
  /** A file could not be read. */
  fault(what: unknown): void;
}

/** A subagent's id is part of a file name. */
const AGENT_ID = /^[\w-]{1,64}$/;

/** What a session still has to read, and where Claude writes it. */
export class Transcript implements Disposable {
  readonly #root: string;
  readonly #on: TranscriptListener;
  readonly #agents = new Map<string, Tail>();
  #main: Tail;
  #watches: FolderWatch[] = [];
  /** Lines older than this in a file read from its start are history: a fork copies them. */
  #since: number;
  #turning: Promise<void> = Promise.resolve();

  /** `root` is the projects folder of the configuration: nothing outside it is ever read. */
  constructor(root: string, from: Position, since: number, on: TranscriptListener) {
    this.#root = resolve(root);
    this.#on = on;
    this.#since = since;
    this.#main = this.#tail(from.file, from.offset, undefined);
    this.#watch();
  }

  /** Everything before this has been handed over. */
  get at(): Position {
    return { file: this.#main.file, offset: this.#main.offset };
  }

  /** Claude goes on in another file: reads the rest of the old one, and of the new one nothing yet. A file outside the folder is refused. */
  follow(file: string, offset: number): Promise<void> {
    if (!this.#inside(file) || file === this.#main.file) return Promise.resolve();
    this.#turning = this.#turning.then(async () => {
      await this.#main.drain();
      this.#main = this.#tail(file, offset, undefined);
      this.#agents.clear();
      this.#watch();
    });
    return this.#turning;
  }

  /** Follows a subagent's own file beside the main one. */
  agent(id: string): void {
    if (!AGENT_ID.test(id) || this.#agents.has(id)) return;
    const folder = this.#main.file.replace(/\.jsonl$/, "");
    this.#agents.set(id, this.#tail(join(folder, "subagents", `agent-${id}.jsonl`), 0, id));
    this.#watch();
  }

  /** Reads everything to its present end. */
  async drain(): Promise<void> {
    for (const watch of this.#watches) watch.retry();
    // Subagents first: what they said precedes the result that the main file shows.
    for (const tail of this.#agents.values()) await tail.drain();
    await this.#main.drain();
  }

  [Symbol.dispose](): void {
    for (const watch of this.#watches) watch[Symbol.dispose]();
    this.#watches = [];
  }

  #tail(file: string, offset: number, agent: string | undefined): Tail {
    const since = offset === 0 ? this.#since : 0;
    return new Tail(
      file,
      offset,
      (raw) => {
        const line = parseLine(raw);
        if (line !== undefined && !isHistory(line, since)) this.#on.line(line, agent);
      },
      (bytes) => this.#on.skipped(bytes, agent),
    );
  }

  #inside(file: string): boolean {
    return resolve(file).startsWith(this.#root + sep) && file.endsWith(".jsonl");
  }

  #watch(): void {
    for (const watch of this.#watches) watch[Symbol.dispose]();
    const tails = [this.#main, ...this.#agents.values()];
    this.#watches = [...new Set(tails.map((tail) => dirname(tail.file)))].map(
      (folder) =>
        new FolderWatch(folder, (name) => {
          if (tails.some((tail) => basename(tail.file) === name))
            this.drain().catch((what: unknown) => this.#on.fault(what));
        }),
    );
  }
}

function parseLine(raw: string): Json | undefined {
  try {
    return object(JSON.parse(raw));
  } catch {
    return undefined;
  }
}

function isHistory(line: Json, since: number): boolean {
  const stamp = text(line["timestamp"]);
  return since > 0 && stamp !== undefined && Date.parse(stamp) < since;
}

/** Every line of a file between two offsets, in order. */
export async function readBetween(
  file: string,
  from: number,
  to: number,
  listener: (line: Json) => void,
): Promise<void> {
  const tail = new Tail(file, from, (raw) => {
    const line = tail.offset > to ? undefined : parseLine(raw);
    if (line !== undefined) listener(line);
  });
  await tail.drain();
}

/** Size of a file in bytes, 0 where there is none. */
export async function sizeOf(file: string): Promise<number> {
  return stat(file).then(
    (found) => found.size,
    () => 0,
  );
}

/** Where a conversation is, or will be, written: the folder is named after the working directory. */
export async function transcriptFile(projects: string, workdir: string, conversation: string): Promise<string> {
  const name = `${conversation}.jsonl`;
  for (const folder of await readdir(projects).catch(() => [])) {
    const file = join(projects, folder, name);
    if ((await sizeOf(file)) > 0) return file;
  }
  return join(projects, workdir.replace(/[^a-zA-Z0-9]/g, "-"), name);
}

/** Whether the transcript shows `prompt` at or after `at`, in that file or in one that /clear made of it later. */
export async function shows(at: Position, prompt: string): Promise<boolean> {
  if (await fileShows(at.file, at.offset, prompt)) return true;
  for (const file of await successors(at.file)) if (await fileShows(file, 0, prompt)) return true;
  return false;
}

async function fileShows(file: string, offset: number, prompt: string): Promise<boolean> {
  let found = false;
  await readBetween(file, offset, Number.POSITIVE_INFINITY, (line) => {
    const said = promptOf(line);
    if (said !== undefined && isPrompt(said, prompt)) found = true;
  });
  return found;
}

/**
 * Files of the same folder that begin with /clear after this file's last line. Claude writes no link between them:
 * of two sessions in one folder that were both cleared, each may be taken for the other's successor.
 */
async function successors(file: string): Promise<string[]> {
  const folder = dirname(file);
  const ended = await lastStamp(file);
  const found: { readonly file: string; readonly began: number }[] = [];
  for (const name of await readdir(folder).catch(() => [])) {
    const other = join(folder, name);
    if (!name.endsWith(".jsonl") || other === file) continue;
    const began = await clearedAt(other);
    if (began !== undefined && began >= ended) found.push({ file: other, began });
  }
  return found.sort((a, b) => a.began - b.began).map((entry) => entry.file);
}

async function lastStamp(file: string): Promise<number> {
  let last = 0;
  const size = await sizeOf(file);
  // The last 64 KiB hold the last stamped line, unless it is longer: then any /clear in the folder counts.
  await readBetween(file, Math.max(0, size - 65_536), size, (line) => {
    const stamp = Date.parse(text(line["timestamp"]) ?? "");
    if (stamp > last) last = stamp;
  });
  return last;
}

/** When a file that begins with /clear began; undefined for every other file. */
async function clearedAt(file: string): Promise<number | undefined> {
  let first: string | undefined;
  let stamp = Number.NaN;
  await readBetween(file, 0, 65_536, (line) => {
    const said = promptOf(line);
    if (said === undefined || first !== undefined) return;
    first = said;
    stamp = Date.parse(text(line["timestamp"]) ?? "");
  });
  return first === "/clear" && !Number.isNaN(stamp) ? stamp : undefined;
}
