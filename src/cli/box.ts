/** The box as the command line reaches it: where it is, with which token, and one REST call. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import * as v from "valibot";
import type { DeviceKey } from "../client/link-socket.ts";
import { Failure, type Io, UsageError } from "./io.ts";

/** Where `cib serve --dev` leaves address and token for the commands beside it, in CIB_DATA, 0600. */
export const CLIENT_FILE = "client.json";
const DEFAULT_URL = "http://127.0.0.1:8080";
/** A box answers at once, but for a login: Claude starts for it, and asks its own server. */
const CALL_DEADLINE_MS = 60_000;

export interface Box {
  /** Without a slash at the end. */
  readonly url: string;
  readonly token: string;
}

/** The box over a sealed link: what CIB_DEVICE_KEY opens. */
export interface KeyedBox {
  /** "http://box.local:8080" (or https:, ws:, wss:) or "tcp://box.local:8081"; without a slash at the end. */
  readonly url: string;
  readonly key: DeviceKey;
}

/** Options that say which box, as `node:util` parseArgs takes them. */
export const BOX_OPTIONS = { url: { type: "string" }, "token-file": { type: "string" } } as const;

const CLIENT = v.object({ url: v.string(), token: v.string() });
const REFUSAL = v.object({ error: v.object({ code: v.string(), message: v.string() }) });

/**
 * Address: --url, CIB_URL, what `serve --dev` left, http://127.0.0.1:8080. Token: --token-file, CIB_TOKEN, CIB_AUTH_TOKEN,
 * CIB_AUTH_TOKEN_FILE, and what `serve --dev` left where it belongs to that address. Never from the command line itself:
 * every user of the machine can read another's arguments.
 */
export function findBox(
  flags: { readonly url?: string | undefined; readonly "token-file"?: string | undefined },
  { env, cwd, err }: Io,
): Box {
  const left = readLeft(env, cwd);
  const url = (flags.url ?? env["CIB_URL"] ?? left?.url ?? DEFAULT_URL).replace(/\/+$/, "");
  if (!URL.canParse(url) || !/^https?:\/\/[^/?#@]+(\/[^?#]*)?$/.test(url))
    throw new UsageError(`url: expected http://host:port or https://host, got "${url}"`);
  const file =
    flags["token-file"] ?? (env["CIB_TOKEN"] || env["CIB_AUTH_TOKEN"] ? undefined : env["CIB_AUTH_TOKEN_FILE"]);
  const token =
    file === undefined
      ? env["CIB_TOKEN"] || env["CIB_AUTH_TOKEN"] || (left?.url === url ? left.token : undefined)
      : readToken(file, cwd);
  if (!token) throw new Failure(`no token for ${url}: set CIB_TOKEN, or name a file with --token-file`);
  if (url.startsWith("http:") && !/^(localhost|127\.[\d.]+|\[::1\])$/.test(new URL(url).hostname))
    err(`note: the way to ${url} is not encrypted\n`);
  return { url, token };
}

/**
 * As `findBox`; but where CIB_DEVICE_KEY is set and no token file is named, over a link with that key.
 * A key is two words in one, `<id>:<secret>`, and comes from the environment only.
 */
export function findAnyBox(flags: Parameters<typeof findBox>[0], io: Io): Box | KeyedBox {
  const text = io.env["CIB_DEVICE_KEY"];
  if (!text || flags["token-file"] !== undefined) return findBox(flags, io);
  const [, id, secret] = /^([0-9a-f]{16}):([0-9a-f]{64})$/i.exec(text.trim()) ?? [];
  // What was given is not repeated: it is a secret, or half of one.
  if (id === undefined || secret === undefined)
    throw new UsageError("CIB_DEVICE_KEY: expected <id>:<secret>, 16 and 64 hex digits (cib token create --device)");
  const url = (flags.url ?? io.env["CIB_URL"] ?? readLeft(io.env, io.cwd)?.url ?? DEFAULT_URL).replace(/\/+$/, "");
  if (!URL.canParse(url) || !/^((https?|wss?):\/\/[^/?#@]+(\/[^?#]*)?|tcp:\/\/[^/?#@]+:\d+)$/.test(url))
    throw new UsageError(`url: expected http://host:port, https://host or tcp://host:port, got "${url}"`);
  return { url, key: { id, secret } };
}

/** One REST call; the reply's JSON. Throws Failure with the box's own words. */
export async function call(box: Box, method: "GET" | "POST" | "DELETE", path: string, body?: object): Promise<unknown> {
  const headers = {
    authorization: `Bearer ${box.token}`,
    accept: "application/json",
    ...(body && { "content-type": "application/json" }),
  };
  let response: Response;
  let text: string;
  try {
    response = await fetch(box.url + path, {
      method,
      headers,
      ...(body && { body: JSON.stringify(body) }),
      // A redirect would carry the token elsewhere.
      redirect: "error",
      signal: AbortSignal.timeout(CALL_DEADLINE_MS),
    });
    text = await response.text();
  } catch (cause) {
    throw new Failure(`no box answers at ${box.url} (${reason(cause)}); is it running? cib doctor tells more`, {
      cause,
    });
  }
  const reply = parsed(text);
  if (response.ok) return reply;
  const refusal = v.safeParse(REFUSAL, reply);
  throw new Failure(
    refusal.success
      ? `${refusal.output.error.code}: ${refusal.output.error.message}`
      : `${box.url}: HTTP ${response.status}`,
  );
}

function readLeft(env: Io["env"], cwd: string): Box | undefined {
  // The folders that serve --dev and serve --dev --demo use, unless CIB_DATA names one.
  const folders = env["CIB_DATA"] ? [env["CIB_DATA"]] : [".cib/data", ".cib/demo/data"];
  for (const folder of folders) {
    const found = v.safeParse(CLIENT, parsed(readOrNothing(join(resolve(cwd, folder), CLIENT_FILE))));
    if (found.success) return found.output;
  }
  return undefined;
}

function readToken(file: string, cwd: string): string {
  try {
    return readFileSync(resolve(cwd, file), "utf8").trim();
  } catch (cause) {
    throw new Failure(`token file: cannot read ${file} (${reason(cause)})`, { cause });
  }
}

function readOrNothing(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** fetch hides why behind "fetch failed". */
function reason(thrown: unknown): string {
  const { code, message, cause } = thrown as { code?: string; message?: string; cause?: unknown };
  return cause === undefined ? (code ?? message ?? "unknown") : reason(cause);
}
