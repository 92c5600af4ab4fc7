/** Scripted model: an Anthropic Messages API on loopback, for the demo and for every test; it thinks nothing, it plays a script. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { type PaidCall, paidCall } from "./paid.ts";

/** Largest request body that is read: a long conversation with every tool schema stays below 2 MB. */
const MAX_BODY_BYTES = 32 * 1024 * 1024;

/** Who asked: the conversation itself, a subagent of it, or a small call on the side (title, probe). */
export type Caller = "main" | "subagent" | "side";

export interface Message {
  readonly role: "user" | "assistant";
  readonly content: string | readonly Readonly<Record<string, unknown>>[];
}

/** One call of the Messages API, as it arrived. */
export interface ModelRequest {
  readonly caller: Caller;
  readonly model: string;
  /** `output_config.effort`, where Claude names one. */
  readonly effort: string | undefined;
  readonly messages: readonly Message[];
  /** Names of the tools on offer. */
  readonly tools: readonly string[];
  /** The last prompt or the last tool results, as text: what most scripts decide by. */
  readonly last: string;
  /** How many calls of this caller came before it. */
  readonly nth: number;
  /** The client hung up: an interrupt. */
  readonly gone: AbortSignal;
}

/** Text as a whole, in pieces, or in pieces as they are made: an async iterable decides the pace itself. */
export type Pieces = string | Iterable<string> | AsyncIterable<string>;

export type Block =
  | { readonly text: Pieces; readonly everyMs?: number }
  | { readonly thinking: Pieces; readonly everyMs?: number }
  | { readonly tool: string; readonly input: Readonly<Record<string, unknown>>; readonly id?: string };

export interface Usage {
  readonly input: number;
  readonly output: number;
  readonly cacheRead?: number;
  readonly cacheWrite?: number;
}

/** What the model says: blocks, or an HTTP error. `message` is the message's id, minted where it is left out. */
export type Turn =
  | { readonly blocks: readonly Block[]; readonly usage?: Usage; readonly message?: string }
  | { readonly status: number; readonly error?: string; readonly headers?: Readonly<Record<string, string>> }
  /** The connection is cut in the middle of the answer: after these words. */
  | { readonly cut: string };

/** Called for main and subagent requests alike; side calls get a canned answer. */
export type Script = (request: ModelRequest) => Turn | Promise<Turn>;

export interface ModelOptions {
  /** Whether there is a model of this name; the default knows every name. Others are refused with 404, side calls too. */
  readonly knows?: (model: string) => boolean;
}

export interface Model extends AsyncDisposable {
  /** For ANTHROPIC_BASE_URL. */
  readonly url: string;
  /** Every main and subagent request, in order of arrival: the record of what Claude really sent. */
  readonly requests: readonly ModelRequest[];
  /** Every call of any kind, and what was to pay for it. */
  readonly calls: readonly PaidCall[];
}

/** Starts the API on a free loopback port. */
export async function startModel(script: Script, options: ModelOptions = {}): Promise<Model> {
  const requests: ModelRequest[] = [];
  const calls: PaidCall[] = [];
  const server = createServer((req, res) => {
    calls.push(paidCall(req));
    answer(req, res, script, options, requests).catch((fault: unknown) => {
      if (!res.headersSent) fail(res, 500, fault instanceof Error ? fault.message : "script failed");
      else res.destroy();
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    calls,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

async function answer(
  req: IncomingMessage,
  res: ServerResponse,
  script: Script,
  { knows = () => true }: ModelOptions,
  requests: ModelRequest[],
): Promise<void> {
  const path = (req.url ?? "/").split("?")[0] ?? "/";
  const raw = await body(req);
  if (req.method !== "POST") return void res.writeHead(200).end();
  if (path.endsWith("/count_tokens")) return json(res, 200, { input_tokens: 10 });
  if (!path.endsWith("/messages")) return fail(res, 404, `no route ${path}`);
  const call = parse(raw);
  if (call === undefined) return fail(res, 400, "body: expected a Messages API request");
  if (!knows(call.model)) return fail(res, 404, `model: ${call.model}`);
  const caller = callerOf(req, call);
  const gone = new AbortController();
  res.once("close", () => {
    if (!res.writableFinished) gone.abort();
  });
  const request: ModelRequest = {
    caller,
    model: call.model,
    effort: call.output_config?.effort,
    messages: call.messages,
    tools: toolNames(call),
    last: lastWords(call.messages),
    nth: requests.filter((r) => r.caller === caller).length,
    gone: gone.signal,
  };
  if (caller !== "side") requests.push(request);
  const turn = caller === "side" ? sideTurn(request) : await script(request);
  if ("status" in turn) return fail(res, turn.status, turn.error ?? "scripted error", turn.headers);
  if ("cut" in turn) return cut(res, request, turn.cut);
  if (call.stream) await stream(res, request, turn);
  else await whole(res, request, turn);
}

interface Call {
  readonly model: string;
  readonly messages: readonly Message[];
  readonly output_config?: { readonly effort?: string };
  readonly system?: unknown;
  readonly tools?: readonly { readonly name?: string }[];
  readonly stream?: boolean;
}

function parse(raw: string): Call | undefined {
  try {
    const call = JSON.parse(raw) as Call;
    return typeof call.model === "string" && Array.isArray(call.messages) ? call : undefined;
  } catch {
    return undefined;
  }
}

function toolNames(call: Call): string[] {
  return (call.tools ?? []).map((tool) => tool.name ?? "");
}

/** 2.1.112 sends no agent header: there a subagent is known by lacking the Agent tool. */
function callerOf(req: IncomingMessage, call: Call): Caller {
  const tools = toolNames(call);
  if (tools.length === 0) return "side";
  if (req.headers["x-claude-code-agent-id"] !== undefined) return "subagent";
  return JSON.stringify(call.system ?? "").includes("You are an agent for Claude Code") ? "subagent" : "main";
}

/** The text blocks after the last answer, without the reminders that Claude Code mixes in. */
function lastWords(messages: readonly Message[]): string {
  const after = messages.slice(messages.findLastIndex((m) => m.role === "assistant") + 1);
  return after
    .flatMap((m) => (typeof m.content === "string" ? [m.content] : m.content.map(wordsOf)))
    .filter((text) => text !== "" && !text.trimStart().startsWith("<system-reminder>"))
    .join("\n");
}

function wordsOf(block: Readonly<Record<string, unknown>>): string {
  if (block["type"] === "text") return String(block["text"]);
  if (block["type"] !== "tool_result") return "";
  const content = block["content"];
  return typeof content === "string" ? content : Array.isArray(content) ? content.map(wordsOf).join("\n") : "";
}

/** Titles and probes: short, and JSON where a title is asked for as JSON. */
function sideTurn(request: ModelRequest): Turn {
  const wantsTitle = JSON.stringify(request.messages).includes("title") || request.last.length > 2;
  return { blocks: [{ text: wantsTitle ? '{"title":"Scripted talk"}' : "Hi" }], usage: { input: 1, output: 1 } };
}

let minted = 0;
const mint = (prefix: string): string =>
  `${prefix}_${process.pid.toString(36)}${(minted++).toString(36).padStart(8, "0")}`;

async function* piecesOf(pieces: Pieces, everyMs: number, gone: AbortSignal): AsyncGenerator<string> {
  let first = true;
  for await (const piece of typeof pieces === "string" ? [pieces] : pieces) {
    if (!first && everyMs > 0) await pause(everyMs, undefined, { signal: gone });
    if (gone.aborted) return;
    first = false;
    yield piece;
  }
}

async function stream(
  res: ServerResponse,
  request: ModelRequest,
  turn: Extract<Turn, { blocks: unknown }>,
): Promise<void> {
  const usage = turn.usage ?? { input: 10, output: 5 };
  const send = (event: string, data: object): void => {
    res.write(`event: ${event}\ndata: ${JSON.stringify({ type: event, ...data })}\n\n`);
  };
  res.writeHead(200, { "content-type": "text/event-stream", "request-id": mint("req") });
  const counts = {
    input_tokens: usage.input,
    cache_read_input_tokens: usage.cacheRead ?? 0,
    cache_creation_input_tokens: usage.cacheWrite ?? 0,
  };
  send("message_start", {
    message: {
      ...envelope(request, turn.message),
      content: [],
      stop_reason: null,
      usage: { ...counts, output_tokens: 1 },
    },
  });
  for (const [index, block] of turn.blocks.entries()) {
    const delta = (data: object): void => send("content_block_delta", { index, delta: data });
    if ("tool" in block) {
      send("content_block_start", {
        index,
        content_block: { type: "tool_use", id: block.id ?? mint("toolu"), name: block.tool, input: {} },
      });
      delta({ type: "input_json_delta", partial_json: JSON.stringify(block.input) });
    } else if ("thinking" in block) {
      send("content_block_start", { index, content_block: { type: "thinking", thinking: "", signature: "" } });
      for await (const piece of piecesOf(block.thinking, block.everyMs ?? 0, request.gone))
        delta({ type: "thinking_delta", thinking: piece });
      delta({ type: "signature_delta", signature: "c2NyaXB0ZWQ=" });
    } else {
      send("content_block_start", { index, content_block: { type: "text", text: "" } });
      for await (const piece of piecesOf(block.text, block.everyMs ?? 0, request.gone))
        delta({ type: "text_delta", text: piece });
    }
    if (request.gone.aborted) return;
    send("content_block_stop", { index });
  }
  send("message_delta", {
    delta: { stop_reason: stopReason(turn.blocks), stop_sequence: null },
    usage: { ...counts, output_tokens: usage.output },
  });
  send("message_stop", {});
  res.end();
}

/** The beginning of an answer, and then nothing but a closed connection. */
async function cut(res: ServerResponse, request: ModelRequest, words: string): Promise<void> {
  async function* untilCut(): AsyncGenerator<string> {
    yield words;
    await new Promise((sent) => res.write(": cut\n\n", sent));
    res.destroy();
    yield "";
  }
  await stream(res, request, { blocks: [{ text: untilCut() }] });
}

async function whole(
  res: ServerResponse,
  request: ModelRequest,
  turn: Extract<Turn, { blocks: unknown }>,
): Promise<void> {
  const usage = turn.usage ?? { input: 10, output: 5 };
  const content: object[] = [];
  for (const block of turn.blocks) {
    if ("tool" in block)
      content.push({ type: "tool_use", id: block.id ?? mint("toolu"), name: block.tool, input: block.input });
    else if ("thinking" in block)
      content.push({ type: "thinking", thinking: await joined(block.thinking), signature: "c2NyaXB0ZWQ=" });
    else content.push({ type: "text", text: await joined(block.text) });
  }
  json(res, 200, {
    ...envelope(request, turn.message),
    content,
    stop_reason: stopReason(turn.blocks),
    usage: {
      input_tokens: usage.input,
      output_tokens: usage.output,
      cache_read_input_tokens: 0,
      cache_creation_input_tokens: 0,
    },
  });
}

function envelope(request: ModelRequest, id = mint("msg")): object {
  return { id, type: "message", role: "assistant", model: request.model, stop_sequence: null };
}

function stopReason(blocks: readonly Block[]): string {
  return blocks.some((block) => "tool" in block) ? "tool_use" : "end_turn";
}

async function joined(pieces: Pieces): Promise<string> {
  let text = "";
  for await (const piece of typeof pieces === "string" ? [pieces] : pieces) text += piece;
  return text;
}

const ERROR_TYPES: Readonly<Record<number, string>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  404: "not_found_error",
  429: "rate_limit_error",
  500: "api_error",
  529: "overloaded_error",
};

function fail(
  res: ServerResponse,
  status: number,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  json(res, status, { type: "error", error: { type: ERROR_TYPES[status] ?? "api_error", message } }, headers);
}

function json(
  res: ServerResponse,
  status: number,
  value: object,
  headers: Readonly<Record<string, string>> = {},
): void {
  res
    .writeHead(status, { "content-type": "application/json", "request-id": mint("req"), ...headers })
    .end(JSON.stringify(value));
}

async function body(req: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of req as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > MAX_BODY_BYTES) throw new Error(`body: longer than ${MAX_BODY_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}
