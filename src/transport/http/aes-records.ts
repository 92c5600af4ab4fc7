/** AES records: items sealed into the records of one response. */
import type { OpenedEnvelope } from "../../control/control.ts";
import { packed } from "../packed.ts";

/** `{next: bytes(16)}` but for the bytes, in deterministic CBOR (RFC 8949 §4.2). */
const NEXT = Buffer.from("a1646e65787450", "hex");
const EMPTY = new Uint8Array();

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
  const plaintexts = packed(items, room);
  if (last && plaintexts.length === 0) return [envelope.seal(EMPTY, true)];
  return plaintexts.map((plaintext, i) => envelope.seal(plaintext, last && i === plaintexts.length - 1));
}
