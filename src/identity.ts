/** Identity: what the box is known by, made once and kept in its folder. */
import { randomBytes, randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { FileError, writeRename } from "./files.ts";

/** `id` marks its processes, `salt` stands in the vault's key. */
export interface Identity {
  readonly id: string;
  readonly salt: string;
}

/** Reads box.json in this folder, or makes it. Throws FileError where it is not understood. */
export function readIdentity(data: string): Identity {
  const file = join(data, "box.json");
  if (existsSync(file)) return parseIdentity(file, readFileSync(file, "utf8"));
  const fresh: Identity = { id: randomUUID(), salt: randomBytes(16).toString("hex") };
  writeRename(file, `${JSON.stringify(fresh)}\n`);
  return fresh;
}

function parseIdentity(file: string, text: string): Identity {
  let why: unknown = 'expected {"id", "salt"}';
  try {
    const { id, salt } = JSON.parse(text) as Partial<Record<keyof Identity, unknown>>;
    if (typeof id === "string" && id !== "" && typeof salt === "string" && /^[0-9a-f]{32}$/.test(salt))
      return { id, salt };
  } catch (failure) {
    why = failure;
  }
  throw new FileError(
    file,
    why,
    "restore it, or move it away: the box gets a new identity then, and session keys sealed under the old one are gone",
  );
}
