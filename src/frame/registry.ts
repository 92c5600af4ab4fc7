/**
 * The registry: every frame type and field with its wire number. It is the one source:
 * the Frame type, the codec, docs/frames.cddl and mcu/include/cib_frames.h all derive from it.
 * Numbers are for ever: a retired one is never given again.
 */

/** How a field's value is shaped. `uint` is a whole number ≥ 0 and never a float on the wire; `json` is any JSON value. */
export type FieldKind = "text" | "uint" | "number" | "bool" | "bytes" | "json" | "todos" | "options" | "part";

export interface Field {
  /** Key in the CBOR data map. */
  readonly key: number;
  readonly kind: FieldKind;
  readonly optional?: true;
  /** It names something that a client may have to give back: on a small client whole or empty, never cut. */
  readonly id?: true;
  /** The closed set of values, for `text`. */
  readonly values?: readonly string[];
}

export interface FrameType {
  /** First element of the CBOR array. */
  readonly number: number;
  /** One sentence: when the frame is emitted. */
  readonly when: string;
  readonly fields: Readonly<Record<string, Field>>;
}

const text = (key: number) => ({ key, kind: "text" }) as const;
const ident = (key: number) => ({ key, kind: "text", id: true }) as const;
const maybeIdent = (key: number) => ({ key, kind: "text", id: true, optional: true }) as const;
const maybeText = (key: number) => ({ key, kind: "text", optional: true }) as const;
const uint = (key: number) => ({ key, kind: "uint" }) as const;
const maybeUint = (key: number) => ({ key, kind: "uint", optional: true }) as const;

export const TYPES = {
  "text.delta": {
    number: 1,
    when: "assistant text streams",
    fields: { text: text(0), message: maybeIdent(1), agent: maybeIdent(2) },
  },
  thinking: {
    number: 2,
    when: "extended thinking (CIB_THINKING)",
    fields: { text: text(0), message: maybeIdent(1), agent: maybeIdent(2) },
  },
  "tool.use.start": {
    number: 3,
    when: "a tool is called",
    fields: { id: ident(0), tool: text(1), input: { key: 2, kind: "json" }, agent: maybeIdent(3) },
  },
  "tool.use.result": {
    number: 4,
    when: "a tool returned",
    fields: {
      id: ident(0),
      tool: text(1),
      output: { key: 2, kind: "json" },
      error: maybeText(3),
      duration_ms: uint(4),
      agent: maybeIdent(5),
    },
  },
  "todo.update": {
    number: 5,
    when: "the task list changed",
    fields: { items: { key: 0, kind: "todos" } },
  },
  "ask.question": {
    number: 6,
    when: "the model, or a permission, waits for a person; one frame a question",
    fields: {
      id: ident(0),
      of: uint(1),
      kind: { key: 2, kind: "text", values: ["question", "permission"] },
      prompt: text(3),
      options: { key: 4, kind: "options" },
      multiSelect: { key: 5, kind: "bool" },
      tool: maybeText(6),
      input: { key: 7, kind: "json", optional: true },
      /** The input on one line, with what a terminal would hide made visible. */
      summary: maybeText(8),
      /** When it is denied because nobody answered, ms since 1970. */
      expires_at: maybeUint(9),
    },
  },
  "ask.answer": {
    number: 7,
    when: "a question was settled: by whom and where, or lost",
    fields: { id: ident(0), answer: { key: 1, kind: "json" }, by: ident(2) },
  },
  usage: {
    number: 8,
    when: "a turn ended",
    fields: {
      input: uint(0),
      output: uint(1),
      cache_read: uint(2),
      cache_write: uint(3),
      model: maybeText(4),
      cost_usd: { key: 5, kind: "number", optional: true },
    },
  },
  status: {
    number: 9,
    when: "the session's state changed",
    fields: {
      state: { key: 0, kind: "text", values: ["idle", "working", "waiting_for_input", "stopped"] },
      elapsed_ms: uint(1),
      limit_resets_at: maybeUint(2),
    },
  },
  stop: { number: 10, when: "a turn or the session ended", fields: { reason: text(0) } },
  meta: {
    number: 11,
    when: "model or configuration changed",
    fields: {
      model: maybeText(0),
      workdir: maybeText(1),
      title: maybeText(2),
      engine: maybeText(3),
      auth: maybeText(4),
      version: maybeText(5),
      permission_mode: maybeText(6),
      effort: maybeText(7),
      claude_session: maybeIdent(8),
      note: maybeText(9),
    },
  },
  hook: {
    number: 12,
    when: "a user hook fired",
    fields: {
      name: text(0),
      event: text(1),
      payload: { key: 2, kind: "json", optional: true },
      result: { key: 3, kind: "json", optional: true },
    },
  },
  input: {
    number: 13,
    when: "an input moved on",
    fields: {
      id: maybeIdent(0),
      by: ident(1),
      text: maybeText(2),
      state: { key: 3, kind: "text", values: ["accepted", "delivered", "failed"] },
      input: maybeIdent(4),
      reason: maybeText(5),
    },
  },
  error: {
    number: 14,
    when: "something failed that a person should know",
    fields: { code: text(0), message: text(1) },
  },
  "pty.raw": {
    number: 15,
    when: "terminal bytes, for clients that asked for them",
    fields: { data: { key: 0, kind: "bytes" } },
  },
} as const satisfies Record<string, FrameType>;

/** Fields that any frame may carry once it had to be cut for a small client. */
export const CUT_FIELDS = {
  /** `[i, n]`: piece i of n, counted from 0; the pieces share the seq. */
  part: { key: 30, kind: "part", optional: true },
  /** Length in bytes of the whole frame in that encoding, before it was shortened. */
  truncated: { key: 31, kind: "uint", optional: true },
} as const satisfies Record<string, Field>;

/** Keys of one task in `todo.update.items`, in CBOR. */
export const TODO_KEYS = { id: 0, subject: 1, status: 2, activeForm: 3 } as const;

/** Keys of one choice in `ask.question.options`, in CBOR. */
export const OPTION_KEYS = { label: 0, description: 1 } as const;
