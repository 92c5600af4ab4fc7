/** OAuth server: plays Anthropic's login pages and token endpoint on loopback, behind a CONNECT proxy with a CA made for the test. */
import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSecureContext, TLSSocket } from "node:tls";
import { promisify } from "node:util";

/** The names that Claude Code asks during a login; no other is connected to. */
const HOSTS = ["platform.claude.com", "claude.com", "claude.ai", "api.anthropic.com", "console.anthropic.com"];

/** One call that arrived through the proxy. */
export interface Call {
  readonly host: string;
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly authorization: string | undefined;
}

export interface OAuthServer extends AsyncDisposable {
  /** What leads Claude Code here. */
  readonly env: Readonly<Record<string, string>>;
  readonly calls: readonly Call[];
  /** Access tokens given out, newest last. */
  readonly tokens: readonly string[];
  /** What a person's browser does with the URL: returns the code to paste, `<code>#<state>`. Throws when the URL is none. */
  approve(url: string): string;
  /** From now on the token endpoint answers with this status, until it is undefined again. */
  refuse(status: number | undefined): void;
}

export async function startOAuth(): Promise<OAuthServer> {
  const folder = await mkdtemp(join(tmpdir(), "cib-oauth-"));
  // The CA is for everyone to read, sessions of another user too; its key stays ours.
  await chmod(folder, 0o711);
  const { ca, cert, key } = await certificates(folder);
  const context = createSecureContext({ cert, key });
  const calls: Call[] = [];
  const tokens: string[] = [];
  /** What each approved code was asked for. */
  const approved = new Map<string, { challenge: string; state: string | undefined }>();
  let refusal: number | undefined;
  const open = new Set<Socket>();

  const api = createServer((req, res) => {
    answer(req, res).catch(() => res.destroy());
  });
  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const path = (req.url ?? "/").split("?")[0] ?? "/";
    calls.push({
      host: req.headers.host ?? "",
      method: req.method ?? "",
      path,
      body,
      authorization: req.headers.authorization,
    });
    if (path === "/v1/oauth/token") return send(res, ...give(body));
    if (path === "/api/oauth/profile") return send(res, 200, PROFILE);
    if (path === "/api/oauth/claude_cli/roles")
      return send(res, 200, { organization_role: "admin", workspace_role: null, organization_name: "Scripted" });
    return send(res, 200, {});
  }
  function give(body: string): [status: number, body: object] {
    if (refusal !== undefined) return [refusal, { error: { type: "api_error", message: "scripted refusal" } }];
    const asked = JSON.parse(body) as Record<string, unknown>;
    const code = String(asked["code"]);
    const known = approved.get(code);
    const verifier = createHash("sha256").update(String(asked["code_verifier"])).digest("base64url");
    // RFC 7636 §4.6: the verifier must hash to the challenge that the URL carried.
    if (known === undefined || verifier !== known.challenge || (known.state ?? asked["state"]) !== asked["state"])
      return [400, { error: "invalid_grant", error_description: "Invalid 'code' in request." }];
    approved.delete(code);
    const token = `sk-ant-oat01-${randomBytes(40).toString("base64url")}`;
    tokens.push(token);
    const given = {
      token_type: "Bearer",
      access_token: token,
      refresh_token: `sk-ant-ort01-${randomBytes(40).toString("base64url")}`,
      expires_in: typeof asked["expires_in"] === "number" ? asked["expires_in"] : 28_800,
      scope: "user:inference user:profile user:sessions:claude_code",
      account: { uuid: PROFILE.account.uuid, email_address: PROFILE.account.email },
      organization: { uuid: PROFILE.organization.uuid, name: PROFILE.organization.name },
    };
    return [200, given];
  }

  const proxy = createServer((_req, res) => res.writeHead(405).end());
  proxy.on("connect", (req: IncomingMessage, socket: Socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    socket.on("error", () => socket.destroy());
    const host = (req.url ?? "").replace(/:\d+$/, "");
    if (!HOSTS.includes(host)) return void socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
    socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
    const inner = new TLSSocket(socket, { isServer: true, secureContext: context });
    inner.on("error", () => inner.destroy());
    api.emit("connection", inner);
  });
  await new Promise<void>((done) => proxy.listen(0, "127.0.0.1", done));
  const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  return {
    env: { HTTPS_PROXY: url, https_proxy: url, NODE_EXTRA_CA_CERTS: ca },
    calls,
    tokens,
    approve(asked) {
      const { challenge, state } = authorisation(asked);
      const code = randomBytes(24).toString("base64url");
      approved.set(code, { challenge, state });
      return `${code}#${state ?? randomBytes(32).toString("base64url")}`;
    },
    refuse(status) {
      refusal = status;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise((done) => proxy.close(done));
      api.closeAllConnections();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const PROFILE = {
  account: {
    uuid: "11111111-2222-4333-8444-555555555555",
    email: "someone@example.test",
    email_address: "someone@example.test",
    full_name: "Someone",
    display_name: "Someone",
    has_claude_max: true,
    has_claude_pro: false,
    created_at: "2025-01-01T00:00:00Z",
  },
  organization: {
    uuid: "66666666-7777-4888-8999-aaaaaaaaaaaa",
    name: "Scripted",
    organization_type: "claude_max",
    rate_limit_tier: "default_claude_max_5x",
    billing_type: "stripe_subscription",
    has_extra_usage_enabled: false,
  },
};

/** 2.1.330 prints a short form: its scopes in a few letters and the challenge, without the state. */
const SHORT = /^\?[\w-]+?([\w-]{43})$/;

function authorisation(asked: string): { challenge: string; state: string | undefined } {
  const url = new URL(asked);
  if (!HOSTS.includes(url.host) || !url.pathname.endsWith("/oauth/authorize")) throw new Error(`not ours: ${asked}`);
  const short = SHORT.exec(url.search)?.[1];
  if (short !== undefined) return { challenge: short, state: undefined };
  const [challenge, state] = [url.searchParams.get("code_challenge"), url.searchParams.get("state")];
  if (challenge === null || state === null || url.searchParams.get("code_challenge_method") !== "S256")
    throw new Error(`no authorisation URL: ${asked}`);
  return { challenge, state };
}

function send(res: ServerResponse, status: number, body: object): void {
  res.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

/** A CA and one certificate for all hosts; the keys never leave the folder, which goes with the server. */
async function certificates(folder: string): Promise<{ ca: string; cert: Buffer; key: Buffer }> {
  const at = (name: string): string => join(folder, name);
  const openssl = (...args: string[]) => promisify(execFile)("openssl", args);
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await openssl(
    ...["req", "-x509", ...curve, "-days", "2", "-subj", "/CN=scripted CA"],
    ...["-keyout", at("ca.key"), "-out", at("ca.pem")],
  );
  await openssl("req", ...curve, "-subj", "/CN=scripted", "-keyout", at("key.pem"), "-out", at("request.pem"));
  await writeFile(at("names"), `subjectAltName=${HOSTS.map((host) => `DNS:${host}`).join(",")}\n`);
  await openssl(
    ...["x509", "-req", "-in", at("request.pem"), "-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial"],
    ...["-days", "2", "-extfile", at("names"), "-out", at("cert.pem")],
  );
  return { ca: at("ca.pem"), cert: await readFile(at("cert.pem")), key: await readFile(at("key.pem")) };
}
