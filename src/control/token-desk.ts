/** Token desk: device tokens made, shown and revoked by those who may. */
import type { DeviceKeys } from "../auth/device-keys.ts";
import { authorise, reaches } from "../auth/gate.ts";
import { type TokenRecord, Tokens } from "../auth/tokens.ts";
import { CibError } from "../errors.ts";
import type { Command } from "./commands.ts";
import type { Principal, Reply } from "./control.ts";
import { digestOf, type Once } from "./once.ts";

type Create = Extract<Command, { cmd: "tokens.create" }>;

export class TokenDesk {
  readonly #tokens: Tokens;
  readonly #keys: DeviceKeys;
  readonly #once: Once;
  readonly #now: () => number;
  /** Revoked, but their keys are still on the disk: a repeat finishes that. */
  readonly #unfinished = new Map<string, TokenRecord>();

  constructor(tokens: Tokens, keys: DeviceKeys, once: Once, now: () => number) {
    this.#tokens = tokens;
    this.#keys = keys;
    this.#once = once;
    this.#now = now;
  }

  /** Those that the caller may manage, without their secrets. */
  list(who: Principal): Reply {
    const tokens = this.#tokens.list().filter((token) => this.#mayManage(who, token));
    return { body: { tokens: tokens.map(shownToken) } };
  }

  async issue(who: Principal, command: Create): Promise<Reply> {
    const [tokens, now] = [this.#tokens, this.#now];
    const missing = command.scopes.find((scope) => !who.scopes.has(scope));
    if (missing !== undefined)
      throw new CibError("forbidden", `scopes: you cannot give ${missing}, which your token lacks`);
    const foreign = command.sessions?.find((session) => !reaches(who, session));
    if (foreign !== undefined) throw new CibError("not_found", `no session ${foreign}`);
    const sessions = command.sessions ?? (who.sessions && [...who.sessions]);
    const wish = command.ttl_s === undefined ? undefined : now() + command.ttl_s * 1000;
    const expires = Math.min(wish ?? Number.POSITIVE_INFINITY, who.expiresAt ?? Number.POSITIVE_INFINITY);
    if (command.x25519 && !command.device) throw new CibError("bad_request", "x25519: goes with device");
    let token: string | undefined;
    let key: { readonly id: string; readonly secret: string } | undefined;
    const { reply, duplicate } = await this.#once.run(who.name, command.id, digestOf(command), {
      reserve: () => ({ id: Tokens.newId() }),
      act: async (reserved) => {
        const id = String(reserved["id"]);
        // The maker may have ended while the disk was waited for: revoking it did not see this one, which would outlive it.
        authorise(who, [], undefined);
        if (!tokens.has(id)) {
          token = tokens.issue(id, {
            label: command.label,
            scopes: [...new Set(command.scopes)],
            ...(sessions && { sessions: [...sessions] }),
            ...(who.name !== "master" && { parent: who.name }),
            ...(Number.isFinite(expires) && { expires_at: expires }),
          }).token;
          if (command.device) key = this.#keyFor(id, command.x25519 ?? false);
        }
        return { id, label: command.label };
      },
    });
    const shownOnce = { ...(token !== undefined && { token }), ...(key && { key }) };
    return { status: 201, body: { ...reply, ...shownOnce, ...(duplicate && { duplicate }) } };
  }

  revoke(who: Principal, id: string): Reply {
    const token = this.#tokens.revocable().find((each) => each.id === id) ?? this.#unfinished.get(id);
    if (token === undefined || !this.#mayManage(who, token)) throw new CibError("not_found", `no token ${id}`);
    this.#tokens.revoke(id);
    this.#unfinished.set(id, token);
    this.#keys.keepOnly((each) => this.#tokens.has(each));
    this.#unfinished.clear();
    return { body: { id, revoked: true } };
  }

  /** A token that was promised a key and could not get one is none. */
  #keyFor(id: string, requireX25519: boolean): { readonly id: string; readonly secret: string } {
    try {
      return this.#keys.create(id, requireX25519);
    } catch (failure) {
      this.#tokens.revoke(id);
      throw failure;
    }
  }

  /** The master sees every token; a device token itself and what was minted with it, however far down. */
  #mayManage(who: Principal, token: TokenRecord): boolean {
    const byId = new Map(this.#tokens.revocable().map((each) => [each.id, each]));
    for (let at: TokenRecord | undefined = token; at !== undefined; at = byId.get(at.parent ?? ""))
      if (at.id === who.name) return true;
    return who.name === "master";
  }
}

function shownToken({ hash: _hash, ...record }: TokenRecord): Readonly<Record<string, unknown>> {
  return record;
}
