/** Device tokens: issued, expired, revoked. Only hashes are at rest. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { setMaxListeners } from "node:events";
import { readFileSync } from "node:fs";
import * as v from "valibot";
import { CibError } from "../errors.ts";
import { FileError, writeRename } from "../files.ts";

/** `cib_<id>_<secret>`: the prefix lets secret scanners find it; 32 random bytes need no slow hash. */
const FORM = /^cib_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/;
export const MAX_TOKENS = 1024;
/** setTimeout's own limit; a later expiry is looked at again then. */
const MAX_TIMER_MS = 2 ** 31 - 1;

const RECORD = v.object({
  id: v.string(),
  hash: v.string(),
  label: v.string(),
  scopes: v.array(v.string()),
  sessions: v.optional(v.array(v.string())),
  parent: v.optional(v.string()),
  created_at: v.number(),
  expires_at: v.optional(v.number()),
});
const FILE = v.object({ v: v.literal(1), tokens: v.array(RECORD) });

/** What is known of a token, without its secret. Times in ms since 1970. */
export type TokenRecord = Readonly<v.InferOutput<typeof RECORD>>;

interface Live {
  readonly record: TokenRecord;
  readonly ended: AbortController;
}

export class Tokens implements Disposable {
  readonly #file: string;
  readonly #now: () => number;
  readonly #live = new Map<string, Live>();
  /** Revoked, and still in the file: the disk refused. With a restart they would be back, so whoever asks again is not told they are gone. */
  readonly #unwritten = new Map<string, TokenRecord>();
  #timer: NodeJS.Timeout | undefined;

  /** Reads the file; throws FileError when it is there and cannot be understood: guessing would lock devices out or let them in. */
  constructor(file: string, now: () => number) {
    this.#file = file;
    this.#now = now;
    for (const record of readTokens(file)) this.#live.set(record.id, { record, ended: ending() });
    this.#expire();
  }

  /** The token's record and its end, in constant time for a known id; undefined when wrong, revoked or expired. */
  find(token: string): { record: TokenRecord; ended: AbortSignal } | undefined {
    const [, id = "", secret = ""] = FORM.exec(token) ?? [];
    const live = this.#live.get(id);
    const hash = createHash("sha256").update(secret).digest();
    // A dummy keeps the time alike whether the id exists or not.
    const known = Buffer.from(live?.record.hash ?? "00".repeat(32), "hex");
    if (!timingSafeEqual(hash, known) || live === undefined) return undefined;
    return this.holder(id);
  }

  /** The token of this id, for one who has proved to hold its device key; undefined when revoked or expired. */
  holder(id: string): { record: TokenRecord; ended: AbortSignal } | undefined {
    const live = this.#live.get(id);
    if (live === undefined) return undefined;
    if ((live.record.expires_at ?? Number.POSITIVE_INFINITY) <= this.#now()) {
      this.#expire();
      return undefined;
    }
    return { record: live.record, ended: live.ended.signal };
  }

  /** Stores a new token durably and returns its text: shown once, kept nowhere. `id`: one reserved by `newId`. */
  issue(id: string, want: Omit<TokenRecord, "id" | "hash" | "created_at">): { record: TokenRecord; token: string } {
    if (this.#live.size >= MAX_TOKENS)
      throw new CibError("overloaded", `tokens: ${MAX_TOKENS} exist already; revoke some`);
    const secret = randomBytes(32).toString("base64url");
    const hash = createHash("sha256").update(secret).digest("hex");
    const record: TokenRecord = { id, hash, created_at: this.#now(), ...want };
    this.#live.set(id, { record, ended: ending() });
    try {
      this.#save();
    } catch (failure) {
      this.#live.delete(id);
      throw failure;
    }
    this.#arm();
    return { record, token: `cib_${id}_${secret}` };
  }

  has(id: string): boolean {
    return this.#live.has(id);
  }

  list(): TokenRecord[] {
    return [...this.#live.values()].map((live) => live.record);
  }

  /** Those that a revocation can name: also those that one has ended already, without getting it onto the disk. */
  revocable(): TokenRecord[] {
    return [...this.list(), ...this.#unwritten.values()];
  }

  /**
   * Ends a token and every token minted with it, and their connections. False when there is none. Throws the system's
   * error where it has ended but is still on the disk: it is to be repeated.
   */
  revoke(id: string): boolean {
    if (this.#unwritten.has(id)) this.#save();
    else if (this.#live.has(id)) this.#end([id], "revoked");
    else return false;
    return true;
  }

  static newId(): string {
    return randomBytes(8).toString("hex");
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    // The last chance of a revocation for which there was no room.
    if (this.#unwritten.size > 0) this.#save();
  }

  #expire(): void {
    const now = this.#now();
    const over = this.list().filter((record) => record.expires_at !== undefined && record.expires_at <= now);
    if (over.length > 0)
      this.#end(
        over.map((record) => record.id),
        "expired",
      );
    this.#arm();
  }

  #end(ids: readonly string[], why: "revoked" | "expired"): void {
    const doomed = new Set(ids);
    for (let size = 0; size !== doomed.size; ) {
      size = doomed.size;
      for (const { record } of this.#live.values())
        if (record.parent && doomed.has(record.parent)) doomed.add(record.id);
    }
    const ended = [...doomed].map((id) => this.#live.get(id)).filter((live) => live !== undefined);
    for (const id of doomed) this.#live.delete(id);
    // Cut the connections even if the disk refuses: a revocation must not wait for space.
    for (const live of ended) live.ended.abort(why);
    if (why === "revoked") for (const { record } of ended) this.#unwritten.set(record.id, record);
    try {
      this.#save();
    } catch (failure) {
      // What has expired ends again with the next start: it needs no disk, and nobody is there to be told.
      if (why === "revoked") throw failure;
    }
  }

  /** One timer for the nearest expiry, none when no token expires. */
  #arm(): void {
    clearTimeout(this.#timer);
    const next = Math.min(...this.list().map((record) => record.expires_at ?? Number.POSITIVE_INFINITY));
    if (!Number.isFinite(next)) return;
    const wait = Math.min(Math.max(next - this.#now(), 0), MAX_TIMER_MS);
    this.#timer = setTimeout(() => this.#expire(), wait).unref();
  }

  #save(): void {
    writeRename(this.#file, `${JSON.stringify({ v: 1, tokens: this.list() })}\n`);
    this.#unwritten.clear();
  }
}

/** The end of a token. Each of its connections listens for it: any number is no leak. */
export function ending(): AbortController {
  const ended = new AbortController();
  setMaxListeners(0, ended.signal);
  return ended;
}

function readTokens(file: string): TokenRecord[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (failure) {
    if ((failure as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw failure;
  }
  try {
    return v.parse(FILE, JSON.parse(text)).tokens;
  } catch (cause) {
    throw new FileError(file, cause, "restore it, or move it away to start without device tokens");
  }
}
