/** Post: one frame brought to one address, tried again until it is taken, refused for good, or too old. */
import { deadline } from "../deadline.ts";
import type { Frame } from "../frame/frame.ts";
import { DEFAULT_POST_TIMEOUT_MS, type PostRule } from "./rules.ts";

/** From the first wait to the longest, doubling: 1, 2, 4 … 256, 300 s. */
export const FIRST_WAIT_MS = 1_000;
export const MAX_WAIT_MS = 300_000;
/** After this long a frame is given up, and the next one has its turn. */
export const GIVE_UP_MS = 3_600_000;
/** Longest value of a {field} in a body, in characters: a notification, not an archive. */
const MAX_FIELD_CHARS = 4096;

export interface PostOptions {
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Runs once after `ms`; the returned function calls it off. */
  readonly after: (ms: number, run: () => void) => () => void;
  /** From 0 to 1. */
  readonly random: () => number;
  readonly fetch?: typeof fetch;
}

/** What became of it. Undefined fields: not even an answer. */
export interface Delivery {
  readonly verdict: "delivered" | "failed";
  readonly ms: number;
  readonly tries: number;
  /** HTTP status of the last answer. */
  readonly status?: number;
  readonly error?: string;
}

/** Resolves with what became of it; undefined when `signal` aborted first: it is to be delivered again. */
export async function deliver(
  rule: PostRule,
  frame: Frame,
  title: string | undefined,
  options: PostOptions,
  signal: AbortSignal,
): Promise<Delivery | undefined> {
  const began = options.now();
  const request = requestOf(rule, frame, title);
  let last: { readonly status?: number; readonly error?: string } = {};
  let wait = FIRST_WAIT_MS;
  for (let tries = 1; ; tries++) {
    last = await attempt(rule, request, options.fetch ?? fetch, signal);
    const ms = options.now() - began;
    if (signal.aborted) return undefined;
    if (last.error === undefined) return { verdict: "delivered", ms, tries, ...last };
    // Half of the wait is random: boxes that lost the same server do not come back all at once.
    const pause = wait / 2 + (wait / 2) * options.random();
    if (!worthAnother(last.status) || ms + pause > GIVE_UP_MS) return { verdict: "failed", ms, tries, ...last };
    await paused(pause, options, signal);
    if (signal.aborted) return undefined;
    wait = Math.min(MAX_WAIT_MS, wait * 2);
  }
}

/** No answer, trouble on the other side, or asked to come later. */
function worthAnother(status: number | undefined): boolean {
  return status === undefined || status >= 500 || status === 408 || status === 429;
}

/** The answer's body is nobody's business: it is not read. */
async function attempt(
  { post, timeout_ms = DEFAULT_POST_TIMEOUT_MS }: PostRule,
  request: RequestInit,
  send: typeof fetch,
  signal: AbortSignal,
): Promise<{ readonly status?: number; readonly error?: string }> {
  try {
    using late = deadline(timeout_ms, signal);
    const answer = await send(post.url, { ...request, signal: late.signal });
    await answer.body?.cancel();
    const { status } = answer;
    return status >= 200 && status < 300 ? { status } : { status, error: `answered ${status}` };
  } catch (failure) {
    const { name, cause } = failure as Error;
    if (name === "TimeoutError") return { error: `no answer within ${timeout_ms} ms` };
    return { error: (cause as NodeJS.ErrnoException | undefined)?.code ?? "no answer" };
  }
}

function requestOf({ post }: PostRule, frame: Frame, title: string | undefined): RequestInit {
  const headers = new Headers({ "content-type": post.body === undefined ? "application/json" : "text/plain" });
  for (const [name, value] of Object.entries(post.headers ?? {})) headers.set(name, value);
  // The same frame comes twice when the box was killed before it knew that the first had arrived.
  headers.set("x-cib-frame", `${frame.session}:${frame.seq}`);
  const body = post.body === undefined ? JSON.stringify(frame) : filled(post.body, { ...frame, title });
  return { method: "POST", headers, body, redirect: "manual" };
}

/** `{field}` becomes the frame's field, nothing where it has none; what is no name in braces stays. */
export function filled(template: string, fields: Readonly<Record<string, unknown>>): string {
  return template.replace(/\{([A-Za-z_]+)\}/g, (_, name: string) => {
    const value = Object.hasOwn(fields, name) ? fields[name] : undefined;
    const text = typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value);
    return text.slice(0, MAX_FIELD_CHARS).toWellFormed();
  });
}

function paused(ms: number, { after }: PostOptions, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const leave = (): void => {
      signal.removeEventListener("abort", leave);
      cancel();
      done();
    };
    const cancel = after(ms, leave);
    signal.addEventListener("abort", leave);
  });
}
