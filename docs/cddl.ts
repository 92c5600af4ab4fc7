/** The CBOR form of every frame as CDDL (RFC 8610), from the registry. */
import {
  CUT_FIELDS,
  type Field,
  type FieldKind,
  type FrameType,
  OPTION_KEYS,
  TODO_KEYS,
  TYPES,
} from "../src/frame/registry.ts";

const KIND: Readonly<Record<FieldKind, string>> = {
  text: "tstr",
  uint: "uint",
  number: "number",
  bool: "bool",
  bytes: "bstr",
  json: "json",
  todos: "[* todo]",
  options: "[* option]",
  part: "[piece: uint, of: uint]",
};

/** Members of the nested maps that may be absent; the rest are always there. */
const OPTIONAL_MEMBERS = ["activeForm", "description"];

export function cddl(): string {
  const types = Object.entries(TYPES as Record<string, FrameType>);
  return `; Frames of claude-in-box in CBOR (RFC 8949), as CDDL (RFC 8610).
; Generated from src/frame/registry.ts by \`npm run generate\`.
;
; A frame is an array whose first five elements never change their place:
;   type     a small number; skip the frame if you do not know it
;   seq      number of the frame in its session, from 1, without holes;
;            in pty.raw the byte offset of the data in the terminal stream
;   ts       milliseconds since 1970-01-01T00:00Z
;   session  the 16 bytes of the session's UUID
;   data     a map with small whole-number keys; skip the keys you do not know
; Lengths are definite and as short as they can be, there are no tags, and
; whole numbers are never floats.

frame = ${types.map(([name]) => rule(name)).join(" /\n        ")} /
        unknown

seq = 1..18446744073709551615
offset = uint
ts = uint
session = bstr .size 16

${types.map(([name, type]) => frame(name, type)).join("\n")}
; A type of a later version.
unknown = [type: uint, seq, ts, session, data: { * uint => any }, * any]

; On any frame that had to be cut to a client's max_bytes: piece i of n,
; counted from 0; length in bytes before it was shortened.
cut = (
${Object.entries(CUT_FIELDS)
  .map(([name, field]) => member(name, field))
  .join("")})

; Fields of a later version.
later = ( * uint => any )

todo = {
${nested(TODO_KEYS)}}

option = {
${nested(OPTION_KEYS)}}

json = nil / bool / int / float / tstr / [* json] / { * tstr => json }
`;
}

function frame(name: string, { number, when, fields }: FrameType): string {
  const place = name === "pty.raw" ? "offset" : "seq";
  const members = Object.entries(fields).map(([field, shape]) => member(field, shape));
  return `; ${name}: ${when}
${rule(name)} = [${number}, ${place}, ts, session, {
${members.join("")}  cut,
  later
}, * any]
`;
}

function member(name: string, { key, kind, optional, values }: Field): string {
  const type = values === undefined ? KIND[kind] : values.map((value) => JSON.stringify(value)).join(" / ");
  return `  ${optional ? "? " : ""}${key}: ${type}, ; ${name}\n`;
}

function nested(keys: Readonly<Record<string, number>>): string {
  const members = Object.entries(keys).map(([name, key]) =>
    member(name, { key, kind: "text", ...(OPTIONAL_MEMBERS.includes(name) ? { optional: true } : {}) }),
  );
  return `${members.join("")}  later\n`;
}

/** A CDDL name: dots would be legal, hyphens are the custom. */
function rule(name: string): string {
  return name.replaceAll(".", "-");
}
