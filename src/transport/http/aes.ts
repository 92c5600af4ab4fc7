/** AES: sealed requests over HTTP, for devices without TLS (docs/AES-TRANSPORT.md): every command through one route. */
import type { Control } from "../../control/control.ts";
import { AesAnswer } from "./aes-answer.ts";
import { AesCall } from "./aes-call.ts";
import { commandsIn, type Fields } from "./aes-commands.ts";
import type { Exchange } from "./listener.ts";
import { every, HEARTBEAT_MS } from "./sse.ts";
import { head } from "./wire.ts";

/** A request is read whole and opened before anything of it runs: a prompt of 60 KiB fits, longer ones need TLS or a link. */
export const MAX_ENVELOPE_BYTES = 64 * 1024;

/** Every stranger gets the same, whatever was wrong (RFC 9110 §15.5.2 wants a challenge). */
const NOBODY = { ...head("application/octet-stream"), "www-authenticate": "CIB1" };

export interface AesOptions {
  readonly control: Control;
  /** Whether one more stream is allowed. */
  readonly room: () => boolean;
  /** Told of every request that was refused, and why: for the log. The caller is not told. */
  refused(address: string, why: string): void;
  fault(thrown: unknown): void;
  /** Repeats `tick` until the returned function is called. Injected by tests. */
  readonly every?: (ms: number, tick: () => void) => () => void;
}

/** Every sealed request under way, and the one heartbeat that the streams among them share. */
export class Aes {
  readonly #options: AesOptions;
  readonly #calls = new Set<AesCall | AesAnswer>();
  readonly #streams = new Set<AesCall>();
  #still: (() => void) | undefined;

  constructor(options: AesOptions) {
    this.#options = options;
  }

  /** Requests that have no whole answer yet. */
  get running(): number {
    return this.#calls.size;
  }

  /** The streams among them. */
  get size(): number {
    return this.#streams.size;
  }

  /** The body of `GET /aes/token`. */
  token(): { readonly token: string } {
    return { token: Buffer.from(this.#options.control.envelopeToken()).toString("hex") };
  }

  /** Answers one request. Rejects with `too_large` and `timeout`, before anything was opened. */
  async handle(exchange: Exchange): Promise<void> {
    const { control, room, refused, fault } = this.#options;
    const { method, target, address } = exchange.request;
    const body = await exchange.body(MAX_ENVELOPE_BYTES);
    const envelope = control.envelope({ method, target, body });
    if (typeof envelope === "string") {
      refused(address, envelope);
      exchange.respond(401, NOBODY, "");
      return;
    }
    let commands: readonly Fields[] = [];
    try {
      commands = commandsIn(envelope.plaintexts);
    } catch (thrown) {
      new AesAnswer({ exchange, envelope, control, fault }, []).refuse(thrown);
      return;
    }
    if (commands.some(({ cmd }) => cmd === "attach" || cmd === "detach")) {
      const call = new AesCall({
        exchange,
        envelope,
        control,
        room,
        fault,
        streams: (each) => this.#streaming(each),
        over: (each) => this.#forget(each),
      });
      this.#calls.add(call);
      await call.run(commands);
      return;
    }
    const answer = new AesAnswer({ exchange, envelope, control, fault }, commands);
    this.#calls.add(answer);
    await answer.run(commands);
    this.#calls.delete(answer);
  }

  /** Says goodbye to every request. */
  stop(): void {
    for (const call of [...this.#calls]) call.bye("stopping");
  }

  #streaming(call: AesCall): void {
    this.#streams.add(call);
    this.#still ??= (this.#options.every ?? every)(HEARTBEAT_MS, () => {
      for (const each of this.#streams) each.beat();
    });
  }

  #forget(call: AesCall): void {
    this.#calls.delete(call);
    if (!this.#streams.delete(call) || this.#streams.size > 0) return;
    this.#still?.();
    this.#still = undefined;
  }
}
