/** Frames as TypeScript sees them: derived from the registry, never written twice. */
import type { CUT_FIELDS, Field, FieldKind, TYPES } from "./registry.ts";

/** A session's id: a UUID in lower-case text. */
export type SessionId = string & { readonly __brand: "SessionId" };

/** A frame's number in its session: whole, from 1, without holes. */
export type Seq = number;

export interface Todo {
  readonly id: string;
  readonly subject: string;
  readonly status: string;
  readonly activeForm?: string;
}

export interface Option {
  readonly label: string;
  readonly description?: string;
}

interface KindTypes {
  text: string;
  uint: number;
  number: number;
  bool: boolean;
  bytes: Uint8Array;
  json: unknown;
  todos: readonly Todo[];
  options: readonly Option[];
  part: readonly [number, number];
}

type ValueOf<F extends Field> = F extends { values: readonly (infer V)[] } ? V : KindTypes[F["kind"] & FieldKind];
type OptionalKeys<F> = { [K in keyof F]: F[K] extends { optional: true } ? K : never }[keyof F];
type FieldsOf<F extends Readonly<Record<string, Field>>> = {
  readonly [K in Exclude<keyof F, OptionalKeys<F>>]: ValueOf<F[K]>;
} & { readonly [K in OptionalKeys<F>]?: ValueOf<F[K] & Field> };

export type FrameTypeName = keyof typeof TYPES;

/** What happened, before the log has numbered it. */
export type FrameBody = {
  [T in Exclude<FrameTypeName, "pty.raw">]: { readonly type: T } & FieldsOf<(typeof TYPES)[T]["fields"]>;
}[Exclude<FrameTypeName, "pty.raw">];

/** One kind of body. */
export type Body<T extends FrameBody["type"]> = Extract<FrameBody, { type: T }>;

/** What every numbered frame carries. `ts` is milliseconds since 1970. */
export interface Head {
  readonly session: SessionId;
  readonly seq: Seq;
  readonly ts: number;
}

/** A numbered frame: flat, as in JSON. */
export type Frame = Head & FrameBody & FieldsOf<typeof CUT_FIELDS>;

/** Terminal bytes in their own lane: a byte offset instead of a seq. */
export interface PtyFrame {
  readonly session: SessionId;
  readonly offset: number;
  readonly ts: number;
  readonly type: "pty.raw";
  readonly data: Uint8Array;
}

export type SessionState = Body<"status">["state"];

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** A session id from outside: lower-case UUID text, else undefined. */
export function sessionId(value: string): SessionId | undefined {
  return UUID.test(value) ? (value as SessionId) : undefined;
}
