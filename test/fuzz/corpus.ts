/** Corpus: the inputs that are kept for each parser, one file each, in hex: finds for ever, and what reaches the most code. */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";

const CORPUS = new URL("corpus/", import.meta.url);
/** For one parser: 64 of 512 bytes are 64 KiB in hex. */
const MAX_FILES = 64;
const MAX_BYTES = 512;
/** How the name of a find begins. */
const FIND = "find-";

/** In the order of their names. */
export function kept(name: string): Uint8Array[] {
  const folder = new URL(`${name}/`, CORPUS);
  return filesOf(folder).map((file) => Buffer.from(readFileSync(new URL(file, folder), "utf8").trim(), "hex"));
}

/** Keeps a find, so that every later run begins with it. */
export function keep(name: string, input: Uint8Array): void {
  write(name, FIND, input);
}

/** These in place of what was kept, but for the finds. The first ones, where they are too many. */
export function renew(name: string, inputs: readonly Uint8Array[]): void {
  const folder = new URL(`${name}/`, CORPUS);
  for (const file of filesOf(folder)) if (!file.startsWith(FIND)) rmSync(new URL(file, folder));
  const finds = new Set(kept(name).map((find) => Buffer.from(find).toString("hex")));
  const small = inputs.filter((input) => input.length <= MAX_BYTES && !finds.has(Buffer.from(input).toString("hex")));
  for (const input of small.slice(0, MAX_FILES)) write(name, "", input);
}

function write(name: string, prefix: string, input: Uint8Array): void {
  const folder = new URL(`${name}/`, CORPUS);
  mkdirSync(folder, { recursive: true });
  const hash = createHash("sha256").update(input).digest("hex").slice(0, 12);
  writeFileSync(new URL(`${prefix}${hash}.hex`, folder), `${Buffer.from(input).toString("hex")}\n`);
}

function filesOf(folder: URL): string[] {
  try {
    return readdirSync(folder).sort();
  } catch (failure) {
    if ((failure as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw failure;
  }
}
