/** TCP: sealed links over raw TCP, for devices without TLS. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import type { Control } from "../../control/control.ts";
import { HalfOpen } from "../half-open.ts";
import type { Transport } from "../transport.ts";
import { type House, KEEP_ALIVE_MS, TcpCaller, type Timers } from "./caller.ts";

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
  readonly limits?: { readonly halfOpen?: number; readonly halfOpenAnAddress?: number };
}

export interface TcpTransport extends Transport {
  /** The port that it listens on, once started. */
  readonly port: number;
  /** Links that live, callers that do not yet, and how many were refused since the start. */
  readonly counts: { readonly live: number; readonly halfOpen: number; readonly refused: number };
}

export function createTcp(options: TcpOptions): TcpTransport {
  return new Tcp(options);
}

const TIMERS: Timers = {
  after: (ms, act) => {
    const timer = setTimeout(act, ms).unref();
    return () => clearTimeout(timer);
  },
  every: (ms, act) => {
    const timer = setInterval(act, ms).unref();
    return () => clearInterval(timer);
  },
};

class Tcp implements TcpTransport {
  readonly name = "tcp";
  readonly #options: TcpOptions;
  readonly #timers: Timers;
  readonly #waiting: HalfOpen;
  readonly #live = new Set<TcpCaller>();
  readonly #all = new Set<TcpCaller>();
  #server: Server | undefined;
  /** Runs while a link lives, and only then. */
  #cancelSweep: (() => void) | undefined;
  #refused = 0;
  #stopped: Promise<void> | undefined;

  constructor(options: TcpOptions) {
    this.#options = options;
    this.#timers = options.timers ?? TIMERS;
    this.#waiting = new HalfOpen(options.limits?.halfOpen, options.limits?.halfOpenAnAddress);
  }

  get port(): number {
    const address = this.#server?.address() as AddressInfo | null | undefined;
    return address?.port ?? 0;
  }

  get counts(): { live: number; halfOpen: number; refused: number } {
    return { live: this.#live.size, halfOpen: this.#waiting.size, refused: this.#refused };
  }

  async start(control: Control, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const house: House = {
      control,
      timers: this.#timers,
      now: this.#options.now,
      lives: (caller) => this.#lives(caller),
      ends: (caller) => this.#ends(caller),
      gone: (caller) => this.#all.delete(caller),
      refused: (address, why) => {
        this.#refused++;
        this.#options.onRefused?.(address, why);
      },
      fault: (thrown) => this.#options.onFault("tcp", thrown),
    };
    const server = createServer((socket) => {
      const caller = new TcpCaller(socket, house);
      this.#all.add(caller);
      this.#waiting.add(caller);
    });
    this.#server = server;
    server.listen({ ...this.#options.listen, backlog: BACKLOG });
    await once(server, "listening");
    // Out of file descriptors, for one: the next connection may work.
    server.on("error", (failure) => this.#options.onFault("tcp", failure));
    signal.addEventListener("abort", () => void this.#stop(), { once: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
  }

  #lives(caller: TcpCaller): void {
    this.#waiting.delete(caller);
    this.#live.add(caller);
    this.#cancelSweep ??= this.#timers.every(KEEP_ALIVE_MS, () => {
      for (const each of [...this.#live]) each.sweep();
    });
  }

  #ends(caller: TcpCaller): void {
    this.#waiting.delete(caller);
    this.#live.delete(caller);
    if (this.#live.size > 0) return;
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
  }

  #stop(): Promise<void> {
    this.#stopped ??= this.#sayGoodbye();
    return this.#stopped;
  }

  async #sayGoodbye(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    const told = this.#live.size > 0;
    for (const caller of [...this.#all]) caller.stop();
    if (told) await new Promise((resolve) => setTimeout(resolve, STOP_GRACE_MS));
    for (const caller of [...this.#all]) caller.cut();
    await closed;
  }
}
