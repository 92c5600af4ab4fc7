/** Caller: one TCP connection, from its first byte to its last: silent until it has proved to hold a key, then a connection as any. */
import type { Socket as TcpSocket } from "node:net";
import type { Control, LinkPeer, Principal } from "../../control/control.ts";
import type { LinkError, LinkFault } from "../../crypto/fault.ts";
import { itemsOf } from "../../frame/sequence.ts";
import { Connection } from "../connection.ts";
import type { Caller } from "../half-open.ts";
import { isBye, Records } from "../records.ts";

/** Largest plaintext that we take: a prompt of 16 KiB; longer ones go over HTTP. Also the one buffer of each caller. */
export const ACCEPTS_BYTES = 16 * 1024;
/** From the connection to the first record that verifies (WIRE §1). */
export const HANDSHAKE_DEADLINE_MS = 5_000;
/** We send at least this often, half of what was promised, for the sweep is as coarse as that. */
export const KEEP_ALIVE_MS = 15_000;
/** A peer that was silent for so long is dead. */
export const SILENCE_MS = 90_000;
/** What a closed link gets to read its bye before it is cut. */
const CLOSE_GRACE_MS = 1_000;

/** Timers, for tests. Both give back what ends them. */
export interface Timers {
  after(ms: number, act: () => void): () => void;
  every(ms: number, act: () => void): () => void;
}

export interface House {
  readonly control: Control;
  readonly timers: Timers;
  readonly now: () => number;
  /** It is one of ours now. */
  lives(caller: TcpCaller): void;
  /** It counts no more; what was written may still be on its way. */
  ends(caller: TcpCaller): void;
  /** Its socket is closed. */
  gone(caller: TcpCaller): void;
  refused(address: string, fault: LinkFault | "deadline" | "evicted"): void;
  fault(thrown: unknown): void;
}

export class TcpCaller implements Caller {
  readonly address: string;
  readonly #socket: TcpSocket;
  readonly #house: House;
  readonly #peer: LinkPeer;
  #cancelDeadline: () => void;
  #records: Records | undefined;
  #connection: Connection | undefined;
  #heardAt: number;

  constructor(socket: TcpSocket, house: House) {
    this.address = socket.remoteAddress ?? "";
    this.#socket = socket;
    this.#house = house;
    this.#heardAt = house.now();
    this.#peer = house.control.link({
      carrier: "stream",
      accepts: ACCEPTS_BYTES,
      superseded: () => this.#superseded(),
    });
    this.#cancelDeadline = house.timers.after(HANDSHAKE_DEADLINE_MS, () => this.#refuse("deadline"));
    socket.setNoDelay(true);
    socket.on("data", (chunk) => this.#take(chunk));
    socket.on("drain", () => this.#connection?.drained());
    // Whatever broke it: what follows is "close".
    socket.on("error", () => undefined);
    socket.on("close", () => this.#closed());
  }

  evicted(): void {
    this.#refuse("evicted");
  }

  /** Says goodbye to one that lives, and nothing to one that does not. */
  stop(): void {
    if (this.#connection === undefined) this.#socket.destroy();
    else this.#connection.bye("stopping");
  }

  cut(): void {
    this.#socket.destroy();
  }

  /** Sends what keeps it alive, or finds it dead. */
  sweep(): void {
    const now = this.#house.now();
    if (now - this.#heardAt >= SILENCE_MS) this.#socket.destroy();
    else if (this.#records !== undefined && now - this.#records.sentAt >= KEEP_ALIVE_MS) this.#records.keepAlive();
  }

  #take(chunk: Buffer): void {
    try {
      for (const taken of this.#peer.take(chunk)) {
        if (this.#socket.destroyed) return;
        if (taken.kind === "reply") this.#socket.write(taken.bytes);
        else if (taken.kind === "record") this.#record(taken.plaintext, taken.first);
      }
    } catch (thrown) {
      if (isLinkError(thrown)) this.#refuse(thrown.fault);
      else {
        this.#house.fault(thrown);
        this.#socket.destroy();
      }
    }
  }

  #record(plaintext: Uint8Array, first: boolean): void {
    this.#heardAt = this.#house.now();
    if (first) this.#begin();
    const connection = this.#connection;
    if (connection === undefined) return;
    const bytes = Buffer.from(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength);
    try {
      for (const item of itemsOf(bytes)) {
        if (isBye(item)) {
          this.#peer.farewell();
          this.#end();
          return;
        }
        connection.message(item, true);
      }
    } catch (thrown) {
      if (!(thrown instanceof SyntaxError)) throw thrown;
      // The decoder finds the same fault, and says so.
      connection.message(bytes, true);
    }
  }

  #begin(): void {
    const who: Principal | undefined = this.#peer.who;
    if (who === undefined) return;
    this.#cancelDeadline();
    const { control, now } = this.#house;
    const carry = {
      write: (record: Uint8Array) => void this.#socket.write(record),
      waiting: () => this.#socket.writableLength,
      cork: (body: () => void) => {
        this.#socket.cork();
        body();
        this.#socket.uncork();
      },
      end: () => this.#end(),
    };
    this.#records = new Records(this.#peer, carry, now);
    const fault = (thrown: unknown) => this.#house.fault(thrown);
    this.#connection = new Connection(this.#records, "cbor", who, control, fault, () => undefined);
    this.#house.lives(this);
    this.#connection.begin(undefined);
  }

  #superseded(): void {
    if (this.#connection === undefined) this.#socket.destroy();
    else this.#connection.bye("superseded");
  }

  /** What was written goes out, and nothing after it; who does not read it is cut. */
  #end(): void {
    this.#over();
    this.#socket.end();
    const cancel = this.#house.timers.after(CLOSE_GRACE_MS, () => this.#socket.destroy());
    this.#socket.once("close", cancel);
  }

  /** Silence: who fails learns nothing, not even that there is a daemon of ours. */
  #refuse(why: LinkFault | "deadline" | "evicted"): void {
    if (this.#socket.destroyed) return;
    // After our own end whatever still comes is nobody's fault.
    if (!this.#socket.writableEnded) this.#house.refused(this.address, why);
    this.#over();
    this.#socket.destroy();
  }

  /** From here on nothing is said, nor done: replies that were under way must not meet a link that is no more. */
  #over(): void {
    this.#cancelDeadline();
    this.#connection?.closed();
    this.#house.ends(this);
  }

  #closed(): void {
    this.#over();
    this.#peer[Symbol.dispose]();
    this.#house.gone(this);
  }
}

/** By its name: a transport knows the types of crypto and nothing more. */
function isLinkError(thrown: unknown): thrown is LinkError {
  return thrown instanceof Error && thrown.name === "LinkError";
}
