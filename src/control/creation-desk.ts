/** Creation desk: new sessions, and old ones brought back, as their creator may have them. */
import { authorise } from "../auth/gate.ts";
import { CibError } from "../errors.ts";
import { type SessionId, sessionId } from "../frame/frame.ts";
import { newSessionId } from "../session/meta.ts";
import type { Session } from "../session/session.ts";
import type { NewSession } from "../session/sessions.ts";
import type { Command } from "./commands.ts";
import type { Principal, Reply } from "./control.ts";
import { digestOf, type Once } from "./once.ts";
import type { HookRules, SessionStore } from "./ports.ts";

type Create = Extract<Command, { cmd: "sessions.create" }>;

export interface CreationOptions {
  readonly sessions: SessionStore;
  readonly hooks: HookRules;
  /** Variables that no creator may set: they decide what pays, and for whom. */
  readonly reserved: ReadonlySet<string>;
}

export class CreationDesk {
  readonly #o: CreationOptions;
  readonly #once: Once;

  constructor(options: CreationOptions, once: Once) {
    this.#o = options;
    this.#once = once;
  }

  async create(who: Principal, command: Create): Promise<Reply> {
    const { id, resume, fork, env, auth } = command;
    if (resume !== undefined) return this.#createByResume(who, command, resume);
    if (who.sessions !== undefined) throw new CibError("forbidden", "a token bound to sessions cannot create others");
    if (env !== undefined) {
      authorise(who, ["sessions:env"], undefined);
      const name = Object.keys(env).find((each) => this.#o.reserved.has(each));
      if (name !== undefined)
        throw new CibError(
          "bad_request",
          `env.${name}: the box sets it; what pays is chosen by auth, where calls go by the daemon`,
        );
    }
    if (fork !== undefined) {
      if (command.workdir !== undefined)
        throw new CibError("bad_request", "workdir: does not go with fork, which works where its source does");
      authorise(who, ["sessions:read"], fork);
      this.#o.sessions.get(fork);
    }
    if (command.adopt !== undefined) {
      const other = (["workdir", "fork"] as const).find((field) => command[field] !== undefined);
      if (other !== undefined) throw new CibError("bad_request", `${other}: does not go with adopt`);
      authorise(who, ["sessions:read"], undefined);
    } else if (command.copy !== undefined) throw new CibError("bad_request", "copy: goes with adopt");
    const mode = auth?.mode ?? "subscription";
    const key = auth?.mode === "api_key" ? auth.key : undefined;
    if (command.gate !== undefined && command.bypass === true)
      throw new CibError("bad_request", "gate: does not go with bypass, which asks nobody");
    if (command.hooks !== undefined) {
      authorise(who, ["hooks:write"], undefined);
      this.#o.hooks.check(command.hooks);
    }
    const { cmd: _cmd, id: _id, auth: _auth, resume: _resume, ...want } = command;
    const { reply, duplicate } = await this.#once.run(who.name, id, digestOf(command), {
      reserve: () => ({ session: newSessionId() }),
      act: async ({ session }) => {
        const made = sessionId(String(session)) as SessionId;
        if (!this.#o.sessions.has(made)) {
          await this.#o.sessions.create({
            ...want,
            id: made,
            by: who.name,
            auth: auth === undefined ? this.#o.sessions.defaultAuth() : mode,
            ...(key && { key }),
            ...this.#asks(command),
          });
        }
        return this.#o.sessions.get(made).info();
      },
    });
    return { status: 201, body: { ...reply, ...(duplicate && { duplicate }) } };
  }

  /** What asks a person in a new session, and what judges it: a copy as its source, unless it is told otherwise. */
  #asks(command: Create): Pick<NewSession, "bypass" | "gate"> & { readonly hooks?: readonly unknown[] } {
    const source = this.#source(command)?.meta;
    const ruled = command.hooks ?? source?.hooks;
    const rules = ruled && { hooks: ruled };
    const { bypass, gate } = command;
    if (gate !== undefined || bypass !== undefined || source === undefined)
      return { bypass: bypass ?? gate === undefined, gate, ...rules };
    return { bypass: source.bypass, gate: source.gate, ...rules };
  }

  #source({ fork, adopt }: Create): Session | undefined {
    if (fork !== undefined) return this.#o.sessions.get(fork);
    return adopt === undefined ? undefined : this.#o.sessions.all().find(({ meta }) => meta.conversation === adopt);
  }

  /** `resume` in create brings a stopped session back under its own id; the other fields must not ask for another one. */
  async #createByResume(who: Principal, command: Create, session: SessionId): Promise<Reply> {
    authorise(who, ["sessions:read"], session);
    const { cmd: _cmd, id: _id, resume: _resume, ...rest } = command;
    const [other] = Object.keys(rest);
    if (other !== undefined)
      throw new CibError("bad_request", `${other}: does not go with resume, which keeps what the session has`);
    const found = this.#o.sessions.get(session);
    await found.start();
    return { status: 201, body: found.info() };
  }
}
