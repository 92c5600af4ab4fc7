/** Bridge commands: what comes in over a foreign broker, run once however often the broker repeats it, and answered where it asked for it. */
import type { CommandName } from "../../control/commands.ts";
import type { Control, Principal } from "../../control/control.ts";
import { digestOf } from "../../control/once.ts";
import { asCibError, CibError, errorBody } from "../../errors.ts";
import { isOnce, refusal, runRequest } from "../requests.ts";
import { type Format, pack, unpack } from "../values.ts";
import type { Incoming } from "./bridge-line.ts";
import type { Kept, Memory } from "./bridge-memory.ts";
import { formatOf } from "./desk.ts";
import { MAX_TOPIC_BYTES, parseTopic } from "./topics.ts";

/** Commands under way at once. */
export const MAX_RUNNING = 32;
/** Longest command id, in UTF-8 bytes, as control has it. */
const MAX_ID_BYTES = 64;
/** A reply that is longer is refused: four fill the queue. */
export const MAX_REPLY_BYTES = 256 * 1024;

/** They change nothing: one that comes again runs again. */
const READS: ReadonlySet<string> = new Set<CommandName>([
  "sessions.list",
  "sessions.get",
  "conversations.list",
  "queue.list",
  "asks.list",
  "frames",
  "tokens.list",
  "hooks.get",
  "login.status",
  "health",
]);
/** Their request or their reply is a secret, and a foreign broker reads both. */
const SECRET: ReadonlySet<string> = new Set<CommandName>(["tokens.create", "login.start", "login.code"]);

/** Why a message was dropped without an answer, as the operator's log says it. */
export const DROPPED = {
  retained: "a retained command, which would come again with every connection",
  "no token": "a command, and the bridge has no token that holds",
  "not a command": "no command in CBOR or JSON",
  "no reply topic": "a command whose reply names no topic under cib/<box>/reply/",
  "too large": "more than 512 KiB",
} as const;
export type Dropped = keyof typeof DROPPED;

export interface CommandsOptions {
  readonly control: Pick<Control, "run">;
  /** `cib/<box>`. */
  readonly root: string;
  /** As whom commands run; undefined: no token that holds, no commands. */
  who(): Principal | undefined;
  readonly memory: Memory;
  /** Keeps a reply until the broker has it. */
  reply(topic: string, payload: Buffer): Promise<void>;
  dropped(why: Dropped): void;
  fault(thrown: unknown): void;
  /** The daemon stops. */
  readonly signal: AbortSignal;
}

/** One command, as far as it can be answered. */
interface Request {
  readonly message: Readonly<Record<string, unknown>>;
  readonly reply: string;
  readonly format: Format;
  readonly fault: CibError | undefined;
}

export class Commands {
  readonly #o: CommandsOptions;
  #running = 0;

  constructor(options: CommandsOptions) {
    this.#o = options;
  }

  /** Resolves when the message may be acknowledged: it is kept, or there is nothing to keep. Rejects where it could not be kept. */
  async take(incoming: Incoming): Promise<void> {
    const { dropped, who } = this.#o;
    if (incoming.retain) return dropped("retained");
    const principal = who();
    if (principal === undefined) return dropped("no token");
    const request = this.#read(incoming, dropped);
    if (request === undefined) return;
    const { message, fault } = request;
    if (fault !== undefined) return this.#refuse(request, fault);
    const { id, ...command } = message;
    const kept: Kept = {
      who: principal.name,
      id: String(id),
      digest: digestOf(command),
      topic: incoming.topic,
      payload: incoming.payload,
    };
    const known = this.#o.memory.find(kept.who, kept.id);
    if (known !== undefined && known.digest !== kept.digest)
      return this.#refuse(
        request,
        new CibError("id_conflict", `id: "${kept.id}" was used for another command; choose a new one`),
      );
    // The first one answers for both.
    if (known?.running === true) return;
    if (known !== undefined) return this.#repeat(request, known.reply);
    if (this.#running >= MAX_RUNNING)
      return this.#refuse(
        request,
        new CibError("overloaded", `commands: ${MAX_RUNNING} are under way over the bridge; wait for replies`),
      );
    this.#running++;
    try {
      await this.#o.memory.begin(kept);
    } catch (failure) {
      this.#running--;
      throw failure;
    }
    void this.#run(principal, request, kept);
  }

  /** What the last end cut off: run again where that is safe, else told that nobody knows. */
  async resume(): Promise<void> {
    const { memory, who } = this.#o;
    for (const kept of memory.unfinished) {
      const request = this.#read({ ...kept, retain: false }, () => undefined);
      const principal = who();
      if (request === undefined) memory.end(kept, false);
      else if (principal?.name !== kept.who)
        await this.#finish(request, kept, new CibError("unauthorized", "the bridge has another token now"));
      else if (safe(request.message)) {
        this.#running++;
        void this.#run(principal, request, kept);
      } else {
        const why = "the box stopped while this ran: it may have happened or not; look before you send it again";
        await this.#finish(request, kept, new CibError("internal", why));
      }
    }
  }

  #read({ topic, payload }: Incoming, dropped: (why: Dropped) => void): Request | undefined {
    const { root } = this.#o;
    const place = parseTopic(topic, root);
    if (place?.kind !== "cmd") {
      dropped("not a command");
      return undefined;
    }
    const format = formatOf(payload);
    let value: unknown;
    try {
      value = unpack(payload, format, "payload");
      // Nested so deeply that nobody could walk it.
      digestOf({ value });
    } catch {
      dropped("not a command");
      return undefined;
    }
    if (typeof value !== "object" || value === null || Array.isArray(value) || ArrayBuffer.isView(value)) {
      dropped("not a command");
      return undefined;
    }
    const { reply, ...rest } = value as Record<string, unknown>;
    if (!isReplyTopic(reply, root)) {
      dropped("no reply topic");
      return undefined;
    }
    const elsewhere = place.session !== undefined && (rest["session"] ?? place.session) !== place.session;
    const message = place.session === undefined || elsewhere ? rest : { ...rest, session: place.session };
    const fault = elsewhere
      ? new CibError("bad_request", "session: the topic names another one")
      : (idFault(rest["id"]) ?? secretFault(rest));
    return { message, reply, format, fault };
  }

  async #run(who: Principal, request: Request, kept: Kept): Promise<void> {
    const { control, signal, fault } = this.#o;
    try {
      const body = await runRequest(control, who, request.message, signal);
      await this.#finish(request, kept, body);
    } catch (thrown) {
      const error = asCibError(thrown);
      if (error.code === "internal") fault(error.cause ?? error);
      // Cut off by the end of the daemon: the next one finds it in the memory.
      if (!signal.aborted) await this.#finish(request, kept, error);
    } finally {
      this.#running--;
    }
  }

  /** First the reply is kept, then the command is done: after a kill in between it is answered again. */
  async #finish(request: Request, kept: Kept, outcome: Readonly<Record<string, unknown>> | CibError): Promise<void> {
    let reply =
      outcome instanceof CibError
        ? refusal(kept.id, outcome, request.format)
        : pack({ ...outcome, re: kept.id, ok: true }, request.format);
    if (reply.length > MAX_REPLY_BYTES) {
      const why = `reply: ${reply.length} bytes, a bridge takes ${MAX_REPLY_BYTES}; ask for less at once`;
      reply = refusal(kept.id, new CibError("too_large", why), request.format);
    }
    await this.#say(request.reply, reply);
    const remember = !safe(request.message) && !(outcome instanceof CibError && outcome.row.retryable);
    this.#o.memory.end(kept, remember, reply);
  }

  async #repeat(request: Request, reply: Buffer | undefined): Promise<void> {
    const { format, message } = request;
    const first = reply && (unpack(reply, formatOf(reply), "reply") as Record<string, unknown>);
    const said = first ?? { re: message["id"], ok: true };
    await this.#say(request.reply, pack({ ...said, duplicate: true }, format));
  }

  async #refuse({ message, reply, format }: Request, error: CibError): Promise<void> {
    const { id } = message;
    const re = typeof id === "string" && idFault(id) === undefined ? id : null;
    await this.#say(reply, pack({ re, ok: false, error: errorBody(error) }, format));
  }

  async #say(topic: string, payload: Buffer): Promise<void> {
    try {
      await this.#o.reply(topic, payload);
    } catch (failure) {
      // It waits in memory, and goes out if the daemon lives as long.
      this.#o.fault(failure);
    }
  }
}

/** Whether a command may run a second time: it changes nothing, or control knows its id. */
function safe(message: Readonly<Record<string, unknown>>): boolean {
  return READS.has(String(message["cmd"])) || isOnce(message);
}

function isReplyTopic(reply: unknown, root: string): reply is string {
  return (
    typeof reply === "string" &&
    reply.startsWith(`${root}/reply/`) &&
    reply.length > `${root}/reply/`.length &&
    Buffer.byteLength(reply) <= MAX_TOPIC_BYTES &&
    !/[+#\0]/.test(reply)
  );
}

function idFault(id: unknown): CibError | undefined {
  if (typeof id === "string" && id !== "" && Buffer.byteLength(id) <= MAX_ID_BYTES) return undefined;
  return new CibError("bad_request", `id: over a bridge every command has one, a text of 1 to ${MAX_ID_BYTES} bytes`);
}

function secretFault({ cmd, env, auth }: Readonly<Record<string, unknown>>): CibError | undefined {
  const key = typeof auth === "object" && auth !== null && "key" in auth;
  if (!SECRET.has(String(cmd)) && !(cmd === "sessions.create" && (env !== undefined || key))) return undefined;
  return new CibError("forbidden", `${String(cmd)}: a secret would pass a foreign broker; use HTTPS or a sealed link`);
}
