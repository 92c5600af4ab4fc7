/** The gate: a credential becomes a Principal here or is refused, whatever transport it came by. */
import { createHash, timingSafeEqual } from "node:crypto";
import { BlockList, isIPv4 } from "node:net";
import { CibError } from "../errors.ts";
import type { SessionId } from "../frame/frame.ts";
import { SCOPES, type Scope } from "./scopes.ts";
import { ending, type Tokens } from "./tokens.ts";

/** Wrong tokens from one address before it is told to wait. */
const FREE_FAILURES = 5;
/** 2^n seconds after the n-th further failure, at most this. */
const MAX_WAIT_S = 60;
/** Addresses remembered; the oldest goes: 1,024 × about 100 bytes. */
const MAX_ADDRESSES = 1024;
/** A quiet address is forgiven. */
const FORGET_MS = 10 * 60_000;

const LOOPBACK = subnets(["127.0.0.0", 8, "ipv4"], ["::1", 128, "ipv6"]);
/** RFC 1918, RFC 3927, RFC 6598 (container and carrier gateways), RFC 4193, RFC 4291 §2.5.6. */
const PRIVATE = subnets(
  ["10.0.0.0", 8, "ipv4"],
  ["172.16.0.0", 12, "ipv4"],
  ["192.168.0.0", 16, "ipv4"],
  ["169.254.0.0", 16, "ipv4"],
  ["100.64.0.0", 10, "ipv4"],
  ["fc00::", 7, "ipv6"],
  ["fe80::", 10, "ipv6"],
);

/** Who is speaking. */
export interface Principal {
  /** "master" or the token's id: stable, in frames and logs. */
  readonly name: string;
  readonly label: string;
  readonly scopes: ReadonlySet<Scope>;
  /** Bound to these sessions only. */
  readonly sessions?: ReadonlySet<SessionId>;
  /** Ends with reason "revoked" or "expired": every connection obeys. */
  readonly ended: AbortSignal;
  readonly expiresAt?: number;
}

/** What a transport knows of a caller. */
export interface Credential {
  readonly bearer: string | undefined;
  /** Remote IP address. */
  readonly address: string;
  /** TLS, or a link of our own. */
  readonly encrypted: boolean;
}

export interface GateOptions {
  readonly masterToken: string;
  readonly tokens: Tokens;
  readonly plain: "loopback" | "private" | "any";
  readonly now: () => number;
}

export class Gate {
  readonly #options: GateOptions;
  readonly #master: Buffer;
  readonly #masterPrincipal: Principal;
  readonly #failures = new Map<string, { count: number; at: number }>();

  constructor(options: GateOptions) {
    this.#options = options;
    this.#master = digest(options.masterToken);
    const ended = ending().signal;
    this.#masterPrincipal = { name: "master", label: "master", scopes: new Set(SCOPES), ended };
  }

  /** Throws `unauthorized` (none or wrong), `slow_down` (wrong again and again), `plain_refused`. A right token is never slowed. */
  enter(credential: Credential): Principal {
    const { bearer, address, encrypted } = credential;
    if (!encrypted && !plainAllowed(this.#options.plain, address)) {
      throw new CibError(
        "plain_refused",
        `this address may not send tokens unencrypted (CIB_PLAIN=${this.#options.plain}); use HTTPS`,
      );
    }
    if (bearer === undefined) throw new CibError("unauthorized", "no token; send Authorization: Bearer <token>");
    const found = timingSafeEqual(digest(bearer), this.#master)
      ? this.#masterPrincipal
      : principalOf(this.#options.tokens.find(bearer));
    if (found !== undefined) return found;
    throw this.#failed(address);
  }

  /** Who a token belongs to, for one who has proved to hold its device key. Undefined when it is revoked or expired. */
  holder(token: string): Principal | undefined {
    return principalOf(this.#options.tokens.holder(token));
  }

  #failed(address: string): CibError {
    const now = this.#options.now();
    const known = this.#failures.get(address);
    const before = known !== undefined && now - known.at < FORGET_MS ? known.count : 0;
    // Deleting first keeps the map in order of last failure, so that the first entry is the oldest.
    this.#failures.delete(address);
    this.#failures.set(address, { count: before + 1, at: now });
    if (this.#failures.size > MAX_ADDRESSES) {
      const [oldest] = this.#failures.keys();
      if (oldest !== undefined) this.#failures.delete(oldest);
    }
    if (before < FREE_FAILURES)
      return new CibError("unauthorized", "wrong token; it may be mistyped, revoked or expired");
    const retryAfterS = Math.min(2 ** (before - FREE_FAILURES), MAX_WAIT_S);
    return new CibError("slow_down", `too many wrong tokens from this address; wait ${retryAfterS} s`, { retryAfterS });
  }
}

/** Throws `forbidden` unless the principal holds the scope and may touch the session. */
export function authorise(who: Principal, scopes: readonly Scope[], session: SessionId | undefined): void {
  if (who.ended.aborted) throw new CibError("unauthorized", `this token has ${String(who.ended.reason)}`);
  for (const scope of scopes) {
    if (!who.scopes.has(scope))
      throw new CibError("forbidden", `this needs scope ${scope}, which the token "${who.label}" lacks`);
  }
  if (session !== undefined && !reaches(who, session)) {
    // The same words as for a session that does not exist: a bound token learns nothing of others.
    throw new CibError("not_found", `no session ${session}`);
  }
}

/** Whether a principal may know of this session at all. */
export function reaches(who: Principal, session: SessionId): boolean {
  return who.sessions === undefined || who.sessions.has(session);
}

function principalOf(found: ReturnType<Tokens["find"]>): Principal | undefined {
  if (found === undefined) return undefined;
  const { record, ended } = found;
  return {
    name: record.id,
    label: record.label,
    scopes: new Set(record.scopes as Scope[]),
    ended,
    ...(record.sessions && { sessions: new Set(record.sessions as SessionId[]) }),
    ...(record.expires_at !== undefined && { expiresAt: record.expires_at }),
  };
}

function plainAllowed(plain: GateOptions["plain"], address: string): boolean {
  const family = isIPv4(address) ? "ipv4" : "ipv6";
  if (plain === "any" || LOOPBACK.check(address, family)) return true;
  return plain === "private" && PRIVATE.check(address, family);
}

/** A block list also recognises IPv4 addresses written as IPv6 (::ffff:127.0.0.1). */
function subnets(...list: readonly (readonly [string, number, "ipv4" | "ipv6"])[]): BlockList {
  const found = new BlockList();
  for (const [net, prefix, family] of list) found.addSubnet(net, prefix, family);
  return found;
}

function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
