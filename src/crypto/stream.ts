/** Stream: bytes as TCP cuts them, back into the units that were sent; one fixed buffer, and none for what arrives whole. */
import { KEY_BYTES } from "./aead.ts";
import { HELLO_BYTES } from "./hello.ts";
import type { Link, Taken } from "./link.ts";
import { RECORD_OVERHEAD } from "./record.ts";

/** Cuts a byte stream into units whose size stands in their first bytes. */
export class Units {
  readonly #capacity: number;
  readonly #sizeOf: (start: Uint8Array) => number | undefined;
  /** The beginning of a unit whose end has not come; made when first needed. */
  #kept: Uint8Array | undefined;
  #length = 0;

  /** `capacity`: the longest unit, in bytes. `sizeOf` may refuse one by throwing. */
  constructor(capacity: number, sizeOf: (start: Uint8Array) => number | undefined) {
    this.#capacity = capacity;
    this.#sizeOf = sizeOf;
  }

  /** Bytes of a unit that is not whole yet. */
  get waiting(): number {
    return this.#length;
  }

  /** The units that are whole now, as views: each is good until the next is asked for. To be read to the end. */
  *cut(chunk: Uint8Array): Generator<Uint8Array, void> {
    let at = 0;
    while (at < chunk.length) {
      if (this.#length > 0) {
        at += this.#fill(chunk.subarray(at));
        const kept = this.#start();
        if (this.#sizeOf(kept) !== kept.length) continue;
        this.#length = 0;
        yield kept;
        continue;
      }
      const rest = at === 0 ? chunk : chunk.subarray(at);
      const size = this.#sizeOf(rest);
      if (size === undefined || size > rest.length) {
        at += this.#fill(rest);
        continue;
      }
      at += size;
      yield rest.subarray(0, size);
    }
  }

  /** Takes up to the unit's end, or one byte where the end is not known yet. Returns how many it took. */
  #fill(from: Uint8Array): number {
    this.#kept ??= new Uint8Array(this.#capacity);
    const size = this.#sizeOf(this.#start()) ?? this.#length + 1;
    const taken = from.subarray(0, size - this.#length);
    this.#kept.set(taken, this.#length);
    this.#length += taken.length;
    return taken.length;
  }

  #start(): Uint8Array {
    return (this.#kept as Uint8Array).subarray(0, this.#length);
  }
}

/** A link over a byte stream: whatever way the bytes are cut, the same comes out. */
export class LinkStream<L extends Link> {
  readonly link: L;
  readonly #units: Units;

  constructor(link: L) {
    this.link = link;
    const capacity = Math.max(HELLO_BYTES + KEY_BYTES, RECORD_OVERHEAD + link.accepts);
    this.#units = new Units(capacity, (start) => link.sizeOf(start));
  }

  /** What these bytes complete, in order; to be read to the end before the next chunk. Throws LinkError as `Link.take`. */
  *take(chunk: Uint8Array): Generator<Taken, void> {
    for (const unit of this.#units.cut(chunk)) yield this.link.take(unit);
  }
}
