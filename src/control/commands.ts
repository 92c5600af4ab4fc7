/** Commands: one schema each. Types, validation and OpenAPI come from here; so do scopes, for every transport. */
import * as v from "valibot";
import { SCOPES, type Scope } from "../auth/scopes.ts";
import { CibError } from "../errors.ts";
import { MAX_ASK_TIMEOUT_S, MIN_ASK_TIMEOUT_S } from "../session/answers.ts";
import {
  auth,
  bytes,
  conversation,
  effort,
  env,
  hasControls,
  id,
  KEYS,
  label,
  MAX_ANSWER_BYTES,
  MAX_ASK_ID_BYTES,
  MAX_CHOICES,
  MAX_INPUT_BYTES,
  MAX_PAGE_FRAMES,
  MAX_PATTERNS,
  MAX_SEND_WAIT_MS,
  MIN_MAX_BYTES,
  mode,
  name,
  pattern,
  session,
  side,
  types,
  wellFormed,
  whole,
} from "./fields.ts";

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
  effort: v.optional(effort),
  engine: v.optional(v.picklist(["pty", "stream"])),
  auth: v.optional(auth),
  bypass: v.optional(v.boolean()),
  gate: v.optional(v.pipe(v.array(pattern), v.minLength(1, "empty"), v.maxLength(MAX_PATTERNS))),
  ask_timeout_s: v.optional(
    v.pipe(
      whole,
      v.minValue(MIN_ASK_TIMEOUT_S, `expected at least ${MIN_ASK_TIMEOUT_S}`),
      v.maxValue(MAX_ASK_TIMEOUT_S, `expected at most ${MAX_ASK_TIMEOUT_S}`),
    ),
  ),
  auto_continue: v.optional(v.boolean()),
  /** The session's own rules; also needs hooks:write. */
  hooks: v.optional(v.array(v.unknown())),
  title: v.optional(label),
  env: v.optional(env),
  resume: v.optional(session),
  fork: v.optional(session),
  /** One of Claude's own conversations goes on as a session; with `copy` a copy of it does. */
  adopt: v.optional(conversation),
  copy: v.optional(v.boolean()),
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

const answer = {
  id: v.optional(id),
  session,
  ask: v.pipe(v.string(), v.minLength(1, "empty"), bytes(MAX_ASK_ID_BYTES)),
  /** Labels of the options, or their places counted from 0. */
  choices: v.optional(v.pipe(v.array(v.union([v.string(), whole])), v.minLength(1, "empty"), v.maxLength(MAX_CHOICES))),
  text: v.optional(
    v.pipe(
      v.string(),
      bytes(MAX_ANSWER_BYTES),
      wellFormed,
      v.check((s) => s.trim() !== "", "empty"),
      v.check((s) => !hasControls(s), "holds control characters"),
    ),
  ),
  decision: v.optional(v.picklist(["allow", "deny"])),
  message: v.optional(v.pipe(v.string(), bytes(MAX_ANSWER_BYTES), wellFormed)),
} as const;

/** The request schemas by command name, without `cmd`; `re`-replies echo `id` (exactly-once) or `ref` (plain correlation). */
export const COMMANDS = {
  "sessions.list": {
    scope: ["sessions:read"],
    args: { cursor: v.optional(v.string()), limit: v.optional(v.pipe(whole, v.minValue(1), v.maxValue(100))) },
  },
  "sessions.get": { scope: ["sessions:read"], args: { session } },
  "sessions.create": { scope: ["sessions:write"], args: create, once: true },
  "conversations.list": {
    scope: ["sessions:read"],
    args: { cursor: v.optional(v.string()), limit: v.optional(v.pipe(whole, v.minValue(1), v.maxValue(100))) },
  },
  "sessions.stop": { scope: ["sessions:write"], args: { session, signal: v.optional(v.picklist(["term", "kill"])) } },
  "sessions.resume": { scope: ["sessions:write"], args: { session, id: v.optional(id) }, once: true },
  /** Text needs sessions:input, data and keys need pty:write: control asks for the one that fits. */
  input: { scope: [], args: inputs, once: true },
  "queue.list": { scope: ["sessions:input"], args: { session } },
  "queue.cancel": { scope: ["sessions:input"], args: { session, input: v.string() } },
  "asks.list": { scope: ["sessions:read"], args: { session } },
  answer: { scope: ["sessions:answer"], args: answer, once: true },
  model: { scope: ["sessions:write"], args: { session, model: name } },
  effort: { scope: ["sessions:write"], args: { session, effort } },
  mode: { scope: ["sessions:write"], args: { session, mode } },
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
      /** Also a key for links without TLS; with x25519 it is refused where they do not offer it. */
      device: v.optional(v.boolean()),
      x25519: v.optional(v.boolean()),
    },
    once: true,
  },
  "tokens.list": { scope: ["tokens:read"], args: {} },
  "tokens.revoke": { scope: ["tokens:write"], args: { token: v.string() } },
  "hooks.get": { scope: ["hooks:read"], args: {} },
  "hooks.put": { scope: ["hooks:write"], args: { hooks: v.array(v.unknown()) } },
  "login.start": { scope: ["login:write"], args: {} },
  "login.status": { scope: ["login:read"], args: {} },
  "login.code": {
    scope: ["login:write"],
    args: { code: v.pipe(v.string(), v.regex(/^[\x21-\x7e]{1,2048}$/, "expected the code as the page shows it")) },
  },
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

/** When a stream ends by itself, where one request is one stream: after so many frames, after so long. */
const STREAM_END = v.object({
  max_frames: v.optional(v.pipe(whole, v.minValue(1, "expected at least 1"))),
  wait_ms: v.optional(
    v.pipe(
      whole,
      v.minValue(1, "expected at least 1"),
      v.maxValue(MAX_SEND_WAIT_MS, `expected at most ${MAX_SEND_WAIT_MS}`),
    ),
  ),
});
export type StreamEnd = v.InferOutput<typeof STREAM_END>;

/** Takes these two out of an attach; what is left is checked by `parseAttach`. Throws as `parseCommand`. */
export function parseStreamEnd(raw: Readonly<Record<string, unknown>>): {
  readonly end: StreamEnd;
  readonly attach: Readonly<Record<string, unknown>>;
} {
  const { max_frames, wait_ms, ...attach } = raw;
  return { end: check(STREAM_END, { max_frames, wait_ms }), attach };
}

const MAX_BYTES = v.object({ max_bytes: ATTACH.entries.max_bytes });

/** What a device takes at once, where it is no field of the command itself. Throws as `parseCommand`. */
export function parseMaxBytes(raw: unknown): number | undefined {
  return check(MAX_BYTES, { max_bytes: raw }).max_bytes;
}

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
  if (cmd === "answer") checkAnswer(args as Record<string, unknown>);
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
  const message =
    issue.expected === "never"
      ? "no such field here"
      : issue.message.startsWith("Invalid")
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

function checkAnswer(args: Record<string, unknown>): void {
  const decides = args["decision"] !== undefined;
  const says = args["choices"] !== undefined || args["text"] !== undefined;
  if (decides === says)
    throw new CibError(
      "bad_request",
      `answer: expected choices or text, or decision, got ${decides ? "both" : "none"}`,
    );
  if (args["message"] !== undefined && args["decision"] !== "deny")
    throw new CibError("bad_request", "message: goes with decision deny");
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
