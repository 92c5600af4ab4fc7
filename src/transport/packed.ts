/** Packed: items joined into plaintexts, as few as hold them, none of the items cut across two. */

/** In order; each at most `room` bytes, but for an item that is longer by itself. What is alone is not copied. */
export function packed(items: readonly Buffer[], room: number): readonly Buffer[] {
  if (items.length <= 1) return items;
  const plaintexts: Buffer[] = [];
  let from = 0;
  let bytes = 0;
  for (const [i, { length }] of items.entries()) {
    if (bytes + length > room && i > from) {
      plaintexts.push(joined(items, from, i, bytes));
      from = i;
      bytes = 0;
    }
    bytes += length;
  }
  plaintexts.push(joined(items, from, items.length, bytes));
  return plaintexts;
}

function joined(items: readonly Buffer[], from: number, to: number, bytes: number): Buffer {
  return to - from === 1 ? (items[from] as Buffer) : Buffer.concat(items.slice(from, to), bytes);
}
