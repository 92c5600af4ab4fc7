/** A control with a log in memory: what the transport is tested against, every answer known beforehand. */

import { SCOPES, type Scope } from "../../../src/auth/scopes.ts";
import { type Command, parseAttach, parseCommand } from "../../../src/control/commands.ts";
import type { Attachment, Control, Credential, Principal, Reply, Verdict } from "../../../src/control/control.ts";
import { CibError } from "../../../src/errors.ts";
import { Encoded } from "../../../src/frame/codec.ts";
import type { FrameBody, SessionId } from "../../../src/frame/frame.ts";
import { maskOf } from "../../../src/frame/select.ts";
import type { CloseReason, Sink } from "../../../src/frame/sink.ts";
import { createHttp, type HttpOptions, type HttpTransport } from "../../../src/transport/http/http.ts";

export const SESSION = "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId;
export const OTHER = "0190f0c2-7a11-7c33-9a55-1234567890ac" as SessionId;
export const TOKEN = "test-token-that-is-32-characters-long";
export const READER = "read-token-that-is-32-characters-long";
export const EPOCH = 3;

/** Frames written in one turn of the loop, as the real fan-out has it. */
const TURN_FRAMES = 64;

interface Holder extends Principal {
  readonly abort: AbortController;
}

export class FakeControl implements Control {
  readonly principals = new Map<string, Holder>();
  readonly logs = new Map<SessionId, Encoded[]>([
    [SESSION, []],
    [OTHER, []],
  ]);
  readonly readers = new Set<Reader>();
  readonly commands: Command[] = [];
  readonly credentials: Credential[] = [];
  /** Replies by command; a function may throw, or wait for the signal. */
  readonly answers = new Map<string, (command: Command, signal: AbortSignal) => Reply | Promise<Reply>>();
  /** Seq of the first frame kept: what is before it counts as pruned. */
  first = 1;

  constructor() {
    this.allow(TOKEN, "master", SCOPES);
    this.allow(READER, "reader", ["sessions:read"]);
  }

  allow(token: string, name: string, scopes: readonly Scope[]): Holder {
    const abort = new AbortController();
    const holder = { name, label: name, scopes: new Set(scopes), ended: abort.signal, abort };
    this.principals.set(token, holder);
    return holder;
  }

  link: Control["link"] = () => {
    throw new Error("no links here");
  };

  psk(): Uint8Array {
    throw new Error("no keys here");
  }

  envelope: Control["envelope"] = () => "mac";

  envelopeToken: Control["envelopeToken"] = () => new Uint8Array(16);

  proved(): undefined {}

  mqttLogin(): undefined {}

  enter(credential: Credential): Principal {
    this.credentials.push(credential);
    const holder = this.principals.get(credential.bearer ?? "");
    if (holder === undefined || holder.ended.aborted)
      throw new CibError("unauthorized", "authorization: no such token");
    return holder;
  }

  health(who: Principal | undefined): Readonly<Record<string, unknown>> {
    return { status: "ok", version: "test", uptime_s: 1, ...(who && { isolation: "none" }) };
  }

  async run(who: Principal, raw: Command | Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<Reply> {
    const command = parseCommand(raw);
    if (!who.scopes.has("sessions:write")) throw new CibError("forbidden", "scope: sessions:write is missing");
    this.commands.push(command);
    return (await this.answers.get(command.cmd)?.(command, signal)) ?? { body: { done: command.cmd } };
  }

  watch(): Disposable {
    throw new Error("nobody watches here");
  }

  attach(who: Principal, raw: Readonly<Record<string, unknown>>, sink: Sink): Attachment {
    const want = parseAttach(raw);
    if (!who.scopes.has("sessions:read")) throw new CibError("forbidden", "scope: sessions:read is missing");
    const log = this.logs.get(want.session);
    if (log === undefined) throw new CibError("not_found", `session: no session ${want.session}`);
    const last = log.length;
    const from = Math.max(want.from ?? last + 1, this.first);
    const ahead = (want.epoch ?? EPOCH) < EPOCH && from > last + 1;
    const verdict: Verdict = {
      session: want.session,
      epoch: EPOCH,
      first: this.first,
      last,
      from: ahead ? last + 1 : from,
      verdict: ahead ? "ahead" : (want.from ?? from) < this.first ? "gap" : "ok",
    };
    const reader = new Reader(log, verdict, maskOf(want.types), sink, () => this.readers.delete(reader));
    this.readers.add(reader);
    setImmediate(() => reader.pump());
    return reader;
  }

  /** Appends and fans out. */
  say(body: FrameBody, session: SessionId = SESSION): Encoded {
    const log = this.logs.get(session) as Encoded[];
    const frame = Encoded.of({
      session,
      seq: log.length + 1,
      ts: 1_763_880_000_000 + log.length,
      ...body,
    } as Parameters<typeof Encoded.of>[0]);
    log.push(frame);
    for (const reader of this.readers) reader.wake();
    return frame;
  }

  /** Ends every attachment as the fan-out would. */
  cut(reason: CloseReason): void {
    for (const reader of [...this.readers]) reader.sink.close(reason);
  }
}

export class Reader implements Attachment {
  readonly verdict: Verdict;
  readonly sink: Sink;
  readonly #log: readonly Encoded[];
  readonly #mask: number;
  readonly #forget: () => void;
  next: number;
  full = false;
  #over = false;
  #awake = true;

  constructor(log: readonly Encoded[], verdict: Verdict, mask: number, sink: Sink, forget: () => void) {
    this.#log = log;
    this.verdict = verdict;
    this.next = verdict.from;
    this.#mask = mask;
    this.sink = sink;
    this.#forget = forget;
  }

  wake(): void {
    if (this.#awake || this.full) return;
    this.#awake = true;
    setImmediate(() => this.pump());
  }

  pump(): void {
    this.#awake = false;
    for (let left = TURN_FRAMES; !this.#over && !this.full; left--) {
      const frame = this.#log[this.next - 1];
      if (frame === undefined) return;
      if (left === 0) {
        this.wake();
        return;
      }
      this.next++;
      if ((frame.bit & this.#mask) === 0) continue;
      this.full = this.sink.write(frame) === "full";
    }
  }

  drained(): void {
    this.full = false;
    this.wake();
  }

  [Symbol.dispose](): void {
    this.#over = true;
    this.#forget();
  }
}

export interface Box extends AsyncDisposable {
  readonly control: FakeControl;
  readonly http: HttpTransport;
  readonly url: string;
  readonly faults: unknown[];
  stop(): void;
}

/** A listener on a free port with a fake control behind it. */
export async function openBox(options: Partial<HttpOptions> = {}): Promise<Box> {
  const control = new FakeControl();
  const faults: unknown[] = [];
  const stop = new AbortController();
  const http = createHttp({
    listen: { host: "127.0.0.1", port: 0 },
    hosts: ["box.example"],
    onFault: (_, thrown) => faults.push(thrown),
    ...options,
  });
  await http.start(control, stop.signal);
  return {
    control,
    http,
    faults,
    url: `${options.tls ? "https" : "http"}://127.0.0.1:${http.port}`,
    stop: () => stop.abort(),
    [Symbol.asyncDispose]: () => http[Symbol.asyncDispose](),
  };
}

export const BEARER = { authorization: `Bearer ${TOKEN}` } as const;
