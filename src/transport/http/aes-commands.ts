/** AES commands: what a sealed request asks, read whole before the first of it runs. */
import { parseMaxBytes } from "../../control/commands.ts";
import { CibError } from "../../errors.ts";
import { MIN_CBOR_BYTES } from "../../frame/fit.ts";
import { itemsOf } from "../../frame/sequence.ts";
import { unpack } from "../values.ts";
import { DEFAULT_PLAINTEXT_BYTES, MAX_PLAINTEXT_BYTES } from "./aes-socket.ts";
import { ROUTES } from "./routes.ts";

/** Commands of one request: each may be answered with 32 KiB, and the answer is held until it is whole: 1 MiB. */
export const MAX_COMMANDS = 32;

/** What REST only reads needs no id here; what is no command is for control to say. */
const CHANGES: ReadonlySet<string> = new Set(ROUTES.filter(({ method }) => method !== "GET").map(({ does }) => does));

export type Fields = Readonly<Record<string, unknown>>;

/** A plain command as every transport has it. Throws `bad_request`. */
export function ready(message: Fields): Fields {
  const cmd = String(message["cmd"]);
  if (CHANGES.has(cmd) && message["id"] === undefined)
    throw new CibError("bad_request", `id: ${cmd} needs one here: when the answer is lost, the same id asks again`);
  const { max_bytes, ...command } = message;
  parseMaxBytes(max_bytes);
  return command;
}

/** Every command, read before the first one runs. Throws `bad_request`. */
export function commandsIn(plaintexts: readonly Uint8Array[]): Fields[] {
  const commands: Fields[] = [];
  for (const plaintext of plaintexts) {
    const bytes = Buffer.from(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength);
    for (const item of sequence(bytes)) {
      const value = unpack(item, "cbor", "command");
      if (typeof value !== "object" || value === null || Array.isArray(value) || ArrayBuffer.isView(value))
        throw new CibError("bad_request", "command: expected a map with cmd");
      commands.push(value as Fields);
      if (commands.length > MAX_COMMANDS)
        throw new CibError("bad_request", `commands: at most ${MAX_COMMANDS} in one request; send the rest in another`);
    }
  }
  return commands;
}

function* sequence(bytes: Buffer): Generator<Buffer, void> {
  try {
    yield* itemsOf(bytes);
  } catch (cause) {
    if (cause instanceof SyntaxError) throw new CibError("bad_request", `command: ${cause.message}`, { cause });
    throw cause;
  }
}

/** The smallest that any of the commands asks for; one that is no number is refused with its command. */
export function roomFor(commands: readonly Fields[]): number {
  const asked = commands.flatMap(({ max_bytes }) =>
    Number.isSafeInteger(max_bytes) && Number(max_bytes) >= MIN_CBOR_BYTES ? [Number(max_bytes)] : [],
  );
  return asked.length === 0 ? DEFAULT_PLAINTEXT_BYTES : Math.min(MAX_PLAINTEXT_BYTES, ...asked);
}
