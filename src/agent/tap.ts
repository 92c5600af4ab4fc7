/** Tap: a loopback pass-through between Claude and the Messages API, which overhears what streams by; it changes and adds nothing. */
import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Asker, TapRequest } from "./tap-request.ts";
import { type Heard, TapStream } from "./tap-stream.ts";
import { Upstream, type Way } from "./upstream.ts";

/** 128 bits: the path is the credential. */
const TOKEN_BYTES = 16;
/** Claude's connection may lie unused between two prompts: it is Claude that gives it up. */
const KEEP_ALIVE_MS = 3_600_000;

/** What was overheard, and of whom. A claim of whoever knows the address, never authority. */
export type TapListener = (heard: Heard, agent: string | undefined) => void;

export interface TapOptions {
  readonly way: Way;
  /** Whether this version of Claude marks a subagent's calls by a header. */
  readonly marksAgents: boolean;
  readonly heard: TapListener;
  /** Faults of the listening, which never disturb what passes. */
  readonly fault: (fault: unknown) => void;
}

/** A session's place at the tap; disposing it ends its calls and makes its address unknown. */
export interface TapLease extends Disposable {
  /** For ANTHROPIC_BASE_URL. */
  readonly url: string;
}

export interface Tap extends AsyncDisposable {
  open(options: TapOptions): TapLease;
}

interface Place extends TapOptions {
  readonly upstream: Upstream;
}

/** Starts the listener on a free loopback port. */
export async function startTap(): Promise<Tap> {
  const places = new Map<string, Place>();
  const server = createServer((req, res) => {
    const [, token = "", path = ""] = /^\/([0-9a-f]+)(\/.*)$/.exec(req.url ?? "") ?? [];
    const place = places.get(token);
    // A write that comes after the client has gone: the call above is ended by then.
    res.on("error", () => undefined);
    if (place === undefined || !isAllowed(path)) refuse(req, res);
    else pass(req, res, path, place);
  });
  // A request may be as long as the way to the API is slow.
  server.requestTimeout = 0;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.unref();
  await new Promise<void>((done, fail) => server.once("error", fail).listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  return {
    open(options) {
      const token = randomBytes(TOKEN_BYTES).toString("hex");
      const upstream = new Upstream(options.way);
      places.set(token, { ...options, upstream });
      return {
        url: `http://127.0.0.1:${port}/${token}`,
        [Symbol.dispose]() {
          places.delete(token);
          upstream[Symbol.dispose]();
        },
      };
    },
    async [Symbol.asyncDispose]() {
      for (const { upstream } of places.values()) upstream[Symbol.dispose]();
      places.clear();
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

/** What Claude calls: the API's own paths, and "/" to warm up a connection. No dot segment leads out of them. */
function isAllowed(path: string): boolean {
  const [bare = ""] = path.split("?");
  return (
    bare === "/" || (/^\/(v1|api)\//.test(bare) && !/(^|\/)(\.|%2e){1,2}(\/|$)/i.test(bare) && !bare.includes("\\"))
  );
}

/** RFC 9110 §7.6.1: these speak of one connection, not of the message. */
const HOP = /^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade)$/i;
/** What would make the answer unreadable here, and what is set anew. */
const OURS = /^(accept-encoding|host)$/i;

function pass(req: IncomingMessage, res: ServerResponse, path: string, place: Place): void {
  const overheard = req.method === "POST" && path.split("?")[0] === "/v1/messages";
  const request = overheard ? new TapRequest(req.headers, place.marksAgents) : undefined;
  const headers = without(req.rawHeaders, (name) => HOP.test(name) || OURS.test(name));
  const up = place.upstream.request(req.method ?? "GET", path, headers);
  up.on("error", (fault: Error) => {
    req.removeAllListeners("data");
    req.resume();
    failed(res, fault);
  });
  up.on("response", (answer) => respond(answer, res, request, place));
  // What the client takes back, the API need not go on with.
  res.on("close", () => {
    if (!res.writableFinished) up.destroy();
  });
  req.on("error", () => up.destroy());
  req.on("data", (chunk: Buffer) => {
    if (!up.write(chunk)) {
      req.pause();
      up.once("drain", () => req.resume());
    }
    guarded(place, () => request?.push(chunk));
  });
  req.on("end", () => up.end());
}

function respond(answer: IncomingMessage, res: ServerResponse, request: TapRequest | undefined, place: Place): void {
  const asker = request?.asker;
  const stream = asker !== undefined && isStream(answer) ? new TapStream() : undefined;
  res.writeHead(
    answer.statusCode ?? 502,
    answer.statusMessage,
    without(answer.rawHeaders, (name) => HOP.test(name)),
  );
  res.flushHeaders();
  answer.on("error", () => res.destroy());
  answer.on("data", (chunk: Buffer) => {
    if (!res.write(chunk)) {
      answer.pause();
      res.once("drain", () => answer.resume());
    }
    // Claude first: a chunk that is written leaves at the end of this tick.
    if (stream !== undefined) process.nextTick(guarded, place, () => tell(stream.push(chunk), asker, place));
  });
  answer.on("close", () => {
    if (stream !== undefined) guarded(place, () => tell(stream.end(), asker, place));
  });
  answer.on("end", () => {
    // An answer that was cut must look cut to Claude too.
    if (answer.complete) res.end();
    else res.destroy();
  });
  answer.on("aborted", () => res.destroy());
}

function tell(all: readonly Heard[], asker: Asker, place: Place): void {
  for (const heard of all) place.heard(heard, asker?.agent);
}

function isStream({ statusCode, headers }: IncomingMessage): boolean {
  const type = headers["content-type"] ?? "";
  return statusCode === 200 && type.startsWith("text/event-stream") && headers["content-encoding"] === undefined;
}

/** Listening is a favour: whatever happens to it, the bytes pass. */
function guarded({ fault }: Place, listen: () => void): void {
  try {
    listen();
  } catch (thrown) {
    fault(thrown);
  }
}

function failed(res: ServerResponse, fault: Error): void {
  if (res.headersSent) return void res.destroy();
  const why = (fault as NodeJS.ErrnoException).code ?? fault.message;
  const body = {
    type: "error",
    error: { type: "api_error", message: `claude-in-box: the API cannot be reached: ${why}` },
  };
  res.writeHead(502, { "content-type": "application/json" }).end(JSON.stringify(body));
}

function refuse(req: IncomingMessage, res: ServerResponse): void {
  req.resume();
  const body = { type: "error", error: { type: "not_found_error", message: "claude-in-box: no such address" } };
  res.writeHead(404, { "content-type": "application/json", connection: "close" }).end(JSON.stringify(body));
}

function without(raw: readonly string[], dropped: (name: string) => boolean): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const [name = "", value = ""] = [raw[i], raw[i + 1]];
    if (!dropped(name)) kept.push(name, value);
  }
  return kept;
}
