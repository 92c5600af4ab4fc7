/** TLS door: handshakes, few at once and each with its deadline: by certificate, or by a device's key on the same port. */
import { constants } from "node:crypto";
import type { Socket } from "node:net";
import { createSecureContext, type SecureContext, TLSSocket, type TLSSocketOptions } from "node:tls";
import { type Caller, HalfOpen } from "../half-open.ts";
import type { Timers } from "../timers.ts";
import { MAX_HELLO_BYTES, wishOf } from "./client-hello.ts";

/** From the connection to the end of its handshake: four flights, and a microcontroller's second or two for its share of ECDHE. */
export const HANDSHAKE_DEADLINE_MS = 10_000;
/**
 * Ephemeral keys, so that a leaked device key opens no capture (RFC 5489, RFC 7905), and the two that stock libraries know.
 * TLS 1.2 only: one pre-shared key is not to be used with two versions (RFC 9258 §1).
 */
const PSK_CIPHERS = "ECDHE-PSK-CHACHA20-POLY1305:ECDHE-PSK-AES128-CBC-SHA256";
/** No session is resumed past a revocation, and nobody becomes another in the middle of a connection. */
const PSK_OPTIONS = constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION;

export interface TlsDoorOptions {
  /** PEM; undefined: device keys only. */
  readonly certificate?: { readonly cert: Buffer; readonly key: Buffer } | undefined;
  psk(identity: string): Uint8Array;
  /** `stream` is the plaintext of `socket`; `keyId`: the identity that it has proved, where it came by a key. */
  secured(socket: Socket, stream: TLSSocket, keyId: string | undefined): void;
  refused(address: string, why: string): void;
  readonly timers: Timers;
  readonly limits?: { readonly halfOpen?: number; readonly halfOpenAnAddress?: number };
}

/** `pskCallback` of a server-side TLSSocket: documented for servers, and missing in the types of the socket. */
interface PskOptions extends TLSSocketOptions {
  pskCallback?(socket: TLSSocket, identity: string): Uint8Array;
}

export class TlsDoor {
  readonly #options: TlsDoorOptions;
  readonly #shaking: HalfOpen;
  readonly #sockets = new Set<Socket>();
  readonly #byKey: SecureContext;
  readonly #byCertificate: SecureContext | undefined;

  /** Throws where a PEM is unusable. */
  constructor(options: TlsDoorOptions) {
    const { certificate, limits } = options;
    this.#options = options;
    this.#shaking = new HalfOpen(limits?.halfOpen, limits?.halfOpenAnAddress);
    this.#byKey = createSecureContext({
      ciphers: PSK_CIPHERS,
      minVersion: "TLSv1.2",
      maxVersion: "TLSv1.2",
      secureOptions: PSK_OPTIONS,
    });
    this.#byCertificate =
      certificate &&
      createSecureContext({ ...certificate, minVersion: "TLSv1.2", secureOptions: constants.SSL_OP_NO_RENEGOTIATION });
  }

  /** Handshakes under way. */
  get size(): number {
    return this.#shaking.size;
  }

  enter(socket: Socket): void {
    const address = socket.remoteAddress ?? "";
    const refuse = (why: string) => {
      if (!this.#sockets.has(socket)) return;
      over();
      this.#options.refused(address, why);
      socket.destroy();
    };
    const caller: Caller = { address, evicted: () => refuse("evicted") };
    const cancel = this.#options.timers.after(HANDSHAKE_DEADLINE_MS, () => refuse("deadline"));
    const over = () => {
      cancel();
      this.#sockets.delete(socket);
      this.#shaking.delete(caller);
    };
    this.#sockets.add(socket);
    this.#shaking.add(caller);
    // Whatever broke it: what follows is "close".
    socket.on("error", () => undefined);
    socket.once("close", over);
    this.#look(socket, (wish) => {
      const stream = this.#shake(socket, wish, (keyId) => {
        over();
        this.#options.secured(socket, stream, keyId);
      });
      stream.on("error", () => refuse("handshake"));
      stream.once("close", () => socket.destroy());
    });
  }

  /** Ends every handshake that is under way. */
  close(): void {
    for (const socket of [...this.#sockets]) socket.destroy();
  }

  /** Reads as little as tells which of the two it is to be, and puts it back. */
  #look(socket: Socket, found: (wish: "psk" | "certificate") => void): void {
    if (this.#byCertificate === undefined) {
      found("psk");
      return;
    }
    const chunks: Buffer[] = [];
    const look = () => {
      for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null)
        chunks.push(chunk);
      const start = Buffer.concat(chunks);
      const wish = wishOf(start) ?? (start.length > MAX_HELLO_BYTES ? "certificate" : undefined);
      if (wish === undefined) return;
      socket.removeListener("readable", look);
      socket.unshift(start);
      found(wish);
    };
    socket.on("readable", look);
  }

  #shake(socket: Socket, wish: "psk" | "certificate", done: (keyId: string | undefined) => void): TLSSocket {
    let keyId: string | undefined;
    const context = wish === "psk" ? this.#byKey : this.#byCertificate;
    const options: PskOptions = { isServer: true, ...(context && { secureContext: context }) };
    if (wish === "psk") {
      options.pskCallback = (_, identity) => {
        keyId = identity;
        return this.#options.psk(identity);
      };
    }
    const stream = new TLSSocket(socket, options);
    // The server's word for a handshake that is done; only then is the identity proved.
    stream.once("secure", () => done(keyId));
    return stream;
  }
}
