/** Kept login: the token for a year that Claude Code 2.1.112 only prints; at rest it is sealed under the master token. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import * as v from "valibot";
import { FileError, writeRename } from "../files.ts";
import type { Vault } from "./vault.ts";

const FILE = v.object({ v: v.literal(1), sealed: v.string() });
const PURPOSE = "login";

export class KeptLogin {
  readonly #file: string;
  readonly #vaults: readonly Vault[];
  #token: string | undefined;
  #locked = false;

  /** `vaults`: the first one seals, all of them open. Throws FileError when the file is there and cannot be understood. */
  constructor(file: string, vaults: readonly Vault[]) {
    this.#file = file;
    this.#vaults = vaults;
    if (!existsSync(file)) return;
    const sealed = readSealed(file);
    const opened = vaults.map((vault) => vault.open(sealed, PURPOSE));
    const token = opened.find((value) => typeof value === "string");
    this.#locked = token === undefined;
    this.#token = token;
    // The master token has changed: the old one may be forgotten from now on.
    if (token !== undefined && opened[0] === undefined) this.keep(token);
  }

  /** Undefined when nobody has logged in, or under a master token that is gone. */
  get token(): string | undefined {
    return this.#token;
  }

  /** There is a login, sealed under another master token. */
  get locked(): boolean {
    return this.#locked;
  }

  /** Durable on return; undefined forgets. */
  keep(token: string | undefined): void {
    const [vault] = this.#vaults;
    if (token === undefined) rmSync(this.#file, { force: true });
    else if (vault !== undefined)
      writeRename(this.#file, `${JSON.stringify({ v: 1, sealed: vault.seal(token, PURPOSE) })}\n`);
    this.#token = token;
    this.#locked = false;
  }
}

function readSealed(file: string): string {
  try {
    return v.parse(FILE, JSON.parse(readFileSync(file, "utf8"))).sealed;
  } catch (cause) {
    throw new FileError(file, cause, "move it away and log in again (POST /api/login)");
  }
}
