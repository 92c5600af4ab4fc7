/** AES answer: a sealed request of plain commands: they run one after the other, and their replies are one sealed response. */
import type { Control, OpenedEnvelope } from "../../control/control.ts";
import { asCibError, CibError } from "../../errors.ts";
import type { CloseReason } from "../../frame/sink.ts";
import { refusal, reOf, runRequest } from "../requests.ts";
import { pack } from "../values.ts";
import { type Fields, ready, roomFor } from "./aes-commands.ts";
import { nextOf, sealedRecords } from "./aes-records.ts";
import type { Exchange } from "./listener.ts";
import { head } from "./wire.ts";

export interface AesAnswerOptions {
  readonly exchange: Exchange;
  readonly envelope: OpenedEnvelope;
  readonly control: Control;
  fault(thrown: unknown): void;
}

/** Most requests ask and go: they need no connection, which could follow sessions. */
export class AesAnswer {
  readonly #options: AesAnswerOptions;
  readonly #items: Buffer[];
  readonly #room: number;
  #said = false;

  constructor(options: AesAnswerOptions, commands: readonly Fields[]) {
    this.#options = options;
    this.#items = [nextOf(options.envelope)];
    this.#room = roomFor(commands);
  }

  /** Runs everything; never rejects. */
  async run(commands: readonly Fields[]): Promise<void> {
    const { exchange, envelope } = this.#options;
    const { who } = envelope;
    for (const command of commands) {
      this.#items.push(await this.#reply(command));
      // Nobody is there to be told, and nothing more is begun.
      if (this.#said || exchange.signal.aborted) return;
      // What has run is told; what has not is not begun for one whose token is no more.
      if (who.ended.aborted) return this.bye(who.ended.reason === "expired" ? "expired" : "revoked");
    }
    this.#say();
  }

  /** Nothing was run: the request cannot be read. */
  refuse(thrown: unknown): void {
    this.#items.push(this.#refusal(null, thrown));
    this.#say();
  }

  /** The last word, after the replies that there are. */
  bye(reason: CloseReason): void {
    if (!this.#said) this.#items.push(pack({ bye: reason }, "cbor"));
    this.#say();
  }

  async #reply(message: Fields): Promise<Buffer> {
    const re = reOf(message["id"]);
    try {
      const { control, envelope, exchange } = this.#options;
      const body = await runRequest(control, envelope.who, ready(message), exchange.signal);
      const reply = pack({ ...body, re, ok: true }, "cbor");
      if (reply.length <= this.#room) return reply;
      throw new CibError(
        "too_large",
        `reply: ${reply.length} bytes, this link takes ${this.#room}; ask for less at once`,
      );
    } catch (thrown) {
      return this.#refusal(re, thrown);
    }
  }

  #refusal(re: string | number | null, thrown: unknown): Buffer {
    const error = asCibError(thrown);
    // A command that was broken off because its caller has left is nobody's fault.
    if (error.code === "internal" && !this.#options.exchange.signal.aborted) this.#options.fault(error.cause ?? error);
    return refusal(re, error, "cbor", this.#room);
  }

  #say(): void {
    if (this.#said) return;
    this.#said = true;
    const { exchange, envelope } = this.#options;
    const records = sealedRecords(envelope, this.#items, this.#room, true);
    exchange.respond(200, head("application/octet-stream"), Buffer.concat([envelope.random, ...records]));
  }
}
