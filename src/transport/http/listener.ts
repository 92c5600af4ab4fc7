/** Listener: the only file that knows uWebSockets.js. It turns callbacks that can be misused into exchanges and sockets that cannot. */

import type uWS from "uWebSockets.js";
import { STATUS_CODES } from "node:http";
import { addon } from "../../addon.ts";
import { CibError } from "../../errors.ts";
import type { SocketEvents } from "../socket.ts";
import { OpenSocket } from "./open-socket.ts";
import { addressText, type Request, type Stream, type StreamEvents, type Upgrade } from "./peer.ts";
import { SocketCount } from "./socket-count.ts";

/** Longest request body, and WebSocket message, for the same commands travel there: 256 KiB of text, each byte at most `\u00XX` (6), and 64 KiB for the rest: 1.6 MiB. */
export const MAX_BODY_BYTES = 256 * 1024 * 6 + 64 * 1024;
/** A body has to move on within this time; uWebSockets.js itself cuts at 8 to 12 s, without a word. */
export const BODY_DEADLINE_MS = 7_000;
/** What counts as moving on: 64 KiB in 7 s is 9 KiB/s. */
const BODY_PROGRESS_BYTES = 64 * 1024;
/** A refused body up to this size is read and thrown away, so that the refusal arrives; beyond it the connection is cut. */
const DRAIN_BYTES = 8 * 1024 * 1024;
/** Bytes that may wait for one WebSocket before uWebSockets.js cuts it. The sinks stop far below (ws.ts, HIGH_WATER_BYTES). */
export const MAX_BACKPRESSURE_BYTES = 16 * 1024 * 1024;
/** Silence after which a WebSocket is dead; pings go out in time to keep a live one alive. */
const IDLE_TIMEOUT_S = 120;
/** LIBUS_LISTEN_EXCLUSIVE_PORT: typed as an enum that the addon does not have at run time. */
const EXCLUSIVE_PORT = 1;

const native = addon<typeof uWS>("uWebSockets.js");

export interface Tls {
  /** Paths of PEM files. */
  readonly cert: string;
  readonly key: string;
}

export interface ListenOptions {
  readonly host: string;
  readonly port: number;
  readonly tls?: Tls | undefined;
  /** Called at once for every request; bodies must be asked for before it returns. */
  request(exchange: Exchange): void;
  /** Upgrades that offer this subprotocol have proved nothing: longer messages are cut off before they are read. */
  readonly unproved?: { readonly protocol: string; readonly maxMessageBytes: number };
  /** Another path of WebSockets, with a limit of its own. */
  readonly further?: { readonly path: string; readonly maxMessageBytes: number } | undefined;
  /** Called for an upgrade on /ws and on the further path; undefined when the exchange has been answered with a refusal. */
  upgrade(exchange: Exchange): Upgrade | undefined;
  /** Connections at once; left out: half of the descriptors that the process may have. */
  readonly sockets?: number | undefined;
  /** A fault of ours inside a callback. */
  fault(thrown: unknown): void;
}

/** One request and its one response. */
export class Exchange {
  readonly request: Request;
  readonly #gone = new AbortController();
  #res: uWS.HttpResponse | undefined;
  #closes = false;
  #streaming: StreamEvents | undefined;

  constructor(res: uWS.HttpResponse, req: uWS.HttpRequest) {
    this.#res = res;
    const headers = new Map<string, string>();
    let headerBytes = 0;
    req.forEach((name, value) => {
      headerBytes += name.length + value.length;
      const before = headers.get(name);
      headers.set(name, before === undefined ? value : `${before}, ${value}`);
    });
    const path = req.getUrl();
    // Undefined where there is no "?", whatever its type says.
    const query = req.getQuery() as string | undefined;
    this.request = {
      method: req.getCaseSensitiveMethod(),
      target: query === undefined ? path : `${path}?${query}`,
      path,
      query: query ?? "",
      headers,
      headerBytes,
      address: addressText(new Uint8Array(res.getRemoteAddress())),
    };
    res.onAborted(() => this.#abandon());
  }

  /** Aborted when the client goes away before it has its answer. */
  get signal(): AbortSignal {
    return this.#gone.signal;
  }

  /** The whole body. Call before the handler returns. Rejects with `too_large`, `timeout`, and `internal` when the client left. */
  body(limit: number): Promise<Buffer> {
    const res = this.#res;
    if (res === undefined) return Promise.reject(new CibError("internal", "the exchange is over"));
    const declared = Number(this.request.headers.get("content-length") ?? 0);
    if (declared > limit) {
      this.#closes = declared > DRAIN_BYTES;
      return Promise.reject(new CibError("too_large", `body: ${declared} bytes; the limit is ${limit}`));
    }
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let size = 0;
      let mark = 0;
      const late = () => {
        this.#closes = true;
        reject(new CibError("timeout", `body: ${size} bytes came, then too little for ${BODY_DEADLINE_MS / 1000} s`));
      };
      let timer = setTimeout(late, BODY_DEADLINE_MS);
      this.#gone.signal.addEventListener("abort", () => {
        clearTimeout(timer);
        reject(new CibError("internal", "the client left before its body was complete"));
      });
      res.onData((chunk, last) => {
        size += chunk.byteLength;
        if (size > limit) {
          clearTimeout(timer);
          this.#closes = true;
          reject(new CibError("too_large", `body: more than ${limit} bytes`));
          return;
        }
        // The chunk's memory is the library's: it is gone when this returns.
        chunks.push(Buffer.from(new Uint8Array(chunk)));
        if (last) {
          clearTimeout(timer);
          resolve(Buffer.concat(chunks, size));
        } else if (size - mark >= BODY_PROGRESS_BYTES) {
          mark = size;
          clearTimeout(timer);
          timer = setTimeout(late, BODY_DEADLINE_MS);
        }
      });
    });
  }

  /** Answers once; later calls, and calls after the client left, do nothing. */
  respond(status: number, headers: Readonly<Record<string, string>>, body: Buffer | string): void {
    const res = this.#res;
    if (res === undefined) return;
    this.#res = undefined;
    res.cork(() => {
      writeHead(res, status, headers);
      if (this.request.method === "HEAD") res.endWithoutBody(Buffer.byteLength(body), this.#closes);
      else res.end(body, this.#closes);
    });
  }

  /**
   * Begins an answer that goes on until either side ends it; undefined when the client has left.
   * A peer that takes nothing for about 10 s while bytes wait is cut by uWebSockets.js.
   */
  stream(headers: Readonly<Record<string, string>>, first: Buffer | string, events: StreamEvents): Stream | undefined {
    const res = this.#res;
    if (res === undefined) return undefined;
    this.#streaming = events;
    let taken = 0;
    // uWebSockets.js flushes its own buffer only when written to: a word that says nothing does it and tells whether all is out.
    res.onWritable(() => {
      // The kernel has room again, if not for all of it.
      taken++;
      const flushed = this.#write(events.nothing());
      if (flushed) events.drained();
      return flushed;
    });
    res.cork(() => {
      writeHead(res, 200, headers);
      res.write(first);
    });
    return {
      write: (chunk) => this.#write(chunk),
      get taken() {
        return taken;
      },
      end: (last) => {
        if (this.#res === undefined) return;
        this.#res = undefined;
        res.cork(() => {
          if (last !== undefined) res.write(last);
          // Asked to close, uWebSockets.js would write "Connection: close" here, in the middle of the body.
          res.end();
        });
      },
    };
  }

  /** Hands the connection over to WebSocket. */
  upgrade(data: object, protocol: string, context: uWS.us_socket_context_t): void {
    const res = this.#res;
    if (res === undefined) return;
    this.#res = undefined;
    const { headers } = this.request;
    res.upgrade(
      data,
      headers.get("sec-websocket-key") ?? "",
      protocol,
      headers.get("sec-websocket-extensions") ?? "",
      context,
    );
  }

  #write(chunk: Buffer | string): boolean {
    const res = this.#res;
    if (res === undefined) return false;
    let all = false;
    res.cork(() => {
      all = res.write(chunk);
    });
    return all;
  }

  #abandon(): void {
    this.#res = undefined;
    this.#gone.abort();
    this.#streaming?.closed();
  }
}

interface Data {
  /** Until the socket is open: it holds on to the whole request. */
  upgrade: Upgrade | undefined;
  socket?: OpenSocket;
  events: SocketEvents | undefined;
}

/** A listening socket. */
export class Listener {
  readonly port: number;
  readonly #app: uWS.TemplatedApp;
  readonly #listening: uWS.us_listen_socket;

  private constructor(app: uWS.TemplatedApp, listening: uWS.us_listen_socket) {
    this.#app = app;
    this.#listening = listening;
    this.port = native().us_socket_local_port(listening as uWS.us_socket);
  }

  /** Listens. Rejects when the address is taken or a PEM file is unusable. */
  static async listen(options: ListenOptions): Promise<Listener> {
    const app = makeApp(options.tls);
    const sockets = new SocketCount(options.sockets);
    app.filter((res, change) => sockets.changed(res, Number(change)));
    const { unproved, further } = options;
    const offers = (req: uWS.HttpRequest) =>
      req
        .getHeader("sec-websocket-protocol")
        .split(",")
        .some((name) => name.trim() === unproved?.protocol);
    if (unproved) app.ws<Data>("/ws", behaviour(options, offers, unproved.maxMessageBytes, sockets));
    if (further)
      app.ws<Data>(
        further.path,
        behaviour(options, () => true, further.maxMessageBytes, sockets),
      );
    // Less exact than the one above, so that it comes second; what is not for it goes on to the requests.
    app.ws<Data>(
      "/:socket",
      behaviour(options, (req) => req.getUrl() === "/ws", MAX_BODY_BYTES, sockets),
    );
    app.any("/*", (res, req) => guarded(options, () => options.request(new Exchange(res, req))));
    const listening = await new Promise<uWS.us_listen_socket | false>((resolve) => {
      // Exclusive: two daemons on one port would share its connections at random.
      (app as unknown as WithOptions).listen(options.host, options.port, EXCLUSIVE_PORT, resolve);
    });
    if (listening === false) {
      const taken = new Error(`listen: ${options.host}:${options.port} is taken or not ours`);
      throw Object.assign(taken, { code: "EADDRINUSE" });
    }
    return new Listener(app, listening);
  }

  /** Accepts nothing more. */
  refuse(): void {
    native().us_listen_socket_close(this.#listening);
  }

  /** Cuts every connection. */
  cut(): void {
    this.#app.close();
  }
}

/** The addon takes options after host and port; its types do not say so. */
interface WithOptions {
  listen(host: string, port: number, options: number, done: (socket: uWS.us_listen_socket | false) => void): void;
}

function makeApp(tls: Tls | undefined): uWS.TemplatedApp {
  if (tls === undefined) return native().App();
  return native().SSLApp({ cert_file_name: tls.cert, key_file_name: tls.key, ssl_prefer_low_memory_usage: true });
}

function behaviour(
  options: ListenOptions,
  ours: (req: uWS.HttpRequest) => boolean,
  maxPayloadLength: number,
  sockets: SocketCount,
): uWS.WebSocketBehavior<Data> {
  return {
    compression: native().DISABLED,
    maxPayloadLength,
    maxBackpressure: MAX_BACKPRESSURE_BYTES,
    closeOnBackpressureLimit: 1,
    idleTimeout: IDLE_TIMEOUT_S,
    sendPingsAutomatically: true,
    upgrade: (res, req, context) =>
      guarded(options, () => {
        if (!ours(req)) {
          req.setYield(true);
          return;
        }
        const exchange = new Exchange(res, req);
        const upgrade = options.upgrade(exchange);
        if (upgrade !== undefined)
          exchange.upgrade({ upgrade, events: undefined } satisfies Data, upgrade.protocol, context);
      }),
    open: (ws) =>
      guarded(options, () => {
        const data = ws.getUserData();
        const { upgrade } = data;
        const socket = new OpenSocket(ws);
        data.socket = socket;
        data.upgrade = undefined;
        data.events = upgrade?.open(socket);
        // Ended while it opened: `close` has come before there was anyone to hear it.
        if (socket.isGone) data.events?.closed();
      }),
    message: (ws, message, binary) =>
      guarded(options, () => ws.getUserData().events?.message(Buffer.from(new Uint8Array(message).slice()), binary)),
    drain: (ws) => guarded(options, () => ws.getUserData().events?.drained()),
    close: (ws) =>
      guarded(options, () => {
        sockets.upgradedGone();
        const data = ws.getUserData();
        data.socket?.gone();
        data.events?.closed();
      }),
  };
}

/** An exception inside a callback would end in native code: it is our fault, and told. */
function guarded(options: ListenOptions, body: () => void): void {
  try {
    body();
  } catch (thrown) {
    options.fault(thrown);
  }
}

function writeHead(res: uWS.HttpResponse, status: number, headers: Readonly<Record<string, string>>): void {
  res.writeStatus(`${status} ${STATUS_CODES[status] ?? "Status"}`);
  for (const [name, value] of Object.entries(headers)) res.writeHeader(name, value);
}
