/** The vault: secrets at rest (a session's API key, its variables), readable only with the master token. */
import { createCipheriv, createDecipheriv, randomBytes, scryptSync } from "node:crypto";

/** scrypt N = 2^14, r = 8: 16 MiB and about 50 ms once at the start; the token is random, so no more is needed. */
const SCRYPT = { N: 2 ** 14, r: 8, p: 1 };
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

export class Vault {
  readonly #salt: Buffer;
  readonly #token: string;
  #key: Buffer | undefined;

  /** `salt`: 16 random bytes kept beside the data. The key is derived on first use. */
  constructor(token: string, salt: Buffer) {
    this.#token = token;
    this.#salt = salt;
  }

  /** JSON value → text for a file; `purpose` is bound in, so that one file's secret cannot stand in another's place. */
  seal(value: unknown, purpose: string): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv("aes-256-gcm", this.#derived(), nonce).setAAD(Buffer.from(purpose));
    const sealed = Buffer.concat([nonce, cipher.update(JSON.stringify(value)), cipher.final()]);
    return Buffer.concat([sealed, cipher.getAuthTag()]).toString("base64");
  }

  /** The value, or undefined when the master token has changed or the text was altered. */
  open(text: string, purpose: string): unknown {
    const bytes = Buffer.from(text, "base64");
    if (bytes.length < NONCE_BYTES + TAG_BYTES) return undefined;
    const plain = createDecipheriv("aes-256-gcm", this.#derived(), bytes.subarray(0, NONCE_BYTES)).setAAD(
      Buffer.from(purpose),
    );
    plain.setAuthTag(bytes.subarray(-TAG_BYTES));
    try {
      return JSON.parse(
        Buffer.concat([plain.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), plain.final()]).toString(),
      );
    } catch {
      return undefined;
    }
  }

  #derived(): Buffer {
    this.#key ??= scryptSync(this.#token, this.#salt, 32, SCRYPT);
    return this.#key;
  }
}
