/** cib login: logs the box's subscription in, from any terminal that reaches the box. */
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import * as v from "valibot";
import { visible } from "../demo/present.ts";
import { BOX_OPTIONS, call, findBox } from "./box.ts";
import { EXIT, Failure, type Io, UsageError } from "./io.ts";

const STATE = v.object({
  state: v.string(),
  url: v.optional(v.string()),
  message: v.optional(v.string()),
  logged_in: v.optional(v.boolean()),
  method: v.optional(v.string()),
});

const OPTIONS = { ...BOX_OPTIONS, status: { type: "boolean" } } as const;

/** `args` are those after `cib login`. Asks for the code on standard input, never in an argument: it is a secret. */
export async function login(args: readonly string[], io: Io, stop: AbortSignal): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  if (positionals.length > 0)
    throw new UsageError("login: takes no argument; the code is asked for, others can read arguments");
  const box = findBox(values, io);
  if (values.status) return report(v.parse(STATE, await call(box, "GET", "/api/login")), io);
  const begun = v.parse(STATE, await call(box, "POST", "/api/login", {}));
  if (begun.url === undefined) return report(begun, io);
  io.err("Open this page, sign in, and copy the code that it shows:\n\n");
  io.out(`${visible(begun.url)}\n`);
  io.err("\nPaste the code here: ");
  const code = await (io.line ?? lineOf)(stop);
  if (code.trim() === "") throw new Failure("no code; the login was not finished");
  return report(v.parse(STATE, await call(box, "POST", "/api/login/code", { code: code.trim() })), io);
}

function report({ state, message, logged_in, method }: v.InferOutput<typeof STATE>, io: Io): number {
  if (state === "failed") throw new Failure(`login failed: ${visible(message ?? "no reason given")}`);
  const how = method === undefined ? "" : ` (${visible(method)})`;
  io.err(logged_in ? `logged in${how}\n` : `not logged in; state ${visible(state)}\n`);
  return logged_in ? EXIT.ok : EXIT.failed;
}

/** One line of standard input; empty when it ends, or when a signal comes. */
async function lineOf(stop: AbortSignal): Promise<string> {
  const lines = createInterface({ input: process.stdin, signal: stop });
  try {
    for await (const line of lines) return line;
    return "";
  } finally {
    lines.close();
    process.stdin.unref?.();
  }
}
