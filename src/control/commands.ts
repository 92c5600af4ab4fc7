/** Commands: one schema each. Types, validation and OpenAPI come from here; so do scopes, for every transport. */
import * as v from "valibot";
import { SCOPES, type Scope } from "../auth/scopes.ts";
import { CibError } from "../errors.ts";
import { type FrameTypeName, sessionId } from "../frame/frame.ts";
import { TYPES } from "../frame/registry.ts";

/** Longest text of one input, in UTF-8 bytes: a prompt, not a file. */
export const MAX_INPUT_BYTES = 256 * 1024;
/** Longest client-chosen command id, in UTF-8 bytes (FRAMES, exactly once). */
export const MAX_COMMAND_ID_BYTES = 64;
export const MAX_TITLE_BYTES = 200;
/** Smallest max_bytes an attach may ask for: a head, a few fields and the part marker fit. */
export const MIN_MAX_BYTES = 128;
/** Frames in one page of `frames`. */
export const MAX_PAGE_FRAMES = 1000;
/** Longest a `send` may wait: one hour. */
export const MAX_SEND_WAIT_MS = 3_600_000;

/** Keys by name, as `input {keys}` takes them, and the bytes a terminal sends for each (xterm, normal mode). */
export const KEYS = {
  Enter: "\r",
  Escape: "\x1b",
  Tab: "\t",
  "Shift+Tab": "\x1b[Z",
  Backspace: "\x7f",
  Delete: "\x1b[3~",
  Up: "\x1b[A",
  Down: "\x1b[B",
  Right: "\x1b[C",
  Left: "\x1b[D",
  Home: "\x1b[H",
  End: "\x1b[F",
  PageUp: "\x1b[5~",
  PageDown: "\x1b[6~",
  Space: " ",
  "Ctrl+C": "\x03",
  "Ctrl+D": "\x04",
  "Ctrl+L": "\x0c",
  "Ctrl+O": "\x0f",
  "Ctrl+R": "\x12",
  "Ctrl+T": "\x14",
  "Ctrl+U": "\x15",
} as const;

const bytes = (max: number) => v.check<string, string>((s) => Buffer.byteLength(s) <= max, `longer than ${max} bytes`);
const id = v.pipe(v.string(), v.minLength(1, "empty"), bytes(MAX_COMMAND_ID_BYTES));
const session = v.pipe(
  v.string(),
  v.transform((s) => sessionId(s)),
  v.check((s) => s !== undefined, "expected a session id (lower-case UUID)"),
  v.transform((s) => s as NonNullable<typeof s>),
);
const whole = v.pipe(v.number(), v.safeInteger("expected a whole number"), v.minValue(0, "expected a number ≥ 0"));
/** A lone surrogate would be one thing in JSON and another in CBOR. */
const wellFormed = v.check<string, string>((s) => s.isWellFormed(), "not well-formed Unicode");
const label = v.pipe(
  v.string(),
  v.minLength(1, "empty"),
  bytes(MAX_TITLE_BYTES),
  wellFormed,
  v.check((s) => !hasControls(s) && !/[\t\n]/.test(s), "holds control characters"),
);
const name = v.pipe(
  v.string(),
  v.regex(/^\w[\w.:[\]@/-]{0,127}$/, "expected letters, digits and . : - _ / [ ] @, at most 128"),
);
/** Below 2 Claude's layout breaks, above 1,000 nobody reads. */
const side = v.pipe(whole, v.minValue(2, "expected at least 2"), v.maxValue(1000, "expected at most 1000"));
const types = v.array(v.picklist(Object.keys(TYPES) as FrameTypeName[]));
const env = v.pipe(
  v.record(
    v.pipe(v.string(), v.regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, "expected a variable name")),
    v.pipe(
      v.string(),
      bytes(32_768),
      v.check((s) => !s.includes("\0"), "holds a NUL byte"),
    ),
  ),
  v.check((e) => Object.keys(e).length <= 64, "more than 64 variables"),
);
const auth = v.variant("mode", [
  v.strictObject({ mode: v.literal("subscription") }),
  v.strictObject({
    mode: v.literal("api_key"),
    key: v.optional(v.pipe(v.string(), v.regex(/^[\x21-\x7e]{20,512}$/, "expected an API key"))),
  }),
]);

const create = {
  id: v.optional(id),
  workdir: v.optional(
    v.pipe(
      v.string(),
      v.minLength(1, "empty"),
      bytes(4096),
      v.check((s) => !s.includes("\0"), "holds a NUL byte"),
    ),
  ),
  model: v.optional(name),
  effort: v.optional(v.picklist(["low", "medium", "high", "xhigh", "max"])),
  engine: v.optional(v.picklist(["pty"])),
  auth: v.optional(auth),
  bypass: v.optional(v.boolean()),
  title: v.optional(label),
  env: v.optional(env),
  resume: v.optional(session),
  fork: v.optional(session),
} as const;

const inputs = {
  id: v.optional(id),
  session,
  text: v.optional(
    v.pipe(
      v.string(),
      bytes(MAX_INPUT_BYTES),
      wellFormed,
      v.check((s) => s.trim() !== "", "empty"),
      v.check((s) => !hasControls(s), "holds control characters; send them as data"),
    ),
  ),
  data: v.optional(v.union([v.pipe(v.string(), bytes(MAX_INPUT_BYTES)), v.instance(Uint8Array)])),
  encoding: v.optional(v.picklist(["utf8", "base64"])),
  keys: v.optional(
    v.pipe(v.array(v.picklist(Object.keys(KEYS) as (keyof typeof KEYS)[])), v.minLength(1), v.maxLength(64)),
  ),
} as const;

/** The request schemas by command name, without `cmd`; `re`-replies echo `id` (exactly-once) or `ref` (plain correlation). */
export const COMMANDS = {
  "sessions.list": {
    scope: ["sessions:read"],
    args: { cursor: v.optional(v.string()), limit: v.optional(v.pipe(whole, v.minValue(1), v.maxValue(100))) },
  },
  "sessions.get": { scope: ["sessions:read"], args: { session } },
  "sessions.create": { scope: ["sessions:write"], args: create, once: true },
  "sessions.stop": { scope: ["sessions:write"], args: { session, signal: v.optional(v.picklist(["term", "kill"])) } },
  "sessions.resume": { scope: ["sessions:write"], args: { session, id: v.optional(id) }, once: true },
  /** Text needs sessions:input, data and keys need pty:write: control asks for the one that fits. */
  input: { scope: [], args: inputs, once: true },
  "queue.list": { scope: ["sessions:input"], args: { session } },
  "queue.cancel": { scope: ["sessions:input"], args: { session, input: v.string() } },
  interrupt: { scope: ["sessions:write"], args: { session } },
  resize: {
    scope: ["pty:write"],
    args: { session, cols: side, rows: side },
  },
  frames: {
    scope: ["sessions:read"],
    args: {
      session,
      from: v.optional(whole),
      epoch: v.optional(whole),
      types: v.optional(types),
      limit: v.optional(v.pipe(whole, v.minValue(1), v.maxValue(MAX_PAGE_FRAMES))),
    },
  },
  send: {
    scope: ["sessions:input", "sessions:read"],
    args: {
      id: v.optional(id),
      session,
      text: v.unwrap(inputs.text),
      timeout_ms: v.optional(v.pipe(whole, v.minValue(1), v.maxValue(MAX_SEND_WAIT_MS))),
    },
    once: true,
  },
  "tokens.create": {
    scope: ["tokens:write"],
    args: {
      id: v.optional(id),
      label,
      scopes: v.pipe(v.array(v.picklist(SCOPES)), v.minLength(1, "empty")),
      ttl_s: v.optional(v.pipe(whole, v.minValue(1))),
      sessions: v.optional(v.pipe(v.array(session), v.minLength(1, "empty"), v.maxLength(64))),
    },
    once: true,
  },
  "tokens.list": { scope: ["tokens:read"], args: {} },
  "tokens.revoke": { scope: ["tokens:write"], args: { token: v.string() } },
  health: { scope: [], args: {} },
} as const satisfies Record<string, { scope: readonly Scope[]; args: v.ObjectEntries; once?: true }>;

export type CommandName = keyof typeof COMMANDS;

/** One command as control takes it. */
export type Command = {
  [C in CommandName]: { readonly cmd: C } & ArgsOf<(typeof COMMANDS)[C]["args"]>;
}[CommandName];
type ArgsOf<A> = A extends v.ObjectEntries ? v.InferOutput<v.StrictObjectSchema<A, undefined>> : never;

/** What `attach` asks for: see docs/PROTOCOL.md, Attaching. */
export const ATTACH = v.strictObject({
  session,
  from: v.optional(whole),
  epoch: v.optional(whole),
  types: v.optional(types),
  max_bytes: v.optional(v.pipe(whole, v.minValue(MIN_MAX_BYTES))),
  pty: v.optional(v.boolean()),
  pty_from: v.optional(whole),
});
export type Attach = v.InferOutput<typeof ATTACH>;

type Args = v.StrictObjectSchema<v.ObjectEntries, undefined>;
/** Made once: a keystroke is a command, too. */
const SCHEMAS = new Map<CommandName, Args>(
  Object.entries(COMMANDS).map(([cmd, { args }]) => [cmd as CommandName, v.strictObject(args as v.ObjectEntries)]),
);

/** The strict schema of one command's arguments. */
export function argsOf(cmd: CommandName): Args {
  return SCHEMAS.get(cmd) as Args;
}

/** Checks one command from outside. Throws `bad_request` naming the field and what arrived, or `too_large`. */
export function parseCommand(raw: unknown): Command {
  if (typeof raw !== "object" || raw === null || Array.isArray(raw)) {
    throw new CibError("bad_request", `command: expected an object, got ${kindOf(raw)}`);
  }
  const { cmd, ...rest } = raw as Record<string, unknown>;
  if (typeof cmd !== "string" || !Object.hasOwn(COMMANDS, cmd)) {
    throw new CibError("bad_request", `cmd: expected one of ${Object.keys(COMMANDS).join(", ")}, got ${shown(cmd)}`);
  }
  const args = check(argsOf(cmd as CommandName), rest);
  if (cmd === "input") checkInput(args as Record<string, unknown>);
  return { cmd, ...(args as object) } as Command;
}

/** Attaches that have been checked: a transport may look into one before control does. */
const CHECKED = new WeakSet<object>();

/** Checks an attach from outside, once; throws as `parseCommand`. */
export function parseAttach(raw: unknown): Attach {
  if (typeof raw === "object" && raw !== null && CHECKED.has(raw)) return raw as Attach;
  const attach = check(ATTACH, raw);
  CHECKED.add(attach);
  return attach;
}

function check<S extends v.GenericSchema>(schema: S, raw: unknown): v.InferOutput<S> {
  const result = v.safeParse(schema, raw, { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  const path = v.getDotPath(issue) ?? "command";
  const message = issue.message.startsWith("Invalid")
    ? `expected ${issue.expected ?? "something else"}, got ${shown(issue.input)}`
    : issue.message;
  throw new CibError("bad_request", `${path}: ${message}`);
}

function checkInput(args: Record<string, unknown>): void {
  const given = ["text", "data", "keys"].filter((key) => args[key] !== undefined);
  if (given.length !== 1)
    throw new CibError(
      "bad_request",
      `input: expected exactly one of text, data, keys, got ${given.join(" and ") || "none"}`,
    );
  if (args["encoding"] !== undefined && typeof args["data"] !== "string") {
    throw new CibError("bad_request", "encoding: goes with data as a string");
  }
}

/** What arrived, short enough for a message and never long enough to hold a secret whole. */
function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "string") return JSON.stringify(value.length > 24 ? `${value.slice(0, 24)}…` : value);
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return kindOf(value);
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object") return "an object";
  return typeof value;
}

/** Tab and newline are text; the rest of C0, DEL and a bracketed-paste end would steer the terminal. */
function hasControls(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f]/.test(text);
}
