/** The door: what every HTTP request and upgrade must show before anything else looks at it. */
import { setMaxListeners } from "node:events";
import { isIP } from "node:net";
import type { Control, Principal } from "../../control/control.ts";
import { CibError } from "../../errors.ts";
import type { Request } from "./peer.ts";
import { refuseTokens } from "./routes.ts";

/** Subprotocols that carry a token: `bearer.<token>`. */
const BEARER_PROTOCOL = "bearer.";

/** Header bytes of one request: browsers send about 1 KiB, a token is under 200 bytes. uWebSockets.js itself stops at its receive buffer of 512 KiB. */
export const MAX_HEADER_BYTES = 16 * 1024;

export interface DoorOptions {
  /** Names, `*.suffix` patterns and origins by which the box may be reached, beyond loopback, addresses and *.local. */
  readonly hosts: readonly string[];
  readonly tls: boolean;
}

export class Door {
  readonly #control: Control;
  readonly #tls: boolean;
  readonly #names: ReadonlySet<string>;
  readonly #suffixes: readonly string[];

  constructor(control: Control, options: DoorOptions) {
    this.#control = control;
    this.#tls = options.tls;
    const hosts = options.hosts.map((host) => hostOf(host.toLowerCase()));
    this.#names = new Set(hosts.filter((host) => !host.startsWith("*.")));
    this.#suffixes = hosts.filter((host) => host.startsWith("*.")).map((host) => host.slice(1));
  }

  /** Throws `token_in_url`, `headers_too_large` or `bad_origin`. `changes`: whether the request may change something, as every upgrade may. */
  check(request: Request, changes: boolean): void {
    refuseTokens(request.query);
    if (request.headerBytes > MAX_HEADER_BYTES) {
      throw new CibError(
        "headers_too_large",
        `headers: ${request.headerBytes} bytes; the limit is ${MAX_HEADER_BYTES}`,
      );
    }
    const host = (request.headers.get("host") ?? "").toLowerCase();
    if (!this.#reached(hostOf(host))) {
      throw new CibError("bad_origin", `host: ${shown(host)} is no name of this box; add it to CIB_HOSTS`);
    }
    const origin = request.headers.get("origin")?.toLowerCase();
    if (origin !== undefined) this.#checkOrigin(origin, host);
    // Browsers say where a request comes from (Fetch Metadata); whoever says so must also show the Origin.
    const site = request.headers.get("sec-fetch-site");
    if (changes && origin === undefined && site !== undefined && site !== "none") {
      throw new CibError("bad_origin", "origin: a browser's request that changes something needs one");
    }
  }

  /** Who is calling. Throws what Control.enter throws. */
  enter(request: Request): Principal {
    const principal = this.#control.enter({
      bearer: bearerOf(request),
      address: request.address,
      encrypted: this.#tls || isLoopback(request.address),
    });
    // Every connection of a principal listens to it: no leak, so no warning.
    setMaxListeners(0, principal.ended);
    return principal;
  }

  /** Whether the request shows any credential at all. */
  shows(request: Request): boolean {
    return bearerOf(request) !== undefined;
  }

  #reached(name: string): boolean {
    // Rebinding needs a name that the attacker resolves; an address cannot be rebound, and behind a container's
    // published port it is none of our own.
    if (isIP(name.replace(/^\[|\]$/g, "")) !== 0) return true;
    if (name === "localhost" || name.endsWith(".localhost") || name.endsWith(".local")) return true;
    return this.#listed(name);
  }

  #listed(name: string): boolean {
    return this.#names.has(name) || this.#suffixes.some((suffix) => name.endsWith(suffix));
  }

  #checkOrigin(origin: string, host: string): void {
    // Only what a browser writes: with "?" or "@" in it the end of the text would not be the end of a name.
    const from = /^https?:\/\/((?:\[[\da-f:.]+\]|[\w.-]+)(?::\d+)?)$/.exec(origin)?.[1];
    // The scheme is left out: a proxy in front may have added TLS.
    if (from !== undefined && (from === host || this.#listed(hostOf(from)))) return;
    throw new CibError("bad_origin", `origin: ${shown(origin)} is not this box; add it to CIB_HOSTS`);
  }
}

/** Loopback, where plain text never leaves the machine. */
export function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.");
}

/** The token of a request: Authorization, or one subprotocol. Throws `unauthorized` when it is malformed. */
function bearerOf(request: Request): string | undefined {
  const header = request.headers.get("authorization");
  const tokens = protocolsOf(request).filter((name) => name.startsWith(BEARER_PROTOCOL));
  if (tokens.length + (header === undefined ? 0 : 1) > 1) {
    throw new CibError("unauthorized", "authorization: more than one token; send one");
  }
  if (header !== undefined) {
    const token = /^bearer +([^\s,]+)$/i.exec(header)?.[1];
    if (token === undefined) throw new CibError("unauthorized", "authorization: expected Bearer and one token");
    return token;
  }
  return tokens[0]?.slice(BEARER_PROTOCOL.length);
}

/** The subprotocols that an upgrade offers, in its order. */
export function protocolsOf(request: Request): string[] {
  const offered = request.headers.get("sec-websocket-protocol");
  return offered === undefined ? [] : offered.split(",").map((name) => name.trim());
}

/** `http://box:8080` or `box:8080` or `[::1]:8080` without scheme and port. */
function hostOf(value: string): string {
  return value.replace(/^https?:\/\//, "").replace(/:\d{0,5}$/, "");
}

function shown(value: string): string {
  return JSON.stringify(value.slice(0, 64));
}
