/** Values: what clients say and are told, as JSON or CBOR. */
import { CibError } from "../errors.ts";
import { decodeValue, Encoded, encodeValue } from "../frame/codec.ts";
import { checkItem } from "../frame/sequence.ts";

export type Format = "json" | "cbor";

const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** The bytes of a value; frames inside it as their flat objects. */
export function pack(value: unknown, format: Format): Buffer {
  if (format === "json") return Buffer.from(JSON.stringify(value, (_, item: unknown) => plain(item)));
  return encodeValue(flat(value));
}

/** One JSON text or CBOR item, the latter of definite length and without tags. Throws `bad_request` saying where; `what` names the place. */
export function unpack(bytes: Buffer, format: Format, what: string): unknown {
  if (format === "cbor") {
    try {
      checkItem(bytes);
      return decodeValue(bytes);
    } catch (cause) {
      throw new CibError("bad_request", `${what}: ${(cause as Error).message}`, { cause });
    }
  }
  let text: string;
  try {
    text = UTF8.decode(bytes);
  } catch (cause) {
    throw new CibError("bad_request", `${what}: not UTF-8`, { cause });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CibError("bad_request", `${what}: not JSON: ${(cause as Error).message}`, { cause });
  }
}

function plain(item: unknown): unknown {
  if (item instanceof Encoded) return item.frame();
  return item instanceof Uint8Array ? Buffer.from(item).toString("base64") : item;
}

/** The same for CBOR, where bytes stay bytes; only lists of frames hold frames. */
function flat(value: unknown): unknown {
  if (value instanceof Encoded) return value.frame();
  if (Array.isArray(value)) return value.map(flat);
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, flat(item)]));
}
