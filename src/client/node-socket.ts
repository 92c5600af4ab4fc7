/** Node socket: the `ws` package as the client wants it, for Node 20, which has no WebSocket, and for certificates of one's own. */
import type { IncomingMessage } from "node:http";
import WebSocket, { type RawData } from "ws";
import type { SocketLike } from "./socket.ts";

/** Longest message taken from a box: its longest frame is a log line of 1 MiB, its longest reply a page of 1 MiB and a frame. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
const OPEN_DEADLINE_MS = 10_000;
/** A refusal is an error body, some hundred characters. */
const MAX_REFUSAL_CHARS = 16 * 1024;
/** No close frame came (RFC 6455 §7.1.5). */
const ABNORMAL = 1006;
/** A refused upgrade closes with this and its HTTP status, as the box's own close codes do. */
const REFUSED = 4000;

export interface NodeSocketOptions {
  /** PEM of the certificate (or its authority) that the box shows. */
  readonly ca?: string | Uint8Array;
}

/** A WebSocket as browsers have it, as far as the client needs it. A refused upgrade closes with 4000 + HTTP status. */
export class NodeSocket implements SocketLike {
  binaryType = "arraybuffer";
  onopen: (() => void) | null = null;
  onmessage: ((event: { readonly data: unknown }) => void) | null = null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  readonly #socket: WebSocket;
  #closed = false;

  constructor(url: string, protocols: readonly string[], { ca }: NodeSocketOptions = {}) {
    this.#socket = new WebSocket(url, [...protocols], {
      handshakeTimeout: OPEN_DEADLINE_MS,
      maxPayload: MAX_MESSAGE_BYTES,
      perMessageDeflate: false,
      ...(ca !== undefined && { ca: typeof ca === "string" ? ca : Buffer.from(ca) }),
    });
    // Said of a connection that never was.
    let why = "ETIMEDOUT";
    this.#socket.on("open", () => {
      why = "";
      this.onopen?.();
    });
    this.#socket.on("message", (data, binary) => this.onmessage?.({ data: binary ? whole(data) : String(data) }));
    // What follows an error is a close, and that says enough.
    this.#socket.on("error", ({ code, message }: NodeJS.ErrnoException) => {
      if (why !== "") why = code ?? message;
      this.onerror?.();
    });
    this.#socket.on("close", (code, reason) => this.#end(code, String(reason) || why));
    this.#socket.on("unexpected-response", (_request, response) => void this.#refused(response));
  }

  /** The subprotocol that the box chose. */
  get protocol(): string {
    return this.#socket.protocol;
  }

  /** Bytes that the other side has not taken yet. */
  get bufferedAmount(): number {
    return this.#socket.bufferedAmount;
  }

  send(data: string | Uint8Array): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(data);
  }

  close(code = 1000, reason = ""): void {
    this.#socket.close(code, reason);
  }

  /** Stops reading: what the box sends from now on waits at its side. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Cuts the connection without a word. */
  terminate(): void {
    this.#socket.terminate();
  }

  async #refused(response: IncomingMessage): Promise<void> {
    const text = await bodyOf(response).catch(() => "");
    this.#end(REFUSED + (response.statusCode ?? 0), messageIn(text) ?? response.statusMessage ?? "");
    this.#socket.terminate();
  }

  #end(code: number, reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.onclose?.({ code: code === 0 ? ABNORMAL : code, reason });
  }
}

async function bodyOf(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) {
    text += String(chunk);
    if (text.length > MAX_REFUSAL_CHARS) break;
  }
  return text;
}

/** The box's own words, where the refusal is one of its error bodies. */
function messageIn(text: string): string | undefined {
  try {
    const { message } = (JSON.parse(text) as { error: { message?: unknown } }).error;
    return typeof message === "string" ? message : undefined;
  } catch {
    return undefined;
  }
}

function whole(data: RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}
