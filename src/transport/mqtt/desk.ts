/** Desk: the commands of one client, and the sessions that it follows; what a connection is on other carriers. */
import { parseAttach } from "../../control/commands.ts";
import type { Control, Principal, Verdict } from "../../control/control.ts";
import { asCibError, CibError } from "../../errors.ts";
import type { SessionId } from "../../frame/frame.ts";
import { MAX_ATTACHMENTS, MAX_COMMANDS, MAX_MALFORMED } from "../connection.ts";
import { checkSize } from "../feed.ts";
import { refusal, reOf, runRequest } from "../requests.ts";
import { type Format, pack, unpack } from "../values.ts";
import type { Client } from "./client.ts";
import { Delivery } from "./delivery.ts";
import { formatTopic } from "./topics.ts";

/** Most significant three bits of the first byte of a CBOR map (RFC 8949 §3.1). */
const CBOR_MAP = 5;

export interface DeskOptions {
  readonly client: Client;
  readonly who: Principal;
  readonly control: Control;
  fault(thrown: unknown): void;
}

export class Desk {
  readonly #options: DeskOptions;
  readonly #replyTopic: string;
  readonly #deliveries = new Map<SessionId, Delivery>();
  readonly #gone = new AbortController();
  #running = 0;
  #malformed = 0;

  constructor(options: DeskOptions) {
    this.#options = options;
    this.#replyTopic = formatTopic({ kind: "reply", client: options.client.id });
  }

  /** One command. `session`: the one that the topic names, for a command that names none. */
  message(payload: Buffer, session: SessionId | undefined): void {
    const format = formatOf(payload);
    let message: Record<string, unknown>;
    try {
      message = read(payload, format, session);
    } catch (thrown) {
      this.#refuse(null, thrown, format);
      if (++this.#malformed >= MAX_MALFORMED) this.#options.client.close("bad_request");
      return;
    }
    const re = reOf(message["id"]);
    if (this.#running >= MAX_COMMANDS) {
      const why = `commands: ${MAX_COMMANDS} are under way for this client; wait for replies`;
      this.#refuse(re, new CibError("overloaded", why), format);
      return;
    }
    this.#running++;
    this.#run(message, format)
      .then((body) => this.#reply(() => pack({ ...body, re, ok: true }, format)))
      .catch((thrown: unknown) => this.#refuse(re, thrown, format))
      .finally(() => this.#running--);
  }

  /** A PUBACK. */
  acknowledged(packetId: number): void {
    for (const delivery of this.#deliveries.values()) if (delivery.acknowledged(packetId)) return;
  }

  drained(): void {
    for (const delivery of this.#deliveries.values()) delivery.drained();
  }

  /** A filter is gone: what came by it alone ends. */
  unsubscribed(): void {
    for (const session of [...this.#deliveries.keys()]) if (!this.#listens(session)) this.#drop(session);
  }

  /** A filter has another QoS: what came at QoS 1 by it alone has lost its pace, and says so. */
  subscribed(): void {
    for (const [session, delivery] of [...this.#deliveries]) {
      if (this.#listens(session)) continue;
      this.#deliveries.delete(session);
      delivery.lost();
    }
  }

  /** The daemon ends, or the token has: what every delivery says as its last word. */
  bye(reason: "stopping" | "revoked" | "expired"): void {
    for (const delivery of [...this.#deliveries.values()]) {
      const { attachment } = delivery;
      delivery.close(reason);
      attachment?.[Symbol.dispose]();
    }
  }

  closed(): void {
    this.#gone.abort(new CibError("internal", "the client is gone"));
    for (const session of [...this.#deliveries.keys()]) this.#drop(session);
  }

  async #run(message: Readonly<Record<string, unknown>>, format: Format): Promise<object> {
    const { id: _id, cmd, ...args } = message;
    if (cmd === "attach") return this.#attach(args, format);
    if (cmd === "detach") return this.#detach(args);
    const { control, who } = this.#options;
    return runRequest(control, who, message, this.#gone.signal);
  }

  #attach(args: Readonly<Record<string, unknown>>, format: Format): Verdict {
    const { client, control, who } = this.#options;
    const want = parseAttach(args);
    checkSize(want.max_bytes, format);
    const { session } = want;
    if (this.#deliveries.has(session))
      throw new CibError("conflict", "session: this client follows it already; detach first");
    if (this.#deliveries.size >= MAX_ATTACHMENTS)
      throw new CibError("overloaded", `session: one client follows at most ${MAX_ATTACHMENTS}`);
    const topic = this.#topic(session);
    if (!this.#listens(session))
      throw new CibError("conflict", `session: its frames come on ${topic}; subscribe to that with QoS 1 first`);
    const delivery = new Delivery({
      outlet: client,
      topic,
      format,
      maxBytes: want.max_bytes,
      ended: () => this.#deliveries.delete(session),
    });
    delivery.attachment = control.attach(who, want, delivery);
    this.#deliveries.set(session, delivery);
    return delivery.attachment.verdict;
  }

  #detach(args: Readonly<Record<string, unknown>>): object {
    const { session } = parseAttach(args);
    if (!this.#deliveries.has(session)) throw new CibError("not_found", "session: this client does not follow it");
    this.#drop(session);
    return { session };
  }

  #drop(session: SessionId): void {
    this.#deliveries.get(session)?.[Symbol.dispose]();
    this.#deliveries.delete(session);
  }

  /** Without acknowledgements there is no pace: QoS 1 is what it must have been granted. */
  #listens(session: SessionId): boolean {
    return this.#options.client.granted(this.#topic(session)) >= 1;
  }

  #topic(session: SessionId): string {
    return formatTopic({ kind: "attach", client: this.#options.client.id, session });
  }

  #refuse(re: string | number | null, thrown: unknown, format: Format): void {
    const error = asCibError(thrown);
    if (error.code === "internal") this.#options.fault(error.cause ?? error);
    this.#reply(() => refusal(re, error, format));
  }

  /** Who does not listen for replies gets none, and none is made. */
  #reply(bytes: () => Buffer): void {
    const { client } = this.#options;
    if (client.granted(this.#replyTopic) >= 0) client.publish(this.#replyTopic, bytes());
  }
}

/** A will, whose client is gone: nobody hears the reply. */
export async function runWill(control: Control, who: Principal, payload: Buffer, session: SessionId | undefined) {
  const message = read(payload, formatOf(payload), session);
  if (message["cmd"] === "attach" || message["cmd"] === "detach")
    throw new CibError("bad_request", "cmd: a will cannot follow a session");
  await runRequest(control, who, message, new AbortController().signal);
}

/** A command is a map: in CBOR its first byte says so, and nothing that begins like that is JSON. */
export function formatOf(payload: Uint8Array): Format {
  return (payload[0] ?? 0) >> 5 === CBOR_MAP ? "cbor" : "json";
}

function read(payload: Buffer, format: Format, session: SessionId | undefined): Record<string, unknown> {
  const value = unpack(payload, format, "payload");
  if (typeof value !== "object" || value === null || Array.isArray(value) || ArrayBuffer.isView(value))
    throw new CibError("bad_request", "payload: expected a command, a map with cmd");
  const message = value as Record<string, unknown>;
  if (session === undefined) return message;
  if (message["session"] !== undefined && message["session"] !== session)
    throw new CibError("bad_request", "session: the topic names another one");
  return { ...message, session };
}
