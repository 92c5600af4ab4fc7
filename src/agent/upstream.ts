/** Upstream: the one place that a session's tapped calls go to, and the way there: directly, or through the proxy that Claude would use. */
import { Agent, type ClientRequest, request as httpRequest, type RequestOptions } from "node:http";
import { Agent as TlsAgent, request as tlsRequest } from "node:https";
import type { Duplex } from "node:stream";
import { connect } from "node:tls";
import { CibError } from "../errors.ts";

/** Where Claude calls when nothing else is set. */
const ANTHROPIC = "https://api.anthropic.com";
/** An unused connection is given up before common gateways give it up themselves (nginx: 75 s), which would cost a call. */
const IDLE_MS = 30_000;

/** Where to, and how. */
export interface Way {
  readonly base: URL;
  readonly proxy?: URL;
}

/** The way by a session's environment: `base` or Anthropic's own. Throws `bad_request` where it is no http(s) URL. */
export function wayOf(base: string | undefined, env: Readonly<Record<string, string>>): Way {
  const wanted = base ?? ANTHROPIC;
  const url = URL.canParse(wanted) ? new URL(wanted) : undefined;
  if (url?.protocol !== "https:" && url?.protocol !== "http:")
    throw new CibError(
      "bad_request",
      `ANTHROPIC_BASE_URL: expected an http or https URL, got ${JSON.stringify(wanted)}`,
    );
  const names = url.protocol === "https:" ? ["https_proxy", "HTTPS_PROXY"] : ["http_proxy", "HTTP_PROXY"];
  const proxy = names.map((name) => env[name]).find((value) => value);
  if (!proxy || !URL.canParse(proxy) || exempt(url, env["no_proxy"] ?? env["NO_PROXY"] ?? "")) return { base: url };
  return { base: url, proxy: new URL(proxy) };
}

/** As curl reads it: hosts and domains with or without a leading dot, a port perhaps, or `*`. */
function exempt(url: URL, list: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  return list
    .split(/[\s,]+/)
    .filter((entry) => entry !== "")
    .some((entry) => {
      const [, name = "", only] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(entry) ?? [];
      if (only !== undefined && only !== port) return false;
      const bare = name.replace(/^\*?\./, "");
      return name === "*" || host === bare || (bare !== "" && host.endsWith(`.${bare}`));
    });
}

/** Variables by which Claude reaches loopback directly, where a proxy is set. */
export function loopbackDirect(env: Readonly<Record<string, string>>): Record<string, string> {
  const old = env["no_proxy"] ?? env["NO_PROXY"];
  const list = old ? `${old},127.0.0.1` : "127.0.0.1";
  return { NO_PROXY: list, no_proxy: list };
}

/** Keeps connections to one upstream. */
export class Upstream implements Disposable {
  readonly #way: Way;
  readonly #agent: Agent;
  readonly #prefix: string;

  constructor(way: Way) {
    this.#way = way;
    this.#prefix = way.base.pathname.replace(/\/$/, "");
    const options = { keepAlive: true, timeout: IDLE_MS };
    if (way.base.protocol === "http:") this.#agent = new Agent(options);
    else this.#agent = way.proxy === undefined ? new TlsAgent(options) : tunnelAgent(way.proxy, options);
  }

  /** Begins a request; `path` begins with "/" and stands below the base URL's own. `headers`: name, value, name, value … */
  request(method: string, path: string, headers: readonly string[]): ClientRequest {
    const { base, proxy } = this.#way;
    const at = { method, agent: this.#agent, setHost: false };
    const own = { host: bare(base), port: base.port };
    const all = ["host", base.host, ...headers];
    const target = this.#prefix + path;
    if (base.protocol === "https:") return tlsRequest({ ...at, ...own, path: target, headers: all });
    if (proxy === undefined) return httpRequest({ ...at, ...own, path: target, headers: all });
    const absolute = `${base.origin}${target}`;
    return httpRequest({
      ...at,
      host: bare(proxy),
      port: proxy.port,
      path: absolute,
      headers: [...all, ...pass(proxy)],
    });
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}

/** TLS inside a CONNECT tunnel (RFC 9110 §9.3.6). */
function tunnelAgent(proxy: URL, options: object): TlsAgent {
  const agent = new TlsAgent(options);
  agent.createConnection = (to: RequestOptions, made?: (fault: Error | null, socket: Duplex) => void) => {
    const target = `${to.host}:${to.port || 443}`;
    const headers = ["host", target, ...pass(proxy)];
    const make = proxy.protocol === "https:" ? tlsRequest : httpRequest;
    const asked = make({ host: bare(proxy), port: proxy.port, method: "CONNECT", path: target, headers, agent: false });
    const failed = (fault: Error): void => made?.(fault, undefined as never);
    asked.once("error", failed);
    // Any answer to CONNECT is told as `connect`, a refusal too.
    asked.once("connect", ({ statusCode }, socket) => {
      if (statusCode === 200) made?.(null, connect({ socket, servername: to.host ?? "" }));
      else {
        socket.destroy();
        failed(new Error(`proxy: answered ${statusCode} to CONNECT`));
      }
    });
    asked.end();
    return undefined;
  };
  return agent;
}

function bare({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, "");
}

/** What the proxy wants to know, from its own URL. */
function pass({ username, password }: URL): string[] {
  if (username === "") return [];
  const said = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return ["proxy-authorization", `Basic ${Buffer.from(said).toString("base64")}`];
}
