/** Node socket: a small WebSocket client (RFC 6455) for Node 20, which has none of its own, and for certificates of one's own. */
import { createHash, randomBytes } from "node:crypto";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Socket as NetSocket } from "node:net";
import type { SocketLike } from "./socket.ts";

/** Longest message taken from a box: its longest frame is a log line of 1 MiB, its longest reply a page of 1 MiB and a frame. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
const OPEN_DEADLINE_MS = 10_000;
/** How long the other side may take to answer a close. */
const CLOSE_DEADLINE_MS = 2_000;
/** The box pings within 120 s of silence: longer, and the connection is dead without anybody having said so. */
const SILENCE_MS = 150_000;
/** RFC 6455 §1.3. */
const ACCEPT_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;
/** No close frame came (RFC 6455 §7.1.5). */
const ABNORMAL = 1006;
const PROTOCOL_ERROR = 1002;
const TOO_BIG = 1009;

export interface NodeSocketOptions {
  /** PEM of the certificate (or its authority) that the box shows. */
  readonly ca?: string | Buffer;
}

/** A WebSocket as browsers have it, as far as the client needs it. A refused upgrade closes with 4000 + HTTP status. */
export class NodeSocket implements SocketLike {
  binaryType = "arraybuffer";
  protocol = "";
  onopen: (() => void) | null = null;
  onmessage: ((event: { readonly data: unknown }) => void) | null = null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  #socket: NetSocket | undefined;
  #received: Buffer = Buffer.alloc(0);
  #chunks: Buffer[] = [];
  #waiting = 0;
  /** Bytes that the next frame needs before it is worth looking at. */
  #need = 2;
  #fragments: Buffer[] = [];
  #fragmentsBytes = 0;
  #kind = 0;
  #closed = false;
  #closing: { code: number; reason: string } | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(url: string, protocols: readonly string[], options: NodeSocketOptions = {}) {
    const key = randomBytes(16).toString("base64");
    const target = new URL(url.replace(/^ws/, "http"));
    const request = (target.protocol === "https:" ? httpsRequest : httpRequest)(target, {
      agent: false,
      ...(options.ca !== undefined && { ca: options.ca }),
      headers: {
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-key": key,
        "sec-websocket-version": "13",
        "sec-websocket-protocol": protocols.join(", "),
      },
    });
    this.#timer = setTimeout(() => request.destroy(new Error("no answer in time")), OPEN_DEADLINE_MS);
    request.on("error", (error) => this.#end(ABNORMAL, error.message));
    request.on("response", (response) => this.#refused(response));
    request.on("upgrade", (response, socket, head) => {
      const accept = createHash("sha1")
        .update(key + ACCEPT_GUID)
        .digest("base64");
      if (response.headers["sec-websocket-accept"] !== accept) {
        socket.destroy();
        this.#end(PROTOCOL_ERROR, "wrong sec-websocket-accept");
        return;
      }
      this.protocol = response.headers["sec-websocket-protocol"] ?? "";
      this.#open(socket as NetSocket, head);
    });
    request.end();
  }

  /** Bytes that the other side has not taken yet. */
  get bufferedAmount(): number {
    return this.#socket?.writableLength ?? 0;
  }

  send(data: string | Uint8Array): void {
    if (typeof data === "string") this.#write(TEXT, Buffer.from(data));
    else this.#write(BINARY, data);
  }

  close(code = 1000, reason = ""): void {
    if (this.#closed || this.#closing !== undefined) return;
    this.#closing = { code, reason };
    if (this.#socket === undefined) {
      this.#end(code, reason);
      return;
    }
    this.#write(CLOSE, closePayload(code, reason));
    this.#timer = setTimeout(() => this.#end(code, reason), CLOSE_DEADLINE_MS);
  }

  /** Stops reading: what the box sends from now on waits at its side. */
  pause(): void {
    this.#socket?.pause();
  }

  resume(): void {
    this.#socket?.resume();
  }

  /** Cuts the connection without a word. */
  terminate(): void {
    this.#end(ABNORMAL, "terminated");
  }

  #open(socket: NetSocket, head: Buffer): void {
    clearTimeout(this.#timer);
    if (this.#closed) {
      socket.destroy();
      return;
    }
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setTimeout(SILENCE_MS, () => this.terminate());
    socket.on("error", () => {});
    socket.on("close", () => this.#end(this.#closing?.code ?? ABNORMAL, this.#closing?.reason ?? "connection lost"));
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    this.onopen?.();
    if (head.length > 0) this.#take(head);
  }

  #refused(response: IncomingMessage): void {
    let text = "";
    response.setEncoding("utf8");
    response.on("data", (chunk: string) => {
      if (text.length < 4096) text += chunk;
    });
    response.on("end", () => this.#end(4000 + (response.statusCode ?? 0), messageOf(text)));
  }

  #take(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#waiting += chunk.length;
    if (this.#received.length + this.#waiting < this.#need) return;
    this.#received = Buffer.concat([this.#received, ...this.#chunks]);
    this.#chunks = [];
    this.#waiting = 0;
    for (let used = this.#next(); used > 0 && !this.#closed; used = this.#next())
      this.#received = this.#received.subarray(used);
  }

  /** Handles the first frame in the buffer and returns its length; 0 when it is not all there (RFC 6455 §5.2). */
  #next(): number {
    const bytes = this.#received;
    this.#need = 2;
    if (bytes.length < 2) return 0;
    const first = bytes.readUInt8(0);
    const second = bytes.readUInt8(1);
    let length = second & 0x7f;
    let at = 2;
    if (length === 126) {
      this.#need = 4;
      if (bytes.length < 4) return 0;
      length = bytes.readUInt16BE(2);
      at = 4;
    } else if (length === 127) {
      this.#need = 10;
      if (bytes.length < 10) return 0;
      length = Number(bytes.readBigUInt64BE(2));
      at = 10;
    }
    if (length + this.#fragmentsBytes > MAX_MESSAGE_BYTES) return this.#fail(TOO_BIG);
    // A server never masks, and nobody agreed on extensions (§5.1, §5.2).
    if ((second & 0x80) !== 0 || (first & 0x70) !== 0) return this.#fail(PROTOCOL_ERROR);
    this.#need = at + length;
    if (bytes.length < this.#need) return 0;
    this.#frame(first & 0x0f, (first & 0x80) !== 0, bytes.subarray(at, at + length));
    return at + length;
  }

  #frame(kind: number, last: boolean, payload: Buffer): void {
    if (kind === PING) this.#write(PONG, payload);
    else if (kind === CLOSE) this.#answerClose(payload);
    else if (kind === TEXT || kind === BINARY || kind === 0) {
      if (kind !== 0) this.#kind = kind;
      this.#fragments.push(payload);
      this.#fragmentsBytes += payload.length;
      if (!last) return;
      // A copy: the receive buffer goes on.
      const message = Buffer.concat(this.#fragments);
      this.#fragments = [];
      this.#fragmentsBytes = 0;
      this.onmessage?.({ data: this.#kind === TEXT ? message.toString("utf8") : message });
    } else if (kind !== PONG) this.#fail(PROTOCOL_ERROR);
  }

  #answerClose(payload: Buffer): void {
    const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
    this.#write(CLOSE, payload.subarray(0, 2));
    this.#end(code, payload.subarray(2).toString("utf8"));
  }

  #fail(code: number): number {
    this.#write(CLOSE, closePayload(code, ""));
    this.#end(code, "");
    return 0;
  }

  #write(kind: number, payload: Uint8Array): void {
    if (this.#socket === undefined || this.#closed) return;
    const mask = randomBytes(4);
    const long = payload.length > 65_535 ? 8 : payload.length > 125 ? 2 : 0;
    const head = Buffer.alloc(2 + long);
    head[0] = 0x80 | kind;
    head[1] = 0x80 | (long === 8 ? 127 : long === 2 ? 126 : payload.length);
    if (long === 2) head.writeUInt16BE(payload.length, 2);
    if (long === 8) head.writeBigUInt64BE(BigInt(payload.length), 2);
    const masked = Buffer.from(payload);
    for (let i = 0; i < masked.length; i++) masked[i] = (masked[i] as number) ^ (mask[i & 3] as number);
    this.#socket.write(Buffer.concat([head, mask, masked]));
  }

  #end(code: number, reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.end();
    this.#socket?.destroySoon();
    this.onclose?.({ code, reason });
  }
}

function closePayload(code: number, reason: string): Buffer {
  const payload = Buffer.alloc(2);
  payload.writeUInt16BE(code);
  return Buffer.concat([payload, Buffer.from(reason)]).subarray(0, 125);
}

/** The message of an error body; the text itself where it is none. */
function messageOf(text: string): string {
  try {
    const message = (JSON.parse(text) as { error?: { message?: unknown } }).error?.message;
    return typeof message === "string" ? message : text;
  } catch {
    return text;
  }
}
