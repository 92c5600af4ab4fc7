/** cib token: makes, lists and revokes device tokens on a running box. */
import { parseArgs } from "node:util";
import * as v from "valibot";
import { visible } from "../demo/present.ts";
import { BOX_OPTIONS, call, findAnyBox } from "./box.ts";
import { EXIT, Failure, type Io, UsageError } from "./io.ts";
import { ask } from "./link.ts";

const UNITS_S = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

const ISSUED = v.object({
  id: v.string(),
  token: v.optional(v.string()),
  key: v.optional(v.object({ id: v.string(), secret: v.string() })),
});
const LIST = v.object({
  tokens: v.array(
    v.object({
      id: v.string(),
      label: v.string(),
      scopes: v.array(v.string()),
      sessions: v.optional(v.array(v.string())),
      created_at: v.number(),
      expires_at: v.optional(v.number()),
    }),
  ),
});

const OPTIONS = {
  ...BOX_OPTIONS,
  scopes: { type: "string" },
  ttl: { type: "string" },
  session: { type: "string", multiple: true },
  device: { type: "boolean" },
  x25519: { type: "boolean" },
  json: { type: "boolean" },
} as const;

/** `args` are those after `cib token`. Returns the exit code; throws UsageError and Failure. */
export async function token(args: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  const [verb, name, ...rest] = positionals;
  if (rest.length > 0) throw new UsageError(`token ${verb}: does not know what to do with "${rest[0]}"`);
  if (verb === "list" && name !== undefined) throw new UsageError(`token list: takes no name, got "${name}"`);
  if (verb === "create" && !name) throw new UsageError("token create: expected a label, as in cib token create phone");
  if (verb === "revoke" && !name) throw new UsageError("token revoke: expected the token's id (cib token list)");
  switch (verb) {
    case "create":
      return create(name ?? "", values, io);
    case "list":
      return list(values, io);
    case "revoke":
      await run(values, io, "DELETE", `/api/tokens/${encodeURIComponent(name ?? "")}`, "tokens.revoke", {
        token: name,
      });
      io.err(`revoked ${name}; its connections are closed\n`);
      return EXIT.ok;
    default:
      throw new UsageError(
        `token: expected create, list or revoke, got ${verb === undefined ? "nothing" : `"${verb}"`}`,
      );
  }
}

type Flags = ReturnType<typeof parseArgs<{ options: typeof OPTIONS; allowPositionals: true }>>["values"];

async function create(label: string, flags: Flags, io: Io): Promise<number> {
  const scopes = (flags.scopes ?? "sessions:read").split(/[\s,]+/).filter((scope) => scope !== "");
  const body = {
    label,
    scopes,
    ...(flags.ttl !== undefined && { ttl_s: secondsOf(flags.ttl) }),
    ...(flags.session !== undefined && { sessions: flags.session }),
    ...(flags.device && { device: true }),
    ...(flags.x25519 && { x25519: true }),
  };
  if (flags.x25519 && !flags.device) throw new UsageError("token create: --x25519 goes with --device");
  const reply = await run(flags, io, "POST", "/api/tokens", "tokens.create", body);
  const { id, token: secret, key } = v.parse(ISSUED, reply);
  // The same call came twice over a link that broke: what is shown once was in the first reply.
  if (secret === undefined)
    throw new Failure(`token ${id} is made, but its secret got lost on the way: cib token revoke ${id}, and try again`);
  // Alone on standard output: TOKEN=$(cib token create phone) works, and a device's line is one of its settings.
  const shown = key === undefined ? secret : `CIB_DEVICE_KEY=${key.id}:${key.secret}`;
  io.out(flags.json ? `${JSON.stringify(reply)}\n` : `${shown}\n`);
  const what = key === undefined ? "token" : "device key of token";
  if (!flags.json) io.err(`${what} ${id} for ${visible(label)}, with ${scopes.join(", ")}; it is shown this once\n`);
  if (scopes.includes("sessions:input"))
    io.err("note: sessions:input permits whatever the session's own credential and user can do\n");
  return EXIT.ok;
}

async function list(flags: Flags, io: Io): Promise<number> {
  const reply = await run(flags, io, "GET", "/api/tokens", "tokens.list", {});
  if (flags.json) {
    io.out(`${JSON.stringify(reply)}\n`);
    return EXIT.ok;
  }
  const { tokens } = v.parse(LIST, reply);
  if (tokens.length === 0) io.err("no device tokens\n");
  for (const { id, label, scopes, sessions, created_at, expires_at } of tokens) {
    const until = expires_at === undefined ? "no end" : `until ${day(expires_at)}`;
    const bound = sessions === undefined ? "" : `  only ${sessions.join(", ")}`;
    io.out(`${id}  ${visible(label)}  since ${day(created_at)}  ${until}  ${scopes.join(",")}${bound}\n`);
  }
  return EXIT.ok;
}

/** By HTTP with a token, over a link with a device key: the same command. */
async function run(
  flags: Flags,
  io: Io,
  method: Parameters<typeof call>[1],
  path: string,
  cmd: string,
  args: object,
): Promise<unknown> {
  const box = findAnyBox(flags, io);
  if ("key" in box) return ask(box, { ...args, cmd });
  return call(box, method, path, method === "POST" ? args : undefined);
}

/** "90", "15m", "12h", "30d" in seconds. */
function secondsOf(text: string): number {
  const [, digits, unit = "s"] = /^(\d{1,9})([smhd]?)$/.exec(text) ?? [];
  if (digits === undefined) throw new UsageError(`ttl: expected seconds or 15m, 12h, 30d, got "${text}"`);
  return Number(digits) * UNITS_S[(unit || "s") as keyof typeof UNITS_S];
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 16).replace("T", " ");
}
