/** REST: one request is one command; the table in routes.ts says which. */

import { COMMANDS } from "../../control/commands.ts";
import type { Control, Principal, Reply } from "../../control/control.ts";
import { asCibError, CibError } from "../../errors.ts";
import { type Format, unpack } from "../values.ts";
import type { Aes } from "./aes.ts";
import type { Door } from "./door.ts";
import { type Exchange, MAX_BODY_BYTES } from "./listener.ts";
import { type Match, match, readQuery } from "./routes.ts";
import type { Events } from "./sse.ts";
import { answer, answerText, refuse, wantedFormat } from "./wire.ts";

export interface RestOptions {
  readonly control: Control;
  readonly door: Door;
  readonly events: Events;
  readonly aes: Aes;
  /** docs/openapi.json, ready-made. */
  readonly openapi: string | undefined;
  /** Aborted when the daemon stops. */
  readonly stopping: AbortSignal;
  fault(thrown: unknown): void;
}

export class Rest {
  readonly #options: RestOptions;
  #running = 0;

  constructor(options: RestOptions) {
    this.#options = options;
  }

  /** Commands that have no answer yet. */
  get running(): number {
    return this.#running;
  }

  /** Answers one exchange; never throws. */
  handle(exchange: Exchange): void {
    const format = wantedFormat(exchange);
    const failed = (thrown: unknown) => {
      const error = asCibError(thrown);
      // A client that left gets no answer, and that is no fault of ours.
      if (error.code === "internal" && !exchange.signal.aborted) this.#options.fault(error.cause ?? error);
      refuse(exchange, error, format);
    };
    try {
      this.#dispatch(exchange, format)?.catch(failed);
    } catch (thrown) {
      failed(thrown);
    }
  }

  #dispatch(exchange: Exchange, format: Format): Promise<void> | undefined {
    const { door, control, openapi, aes } = this.#options;
    const { request } = exchange;
    const changes = request.method !== "GET" && request.method !== "HEAD";
    door.check(request, changes);
    const found = match(request.method, request.path);
    // Its query is part of what was sealed: there is nothing to read in it.
    if (found.route.does === "envelope") return aes.handle(exchange);
    const query = readQuery(request.query, found.route.query);
    switch (found.route.does) {
      case "openapi":
        if (openapi === undefined) throw new CibError("not_implemented", "openapi: this build carries no description");
        answerText(exchange, openapi);
        return undefined;
      case "health":
        answer(exchange, 200, control.health(door.shows(request) ? door.enter(request) : undefined), format);
        return undefined;
      case "envelope.token":
        answer(exchange, 200, aes.token(), format);
        return undefined;
      case "socket":
        throw new CibError("bad_request", "upgrade: /ws speaks WebSocket; send Upgrade: websocket");
      case "events":
        this.#options.events.begin(exchange, door.enter(request), { ...query, ...found.params });
        return undefined;
      default:
        return this.#command(exchange, found, query, door.enter(request), format);
    }
  }

  async #command(
    exchange: Exchange,
    found: Match,
    query: Record<string, unknown>,
    who: Principal,
    format: Format,
  ): Promise<void> {
    // Asked for before the first await: afterwards the library has dropped it.
    const body = found.route.body ? exchange.body(MAX_BODY_BYTES) : undefined;
    const fields = body === undefined ? {} : readBody(exchange, await body);
    const given = { ...query, ...found.params };
    for (const name of ["cmd", ...Object.keys(given)]) {
      if (Object.hasOwn(fields, name))
        throw new CibError("bad_request", `${name}: belongs to the path, not to the body`);
    }
    const id = commandId(exchange, found, fields);
    const reply = await this.#run(exchange, who, { ...fields, ...id, ...given, cmd: found.route.does });
    answer(exchange, reply.status ?? found.route.status ?? 200, reply.body, format);
  }

  /** Runs a command that ends early when the client leaves, its token ends, or the daemon stops. */
  async #run(exchange: Exchange, who: Principal, command: Record<string, unknown>): Promise<Reply> {
    const { stopping, control } = this.#options;
    const over = new AbortController();
    const ends: [AbortSignal, () => CibError][] = [
      [exchange.signal, () => new CibError("internal", "the client left before its answer")],
      [
        who.ended,
        () => new CibError("unauthorized", `authorization: the token was ${String(who.ended.reason)} meanwhile`),
      ],
      [stopping, () => new CibError("stopping", "the box is stopping")],
    ];
    // AbortSignal.any would hold on to every request for as long as the longest-lived signal lives.
    const listeners = ends.map(([signal, reason]) => {
      const listener = () => over.abort(reason());
      if (signal.aborted) listener();
      else signal.addEventListener("abort", listener);
      return () => signal.removeEventListener("abort", listener);
    });
    this.#running++;
    try {
      return await control.run(who, command, over.signal);
    } catch (thrown) {
      throw over.signal.aborted && !(thrown instanceof CibError) ? over.signal.reason : thrown;
    } finally {
      this.#running--;
      for (const remove of listeners) remove();
    }
  }
}

/** A body as fields; an empty one has none. */
function readBody(exchange: Exchange, bytes: Buffer): Record<string, unknown> {
  if (bytes.length === 0) return {};
  const type = exchange.request.headers.get("content-type") ?? "";
  // Everything but CBOR is read as JSON: `curl -d` names a form, and means JSON.
  const value = unpack(bytes, type.startsWith("application/cbor") ? "cbor" : "json", "body");
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new CibError(
    "bad_request",
    `body: expected an object, got ${Array.isArray(value) ? "an array" : value === null ? "null" : typeof value}`,
  );
}

/** `Idempotency-Key` stands in for `id` where the command takes one and the body has none. */
function commandId(exchange: Exchange, found: Match, fields: Record<string, unknown>): { id?: string } {
  const key = exchange.request.headers.get("idempotency-key");
  if (key === undefined || fields["id"] !== undefined) return {};
  const { does } = found.route;
  const args = Object.hasOwn(COMMANDS, does) ? COMMANDS[does as keyof typeof COMMANDS].args : {};
  return "id" in args ? { id: key } : {};
}
