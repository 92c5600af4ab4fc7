/** Ledger lines: what the ledger's file holds, one JSON object a line. */
import * as v from "valibot";
import type { Position } from "../agent/agent.ts";
import { type SessionId, sessionId } from "../frame/frame.ts";

export type Reply = Readonly<Record<string, unknown>>;
export type InputState = "accepted" | "delivered" | "failed";

/** One accepted command, as memory holds it. */
export interface Entry {
  who: string;
  id?: string;
  digest?: string;
  reply?: Reply;
  ts: number;
  input?: {
    input: string;
    session: SessionId;
    id?: string;
    by: string;
    text: string;
    ts: number;
    after: number;
    seq?: number;
    typing?: Position;
    state: InputState;
  };
}

const whole = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const position = v.object({ file: v.string(), offset: whole });
const session = v.pipe(
  v.string(),
  v.check((text) => sessionId(text) !== undefined),
  v.transform((text) => text as SessionId),
);

const LINE = v.variant("k", [
  v.object({
    k: v.literal("accept"),
    who: v.string(),
    id: v.exactOptional(v.string()),
    digest: v.exactOptional(v.string()),
    reply: v.exactOptional(v.record(v.string(), v.unknown())),
    ts: whole,
    input: v.exactOptional(
      v.object({
        input: v.string(),
        session,
        id: v.exactOptional(v.string()),
        by: v.string(),
        text: v.string(),
        ts: whole,
        after: whole,
        seq: v.exactOptional(whole),
        typing: v.exactOptional(position),
        state: v.picklist(["accepted", "delivered", "failed"]),
      }),
    ),
  }),
  v.object({ k: v.literal("announce"), input: v.string(), seq: whole }),
  v.object({ k: v.literal("typing"), input: v.string(), at: position }),
  v.object({ k: v.literal("settle"), input: v.string(), state: v.picklist(["delivered", "failed"]) }),
]);

export function entryLine(entry: Entry): string {
  return JSON.stringify({ k: "accept", ...entry });
}

/** Undefined when the line is not understood. A page that a power loss left unwritten reads as NULs before the next line. */
export function parseLine(text: string): v.InferOutput<typeof LINE> | undefined {
  try {
    const result = v.safeParse(LINE, JSON.parse(text.slice(text.lastIndexOf("\0") + 1)));
    return result.success ? result.output : undefined;
  } catch {
    return undefined;
  }
}
