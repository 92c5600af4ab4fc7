/** Hook inbox: the loopback listener where Claude Code's own hooks arrive. A call is a claim, never authority. */
import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** Longest body of one call. A tool's input and output are in it: Claude cuts outputs at 30 KB, a Write holds a whole file. */
export const MAX_HOOK_BYTES = 32 * 1024 * 1024;
/** 128 bits: the path is the credential. */
const TOKEN_BYTES = 16;
/** A call from the same machine is complete within this, also on a loaded Raspberry Pi. */
const CALL_DEADLINE_MS = 30_000;

/**
 * One hook call of one session; what it returns is the answer on this very connection, at once or when it resolves.
 * `gone` aborts when Claude closes the connection first.
 */
export type HookListener = (
  event: string,
  body: Readonly<Record<string, unknown>>,
  gone: AbortSignal,
) => object | Promise<object>;

interface Answer {
  readonly status: number;
  readonly body?: object;
}

/** A session's place in the inbox; disposing it makes its address unknown. */
export interface HookLease extends Disposable {
  url(event: string): string;
}

export interface HookInbox extends AsyncDisposable {
  /** Calls refused: unknown token, too long, not JSON. */
  readonly refused: number;
  open(listener: HookListener): HookLease;
}

/** Starts the listener on a free loopback port. */
export async function startInbox(): Promise<HookInbox> {
  const listeners = new Map<string, HookListener>();
  let refused = 0;
  const server = createServer((req, res) => {
    receive(req, res, listeners).then(
      (answer) => {
        if (answer.status !== 200) refused++;
        reply(res, answer);
      },
      () => {
        refused++;
        req.destroy();
      },
    );
  });
  server.requestTimeout = CALL_DEADLINE_MS;
  server.unref();
  await new Promise<void>((done, fail) => server.once("error", fail).listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  return {
    get refused() {
      return refused;
    },
    open(listener) {
      const token = randomBytes(TOKEN_BYTES).toString("hex");
      listeners.set(token, listener);
      return {
        url: (event) => `http://127.0.0.1:${port}/${token}/${event}`,
        [Symbol.dispose]: () => void listeners.delete(token),
      };
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

/** A hanging hook stalls every later event of the session: only what waits for a decision is answered late. */
async function receive(
  req: IncomingMessage,
  res: ServerResponse,
  listeners: ReadonlyMap<string, HookListener>,
): Promise<Answer> {
  const [, token = "", event = ""] = (req.url ?? "").split("/");
  const listener = listeners.get(token);
  if (listener === undefined || req.method !== "POST") return { status: 404 };
  const raw = await body(req);
  if (raw === undefined) return { status: 413 };
  const call = parse(raw);
  if (call === undefined) return { status: 400 };
  const gone = new AbortController();
  res.once("close", () => gone.abort());
  return { status: 200, body: await listener(event, call, gone.signal) };
}

function reply(res: ServerResponse, { status, body = {} }: Answer): void {
  if (status === 413) res.setHeader("connection", "close");
  res.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

async function body(req: IncomingMessage): Promise<string | undefined> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of req as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > MAX_HOOK_BYTES) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function parse(raw: string): Record<string, unknown> | undefined {
  try {
    const call: unknown = JSON.parse(raw);
    return typeof call === "object" && call !== null && !Array.isArray(call)
      ? (call as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
