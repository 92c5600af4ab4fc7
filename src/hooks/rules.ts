/** Rules: what a user hook is, as a hooks file or an API caller writes it; everything else here works on what this has checked. */
import * as v from "valibot";
import type { FrameTypeName } from "../frame/frame.ts";
import { TYPES } from "../frame/registry.ts";

/** Rules in one level. Each costs a comparison a frame, and one that fires a process. */
export const MAX_RULES = 64;
export const MAX_NAME_CHARS = 64;
/** Words of a command and characters of each: a path and its options, not a script. */
export const MAX_ARGV = 64;
export const MAX_ARG_CHARS = 4096;
export const MAX_PATTERN_CHARS = 512;
export const MAX_URL_CHARS = 2048;
export const MAX_HEADERS = 16;
export const MAX_HEADER_CHARS = 4096;
/** A webhook's body before its {fields} are filled in. */
export const MAX_TEMPLATE_CHARS = 8192;
/** How long Claude, or the stream, waits for a verdict unless the rule says otherwise. */
export const DEFAULT_TIMEOUT_MS = 2_000;
/** The same for one try of a webhook, which nobody waits for. */
export const DEFAULT_POST_TIMEOUT_MS = 10_000;
export const MAX_TIMEOUT_MS = 60_000;

/** What may be hooked: every frame but the hooks' own and terminal bytes. */
export type HookEvent = Exclude<FrameTypeName, "hook" | "pty.raw">;
export const EVENTS = (Object.keys(TYPES) as FrameTypeName[]).filter(
  (type): type is HookEvent => type !== "hook" && type !== "pty.raw",
);

const text = (max: number) => v.pipe(v.string(), v.minLength(1, "empty"), v.maxLength(max, `longer than ${max}`));
const name = v.pipe(
  v.string(),
  v.regex(/^[\w][\w .:-]*$/, "expected letters, digits and . : - _ and spaces"),
  v.maxLength(MAX_NAME_CHARS, `longer than ${MAX_NAME_CHARS} characters`),
);
const noNul = v.check<string, string>((s) => !s.includes("\0"), "holds a NUL byte");
const pattern = v.pipe(
  text(MAX_PATTERN_CHARS),
  v.check((source) => {
    try {
      return new RegExp(source, "u") instanceof RegExp;
    } catch {
      return false;
    }
  }, "no regular expression (JavaScript, with the u flag)"),
);
const url = v.pipe(
  text(MAX_URL_CHARS),
  v.check((value) => /^https?:\/\//.test(value) && URL.canParse(value), "expected a http or https URL"),
  v.check((value) => {
    const { username, password } = new URL(value);
    return username === "" && password === "";
  }, "holds a user or password: send them in a header"),
);
/** What the request itself decides; a wrong one would keep it from ever arriving. */
const OURS = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "x-cib-frame",
]);
const headers = v.pipe(
  v.record(
    v.pipe(
      v.string(),
      v.regex(/^[!#$%&'*+.^_`|~\w-]{1,128}$/, "expected a header name"),
      v.check((header) => !OURS.has(header.toLowerCase()), "a header that is not yours to set"),
    ),
    v.pipe(
      v.string(),
      v.maxLength(MAX_HEADER_CHARS, `longer than ${MAX_HEADER_CHARS}`),
      v.regex(/^[\t\x20-\x7e]*$/, "expected printable ASCII"),
    ),
  ),
  v.check((all) => Object.keys(all).length <= MAX_HEADERS, `more than ${MAX_HEADERS} headers`),
);

const RULE = v.pipe(
  v.strictObject({
    name,
    on: v.pipe(v.array(v.picklist(["*", ...EVENTS])), v.minLength(1, "empty")),
    match: v.optional(v.strictObject({ tool: v.optional(text(128)), text: v.optional(pattern) })),
    run: v.optional(
      v.pipe(
        v.array(v.pipe(text(MAX_ARG_CHARS), noNul)),
        v.minLength(1, "empty"),
        v.maxLength(MAX_ARGV, `more than ${MAX_ARGV} words`),
      ),
    ),
    post: v.optional(v.strictObject({ url, headers: v.optional(headers), body: v.optional(text(MAX_TEMPLATE_CHARS)) })),
    kept: v.optional(v.boolean()),
    act: v.optional(v.picklist(["filter", "observe"])),
    timeout_ms: v.optional(
      v.pipe(
        v.number(),
        v.safeInteger("expected a whole number"),
        v.minValue(1, "expected at least 1"),
        v.maxValue(MAX_TIMEOUT_MS, `expected at most ${MAX_TIMEOUT_MS}`),
      ),
    ),
    fail: v.optional(v.picklist(["open", "closed"])),
    locked: v.optional(v.boolean()),
    terminal: v.optional(v.boolean()),
  }),
  v.check((rule) => (rule.run === undefined) !== (rule.post === undefined), "needs run or post, one of them"),
  v.check((rule) => rule.post === undefined || rule.act !== "filter", "a post cannot filter: act is observe"),
  v.check((rule) => rule.post === undefined || rule.kept === undefined, "kept goes with run only"),
  v.check((rule) => rule.fail === undefined || isFilter(rule), "fail goes with a filter only"),
);

/** Rules of one level: `{"hooks": [rule …]}`. */
const FILE = v.strictObject({
  hooks: v.pipe(
    v.array(RULE),
    v.maxLength(MAX_RULES, `more than ${MAX_RULES} rules`),
    v.check((rules) => new Set(rules.map((rule) => rule.name)).size === rules.length, "two rules of one name"),
  ),
});

/** One rule, as it was written. */
export type Rule = Readonly<v.InferOutput<typeof RULE>>;

/** A rule that runs a command. */
export type RunRule = Rule & { readonly run: readonly string[] };
/** A rule that posts to an address. */
export type PostRule = Rule & { readonly post: NonNullable<Rule["post"]> };

/** Whether frames and calls wait for its verdict. */
export function isFilter(rule: { readonly run?: unknown; readonly act?: "filter" | "observe" | undefined }): boolean {
  return rule.run !== undefined && rule.act !== "observe";
}

/** What was wrong with rules, in one sentence that names the rule and the field. */
export class RuleError extends Error {
  override readonly name = "RuleError";
}

/** The rules of `{"hooks": […]}`. Throws RuleError. */
export function parseRules(raw: unknown): readonly Rule[] {
  const parsed = v.safeParse(FILE, raw);
  if (parsed.success) return parsed.output.hooks;
  const [issue] = parsed.issues;
  const [, index, ...rest] = (issue.path ?? []).map((part) => part.key);
  const given = (raw as { hooks?: readonly unknown[] } | null)?.hooks;
  const called = typeof index === "number" ? (given?.[index] as { name?: unknown } | null)?.name : undefined;
  const rule = typeof called === "string" ? `rule "${called.slice(0, MAX_NAME_CHARS)}"` : `rule ${String(index)}`;
  const where = index === undefined ? "hooks" : [rule, ...rest.map(String)].join(": ");
  throw new RuleError(`${where}: ${saying(issue)}`);
}

/** Values of headers and commands may be secrets: only short plain words are repeated. */
function saying({ type, message, expected, received }: v.BaseIssue<unknown>): string {
  if (type === "strict_object" && expected === "never") return `unknown field ${received}`;
  return type === "check" || type === "regex" || /^(min|max)_/.test(type) || type === "safe_integer"
    ? message
    : `expected ${expected ?? "something else"}, got ${received}`;
}
