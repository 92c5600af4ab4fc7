/** AES call: one sealed request: its commands run one after the other, their replies come in that order, and an attach goes on as a stream. */
import { parseMaxBytes, parseStreamEnd, type StreamEnd } from "../../control/commands.ts";
import type { Control, OpenedEnvelope } from "../../control/control.ts";
import { CibError } from "../../errors.ts";
import { MIN_CBOR_BYTES } from "../../frame/fit.ts";
import { itemsOf } from "../../frame/sequence.ts";
import type { CloseReason, Sink } from "../../frame/sink.ts";
import { Connection } from "../connection.ts";
import { reOf } from "../requests.ts";
import { unpack } from "../values.ts";
import { AesSocket, DEFAULT_PLAINTEXT_BYTES, MAX_PLAINTEXT_BYTES } from "./aes-socket.ts";
import type { Exchange } from "./listener.ts";
import { ROUTES } from "./routes.ts";

/** Commands of one request: each may be answered with 32 KiB, and the answer is held until it is whole: 1 MiB. */
export const MAX_COMMANDS = 32;

/** What REST only reads needs no id here; what is no command is for control to say. */
const CHANGES: ReadonlySet<string> = new Set(ROUTES.filter(({ method }) => method !== "GET").map(({ does }) => does));

type Fields = Readonly<Record<string, unknown>>;

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
  async run(): Promise<void> {
    const connection = this.#connection;
    connection.begin(undefined);
    let commands: readonly Fields[] = [];
    try {
      commands = commandsIn(this.#options.envelope.plaintexts);
      this.#socket.room = roomFor(commands);
    } catch (thrown) {
      connection.refuse(null, thrown);
    }
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
    const cmd = String(message["cmd"]);
    if (cmd === "attach") {
      if (!last) throw new CibError("bad_request", "attach: its frames follow, so it must be the last of a request");
      if (!this.#options.room()) throw new CibError("overloaded", "connections: all are in use; close some");
      const { end, attach } = parseStreamEnd(message);
      this.#end = end;
      return attach;
    }
    if (CHANGES.has(cmd) && message["id"] === undefined)
      throw new CibError("bad_request", `id: ${cmd} needs one here: when the answer is lost, the same id asks again`);
    const { max_bytes, ...command } = message;
    parseMaxBytes(max_bytes);
    return command;
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

/** Every command, read before the first one runs. Throws `bad_request`. */
function commandsIn(plaintexts: readonly Uint8Array[]): Fields[] {
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
function roomFor(commands: readonly Fields[]): number {
  const asked = commands.flatMap(({ max_bytes }) =>
    Number.isSafeInteger(max_bytes) && Number(max_bytes) >= MIN_CBOR_BYTES ? [Number(max_bytes)] : [],
  );
  return asked.length === 0 ? DEFAULT_PLAINTEXT_BYTES : Math.min(MAX_PLAINTEXT_BYTES, ...asked);
}
