/** The codec: frames and messages as CBOR and JSON, at the box. A frame is encoded at most once per encoding; every sink shares the bytes. */
import { Encoder } from "cbor-x";
import { sessionBytes, sessionText } from "./bytes.ts";
import { type Frame, type FrameTypeName, type PtyFrame, sessionId } from "./frame.ts";
import { FIELDS } from "./item.ts";
import { type Field, OPTION_KEYS, TODO_KEYS, TYPES } from "./registry.ts";

// The defaults of cbor-x emit records and tags that a microcontroller does not know (STYLE, cbor-x).
const OPTIONS = {
  useRecords: false,
  variableMapSize: true,
  tagUint8Array: false,
  // As objects, cbor-x renames a key __proto__; received() makes objects of maps safely.
  mapsAsObjects: false,
  useTag259ForMaps: false, // in the code of cbor-x, not in its types
};
const cbor = new Encoder(OPTIONS);

/** Deepest nesting of an incoming value: a command needs 4, a tool pattern list 5. */
const MAX_DEPTH = 32;
const MAX_UINT32 = 2 ** 32 - 1;
/** A negative number travels as -1 minus itself: 32 bits reach one further down than up. */
const MIN_NEGATIVE_32 = -(2 ** 32);

/** `{"session":"` + 36 characters + `","seq":`: where the seq's digits begin in every line of the log. */
export const SEQ_AT = 12 + 36 + 8;

/** One frame and its encodings, each made on first use and then shared. Never changed afterwards. */
export class Encoded {
  /** Frame number; for pty.raw the byte offset. */
  readonly seq: number;
  readonly ts: number;
  readonly type: FrameTypeName;
  /** `1 << type number`, for masks of wanted types (select.ts). */
  readonly bit: number;
  #frame: Frame | PtyFrame | undefined;
  #json: Buffer | undefined;
  #cbor: Buffer | undefined;

  private constructor(seq: number, ts: number, type: FrameTypeName, frame?: Frame | PtyFrame, json?: Buffer) {
    this.seq = seq;
    this.ts = ts;
    this.type = type;
    this.bit = 1 << TYPES[type].number;
    this.#frame = frame;
    this.#json = json;
  }

  /** A frame just numbered. The JSON line is made at once: the log needs it. */
  static of(frame: Frame): Encoded {
    // The head goes first and in this order whatever order the caller built the frame in: readers of the log rely on it.
    const { session, seq, ts, type, ...fields } = frame;
    const json = Buffer.from(JSON.stringify({ session, seq, ts, type, ...fields }));
    return new Encoded(seq, ts, type, frame, json);
  }

  static pty(frame: PtyFrame): Encoded {
    return new Encoded(frame.offset, frame.ts, "pty.raw", frame);
  }

  /**
   * A line of the log, without its newline. Only the head is read; the rest waits until CBOR or the frame is asked for.
   * The caller hands the bytes over. Throws SyntaxError on anything that is not a line of ours.
   */
  static fromLine(line: Buffer): Encoded {
    let at = SEQ_AT;
    let seq = 0;
    for (let c = line[at]; c !== undefined && c >= 48 && c <= 57; c = line[++at]) seq = seq * 10 + (c - 48);
    at += 6; // `,"ts":`
    let ts = 0;
    for (let c = line[at]; c !== undefined && c >= 48 && c <= 57; c = line[++at]) ts = ts * 10 + (c - 48);
    at += 9; // `,"type":"`
    const type = line.toString("latin1", at, line.indexOf(34, at));
    if (seq === 0 || !Object.hasOwn(TYPES, type)) throw new SyntaxError("log: a line without seq, ts and a known type");
    return new Encoded(seq, ts, type as FrameTypeName, undefined, line);
  }

  frame(): Frame | PtyFrame {
    this.#frame ??= JSON.parse((this.#json as Buffer).toString()) as Frame;
    return this.#frame;
  }

  /** One JSON object, UTF-8, no newline. */
  json(): Buffer {
    this.#json ??= Buffer.from(jsonOf(this.frame()));
    return this.#json;
  }

  /** `[type, seq, ts, session, data]`: docs/frames.cddl. */
  cbor(): Buffer {
    this.#cbor ??= cborOf(this.frame());
    return this.#cbor;
  }
}

/** A frame as JSON text; terminal bytes as base64. */
export function jsonOf(frame: Frame | PtyFrame): string {
  if (frame.type !== "pty.raw") return JSON.stringify(frame);
  const { session, offset, ts, type, data } = frame;
  return JSON.stringify({ session, offset, ts, type, data: Buffer.from(data).toString("base64") });
}

/** A frame as CBOR: `[type, seq or offset, ts, session, data]`. */
export function cborOf(frame: Frame | PtyFrame): Buffer {
  const fields = FIELDS.get(frame.type) as ReadonlyMap<string, Field>;
  const data = new Map<number, unknown>();
  for (const [name, value] of Object.entries(frame)) {
    const field = fields.get(name);
    // `session`, `seq`, `ts`, `type` and `offset` are no fields: they are the head.
    if (field !== undefined && value !== undefined) data.set(field.key, wireValue(field, value));
  }
  const place = frame.type === "pty.raw" ? frame.offset : frame.seq;
  return cbor.encode([TYPES[frame.type].number, whole(place), whole(frame.ts), sessionBytes(frame.session), data]);
}

/** Any command or reply as CBOR, with text keys; `session` values as 16 bytes. */
export function encodeValue(value: unknown): Buffer {
  return cbor.encode(wire(value, true));
}

/**
 * One CBOR value from outside. 16-byte `session` values come back as UUID text.
 * Throws SyntaxError when it is malformed, nested deeper than MAX_DEPTH, or followed by more.
 */
export function decodeValue(bytes: Uint8Array): unknown {
  let value: unknown;
  try {
    value = cbor.decode(bytes);
  } catch (cause) {
    throw new SyntaxError("cbor: malformed or cut short", { cause });
  }
  return received(value, 0);
}

/** Whole numbers past 32 bits would become floats in cbor-x: as BigInt they stay integers. */
function whole(value: number): number | bigint {
  return value > MAX_UINT32 || value < MIN_NEGATIVE_32 ? BigInt(value) : value;
}

function wireValue(field: Field, value: unknown): unknown {
  switch (field.kind) {
    case "uint":
      return whole(value as number);
    case "todos":
      return (value as object[]).map((item) => keyed(item, TODO_KEYS));
    case "options":
      return (value as object[]).map((item) => keyed(item, OPTION_KEYS));
    case "bytes":
      return typeof value === "string" ? Buffer.from(value, "base64") : value;
    default:
      // In what tools take and give, a key called "session" is theirs: no ids as bytes here.
      return wire(value, false);
  }
}

function keyed(item: object, keys: Readonly<Record<string, number>>): Map<number, unknown> {
  const map = new Map<number, unknown>();
  for (const [name, key] of Object.entries(keys)) {
    const value = (item as Record<string, unknown>)[name];
    if (value !== undefined) map.set(key, wire(value, false));
  }
  return map;
}

/**
 * JSON-like values for the wire: big whole numbers as BigInt, undefined left out, session ids as bytes where `ids`.
 * A lone surrogate, as a cut in UTF-16 leaves it, becomes U+FFFD: UTF-8 has no form for it and strict readers refuse the frame.
 */
function wire(value: unknown, ids: boolean, key?: string): unknown {
  if (typeof value === "number") return Number.isSafeInteger(value) ? whole(value) : value;
  if (typeof value === "string") {
    const session = ids && key === "session" ? sessionId(value) : undefined;
    return session === undefined ? value.toWellFormed() : sessionBytes(session);
  }
  if (Array.isArray(value)) return value.map((item) => wire(item, ids));
  if (typeof value === "object" && value !== null && !ArrayBuffer.isView(value)) {
    const out = new Map<string, unknown>();
    for (const [name, item] of Object.entries(value))
      if (item !== undefined) out.set(name.toWellFormed(), wire(item, ids, name));
    return out;
  }
  return value;
}

function received(value: unknown, depth: number, key?: string): unknown {
  if (depth > MAX_DEPTH) throw new SyntaxError(`cbor: nested deeper than ${MAX_DEPTH}`);
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }
  if (key === "session" && value instanceof Uint8Array && value.length === 16) return sessionText(value);
  if (Array.isArray(value)) return value.map((item) => received(item, depth + 1));
  if (typeof value === "object" && value !== null && !ArrayBuffer.isView(value)) {
    const out: Record<string, unknown> = {};
    for (const [name, item] of value instanceof Map ? value : Object.entries(value)) {
      // A plain assignment of "__proto__" would change the object instead of adding a key.
      Object.defineProperty(out, String(name), {
        value: received(item, depth + 1, String(name)),
        enumerable: true,
        configurable: true,
        writable: true,
      });
    }
    return out;
  }
  return value;
}
