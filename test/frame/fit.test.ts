import assert from "node:assert/strict";
import { test } from "node:test";
import { decode as cborgDecode } from "cborg";
import fc from "fast-check";
import { MIN_MAX_BYTES } from "../../src/control/fields.ts";
import { decodeValue, Encoded } from "../../src/frame/codec.ts";
import { fit, MIN_CBOR_BYTES, MIN_JSON_BYTES } from "../../src/frame/fit.ts";
import type { Frame, PtyFrame, SessionId } from "../../src/frame/frame.ts";
import { frameOf } from "../../src/frame/item.ts";
import { type FrameType, TYPES } from "../../src/frame/registry.ts";
import { anyFrame } from "./arbitrary.ts";

const FORMATS = ["json", "cbor"] as const;
const LEAST = { json: MIN_JSON_BYTES, cbor: MIN_CBOR_BYTES } as const;
const SESSION = "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId;

function encoded(frame: Frame | PtyFrame): Encoded {
  return frame.type === "pty.raw" ? Encoded.pty(frame) : Encoded.of(frame);
}

function read(bytes: Buffer, format: "json" | "cbor"): Frame | PtyFrame {
  if (format === "cbor") return frameOf(decodeValue(bytes)) as Frame | PtyFrame;
  const frame = JSON.parse(bytes.toString()) as Frame | PtyFrame;
  return frame.type === "pty.raw" ? { ...frame, data: Buffer.from(String(frame.data), "base64") } : frame;
}

/** Lone surrogates become U+FFFD in UTF-8: compare what CBOR can carry. */
function carried(text: string, format: "json" | "cbor"): string {
  return format === "json" ? text : Buffer.from(text).toString();
}

const limits = fc.oneof(fc.nat(32), fc.nat(256), fc.nat(10_000));
const RUNS = 3000;

/** Text frames whose other fields are long too, so that both have to give. */
const texts = fc
  .record({
    type: fc.constantFrom("text.delta", "thinking"),
    text: fc.string({ unit: "binary", minLength: 1, maxLength: 2000 }),
    message: fc.string({ maxLength: 600 }),
    agent: fc.string({ maxLength: 40 }),
  })
  .map((body) => ({ session: SESSION, seq: 2 ** 40, ts: 1_763_880_000_123, ...body }) as Frame & { text: string });

for (const format of FORMATS) {
  const any = fc.tuple(
    anyFrame,
    limits.map((more) => LEAST[format] + more),
  );

  test(`every frame fits every allowed limit in ${format}, and keeps its head`, () => {
    fc.assert(
      fc.property(any, ([frame, max]) => {
        const whole = encoded(frame);
        const pieces = fit(whole, max, format);
        assert.ok(pieces.length > 0, "a frame is never dropped");
        for (const piece of pieces) {
          assert.ok(piece.length <= max, `${piece.length} > ${max}`);
          const got = read(piece, format);
          assert.equal(got.type, frame.type);
          assert.equal(got.session, frame.session);
          assert.equal(got.ts, frame.ts);
          if (got.type !== "pty.raw") assert.equal(got.seq, whole.seq);
        }
      }),
      { numRuns: RUNS },
    );
  });

  test(`the pieces of a text join to the text in ${format}, each naming its place`, () => {
    fc.assert(
      fc.property(texts, limits, (frame, more) => {
        const bytes = fit(encoded(frame), LEAST[format] + more, format);
        for (const piece of bytes) assert.ok(piece.length <= LEAST[format] + more);
        const pieces = bytes.map((piece) => read(piece, format) as Frame & { text: string });
        assert.equal(pieces.map((piece) => piece.text).join(""), carried(frame.text, format));
        if (pieces.length === 1) return;
        assert.deepEqual(
          pieces.map((piece) => piece.part),
          pieces.map((_, i) => [i, pieces.length]),
        );
      }),
      { numRuns: RUNS },
    );
  });

  test(`terminal bytes are cut into frames with offsets of their own in ${format}`, () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 4000 }),
        fc.integer({ min: 0, max: 2 ** 52 }),
        limits,
        (data, offset, more) => {
          const frame = { session: SESSION, offset, ts: 1, type: "pty.raw", data } as const;
          let next = offset;
          for (const piece of fit(encoded(frame), LEAST[format] + more, format)) {
            const got = read(piece, format) as PtyFrame;
            assert.equal(got.offset, next);
            next += got.data.length;
            assert.deepEqual(Buffer.from(got.data), Buffer.from(data.subarray(got.offset - offset, next - offset)));
          }
          assert.equal(next, offset + data.length);
        },
      ),
    );
  });

  test(`a shortened frame says how long it was in ${format}, and keeps every field that its type requires`, () => {
    fc.assert(
      fc.property(any, ([frame, max]) => {
        if ("text" in frame || frame.type === "pty.raw") return;
        const whole = encoded(frame);
        const size = format === "json" ? whole.json().length : whole.cbor().length;
        const [piece] = fit(whole, max, format);
        const got = read(piece as Buffer, format) as unknown as Record<string, unknown>;
        if (size > max) assert.equal(got["truncated"], size);
        const { fields } = (TYPES as Record<string, FrameType>)[frame.type] as FrameType;
        for (const [name, field] of Object.entries(fields)) {
          if (!field.optional) assert.notEqual(got[name], undefined, `${frame.type}.${name}`);
          // Whole numbers and closed sets are never touched.
          if (field.values !== undefined || field.kind === "uint" || field.kind === "bool") {
            assert.deepEqual(got[name], (frame as unknown as Record<string, unknown>)[name]);
          }
        }
      }),
      { numRuns: RUNS },
    );
  });
}

test("another decoder reads what was cut", () => {
  const frame = {
    session: SESSION,
    seq: 7,
    ts: 1_763_880_000_123,
    type: "tool.use.result",
    id: "toolu_1",
    tool: "Bash",
    output: { stdout: "x".repeat(5000), lines: [1, 2, 3] },
    duration_ms: 12,
  } as Frame;
  const [piece] = fit(Encoded.of(frame), 256, "cbor");
  const [number, seq, ts, session, data] = cborgDecode(piece as Buffer, { useMaps: true }) as [
    number,
    number,
    number,
    Uint8Array,
    Map<number, unknown>,
  ];
  assert.deepEqual([number, seq, ts, session.length], [4, 7, 1_763_880_000_123, 16]);
  assert.equal(data.get(31), Encoded.of(frame).cbor().length);
});

test("ids stay whole and small entries survive where a large one is cut", () => {
  const id = "toolu_01ABCDEFGHJKLMNPQRSTUVWX";
  const frame = {
    session: SESSION,
    seq: 1,
    ts: 1,
    type: "tool.use.start",
    id,
    tool: "Write",
    input: { file_path: "/workspace/a.txt", content: "y".repeat(100_000) },
  } as Frame;
  for (const format of FORMATS) {
    const got = read(fit(Encoded.of(frame), 512, format)[0] as Buffer, format) as Frame & {
      id: string;
      input: Record<string, string>;
    };
    assert.equal(got.id, id);
    assert.equal(got.input["file_path"], "/workspace/a.txt");
    assert.match(got.input["content"] ?? "", /^y{50,}$/);
  }
  const small = read(fit(Encoded.of(frame), MIN_CBOR_BYTES, "cbor")[0] as Buffer, "cbor") as Frame & { id: string };
  assert.equal(small.id, id);
});

/** From these on every id of ours is whole: a question's id of 160 bytes beside the head and what stays of the rest. */
const WHOLE_IDS = { json: 512, cbor: 256 } as const;
const idText = (longest: number) =>
  fc.string({ unit: fc.constantFrom(..."abcXYZ019_-/"), minLength: 1, maxLength: longest });

/** Frames whose ids are as ours are, or much longer, and whose other fields have every length. */
const withIds = (longest: number) =>
  anyFrame
    .filter(({ type }) => type !== "pty.raw")
    .chain((frame) => {
      const { fields } = (TYPES as Record<string, FrameType>)[frame.type] as FrameType;
      const ids = Object.keys(fields).filter((name) => fields[name]?.id && name in frame);
      return fc
        .tuple(...ids.map((name) => (frame.type === "ask.question" && name === "id" ? idText(160) : idText(longest))))
        .map((values) => ({
          frame: { ...frame, ...Object.fromEntries(ids.map((name, i) => [name, values[i]])) },
          ids,
        }));
    });

for (const format of FORMATS) {
  test(`an id is whole or empty in ${format}, and a task has its own`, () => {
    fc.assert(
      fc.property(
        withIds(600),
        limits.map((more) => LEAST[format] + more),
        ({ frame, ids }, max) => {
          for (const piece of fit(encoded(frame as Frame), max, format)) {
            const got = read(piece, format) as unknown as Record<string, unknown>;
            for (const name of ids)
              assert.ok(
                [(frame as unknown as Record<string, unknown>)[name], ""].includes(got[name]),
                `${name}: ${String(got[name])}`,
              );
            if (frame.type !== "todo.update") continue;
            const tasks = got["items"] as { id: string }[];
            assert.deepEqual(
              tasks.map(({ id }) => id),
              frame.items.slice(0, tasks.length).map(({ id }) => carried(id, format)),
            );
          }
        },
      ),
      { numRuns: RUNS },
    );
  });

  test(`with ${WHOLE_IDS[format]} bytes of ${format} no id of ours is lost`, () => {
    fc.assert(
      fc.property(withIds(64), limits, ({ frame, ids }, more) => {
        for (const piece of fit(encoded(frame as Frame), WHOLE_IDS[format] + more, format)) {
          const got = read(piece, format) as unknown as Record<string, unknown>;
          for (const name of ids) assert.equal(got[name], (frame as unknown as Record<string, unknown>)[name], name);
        }
      }),
      { numRuns: RUNS },
    );
  });
}

test("a frame that fits is the shared bytes themselves", () => {
  const frame = Encoded.of({ session: SESSION, seq: 1, ts: 1, type: "stop", reason: "end_turn" } as Frame);
  assert.equal(fit(frame, 512, "json")[0], frame.json());
  assert.equal(fit(frame, 128, "cbor")[0], frame.cbor());
});

test("a limit below the least is refused by name", () => {
  const frame = Encoded.of({ session: SESSION, seq: 1, ts: 1, type: "stop", reason: "end_turn" } as Frame);
  assert.throws(() => fit(frame, MIN_JSON_BYTES - 1, "json"), /max_bytes: expected at least 512 for json, got 511/);
  assert.throws(() => fit(frame, MIN_CBOR_BYTES - 1, "cbor"), /max_bytes: expected at least 128/);
  assert.equal(MIN_CBOR_BYTES, MIN_MAX_BYTES);
});

test("a megabyte of text is cut for a small client in well under a second", () => {
  const frame = Encoded.of({
    session: SESSION,
    seq: 1,
    ts: 1,
    type: "text.delta",
    text: "語".repeat(350_000),
  } as Frame);
  const before = process.cpuUsage();
  const pieces = fit(frame, 128, "cbor");
  const { user, system } = process.cpuUsage(before);
  assert.ok(pieces.length > 10_000);
  assert.ok((user + system) / 1e6 < 3, `${(user + system) / 1e6} s of CPU`);
});
