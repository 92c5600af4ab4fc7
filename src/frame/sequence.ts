/** Sequence: CBOR items one behind the other (RFC 8742), found by their heads alone, before anything is decoded. */

/** Deepest nesting that is followed: what the decoder allows, and the items around it. */
const MAX_DEPTH = 33;

/** The items as views, in order. Throws SyntaxError when one is malformed, cut short, tagged or nested too deeply. */
export function itemsOf(bytes: Buffer): Generator<Buffer, void>;
export function itemsOf(bytes: Uint8Array): Generator<Uint8Array, void>;
export function* itemsOf(bytes: Uint8Array): Generator<Uint8Array, void> {
  for (let at = 0; at < bytes.length; ) {
    const end = endOf(bytes, at);
    yield bytes.subarray(at, end);
    at = end;
  }
}

/** Throws SyntaxError unless the bytes are one item, whole, in the form that the protocol has: definite lengths, no tags. */
export function checkItem(bytes: Uint8Array): void {
  if (endOf(bytes, 0) < bytes.length) throw new SyntaxError("cbor: more than one item");
}

/** RFC 8949 §3: where the item ends that begins at `at`. No recursion: the input says how deep it is. */
function endOf(bytes: Uint8Array, at: number): number {
  /** Items still to come at each level. */
  const left = [1];
  for (;;) {
    while (left.at(-1) === 0) left.pop();
    const level = left.length - 1;
    if (level < 0) return at;
    left[level] = (left[level] as number) - 1;
    const head = bytes[at];
    if (head === undefined) throw new SyntaxError("cbor: cut short");
    const [major, info] = [head >> 5, head & 31];
    // 28 to 30 are not assigned; 31 is an item without a length, which this protocol does not use.
    if (info > 27) throw new SyntaxError("cbor: malformed, or of indefinite length");
    // What a decoder makes of tags can be far larger than they are: shared references, big numbers.
    if (major === 6) throw new SyntaxError("cbor: a tag; send values without tags");
    const width = info < 24 ? 0 : 1 << (info - 24);
    if (at + 1 + width > bytes.length) throw new SyntaxError("cbor: cut short");
    const count = width === 0 ? info : numberAt(bytes, at + 1, width);
    at += 1 + width;
    if (major === 2 || major === 3) at += count;
    else if (major === 4 || major === 5) {
      const items = major === 5 ? 2 * count : count;
      // Each item takes a byte at least: a count that cannot be true is no reason to count.
      if (items > bytes.length - at) throw new SyntaxError("cbor: cut short");
      if (left.length > MAX_DEPTH) throw new SyntaxError(`cbor: nested deeper than ${MAX_DEPTH - 1}`);
      left.push(items);
    }
    if (at > bytes.length) throw new SyntaxError("cbor: cut short");
  }
}

/** Big-endian. Past 2^53 it is not exact, and past every length either way. */
function numberAt(bytes: Uint8Array, at: number, width: number): number {
  let value = 0;
  for (let i = at; i < at + width; i++) value = value * 256 + (bytes[i] as number);
  return value;
}
