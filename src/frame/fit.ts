/** Fit: a frame in messages no longer than a small client can take: split where it is text, shortened where it is not. */
import { cborOf, type Encoded, jsonOf } from "./codec.ts";
import type { Frame, PtyFrame, SessionId } from "./frame.ts";
import { type Field, type FrameType, TYPES } from "./registry.ts";

/** Smallest CBOR frame limit: 39 bytes of head, 7 of `truncated`, and `usage` with its four 9-byte numbers (56) fit. */
export const MIN_CBOR_BYTES = 128;
/** Smallest JSON frame limit: 120 bytes of head, 22 of `truncated`, and `meta` with its ten empty fields (133) fit, ids whole. */
export const MIN_JSON_BYTES = 512;
/** A piece carries at least this much text, or the other fields are shortened: a code point may need 6 bytes. */
const MIN_PIECE_BYTES = 16;

/** Other fields that tell what a frame is about: behind the ids they are cut last. */
const TELLING: ReadonlySet<string> = new Set(["tool", "code", "name", "event"]);
/** Longer than this they are cut like the rest. */
const MAX_TELLING_BYTES = 68;
/** The longest of our ids, a question's (MAX_ASK_ID_BYTES) with its quotes or head; a longer one is none of ours, and comes last. */
const MAX_ID_BYTES = 162;

type Format = "json" | "cbor";

/** Encodings of sizes: what a value costs inside a frame. */
interface Cost {
  readonly format: Format;
  frame(frame: Frame | PtyFrame): Buffer;
  value(value: unknown): number;
  /** One code point, escaped where the format escapes. */
  point(code: number): number;
  /** What stands around n bytes of text, or n items. */
  around(n: number): number;
  /** What a key adds to its value. */
  key(name: string): number;
  /** What separates one item from the next. */
  readonly comma: number;
}

const JSON_COST: Cost = {
  format: "json",
  frame: (frame) => Buffer.from(jsonOf(frame)),
  value: (value) => Buffer.byteLength(JSON.stringify(value) ?? "null"),
  point: (code) =>
    code === 34 || code === 92 || SHORT_ESCAPES.has(code) ? 2 : code < 32 || isSurrogate(code) ? 6 : utf8(code),
  around: () => 2,
  key: (name) => Buffer.byteLength(JSON.stringify(name)) + 1,
  comma: 1,
};

const CBOR_COST: Cost = {
  format: "cbor",
  frame: cborOf,
  value: cborBytes,
  point: utf8,
  // RFC 8949 §3: the length sits in the first byte, or in 1, 2 or 4 bytes behind it.
  around: (n) => (n < 24 ? 1 : n < 256 ? 2 : n < 65_536 ? 3 : 5),
  key: cborBytes,
  comma: 0,
};

/** Whatever value is measured stands in a frame: there, and not in a command, it is encoded as it will be. */
const PROBE = {
  session: "00000000-0000-0000-0000-000000000000" as SessionId,
  seq: 0,
  ts: 0,
  type: "ask.answer",
  id: "",
  by: "",
} as const;
const PROBE_BYTES = cborOf({ ...PROBE, answer: null }).length - 1;

function cborBytes(value: unknown): number {
  return cborOf({ ...PROBE, answer: value }).length - PROBE_BYTES;
}

/** \b \t \n \f \r have an escape of two characters in JSON (RFC 8259 §7). */
const SHORT_ESCAPES: ReadonlySet<number> = new Set([8, 9, 10, 12, 13]);

/**
 * The frame as messages of at most `maxBytes` each, in order: one when it fits; several with the same seq and
 * `part: [i, n]` when its text is split; one with `truncated: <bytes of the whole>` when it had to be shortened.
 * Throws RangeError when maxBytes is below MIN_CBOR_BYTES or MIN_JSON_BYTES.
 */
export function fit(encoded: Encoded, maxBytes: number, format: Format): readonly Buffer[] {
  const least = format === "json" ? MIN_JSON_BYTES : MIN_CBOR_BYTES;
  if (!(maxBytes >= least))
    throw new RangeError(`max_bytes: expected at least ${least} for ${format}, got ${maxBytes}`);
  const whole = format === "json" ? encoded.json() : encoded.cbor();
  if (whole.length <= maxBytes) return [whole];
  const frame = encoded.frame();
  const cost = format === "json" ? JSON_COST : CBOR_COST;
  if (frame.type === "pty.raw") return splitBytes(frame, maxBytes, cost);
  if ("text" in frame && typeof frame.text === "string")
    return splitText(frame, frame.text, whole.length, maxBytes, cost);
  return [cost.frame(shorten(frame, whole.length, maxBytes, cost))];
}

/** A frame with its strings, arrays and objects shortened until it takes at most `max` bytes of JSON. `wholeBytes`: what it took before. */
export function shortened(frame: Frame, wholeBytes: number, max: number): Frame {
  return shorten(frame, wholeBytes, max, JSON_COST);
}

/** Terminal bytes need no part: each piece has its own offset. */
function splitBytes(frame: PtyFrame, max: number, cost: Cost): Buffer[] {
  const { data, offset } = frame;
  // The last piece has the highest offset, and so the longest head.
  const head = cost.frame({ ...frame, offset: offset + data.length, data: new Uint8Array() }).length;
  const room = max - head - cost.around(max);
  // Base64 makes 4 characters of 3 bytes.
  const step = cost.format === "json" ? Math.floor(room / 4) * 3 : room;
  const pieces: Buffer[] = [];
  for (let at = 0; at < data.length; at += step) {
    pieces.push(cost.frame({ ...frame, offset: offset + at, data: data.subarray(at, at + step) }));
  }
  return pieces;
}

function splitText(frame: Frame, text: string, wholeBytes: number, max: number, cost: Cost): Buffer[] {
  const bound = Buffer.byteLength(text);
  const roomBeside = (rest: Frame) =>
    max - cost.frame({ ...rest, text: "", part: [bound, bound] } as Frame).length - cost.around(max) + cost.around(0);
  let rest = frame;
  let room = roomBeside(rest);
  if (room < MIN_PIECE_BYTES) {
    // Long fields beside the text: they give way, and every piece says so.
    const beside = max - MIN_PIECE_BYTES - cost.around(max) - partBytes(bound, cost);
    rest = shorten({ ...frame, text: "" } as Frame, wholeBytes, beside, cost);
    room = roomBeside(rest);
  }
  const texts = slices(text, room, cost);
  return texts.map((slice, i) => cost.frame({ ...rest, text: slice, part: [i, texts.length] } as Frame));
}

function partBytes(bound: number, cost: Cost): number {
  return cost.format === "json" ? `,"part":[${bound},${bound}]`.length : 3 + 2 * cost.around(bound);
}

/** Cuts text at code points into slices that cost at most `room` each. */
function slices(text: string, room: number, cost: Cost): string[] {
  const out: string[] = [];
  let from = 0;
  let used = 0;
  for (let at = 0; at < text.length; ) {
    const code = text.codePointAt(at) as number;
    const point = cost.point(code);
    if (used + point > room) {
      out.push(text.slice(from, at));
      from = at;
      used = 0;
    }
    used += point;
    at += code > 0xffff ? 2 : 1;
  }
  out.push(text.slice(from));
  return out;
}

/** The frame with its strings, arrays and JSON values shortened until it fits. */
function shorten(frame: Frame, wholeBytes: number, max: number, cost: Cost): Frame {
  const fields = (TYPES as Readonly<Record<string, FrameType>>)[frame.type]?.fields ?? {};
  const soft = Object.entries(frame).filter(
    ([name, value]) => value !== undefined && floorOf(fields[name]) !== undefined,
  );
  const emptied = { ...frame, truncated: wholeBytes } as Record<string, unknown>;
  for (const [name] of soft) emptied[name] = floorOf(fields[name])?.value;
  let room = max - cost.frame(emptied as unknown as Frame).length;
  if (room < 0) throw new RangeError(`fit: a ${frame.type} frame does not fit ${max} bytes of ${cost.format}`);

  const sized = soft.map(([name, value]) => {
    const floor = cost.value(emptied[name]);
    const clipped = clip(value, max);
    return { name, value: clipped, floor, more: cost.value(clipped) - floor };
  });
  // Ids first, then the small before the large: whatever fits its share leaves more to those behind it.
  const rank = ({ name, more }: { name: string; more: number }) => {
    if (fields[name]?.id) return more > MAX_ID_BYTES ? 4 : name === "id" ? 0 : 1;
    return TELLING.has(name) && more <= MAX_TELLING_BYTES ? 2 : 3;
  };
  sized.sort((a, b) => rank(a) - rank(b) || a.more - b.more);
  for (const [i, entry] of sized.entries()) {
    const isId = fields[entry.name]?.id === true;
    // A piece of an id is the id of something else, or of nothing.
    if (isId && (entry.more > room || entry.value !== frame[entry.name as keyof Frame])) continue;
    const share = isId || rank(entry) === 2 ? room : Math.floor(room / (sized.length - i));
    const kept = shrink(entry.value, entry.floor + share, cost, isStrict(fields[entry.name]));
    if (kept === undefined) continue;
    emptied[entry.name] = kept;
    room -= Math.max(0, cost.value(kept) - entry.floor);
  }
  return emptied as unknown as Frame;
}

/** What a field becomes when nothing is left of it; undefined where it must stay as it is. */
function floorOf(field: Field | undefined): { readonly value: unknown } | undefined {
  if (field === undefined || field.values !== undefined) return undefined;
  if (field.kind === "text") return { value: "" };
  if (field.kind === "json") return { value: null };
  return isStrict(field) ? { value: [] } : undefined;
}

/** Items of these lists have fields that a reader counts on: an item is whole in its keys, or absent. */
function isStrict(field: Field | undefined): boolean {
  return field?.kind === "todos" || field?.kind === "options";
}

/** A long text or list cannot keep more than `max` of anything: cut roughly before it is measured finely. */
function clip(value: unknown, max: number): unknown {
  if (typeof value === "string") return value.length > max ? prefix(value, max) : value;
  if (Array.isArray(value)) return value.slice(0, max).map((item) => clip(item, max));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .slice(0, max)
      .map(([key, item]) => [key, clip(item, max)]),
  );
}

/** The value in at most `budget` bytes; undefined when nothing of it fits. */
function shrink(value: unknown, budget: number, cost: Cost, strict: boolean): unknown {
  if (cost.value(value) <= budget) return value;
  if (typeof value === "string") return shrinkText(value, budget, cost);
  if (Array.isArray(value)) return shrinkList(value, budget, cost, strict);
  if (typeof value === "object" && value !== null) return shrinkMap(value, budget, cost, strict);
  return undefined;
}

function shrinkText(text: string, budget: number, cost: Cost): string | undefined {
  const room = budget - cost.around(budget);
  if (room < 0) return budget >= cost.around(0) ? "" : undefined;
  return slices(text, room, cost)[0];
}

/** The first items, and as much as fits of the one after them. */
function shrinkList(items: readonly unknown[], budget: number, cost: Cost, strict: boolean): unknown[] | undefined {
  let room = budget - cost.around(items.length);
  if (room < 0) return budget >= cost.around(0) ? [] : undefined;
  const kept: unknown[] = [];
  for (const item of items) {
    const share = room - (kept.length > 0 ? cost.comma : 0);
    const size = cost.value(item);
    const part = size <= share ? item : shrink(item, share, cost, strict);
    if (part !== undefined) kept.push(part);
    if (part !== item) break;
    room = share - size;
  }
  return kept;
}

/** Every entry gets its share; those that do not fit at all are left out, which a strict map does not allow. */
function shrinkMap(map: object, budget: number, cost: Cost, strict: boolean): object | undefined {
  const entries = Object.entries(map).filter(([, value]) => value !== undefined);
  let room = budget - cost.around(entries.length);
  if (room < 0) return !strict && budget >= cost.around(0) ? {} : undefined;
  const sized = entries.map(([key, value]) => ({
    key,
    value: value as unknown,
    size: cost.key(key) + cost.comma + cost.value(value),
  }));
  sized.sort((a, b) => a.size - b.size);
  const kept = new Map<string, unknown>();
  // A task whose id is cut is another task.
  const isId = (key: string) => strict && key === "id";
  if (strict) sized.sort((a, b) => Number(isId(b.key)) - Number(isId(a.key)));
  for (const [i, { key, value, size }] of sized.entries()) {
    const beside = cost.key(key) + cost.comma;
    if (isId(key) && size > room) return undefined;
    const part = isId(key) ? value : shrink(value, Math.floor(room / (sized.length - i)) - beside, cost, strict);
    if (part === undefined) {
      if (strict) return undefined;
      continue;
    }
    kept.set(key, part);
    room -= beside + cost.value(part);
  }
  return Object.fromEntries(entries.filter(([key]) => kept.has(key)).map(([key]) => [key, kept.get(key)]));
}

function prefix(text: string, units: number): string {
  const last = text.charCodeAt(units - 1);
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? units - 1 : units);
}

function utf8(code: number): number {
  return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

function isSurrogate(code: number): boolean {
  return code >= 0xd800 && code <= 0xdfff;
}
