/** AES records: items sealed into the records of one response. */
import type { OpenedEnvelope } from "../../control/control.ts";

/** `{next: bytes(16)}` but for the bytes, in deterministic CBOR (RFC 8949 §4.2). */
const NEXT = Buffer.from("a1646e65787450", "hex");

/** What every response begins with: the token for the next request. */
export function nextOf(envelope: OpenedEnvelope): Buffer {
  return Buffer.concat([NEXT, envelope.next]);
}

/** In as few records of at most `room` bytes as hold them, no item cut across two; at least one when it is the last. */
export function sealedRecords(
  envelope: OpenedEnvelope,
  items: readonly Buffer[],
  room: number,
  last: boolean,
): Uint8Array[] {
  const records: Uint8Array[] = [];
  let held: Buffer[] = [];
  let bytes = 0;
  for (const item of items) {
    if (bytes + item.length > room && bytes > 0) {
      records.push(envelope.seal(joined(held, bytes), false));
      held = [];
      bytes = 0;
    }
    held.push(item);
    bytes += item.length;
  }
  if (last || bytes > 0) records.push(envelope.seal(joined(held, bytes), last));
  return records;
}

function joined(items: readonly Buffer[], bytes: number): Buffer {
  const [only] = items;
  return only !== undefined && items.length === 1 ? only : Buffer.concat(items, bytes);
}
