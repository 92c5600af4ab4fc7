/** A session's meta.json: what it takes to find and resume it; written on changes and once a turn, never per frame. */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import * as v from "valibot";
import { FileError, writeRename } from "../files.ts";
import { type Body, type FrameBody, type SessionId, sessionId } from "../frame/frame.ts";

const META = v.object({
  v: v.literal(1),
  id: v.pipe(
    v.string(),
    v.check((id) => sessionId(id) !== undefined),
    v.transform((id) => id as SessionId),
  ),
  created_at: v.number(),
  by: v.string(),
  workdir: v.string(),
  /** What the creator asked for; empty: the box's default at each start. */
  model: v.string(),
  /** What Claude last said it runs. */
  running_model: v.optional(v.string()),
  effort: v.optional(v.string()),
  /** Claude's permission mode, where it was switched: the next start asks for it again. */
  mode: v.optional(v.string()),
  engine: v.picklist(["pty", "stream"]),
  bypass: v.boolean(),
  /** Tools, or patterns of their calls, that wait for a person (permit.ts). */
  gate: v.optional(v.array(v.string())),
  /** Seconds until a question that nobody answers is denied; left out: the box's. */
  ask_timeout_s: v.optional(v.number()),
  /** A recorded "go on" follows when a usage limit has ended. */
  auto_continue: v.optional(v.boolean()),
  /** The session's own hook rules, as they were given (hooks/rules.ts). */
  hooks: v.optional(v.array(v.unknown())),
  auth: v.picklist(["subscription", "api_key"]),
  title: v.optional(v.string()),
  /** The creator gave the title: Claude's own does not take its place. */
  named: v.optional(v.boolean()),
  version: v.optional(v.string()),
  /** Whether it should run after a restart of the daemon. */
  wanted: v.boolean(),
  /** Claude's own conversation id. */
  conversation: v.string(),
  /** Another session's conversation to start from, until the first start has worked. */
  fork_of: v.optional(v.string()),
  /** Claude has been started at least once for this conversation. */
  started: v.boolean(),
  /** How far Claude's transcript was read when the log ended at `seq`. */
  position: v.optional(v.object({ file: v.string(), offset: v.number(), seq: v.number() })),
  usage: v.object({
    input: v.number(),
    output: v.number(),
    cache_read: v.number(),
    cache_write: v.number(),
    turns: v.number(),
    cost_usd: v.optional(v.number()),
  }),
  /** Sealed by the vault: {key?, env?}. */
  sealed: v.optional(v.string()),
});

export type Meta = v.InferOutput<typeof META>;

/** Throws FileError when the file is missing or not understood; the caller reports the session and goes on with the others. */
export function readMeta(file: string): Meta {
  try {
    return v.parse(META, JSON.parse(readFileSync(file, "utf8")));
  } catch (cause) {
    const todo = `the session is left out: restore the file from a backup, or move the folder ${dirname(file)} away`;
    throw new FileError(file, cause, todo);
  }
}

/** At once and durably: for a session that comes to be. */
export function writeMeta(file: string, meta: Meta): void {
  writeRename(file, metaText(meta));
}

/** The session's sum with one more turn in it. */
export function addUsage(sum: Meta["usage"], turn: Body<"usage">): Meta["usage"] {
  const { input, output, cache_read, cache_write, cost_usd } = turn;
  const paid = sum.cost_usd !== undefined || cost_usd !== undefined;
  return {
    input: sum.input + input,
    output: sum.output + output,
    cache_read: sum.cache_read + cache_read,
    cache_write: sum.cache_write + cache_write,
    turns: sum.turns + 1,
    ...(paid && { cost_usd: (sum.cost_usd ?? 0) + (cost_usd ?? 0) }),
  };
}

/** What a frame says about the session that must be known after a restart. */
export function learned({ model, title, version, claude_session }: Body<"meta">): Partial<Meta> {
  return {
    ...(model !== undefined && { running_model: model }),
    ...(title !== undefined && { title }),
    ...(version !== undefined && { version }),
    ...(claude_session !== undefined && { conversation: claude_session }),
  };
}

export function metaText(meta: Meta): string {
  return `${JSON.stringify(meta)}\n`;
}

/** Without Claude's own title, for a session whose creator has named it; undefined when nothing else was said. */
export function unnamed(body: FrameBody): FrameBody | undefined {
  if (body.type !== "meta" || body.title === undefined) return body;
  const { title: _title, ...rest } = body;
  return Object.keys(rest).length > 1 ? rest : undefined;
}

/** A new session's id; Claude's first conversation carries the same. */
export function newSessionId(): SessionId {
  return randomUUID() as SessionId;
}
