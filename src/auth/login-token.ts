/** Login token: the year-long token that some versions of Claude Code only print at a login, kept sealed under the master token. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { FileError, writeRename } from "../files.ts";
import type { Vault } from "./vault.ts";

const PURPOSE = "login";

export class LoginToken {
  readonly #file: string;
  readonly #vaults: readonly Vault[];
  #value: string | undefined;

  /** `vaults`: the present master token's first; one sealed under an older one is sealed anew. Throws FileError. */
  constructor(file: string, vaults: readonly Vault[]) {
    this.#file = file;
    this.#vaults = vaults;
    if (!existsSync(file)) return;
    const sealed = sealedIn(file);
    for (const [age, vault] of vaults.entries()) {
      const found = vault.open(sealed, PURPOSE);
      if (typeof found !== "string") continue;
      this.#value = found;
      if (age > 0) this.keep(found);
      return;
    }
  }

  /** Undefined: there is none, or it cannot be read under this master token. */
  get value(): string | undefined {
    return this.#value;
  }

  /** Durable when it returns; undefined forgets it. */
  keep(token: string | undefined): void {
    const [vault] = this.#vaults;
    if (token === undefined) rmSync(this.#file, { force: true });
    else if (vault !== undefined)
      writeRename(this.#file, `${JSON.stringify({ v: 1, sealed: vault.seal(token, PURPOSE) })}\n`);
    this.#value = token;
  }
}

function sealedIn(file: string): string {
  try {
    const { sealed } = JSON.parse(readFileSync(file, "utf8")) as { sealed?: unknown };
    if (typeof sealed === "string") return sealed;
  } catch (cause) {
    throw new FileError(file, cause, "remove it and log in again");
  }
  throw new FileError(file, "expected {sealed}", "remove it and log in again");
}
