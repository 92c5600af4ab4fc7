/** Subject: what a rule looks at, a frame or a call in a frame's form, and which part of it a verdict may change. */
import type { Body, FrameBody } from "../frame/frame.ts";
import { TYPES } from "../frame/registry.ts";
import type { HookEvent } from "./rules.ts";

/** What is judged: everything the agent tells, save the hooks' own words. */
export type Subject = Exclude<FrameBody, Body<"hook">>;

/** What a rewrite may change. Ids, tools and numbers stay: clients and the session itself rely on them. */
const REWRITABLE: Readonly<Record<HookEvent, Readonly<Record<string, "text" | "json" | "todos">>>> = {
  "text.delta": { text: "text" },
  thinking: { text: "text" },
  "tool.use.start": { input: "json" },
  "tool.use.result": { output: "json", error: "text" },
  "todo.update": { items: "todos" },
  "ask.question": {},
  "ask.answer": {},
  usage: {},
  status: {},
  stop: {},
  meta: { title: "text", note: "text" },
  input: { text: "text" },
  error: { message: "text" },
};

/** Those that clients must see as they are: what a session does rests on them. */
const ANNOTATED_ONLY: ReadonlySet<HookEvent> = new Set(["ask.question", "ask.answer", "usage", "status", "stop"]);

export function mayChange(event: HookEvent): boolean {
  return !ANNOTATED_ONLY.has(event);
}

/** The subject with a rewrite's fields in it; a sentence when they do not fit. */
export function rewritten(subject: Subject, fields: Readonly<Record<string, unknown>>): Subject | string {
  const may = REWRITABLE[subject.type];
  const names = Object.keys(fields);
  if (names.length === 0) return `rewrite: expected ${Object.keys(may).join(" or ")}, got nothing`;
  for (const name of names) {
    const kind = Object.hasOwn(may, name) ? may[name] : undefined;
    if (kind === undefined) return `rewrite: ${subject.type} has no ${name} that may change`;
    const value = fields[name];
    if (kind === "text" && typeof value !== "string") return `rewrite: ${name} is no text`;
    if (kind === "todos" && !isTodos(value)) return `rewrite: ${name} is no list of {id, subject, status}`;
    if (name === "input" && !isObject(value)) return "rewrite: input is no object";
  }
  return { ...subject, ...fields };
}

/** What a hook frame says it is about: never content. */
export function referenceOf(subject: Subject): Readonly<Record<string, unknown>> | undefined {
  switch (subject.type) {
    case "text.delta":
    case "thinking":
      return defined({ message: subject.message, agent: subject.agent });
    case "tool.use.start":
    case "tool.use.result":
      return defined({ id: subject.id, tool: subject.tool, agent: subject.agent });
    case "ask.question":
    case "ask.answer":
      return { id: subject.id };
    case "input":
      return { by: subject.by };
    case "status":
      return { state: subject.state };
    case "stop":
      return { reason: subject.reason };
    default:
      return undefined;
  }
}

/** Every text in it that a pattern may look at: not its ids. */
export function textsOf(subject: Subject): string[] {
  const { fields } = TYPES[subject.type];
  const skip = new Set(["type", "id", "message", "agent", "tool", "input", "claude_session"]);
  return Object.entries(subject).flatMap(([name, value]) => {
    const isJson = (fields as Readonly<Record<string, { readonly kind: string }>>)[name]?.kind === "json";
    return skip.has(name) && !isJson && !(name === "message" && subject.type === "error") ? [] : texts(value);
  });
}

function texts(value: unknown): string[] {
  if (typeof value === "string") return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(texts) : [];
}

function isTodos(value: unknown): boolean {
  const known = new Set(["id", "subject", "status", "activeForm"]);
  return (
    Array.isArray(value) &&
    value.every(
      (item: unknown) =>
        isObject(item) &&
        ["id", "subject", "status"].every((name) => typeof item[name] === "string") &&
        Object.entries(item).every(([name, each]) => known.has(name) && typeof each === "string"),
    )
  );
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function defined(value: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> | undefined {
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  return entries.length > 0 ? Object.fromEntries(entries) : undefined;
}
