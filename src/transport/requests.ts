/** Requests: what every carrier of messages does with one: its id, its run, its refusal. */
import { COMMANDS } from "../control/commands.ts";
import type { Control, Principal } from "../control/control.ts";
import { type CibError, errorBody } from "../errors.ts";
import { type Format, pack } from "./values.ts";

/** A request's id as its reply names it. */
export function reOf(id: unknown): string | number | null {
  return typeof id === "string" || Number.isSafeInteger(id) ? (id as string | number) : null;
}

/** Runs any command but attach and detach; the fields of its reply. Throws as `Control.run`. */
export async function runRequest(
  control: Pick<Control, "run">,
  who: Principal,
  message: Readonly<Record<string, unknown>>,
  signal: AbortSignal,
): Promise<Readonly<Record<string, unknown>>> {
  const { id, ...command } = message;
  const once = id !== undefined && isOnce(command);
  return (await control.run(who, once ? message : command, signal)).body;
}

/** The bytes of a refusal in at most `room`: the code is what a small client acts on; the sentence is for people, and is cut first. */
export function refusal(
  re: string | number | null,
  error: CibError,
  format: Format,
  room = Number.POSITIVE_INFINITY,
): Buffer {
  const body = { re, ok: false, error: errorBody(error) };
  const whole = pack({ ...body, ...error.partial }, format);
  const over = whole.length - room;
  if (over <= 0) return whole;
  const message = error.message.slice(0, Math.max(0, error.message.length - over));
  const cut = pack({ ...body, error: { ...body.error, message } }, format);
  // Only an id that is longer than any of ours may be does not fit beside the code: it is left out.
  return re === null || cut.length <= room ? cut : refusal(null, error, format, room);
}

/** Whether the id is control's: for every other command, bytes and keys among them, it only ties the reply to the request. */
export function isOnce(command: Readonly<Record<string, unknown>>): boolean {
  const { cmd } = command;
  if (typeof cmd !== "string" || !Object.hasOwn(COMMANDS, cmd)) return false;
  if (cmd === "input" && command["text"] === undefined) return false;
  return "id" in COMMANDS[cmd as keyof typeof COMMANDS].args;
}
