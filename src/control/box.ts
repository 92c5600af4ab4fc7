/** The box's control: authorises, deduplicates, acts, acknowledges. Every transport calls this and nothing behind it. */

import type { DeviceKeys } from "../auth/device-keys.ts";
import type { EnvelopeFault, Envelopes, EnvelopeWish, OpenedEnvelope } from "../auth/envelopes.ts";
import { authorise, type Gate, reaches } from "../auth/gate.ts";
import type { LinkPeer, Links, LinkWish } from "../auth/links.ts";
import type { Tokens } from "../auth/tokens.ts";
import { deadline } from "../deadline.ts";
import { CibError } from "../errors.ts";
import type { SessionId } from "../frame/frame.ts";
import { maskOf } from "../frame/select.ts";
import type { Sink } from "../frame/sink.ts";
import type { Ledger } from "../session/ledger.ts";
import type { Accepted } from "../session/queue.ts";
import type { Session } from "../session/session.ts";
import type { Setting } from "../session/switches.ts";
import { COMMANDS, type Command, parseAttach, parseCommand } from "./commands.ts";
import type { Attachment, Control, Credential, Principal, Reply, Verdict, Watcher } from "./control.ts";
import { CreationDesk, type CreationOptions } from "./creation-desk.ts";
import { KEYS } from "./fields.ts";
import { digestOf, Once } from "./once.ts";
import type { Conversations, HealthFacts, LoginPort } from "./ports.ts";
import { collectTurn } from "./send.ts";
import { TokenDesk } from "./token-desk.ts";
import { Watches } from "./watch.ts";

/** A page of `frames` when the caller names no limit. */
const PAGE_FRAMES = 200;
const LIST_SESSIONS = 50;
const SEND_WAIT_MS = 600_000;

const NEEDS_YOU = { waiting_for_input: 0, working: 1, idle: 2, stopped: 3 } as const;

export interface BoxOptions extends CreationOptions {
  readonly gate: Gate;
  readonly tokens: Tokens;
  readonly deviceKeys: DeviceKeys;
  readonly links: Links;
  readonly envelopes: Envelopes;
  readonly ledger: Ledger;
  readonly health: HealthFacts;
  readonly conversations: Conversations;
  readonly login: LoginPort;
  readonly now: () => number;
}

type Of<C extends Command["cmd"]> = Extract<Command, { cmd: C }>;
type Body = Readonly<Record<string, unknown>>;

export class BoxControl implements Control {
  readonly #o: BoxOptions;
  readonly #once: Once;
  readonly #desk: TokenDesk;
  readonly #creation: CreationDesk;
  readonly #watches: Watches;

  constructor(options: BoxOptions) {
    this.#o = options;
    this.#once = new Once(options.ledger);
    this.#desk = new TokenDesk(options.tokens, options.deviceKeys, this.#once, options.now);
    this.#creation = new CreationDesk(options, this.#once);
    this.#watches = new Watches(options.sessions);
  }

  enter(credential: Credential): Principal {
    return this.#o.gate.enter(credential);
  }

  link(wish: LinkWish): LinkPeer {
    return this.#o.links.greet(wish);
  }

  proved(keyId: string): Principal | undefined {
    return this.#o.links.proved(keyId);
  }

  psk(identity: string): Uint8Array {
    return this.#o.links.psk(identity);
  }

  mqttLogin(keyId: string, password: Uint8Array): Principal | undefined {
    return this.#o.links.mqtt(keyId, password);
  }

  envelopeToken(): Uint8Array {
    return this.#o.envelopes.token();
  }

  envelope(wish: EnvelopeWish): OpenedEnvelope | EnvelopeFault {
    return this.#o.envelopes.open(wish);
  }

  health(who: Principal | undefined): Body {
    const { version, uptimeS, details } = this.#o.health;
    return { status: "ok", version, uptime_s: uptimeS(), ...(who && details()) };
  }

  watch(who: Principal, watcher: Watcher): Disposable {
    authorise(who, ["sessions:read"], undefined);
    return this.#watches.watch(who, watcher);
  }

  async run(who: Principal, raw: Command | Body, signal: AbortSignal): Promise<Reply> {
    const command = parseCommand(raw);
    const session = "session" in command ? command.session : undefined;
    authorise(who, COMMANDS[command.cmd].scope, session);
    if (session !== undefined) this.#o.sessions.get(session);
    return this.#act(who, command, signal);
  }

  attach(who: Principal, raw: Body, sink: Sink): Attachment {
    const want = parseAttach(raw);
    authorise(who, want.pty ? ["sessions:read", "pty:read"] : ["sessions:read"], want.session);
    const session = this.#o.sessions.get(want.session);
    if (want.pty && session.meta.engine === "stream")
      throw new CibError("no_terminal", `session ${session.id} has no terminal`);
    if (want.pty && session.hooks.hidesTerminal)
      throw new CibError("forbidden", "pty: a hook of this box hides what the terminal would show; read the frames");
    const judged = session.log.judge(want);
    const verdict: Verdict = { session: session.id, ...judged };
    const reader = session.fanout.attach({
      from: judged.from,
      mask: maskOf(want.types?.filter((type) => type !== "pty.raw")),
      sink,
      ...(want.pty && { lane: { from: want.pty_from } }),
    });
    return { verdict, drained: () => reader.drained(), [Symbol.dispose]: () => reader[Symbol.dispose]() };
  }

  async #act(who: Principal, command: Command, signal: AbortSignal): Promise<Reply> {
    switch (command.cmd) {
      case "health":
        return { body: this.health(who) };
      case "sessions.list":
        return { body: this.#list(who, command) };
      case "sessions.get":
        return { body: this.#session(command).info() };
      case "sessions.create":
        return this.#creation.create(who, command);
      case "sessions.stop":
        await this.#session(command).stop(command.signal ?? "term", { wanted: false, reason: "stopped" });
        return { body: this.#session(command).info() };
      case "sessions.resume":
        await this.#session(command).start();
        return { body: this.#session(command).info() };
      case "input":
        return this.#input(who, command);
      case "queue.list":
        return { body: { inputs: this.#session(command).queue.list() } };
      case "queue.cancel":
        await this.#session(command).queue.cancel(command.input);
        return { body: { input: command.input, state: "failed" } };
      case "asks.list":
        return { body: { asks: this.#session(command).asks } };
      case "answer":
        return this.#answer(who, command);
      case "model":
        return this.#switch(command.session, "model", command.model);
      case "effort":
        return this.#switch(command.session, "effort", command.effort);
      case "mode":
        return this.#switch(command.session, "mode", command.mode);
      case "interrupt":
        return (await this.#session(command).interrupt(signal))
          ? { body: { state: "idle" } }
          : { status: 202, body: { pending: true } };
      case "resize":
        this.#session(command).resize(command.cols, command.rows);
        return { body: { cols: command.cols, rows: command.rows } };
      case "frames":
        return { body: this.#page(command) };
      case "send":
        return this.#send(who, command, signal);
      case "tokens.create":
        return this.#desk.issue(who, command);
      case "tokens.list":
        return this.#desk.list(who);
      case "tokens.revoke":
        return this.#desk.revoke(who, command.token);
      case "conversations.list":
        return { body: await this.#conversations(who, command) };
      case "hooks.get":
        return { body: { hooks: this.#o.hooks.list() } };
      case "hooks.put":
        await this.#o.hooks.put(command.hooks);
        return { body: { hooks: this.#o.hooks.list() } };
      case "login.start":
        return { body: { ...(await this.#o.login.start()) } };
      case "login.status":
        return { body: { ...(await this.#o.login.status()) } };
      case "login.code":
        return { body: { ...(await this.#o.login.code(command.code)) } };
      default:
        return command satisfies never;
    }
  }

  #session(command: { readonly session: SessionId }): Session {
    return this.#o.sessions.get(command.session);
  }

  /** Those who need you first, then the ones that work; among equals the newest. */
  #list(who: Principal, { cursor, limit = LIST_SESSIONS }: Of<"sessions.list">): Body {
    const visible = this.#o.sessions.all().filter((session) => reaches(who, session.id));
    const ranked = visible.sort(
      (a, b) =>
        NEEDS_YOU[a.state] - NEEDS_YOU[b.state] || b.meta.created_at - a.meta.created_at || (a.id < b.id ? -1 : 1),
    );
    const after = cursor === undefined ? 0 : ranked.findIndex((session) => session.id === cursor) + 1;
    if (cursor !== undefined && after === 0)
      throw new CibError("bad_request", "cursor: unknown; start again without one");
    const page = ranked.slice(after, after + limit);
    const more = after + limit < ranked.length ? page.at(-1)?.id : undefined;
    return { sessions: page.map((session) => session.info()), ...(more !== undefined && { cursor: more }) };
  }

  async #input(who: Principal, command: Of<"input">): Promise<Reply> {
    const session = this.#session(command);
    if (command.text !== undefined) {
      authorise(who, ["sessions:input"], session.id);
      return { body: await this.#accept(who, { ...command, text: command.text }, session) };
    }
    authorise(who, ["pty:write"], session.id);
    if (command.id !== undefined)
      throw new CibError(
        "bad_request",
        "id: only text is delivered exactly once; data and keys are not, send them without id",
      );
    session
      .terminal()
      .write(
        command.keys === undefined ? rawBytes(command) : Buffer.from(command.keys.map((key) => KEYS[key]).join("")),
      );
    return { body: { state: "delivered" } };
  }

  async #accept(who: Principal, command: { id?: string | undefined; text: string }, session: Session): Promise<Body> {
    const { id, text } = command;
    this.#mayRun(who, session, text);
    const digest = digestOf(command);
    const { reply, duplicate } = await this.#once.input(who.name, id, digest, () =>
      this.#queue(session, who, text, id !== undefined ? { id, digest } : {}),
    );
    return { ...(id !== undefined && { id }), ...reply, state: "accepted", ...(duplicate && { duplicate }) };
  }

  /** Recorded and with Claude when it resolves; an `id` makes a repeat find the same reply after a restart, too. */
  async #answer(who: Principal, command: Of<"answer">): Promise<Reply> {
    const { id, cmd: _cmd, session: _session, ...said } = command;
    const { answers } = this.#session(command);
    const { reply, duplicate } = await this.#once.run(who.name, id, digestOf(command), {
      reserve: () => ({}),
      act: async () => ({ ...(await answers.answer(who.name, said)) }),
    });
    const { repeated, ...body } = reply;
    return {
      body: { ...(id !== undefined && { id }), ...body, ...((duplicate || repeated === true) && { duplicate: true }) },
    };
  }

  async #switch(session: SessionId, what: Setting, value: string): Promise<Reply> {
    const got = await this.#o.sessions.get(session).switches.set(what, value);
    return got === undefined ? { status: 202, body: { pending: true } } : { body: { [what]: got } };
  }

  /** Claude's own conversations, those of our sessions left out: these are resumed or forked by their session. */
  async #conversations(who: Principal, { cursor, limit }: Of<"conversations.list">): Promise<Body> {
    if (who.sessions !== undefined) throw new CibError("forbidden", "a token bound to sessions sees no others");
    const ours = new Set(this.#o.sessions.all().map((session) => session.meta.conversation));
    return this.#o.conversations.list({ except: ours, cursor, limit: limit ?? LIST_SESSIONS });
  }

  /** `!` at a terminal runs a shell past every question: in a session that asks it takes the right to sit there. */
  #mayRun(who: Principal, session: Session, text: string): void {
    const { engine, bypass } = session.meta;
    if (engine !== "pty" || !text.trimStart().startsWith("!")) return;
    if ((!bypass || session.hooks.judgesTools) && !who.scopes.has("pty:write"))
      throw new CibError(
        "forbidden",
        "text: `!` runs a shell without a question; in this session that needs pty:write",
      );
  }

  /** The user's hooks see each new text once, before it is promised anything. */
  async #queue(
    session: Session,
    who: Principal,
    text: string,
    once: { id?: string; digest?: string },
  ): Promise<Accepted> {
    return session.queue.offer({ who: who.name, text, ...once }, session.hooks);
  }

  async #send(who: Principal, command: Of<"send">, signal: AbortSignal): Promise<Reply> {
    const session = this.#session(command);
    if (!session.running) throw new CibError("conflict", `session ${session.id} is stopped; resume it first`);
    const { timeout_ms = SEND_WAIT_MS, cmd: _cmd, ...input } = command;
    const accepted = (await this.#accept(who, input, session)) as { input: string; seq: number };
    using until = deadline(timeout_ms, signal, who.ended);
    const turn = await collectTurn(session, accepted, until.signal);
    if (!turn.ended && !signal.aborted) {
      throw new CibError("timeout", `the turn did not end within ${timeout_ms} ms`, {
        partial: { last: turn.last, messages: turn.messages },
      });
    }
    return {
      body: {
        ...accepted,
        last: turn.last,
        messages: turn.messages,
        ...(turn.reason !== undefined && { reason: turn.reason }),
        ...(turn.error !== undefined && { error: turn.error }),
      },
    };
  }

  #page({ session, from, epoch, types, limit = PAGE_FRAMES }: Of<"frames">): Body {
    const { log, id } = this.#o.sessions.get(session);
    const judged = log.judge({ from: from ?? 1, epoch });
    const { frames, next } = log.select(Math.max(judged.from, log.first), limit, maskOf(types));
    return { session: id, ...judged, frames: frames.map((encoded) => encoded.frame()), next };
  }
}

function rawBytes({ data, encoding }: Of<"input">): Uint8Array {
  if (typeof data !== "string") return data ?? new Uint8Array();
  if (encoding !== "base64") return Buffer.from(data);
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(data)) throw new CibError("bad_request", "data: not base64");
  return Buffer.from(data, "base64");
}
