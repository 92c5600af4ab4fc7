/** Arbitrary frames of every type, from the registry: whatever the language can say, the tests say. */
import fc from "fast-check";
import type { Frame, PtyFrame } from "../../src/frame/frame.ts";
import { CUT_FIELDS, type Field, type FrameType, TYPES } from "../../src/frame/registry.ts";

/** UTF-16 with lone surrogates: a model's output is cut anywhere. Lengths about 23, 255 and 65,535 change the CBOR head. */
const loose = fc.string({ unit: fc.nat(0xffff).map((unit) => String.fromCharCode(unit)), maxLength: 40 });
const long = fc
  .tuple(
    fc.constantFrom("a", "é", "語", "🙂"),
    fc.constantFrom(7, 11, 22, 23, 24, 63, 64, 85, 127, 128, 255, 256, 21_845, 65_536),
  )
  .map(([unit, length]) => unit.repeat(length));
const text = fc.oneof({ weight: 6, arbitrary: loose }, { weight: 1, arbitrary: long });
/** Around every width of a CBOR whole number, up to the largest that JSON carries. */
const uint = fc.oneof(
  fc.nat(),
  fc.constantFrom(
    0,
    23,
    24,
    255,
    256,
    65_535,
    65_536,
    2 ** 31,
    2 ** 32 - 1,
    2 ** 32,
    2 ** 32 + 1,
    Number.MAX_SAFE_INTEGER,
  ),
  fc.maxSafeNat(),
);
/** JSON knows no minus zero. */
const positive = (n: number) => (Object.is(n, -0) ? 0 : n);
const uuid = fc.uuid();
/** What tools take and give: any JSON, also with keys that mean something elsewhere. */
const plainJson = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, depthSize: "small", withCrossShrink: true },
    fc.constantFrom(null, true, false),
    text,
    fc.oneof(uint, fc.maxSafeInteger(), fc.double({ noNaN: true, noDefaultInfinity: true })).map(positive),
    uuid,
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(fc.oneof(fc.string(), fc.constantFrom("session", "data", "__proto__", "0", "")), tie("value"), {
      maxKeys: 4,
      noNullPrototype: true,
    }),
  ),
})).value;

function fieldOf({ kind, values }: Field): fc.Arbitrary<unknown> {
  if (values !== undefined) return fc.constantFrom(...values);
  switch (kind) {
    case "text":
      return text;
    case "uint":
      return uint;
    case "number":
      return fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }).map(positive);
    case "bool":
      return fc.boolean();
    case "bytes":
      return fc.uint8Array({ maxLength: 300 });
    case "json":
      return plainJson;
    case "todos":
      return fc.array(
        fc.record(
          { id: text, subject: text, status: text, activeForm: text },
          { requiredKeys: ["id", "subject", "status"], noNullPrototype: true },
        ),
        { maxLength: 30 },
      );
    case "options":
      return fc.array(
        fc.record({ label: text, description: text }, { requiredKeys: ["label"], noNullPrototype: true }),
        { maxLength: 5 },
      );
    case "part":
      return fc.tuple(fc.nat(), fc.nat());
    default:
      return kind satisfies never;
  }
}

function frameOfType(name: string, { fields }: FrameType): fc.Arbitrary<Frame | PtyFrame> {
  const place = name === "pty.raw" ? "offset" : "seq";
  // The terminal's own lane is never cut by the log's rules.
  const all: Record<string, Field> = name === "pty.raw" ? { ...fields } : { ...fields, ...CUT_FIELDS };
  const members = Object.fromEntries(Object.entries(all).map(([field, shape]) => [field, fieldOf(shape)]));
  const required = Object.keys(all).filter((field) => all[field]?.optional === undefined);
  const body = fc.record(members, { requiredKeys: required, noNullPrototype: true });
  return fc
    .tuple(
      uuid,
      uint.filter((seq) => seq > 0),
      uint,
      body,
    )
    .map(
      ([session, seq, ts, rest]) => ({ session, [place]: seq, ts, type: name, ...rest }) as unknown as Frame | PtyFrame,
    );
}

/** Any frame of any type; pty.raw among them. */
export const anyFrame: fc.Arbitrary<Frame | PtyFrame> = fc.oneof(
  ...Object.entries(TYPES as Record<string, FrameType>).map(([name, type]) => frameOfType(name, type)),
);
