/** The item: a frame as it travels in CBOR, `[type, seq, ts, session, data]`, with numbers for the names of the registry. */
import { sessionText } from "./bytes.ts";
import type { Frame, FrameTypeName, PtyFrame } from "./frame.ts";
import { CUT_FIELDS, type Field, type FrameType, OPTION_KEYS, TODO_KEYS, TYPES } from "./registry.ts";

/** By type and name: what may stand in the data of a frame. */
export const FIELDS: ReadonlyMap<string, ReadonlyMap<string, Field>> = new Map(
  Object.entries(TYPES as Record<string, FrameType>).map(([name, type]) => [
    name,
    new Map<string, Field>([...Object.entries(type.fields), ...Object.entries(CUT_FIELDS)]),
  ]),
);

const NAMES = new Map<number, FrameTypeName>(
  Object.entries(TYPES).map(([name, type]) => [type.number, name as FrameTypeName]),
);

/**
 * The frame of an item that has been decoded (decodeValue, fromCbor). Unknown types give undefined: skip them.
 * Throws SyntaxError on what is no frame at all.
 */
export function frameOf(item: unknown): Frame | PtyFrame | undefined {
  if (!Array.isArray(item) || item.length < 5) throw new SyntaxError("frame: expected [type, seq, ts, session, data]");
  const [number, place, ts, session, data] = item as unknown[];
  const type = NAMES.get(Number(number));
  if (type === undefined) return undefined;
  const fields: Record<string, unknown> = {};
  for (const [name, field] of FIELDS.get(type) as ReadonlyMap<string, Field>) {
    const value = (data as Record<number, unknown> | undefined)?.[field.key];
    if (value !== undefined) fields[name] = plainValue(field, value);
  }
  const head = {
    session: sessionText(session as Uint8Array),
    [type === "pty.raw" ? "offset" : "seq"]: Number(place),
    ts: Number(ts),
    type,
  };
  return { ...head, ...fields } as unknown as Frame | PtyFrame;
}

function plainValue(field: Field, value: unknown): unknown {
  if (field.kind === "uint") return Number(value);
  if (field.kind === "todos") return (value as object[]).map((item) => named(item, TODO_KEYS));
  if (field.kind === "options") return (value as object[]).map((item) => named(item, OPTION_KEYS));
  return value;
}

function named(item: object, keys: Readonly<Record<string, number>>): Record<string, unknown> {
  const pairs = Object.entries(keys).map(([name, key]) => [name, (item as Record<number, unknown>)[key]] as const);
  return Object.fromEntries(pairs.filter(([, value]) => value !== undefined));
}
