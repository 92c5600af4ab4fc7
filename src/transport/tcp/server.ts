/** TCP: sealed links over raw TCP, for devices without TLS. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { Control } from "../../control/control.ts";
import { type CallerCounts, type CallerLimits, Callers } from "../callers.ts";
import type { Line } from "../link-caller.ts";
import { bytesTaken } from "../taken.ts";
import type { Timers } from "../timers.ts";
import type { Transport } from "../transport.ts";

/** What open links get to read their goodbye before they are cut. */
const STOP_GRACE_MS = 100;
/** Connections that the kernel holds for us: a fleet that comes back at once, twice the half-open ones. */
const BACKLOG = 511;

export interface TcpOptions {
  readonly listen: { readonly host: string; readonly port: number };
  readonly now: () => number;
  onFault(where: string, thrown: unknown): void;
  /** Told of every caller who was refused, and why: for the log. The caller is told nothing. */
  onRefused?(address: string, why: string): void;
  readonly timers?: Timers;
  readonly limits?: CallerLimits;
}

export interface TcpTransport extends Transport {
  /** The port that it listens on, once started. */
  readonly port: number;
  readonly counts: CallerCounts;
}

export function createTcp(options: TcpOptions): TcpTransport {
  return new Tcp(options);
}

class Tcp implements TcpTransport {
  readonly name = "tcp";
  readonly #options: TcpOptions;
  #callers: Callers | undefined;
  #server: Server | undefined;
  #stopped: Promise<void> | undefined;

  constructor(options: TcpOptions) {
    this.#options = options;
  }

  get port(): number {
    const address = this.#server?.address() as AddressInfo | null | undefined;
    return address?.port ?? 0;
  }

  get counts(): CallerCounts {
    return this.#callers?.counts ?? { live: 0, halfOpen: 0, refused: 0 };
  }

  async start(control: Control, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { listen, now, timers, limits, onRefused, onFault } = this.#options;
    const callers = new Callers({
      control,
      now,
      timers,
      limits,
      fault: (thrown) => onFault("tcp", thrown),
      refused: onRefused,
    });
    this.#callers = callers;
    const server = createServer((socket) => answer(socket, callers));
    this.#server = server;
    server.listen({ ...listen, backlog: BACKLOG });
    await once(server, "listening");
    // Out of file descriptors, for one: the next connection may work.
    server.on("error", (failure) => onFault("tcp", failure));
    signal.addEventListener("abort", () => void this.#stop(), { once: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
  }

  #stop(): Promise<void> {
    this.#stopped ??= this.#sayGoodbye();
    return this.#stopped;
  }

  async #sayGoodbye(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    const told = this.#callers?.stop();
    if (told) await new Promise((resolve) => setTimeout(resolve, STOP_GRACE_MS));
    this.#callers?.cut();
    await closed;
  }
}

function answer(socket: Socket, callers: Callers): void {
  const line: Line = {
    carrier: "stream",
    address: socket.remoteAddress ?? "",
    write: (records) => {
      // One buffer is the shorter way through a stream than a list of one.
      if (records.length > 1) socket.cork();
      for (const record of records) socket.write(record);
      if (records.length > 1) socket.uncork();
    },
    waiting: () => socket.writableLength,
    taken: () => bytesTaken(socket),
    end: () => void socket.end(),
    cut: () => void socket.destroy(),
  };
  socket.setNoDelay(true);
  const caller = callers.add(line);
  socket.on("data", (chunk) => caller.take(chunk));
  socket.on("drain", () => caller.drained());
  // Whatever broke it: what follows is "close".
  socket.on("error", () => undefined);
  socket.on("close", () => caller.closed());
}
