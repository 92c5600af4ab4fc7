/** AES call: a sealed request that follows a session: what stands before the attach runs first, and its frames stream. */
import { parseStreamEnd, type StreamEnd } from "../../control/commands.ts";
import type { Control, OpenedEnvelope } from "../../control/control.ts";
import { CibError } from "../../errors.ts";
import type { CloseReason, Sink } from "../../frame/sink.ts";
import { Connection } from "../connection.ts";
import { reOf } from "../requests.ts";
import { type Fields, ready, roomFor } from "./aes-commands.ts";
import { AesSocket } from "./aes-socket.ts";
import type { Exchange } from "./listener.ts";

export interface AesCallOptions {
  readonly exchange: Exchange;
  readonly envelope: OpenedEnvelope;
  readonly control: Control;
  /** Whether one more stream is allowed. */
  readonly room: () => boolean;
  fault(thrown: unknown): void;
  /** It is a stream now. */
  streams(call: AesCall): void;
  /** It is over. */
  over(call: AesCall): void;
}

export class AesCall {
  readonly #options: AesCallOptions;
  readonly #socket: AesSocket;
  readonly #connection: Connection;
  #end: StreamEnd = {};
  #attached = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: AesCallOptions) {
    const { exchange, envelope, control, fault } = options;
    this.#options = options;
    this.#socket = new AesSocket(exchange, envelope, () => this.#connection.closed());
    this.#connection = new Connection(
      this.#socket,
      "cbor",
      envelope.who,
      {
        signal: exchange.signal,
        run: (who, raw, signal) => control.run(who, raw, signal),
        attach: (who, raw, sink) => {
          const attachment = control.attach(who, raw, this.#until(sink));
          this.#attached = true;
          return attachment;
        },
      },
      fault,
      () => {
        clearTimeout(this.#timer);
        options.over(this);
      },
    );
    exchange.signal.addEventListener("abort", () => this.#connection.closed());
  }

  /** Runs everything; never rejects. */
  async run(commands: readonly Fields[]): Promise<void> {
    const connection = this.#connection;
    connection.begin(undefined);
    this.#socket.room = roomFor(commands);
    for (const [i, command] of commands.entries()) {
      if (!connection.open) return;
      await this.#run(command, i === commands.length - 1);
    }
    if (!connection.open) return;
    if (this.#attached) this.#stream();
    else connection.finish();
  }

  bye(reason: CloseReason): void {
    this.#connection.bye(reason);
  }

  beat(): void {
    this.#socket.beat();
  }

  async #run(message: Fields, last: boolean): Promise<void> {
    try {
      await this.#connection.command(this.#ready(message, last));
    } catch (thrown) {
      this.#connection.refuse(reOf(message["id"]), thrown);
    }
  }

  /** The command as every transport has it. Throws `bad_request`, `overloaded`. */
  #ready(message: Fields, last: boolean): Fields {
    if (message["cmd"] === "attach") {
      if (!last) throw new CibError("bad_request", "attach: its frames follow, so it must be the last of a request");
      if (!this.#options.room()) throw new CibError("overloaded", "connections: all are in use; close some");
      const { end, attach } = parseStreamEnd(message);
      this.#end = end;
      return attach;
    }
    return ready(message);
  }

  #stream(): void {
    this.#socket.begin(() => this.#connection.drained());
    this.#options.streams(this);
    const { wait_ms } = this.#end;
    if (wait_ms !== undefined) this.#timer = setTimeout(() => this.bye("wait_ms"), wait_ms);
  }

  /** The sink as the client wants it to end: after so many frames, and with the session it follows. */
  #until(sink: Sink): Sink {
    let left = this.#end.max_frames ?? Number.POSITIVE_INFINITY;
    return {
      write: (frame) => {
        if (left === 0) return "gone";
        const taken = sink.write(frame);
        if (--left > 0) return taken;
        // In a later step: who writes must first know that this was the last.
        queueMicrotask(() => this.bye("max_frames"));
        return "full";
      },
      gap: (from, to) => sink.gap(from, to),
      close: (reason) => {
        sink.close(reason);
        if (this.#connection.open) this.bye(reason);
      },
    };
  }
}
