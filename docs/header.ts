/** The numbers of frames and fields as a C99 header, from the registry: the microcontroller's side of the language. */
import { CUT_FIELDS, type Field, type FrameType, OPTION_KEYS, TODO_KEYS, TYPES } from "../src/frame/registry.ts";

export function header(): string {
  const types = Object.entries(TYPES as Record<string, FrameType>);
  const highest = Math.max(...types.map(([, type]) => type.number));
  const names = Array.from(
    { length: highest + 1 },
    (_, number) => types.find(([, type]) => type.number === number)?.[0] ?? "",
  );
  return `/*
 * cib_frames.h: the numbers of claude-in-box frames.
 * Generated from src/frame/registry.ts by \`npm run generate\`. The contract is docs/frames.cddl.
 *
 * A frame is a CBOR array: [type, seq, ts, session, data].
 *
 *   type     enum cib_type; a number that is not in it belongs to a later version: skip the frame
 *   seq      number of the frame in its session, from 1, without holes; remember the last one you
 *            handled and attach again from the next. In CIB_FRAME_PTY_RAW: byte offset of the data
 *   ts       milliseconds since 1970, more than 32 bits
 *   session  byte string of 16
 *   data     map with the keys below; skip a key you do not know
 *
 * To read one: take the array head, then five items. Every length is definite, no tags occur, and whole
 * numbers are never floats, so the head needs five fixed reads and a skip needs no memory.
 *
 * Constants only, nothing to link. Numbers are never given again: old firmware reads new boxes.
 */
#ifndef CIB_FRAMES_H
#define CIB_FRAMES_H


/* First element of every frame. */
enum cib_type {
${types.map(([name, type]) => `    CIB_FRAME_${upper(name)} = ${type.number}, /* ${type.when} */`).join("\n")}
};

/* The highest type number of this version. */
#define CIB_TYPE_MAX ${highest}
/* The names of types 0 to CIB_TYPE_MAX, each ended by a zero: attach asks for them by name. */
#define CIB_TYPE_NAMES \\
${names.map((name) => `    "${name}\\0"`).join(" \\\n")}

/* Elements before the data map: type, seq, ts, session. */
#define CIB_HEAD_ITEMS 4
/* Bytes of a session id. */
#define CIB_SESSION_BYTES 16

${types.map(([name, type]) => keys(`${name}: ${type.when}`, `KEY_${upper(name)}`, type.fields)).join("\n")}
${keys("any frame that was cut to your max_bytes", "KEY", CUT_FIELDS)}
/* One task in CIB_KEY_TODO_UPDATE_ITEMS, a map. */
${plain("KEY_TODO", TODO_KEYS)}

/* One choice in CIB_KEY_ASK_QUESTION_OPTIONS, a map. */
${plain("KEY_OPTION", OPTION_KEYS)}


#endif
`;
}

function keys(what: string, prefix: string, fields: Readonly<Record<string, Field>>): string {
  const lines = Object.entries(fields).flatMap(([name, field]) => [
    `#define CIB_${prefix}_${upper(name)} ${field.key} /* ${field.optional ? "optional " : ""}${field.kind} */`,
    ...(field.values ?? []).map(
      (value) => `#define CIB_${prefix.replace(/^KEY_/, "")}_${upper(name)}_${upper(value)} "${value}"`,
    ),
  ]);
  return `/* ${what} */\n${lines.join("\n")}\n`;
}

function plain(prefix: string, map: Readonly<Record<string, number>>): string {
  return Object.entries(map)
    .map(([name, key]) => `#define CIB_${prefix}_${upper(name)} ${key} /* text */`)
    .join("\n");
}

/** camelCase and dotted names as C macros: multiSelect → MULTI_SELECT. */
function upper(name: string): string {
  return name
    .replace(/([a-z])([A-Z])/g, "$1_$2")
    .replace(/\W/g, "_")
    .toUpperCase();
}
