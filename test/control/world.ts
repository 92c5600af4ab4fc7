/** A world for control tests: the real control with its gate and tokens over the world of the session tests. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { DeviceKeys } from "../../src/auth/device-keys.ts";
import { Envelopes } from "../../src/auth/envelopes.ts";
import { Gate, type Principal } from "../../src/auth/gate.ts";
import { Links } from "../../src/auth/links.ts";
import { SCOPES, type Scope } from "../../src/auth/scopes.ts";
import { Tokens } from "../../src/auth/tokens.ts";
import { Vault } from "../../src/auth/vault.ts";
import { BoxControl } from "../../src/control/box.ts";
import type { HookRules, LoginPort, LoginState } from "../../src/control/ports.ts";
import { nodeProvider } from "../../src/crypto/aead-node.ts";
import { CibError } from "../../src/errors.ts";
import type { SessionId } from "../../src/frame/frame.ts";
import { World, type WorldWish } from "../session/world.ts";

const MASTER = "control-master-token-of-at-least-32-characters";

export type Fields = Readonly<Record<string, unknown>>;

export class ControlWorld implements AsyncDisposable {
  readonly inner: World;
  /** What was put last. */
  readonly hooks = new ScriptedHooks();
  readonly login = new ScriptedLogin();
  #tokens: Tokens;
  #control: BoxControl;

  private constructor(inner: World) {
    this.inner = inner;
    [this.#tokens, this.#control] = this.#compose();
  }

  static async open(wish: WorldWish = {}): Promise<ControlWorld> {
    return new ControlWorld(await World.open(wish));
  }

  get tokens(): Tokens {
    return this.#tokens;
  }

  get control(): BoxControl {
    return this.#control;
  }

  get master(): Principal {
    return this.enter(MASTER);
  }

  enter(bearer: string): Principal {
    return this.#control.enter({ bearer, address: "127.0.0.1", encrypted: false });
  }

  /** A device with these scopes, and what it may reach. */
  device(
    scopes: readonly Scope[] = SCOPES,
    more: { sessions?: readonly SessionId[]; expires_at?: number } = {},
  ): Principal {
    const { sessions, expires_at } = more;
    const { token } = this.#tokens.issue(Tokens.newId(), {
      label: "device",
      scopes: [...scopes],
      ...(sessions && { sessions: [...sessions] }),
      ...(expires_at !== undefined && { expires_at }),
    });
    return this.enter(token);
  }

  /** Runs a command and brings its reply's body. */
  async run(who: Principal, command: Fields, signal = new AbortController().signal): Promise<Fields> {
    return (await this.#control.run(who, command, signal)).body;
  }

  /** The code of a command's refusal and its words; "ok" where it works. */
  async outcome(who: Principal, command: Fields): Promise<{ code: string; message: string }> {
    try {
      await this.run(who, command);
      return { code: "ok", message: "" };
    } catch (thrown) {
      if (thrown instanceof CibError) return { code: thrown.code, message: thrown.message };
      throw thrown;
    }
  }

  async restart(): Promise<void> {
    this.#tokens[Symbol.dispose]();
    await this.inner.stop();
    await this.inner.start();
    [this.#tokens, this.#control] = this.#compose();
  }

  #compose(): [Tokens, BoxControl] {
    const { inner } = this;
    const now = () => inner.now;
    const tokens = new Tokens(join(inner.data, "tokens.json"), now);
    const gate = new Gate({ masterToken: MASTER, tokens, plain: "loopback", now });
    const vault = new Vault(MASTER, Buffer.alloc(16));
    const deviceKeys = new DeviceKeys({ file: join(inner.data, "devices.json"), vault, provider: nodeProvider, now });
    const control = new BoxControl({
      gate,
      tokens,
      deviceKeys,
      links: new Links({ keys: deviceKeys, gate, provider: nodeProvider, random: randomBytes }),
      envelopes: new Envelopes({ keys: deviceKeys, gate, provider: nodeProvider, random: randomBytes, clock: now }),
      sessions: inner.sessions,
      ledger: inner.ledger,
      now,
      conversations: { list: async () => ({ conversations: [] }) },
      hooks: this.hooks,
      login: this.login,
      reserved: new Set(["ANTHROPIC_API_KEY"]),
      health: { version: "9.9.9", uptimeS: () => 12, details: () => ({ sessions: inner.sessions.all().length }) },
    });
    return [tokens, control];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#tokens[Symbol.dispose]();
    await this.inner[Symbol.asyncDispose]();
  }
}

class ScriptedHooks implements HookRules {
  rules: readonly unknown[] = [];

  list(): readonly unknown[] {
    return this.rules;
  }

  async put(rules: readonly unknown[]): Promise<void> {
    this.rules = rules;
  }

  check(): void {}
}

class ScriptedLogin implements LoginPort {
  state: LoginState = { state: "idle" };

  async start(): Promise<LoginState> {
    this.state = { state: "waiting_for_code", url: "https://example.org/login" };
    return this.state;
  }

  async status(): Promise<LoginState> {
    return this.state;
  }

  async code(): Promise<LoginState> {
    this.state = { state: "done", logged_in: true };
    return this.state;
  }
}
