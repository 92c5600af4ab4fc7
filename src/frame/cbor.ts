/** CBOR in plain JavaScript, as much of it as the protocol has: for clients, small, and without a package that evaluates code. */
import { sessionBytes, sessionText } from "./bytes.ts";
import { sessionId } from "./frame.ts";

/** Deepest nesting that is read: what the box's own decoder allows. */
const MAX_DEPTH = 32;
/** First room of a message that is written, doubled as needed: commands are short. */
const ROOM_BYTES = 256;
const TWO_32 = 2 ** 32;

// RFC 8949 §3.1: the three bits before the length.
const UINT = 0;
const NEGATIVE = 1;
const BYTES = 2;
const TEXT = 3;
const ARRAY = 4;
const MAP = 5;
const TAG = 6;

// A byte order mark at the beginning of a text is a character like any other.
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const ENCODER = new TextEncoder();

/**
 * A command as CBOR, with text keys; `session` values that are UUIDs as 16 bytes, undefined left out, whole numbers never as floats.
 * Lone surrogates become U+FFFD. Throws TypeError on what JSON does not know either: functions, symbols, bigints.
 */
export function toCbor(value: unknown): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  writer.value(value);
  return writer.done();
}

/**
 * One CBOR value from the box: maps become objects with text keys, 16-byte `session` values UUID text, byte strings views.
 * Throws SyntaxError when it is malformed, cut short, tagged, of indefinite length, nested deeper than 32, or followed by more.
 */
export function fromCbor(bytes: Uint8Array): unknown {
  const reader = new Reader(bytes);
  const value = reader.value(0);
  reader.end();
  return value;
}

class Writer {
  #bytes = new Uint8Array(ROOM_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  done(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#at);
  }

  value(value: unknown, key?: string): void {
    if (value === null || value === undefined) this.#head(7, 22);
    else if (typeof value === "boolean") this.#head(7, value ? 21 : 20);
    else if (typeof value === "number") this.#number(value);
    else if (typeof value === "string") this.#string(value, key);
    else if (value instanceof Uint8Array) this.#chunk(BYTES, value);
    else if (Array.isArray(value)) this.#array(value);
    else if (typeof value === "object") this.#map(value);
    else throw new TypeError(`cbor: a ${typeof value} cannot be sent`);
  }

  #number(value: number): void {
    if (Number.isSafeInteger(value)) {
      this.#head(value < 0 ? NEGATIVE : UINT, value < 0 ? -1 - value : value);
      return;
    }
    this.#reserve(9);
    this.#bytes[this.#at] = 0xfb;
    this.#view.setFloat64(this.#at + 1, value);
    this.#at += 9;
  }

  #string(value: string, key: string | undefined): void {
    const session = key === "session" ? sessionId(value) : undefined;
    if (session !== undefined) this.#chunk(BYTES, sessionBytes(session));
    else this.#chunk(TEXT, ENCODER.encode(value));
  }

  #array(items: readonly unknown[]): void {
    this.#head(ARRAY, items.length);
    for (const item of items) this.value(item);
  }

  #map(value: object): void {
    const pairs = Object.entries(value).filter(([, item]) => item !== undefined);
    this.#head(MAP, pairs.length);
    for (const [name, item] of pairs) {
      this.#chunk(TEXT, ENCODER.encode(name));
      this.value(item, name);
    }
  }

  #chunk(major: number, bytes: Uint8Array): void {
    this.#head(major, bytes.length);
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** The shortest form there is (RFC 8949 §4.2.1). */
  #head(major: number, count: number): void {
    this.#reserve(9);
    const width = count < 24 ? 0 : count < 0x100 ? 1 : count < 0x1_0000 ? 2 : count < TWO_32 ? 4 : 8;
    const info = width === 0 ? count : 24 + Math.log2(width);
    this.#bytes[this.#at++] = (major << 5) | info;
    if (width === 1) this.#view.setUint8(this.#at, count);
    if (width === 2) this.#view.setUint16(this.#at, count);
    if (width === 4) this.#view.setUint32(this.#at, count);
    if (width === 8) this.#view.setBigUint64(this.#at, BigInt(count));
    this.#at += width;
  }

  #reserve(more: number): void {
    const wanted = this.#at + more;
    if (wanted <= this.#bytes.length) return;
    const bytes = new Uint8Array(Math.max(wanted, 2 * this.#bytes.length));
    bytes.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  end(): void {
    if (this.#at < this.#bytes.length) throw new SyntaxError("cbor: more than one item");
  }

  value(depth: number): unknown {
    if (depth > MAX_DEPTH) throw new SyntaxError(`cbor: nested deeper than ${MAX_DEPTH}`);
    const head = this.#bytes[this.#at++];
    if (head === undefined) throw new SyntaxError("cbor: cut short");
    const major = head >> 5;
    const info = head & 31;
    if (info > 27 || major === TAG) throw new SyntaxError("cbor: malformed, tagged or of indefinite length");
    if (major === 7) return this.#simple(info);
    const count = this.#count(info);
    if (major === UINT) return count;
    if (major === NEGATIVE) return typeof count === "bigint" ? -1n - count : -1 - count;
    // What is longer than the message is refused before there is room for it.
    const length = Number(count);
    if (major === BYTES) return this.#take(length);
    if (major === TEXT) return this.#text(length);
    return major === ARRAY ? this.#array(length, depth) : this.#map(length, depth);
  }

  #text(length: number): string {
    const bytes = this.#take(length);
    try {
      return UTF8.decode(bytes);
    } catch (cause) {
      throw new SyntaxError("cbor: text that is not UTF-8", { cause });
    }
  }

  #array(length: number, depth: number): unknown[] {
    this.#expect(length);
    // As they come: room for what a count claims, on each of 32 levels, would be hundreds of times the message.
    const items: unknown[] = [];
    for (let i = 0; i < length; i++) items.push(this.value(depth + 1));
    return items;
  }

  #map(length: number, depth: number): Record<string, unknown> {
    this.#expect(2 * length);
    const map: Record<string, unknown> = {};
    for (let i = 0; i < length; i++) {
      const key = this.value(depth + 1);
      if (typeof key === "object") throw new SyntaxError("cbor: a key that is no text and no number");
      const name = String(key);
      const item = this.value(depth + 1);
      const session = name === "session" && item instanceof Uint8Array && item.length === 16;
      const value = session ? sessionText(item) : item;
      // A plain assignment of "__proto__" would change the object instead of adding a key.
      if (name === "__proto__")
        Object.defineProperty(map, name, { value, enumerable: true, configurable: true, writable: true });
      else map[name] = value;
    }
    return map;
  }

  /** RFC 8949 §3.3; simple values that mean nothing here are undefined. */
  #simple(info: number): unknown {
    if (info === 20 || info === 21) return info === 21;
    if (info === 22) return null;
    if (info < 24) return undefined;
    const at = this.#skip(1 << (info - 24));
    if (info === 25) return half(this.#view.getUint16(at));
    if (info === 26) return this.#view.getFloat32(at);
    return info === 27 ? this.#view.getFloat64(at) : undefined;
  }

  /** Past 2^53 as bigint, for nothing else is exact. */
  #count(info: number): number | bigint {
    if (info < 24) return info;
    const at = this.#skip(1 << (info - 24));
    if (info === 24) return this.#view.getUint8(at);
    if (info === 25) return this.#view.getUint16(at);
    if (info === 26) return this.#view.getUint32(at);
    const number = this.#view.getUint32(at) * TWO_32 + this.#view.getUint32(at + 4);
    return Number.isSafeInteger(number) ? number : this.#view.getBigUint64(at);
  }

  #take(length: number): Uint8Array {
    const at = this.#skip(length);
    return this.#bytes.subarray(at, this.#at);
  }

  /** Where they begin. */
  #skip(length: number): number {
    this.#expect(length);
    this.#at += length;
    return this.#at - length;
  }

  /** Each item takes a byte at least: a count that cannot be true is no reason to count. */
  #expect(length: number): void {
    if (length > this.#bytes.length - this.#at) throw new SyntaxError("cbor: cut short");
  }
}

/** A float of 16 bits (RFC 8949, appendix D). */
function half(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (fraction + 1024) * 2 ** (exponent - 25);
}
