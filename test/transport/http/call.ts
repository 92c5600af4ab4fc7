/** Callers that show the wire as it is: one HTTP request, one raw connection, one event stream. */
import { type IncomingHttpHeaders, request } from "node:http";
import { connect as netConnect, type Socket } from "node:net";
import { BEARER, type Box } from "./fake.ts";

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
  /** The body as JSON. */
  json(): Record<string, unknown>;
  /** error.code and error.message of a refusal. */
  error(): { code: string; message: string; retryable: boolean };
}

export interface Ask {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** Without a token. */
  readonly bare?: boolean;
}

/** One request; connections are not kept. */
export function call(box: Box, method: string, path: string, ask: Ask = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(box.url + path, {
      method,
      agent: false,
      headers: {
        ...(ask.bare ? {} : BEARER),
        ...(ask.body !== undefined && { "content-length": Buffer.byteLength(ask.body) }),
        ...ask.headers,
      },
    });
    sent.on("error", reject);
    sent.on("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const bytes = Buffer.concat(chunks);
        const json = () => JSON.parse(bytes.toString()) as Record<string, unknown>;
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          bytes,
          json,
          error: () => json()["error"] as ReturnType<Answer["error"]>,
        });
      });
    });
    sent.end(ask.body);
  });
}

/** A connection that says exactly what it is given. */
export class Raw {
  readonly socket: Socket;
  text = "";
  closed = false;
  #wake: (() => void) | undefined;

  constructor(box: Box) {
    this.socket = netConnect(box.http.port, "127.0.0.1");
    this.socket.on("data", (chunk) => {
      this.text += chunk.toString("latin1");
      this.#wake?.();
    });
    this.socket.on("error", () => {});
    this.socket.on("close", () => {
      this.closed = true;
      this.#wake?.();
    });
  }

  say(text: string | Buffer): this {
    this.socket.write(text);
    return this;
  }

  /** Waits until what came satisfies, or the connection is over. */
  async until(done: (text: string) => boolean = () => false): Promise<string> {
    while (!this.closed && !done(this.text)) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.text;
  }
}

export interface Event {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: string;
}

/** An event stream; comments are counted, not shown. */
export class EventStream {
  readonly raw: Raw;
  #read = 0;

  constructor(box: Box, path: string, headers: Readonly<Record<string, string>> = BEARER) {
    this.raw = new Raw(box);
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    this.raw.say(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${lines.join("")}\r\n`);
  }

  /** The body so far, without chunk sizes. */
  get body(): string {
    const at = this.raw.text.indexOf("\r\n\r\n");
    if (at < 0) return "";
    let rest = this.raw.text.slice(at + 4);
    let body = "";
    for (;;) {
      const end = rest.indexOf("\r\n");
      if (end < 0) break;
      const size = Number.parseInt(rest.slice(0, end), 16);
      if (!(size > 0) || rest.length < end + 2 + size) break;
      body += rest.slice(end + 2, end + 2 + size);
      rest = rest.slice(end + 2 + size + 2);
    }
    return Buffer.from(body, "latin1").toString();
  }

  get heartbeats(): number {
    return this.body.split("\n\n").filter((block) => block === ":").length;
  }

  /** Every event so far. */
  get events(): Event[] {
    const blocks = this.body.split("\n\n").slice(0, -1);
    return blocks.flatMap((block) => {
      const fields = new Map(
        block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]),
      );
      const data = fields.get("data");
      return data === undefined ? [] : [{ event: fields.get("event") ?? "message", id: fields.get("id"), data }];
    });
  }

  /** The next n events that have not been read. */
  async next(n = 1): Promise<Event[]> {
    await this.raw.until(() => this.events.length >= this.#read + n);
    const got = this.events.slice(this.#read, this.#read + n);
    this.#read += got.length;
    return got;
  }

  end(): void {
    this.raw.socket.destroy();
  }
}
