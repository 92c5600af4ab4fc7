/** Device keys: the secrets of devices without TLS, encrypted at rest; lent out as link keys, which cannot be read. */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import * as v from "valibot";
import { KEY_BYTES, type Provider } from "../crypto/aead.ts";
import type { Known } from "../crypto/link-server.ts";
import { KEY_ID_BYTES, keyIdText, LinkKey } from "../crypto/schedule.ts";
import { CibError } from "../errors.ts";
import { FileError, writeRename } from "../files.ts";
import type { Vault } from "./vault.ts";

/** As many as there may be tokens: a token has one key at most. */
export const MAX_DEVICE_KEYS = 1024;

const RECORD = v.object({
  id: v.pipe(v.string(), v.regex(/^[0-9a-f]{16}$/)),
  token: v.string(),
  require_x25519: v.boolean(),
  created_at: v.number(),
  /** {secret}, sealed by the vault for this id. */
  sealed: v.string(),
});
const FILE = v.object({ v: v.literal(1), devices: v.array(RECORD) });
const SECRET = v.object({ secret: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)) });

type DeviceRecord = Readonly<v.InferOutput<typeof RECORD>>;

/** What is known of a device key without its secret. `created_at` in ms since 1970. */
export interface DeviceKeyInfo {
  readonly id: string;
  /** The token whose scopes and sessions it has, and with which it ends. */
  readonly token: string;
  readonly require_x25519: boolean;
  readonly created_at: number;
  /** Sealed under another master token than this box has: it opens nothing until that one is back. */
  readonly locked: boolean;
}

interface Held {
  readonly record: DeviceRecord;
  /** Undefined where the record is locked. */
  readonly known: Known<string> | undefined;
}

export interface DeviceKeysOptions {
  /** devices.json */
  readonly file: string;
  /** Seals under the master token. */
  readonly vault: Vault;
  /** The vault of CIB_AUTH_TOKEN_PREVIOUS: what only it opens is sealed anew, once. */
  readonly previous?: Vault | undefined;
  readonly provider: Provider;
  readonly now: () => number;
  readonly random?: (size: number) => Uint8Array;
}

export class DeviceKeys {
  /** Stands in for ids that nobody has, so that they cost the same work: made for this boot, known to nobody. */
  readonly dummy: LinkKey;
  readonly #options: DeviceKeysOptions;
  readonly #random: (size: number) => Uint8Array;
  readonly #held = new Map<string, Held>();
  /** The file has keys of tokens that are no more: a write of it has failed. */
  #behind = false;

  /**
   * Reads the file and makes every link key, so that a hello finds it ready. Throws FileError when the file is there and
   * cannot be understood. What neither vault opens is kept as it is, and listed as locked.
   */
  constructor(options: DeviceKeysOptions) {
    this.#options = options;
    this.#random = options.random ?? randomBytes;
    this.dummy = this.#keyOf(this.#random(KEY_BYTES));
    let resealed = false;
    for (const record of readDevices(options.file)) {
      const { held, fresh } = this.#unseal(record);
      this.#held.set(record.id, held);
      resealed ||= fresh;
    }
    if (resealed) this.#save();
  }

  /**
   * Makes a device's key, durably. The secret is shown here, in hex, and never again. Throws `conflict` when the token
   * has one already, `overloaded`.
   */
  create(token: string, requireX25519: boolean): { readonly id: string; readonly secret: string } {
    if (this.#held.size >= MAX_DEVICE_KEYS)
      throw new CibError("overloaded", `device keys: ${MAX_DEVICE_KEYS} exist already; revoke some`);
    if (this.list().some((each) => each.token === token))
      throw new CibError("conflict", `token ${token}: it has a device key already`);
    const id = keyIdText(this.#random(KEY_ID_BYTES));
    const secret = this.#random(KEY_BYTES);
    const text = Buffer.from(secret).toString("hex");
    const record: DeviceRecord = {
      id,
      token,
      require_x25519: requireX25519,
      created_at: this.#options.now(),
      sealed: this.#seal(id, text),
    };
    const key = this.#keyOf(secret);
    this.#held.set(id, { record, known: { key, requireX25519, owner: token } });
    try {
      this.#save();
    } catch (failure) {
      this.#held.delete(id);
      throw failure;
    }
    return { id, secret: text };
  }

  /** The key of an id of 16 hex digits, and the token it belongs to; one look into a map, whether there is one or not. */
  find(id: string): Known<string> | undefined {
    return this.#held.get(id)?.known;
  }

  list(): DeviceKeyInfo[] {
    return Array.from(this.#held.values(), ({ record: { sealed: _, ...info }, known }) => ({
      ...info,
      locked: known === undefined,
    }));
  }

  /** Keys that this master token does not open: for health and the log. */
  get locked(): number {
    return this.list().filter((each) => each.locked).length;
  }

  /**
   * Forgets the keys of tokens that are no more, locked ones too. Connections end with their token, not here. Throws the
   * system's error where they are still on the disk: it is to be repeated.
   */
  keepOnly(alive: (token: string) => boolean): void {
    const gone = this.list().filter(({ token }) => !alive(token));
    if (gone.length === 0 && !this.#behind) return;
    // Out of reach even if the disk refuses; a later start drops it from the file, for the token is gone there.
    for (const { id } of gone) this.#held.delete(id);
    this.#behind = true;
    this.#save();
  }

  #unseal(record: DeviceRecord): { held: Held; fresh: boolean } {
    const { vault, previous } = this.#options;
    const ours = secretIn(vault.open(record.sealed, purpose(record.id)));
    const secret = ours ?? secretIn(previous?.open(record.sealed, purpose(record.id)));
    if (secret === undefined) return { held: { record, known: undefined }, fresh: false };
    const bytes = Buffer.from(secret, "hex");
    const known = { key: this.#keyOf(bytes), requireX25519: record.require_x25519, owner: record.token };
    if (ours !== undefined) return { held: { record, known }, fresh: false };
    return { held: { record: { ...record, sealed: this.#seal(record.id, secret) }, known }, fresh: true };
  }

  #seal(id: string, secret: string): string {
    return this.#options.vault.seal({ secret }, purpose(id));
  }

  /** The link key of these bytes, which are wiped. */
  #keyOf(secret: Uint8Array): LinkKey {
    const key = new LinkKey(this.#options.provider, secret);
    secret.fill(0);
    return key;
  }

  #save(): void {
    const devices = Array.from(this.#held.values(), ({ record }) => record);
    writeRename(this.#options.file, `${JSON.stringify({ v: 1, devices })}\n`);
    this.#behind = false;
  }
}

/** Bound into what is sealed: one device's secret cannot stand in another's place, nor a session's in a device's. */
function purpose(id: string): string {
  return `device ${id}`;
}

function secretIn(opened: unknown): string | undefined {
  const parsed = v.safeParse(SECRET, opened);
  return parsed.success ? parsed.output.secret : undefined;
}

function readDevices(file: string): DeviceRecord[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (failure) {
    if ((failure as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw failure;
  }
  try {
    return v.parse(FILE, JSON.parse(text)).devices;
  } catch (cause) {
    throw new FileError(file, cause, "restore it, or move it away to start without device keys");
  }
}
