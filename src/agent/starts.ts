/** Starts: the files that SessionStart leaves in the session's run folder, because http hooks are skipped for it. */
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { START_FILE } from "./command.ts";
import { type Json, object } from "./json.ts";
import { readOwned } from "./owned-file.ts";

/** Longest body of a SessionStart file. */
const MAX_START_BYTES = 64 * 1024;

/** Whether a file of this name, in the run folder, is one of them. */
export function isStart(name: string | null): boolean {
  return START_FILE.test(name ?? "");
}

/** Takes every file away and gives its body; what cannot be read is passed over. */
export async function* takeStarts(runDir: string): AsyncGenerator<Json> {
  const names = (await readdir(runDir).catch(() => [])).filter(isStart);
  for (const name of names) {
    const path = join(runDir, name);
    const body = startBody((await readOwned(path, undefined)) ?? "");
    await rm(path, { force: true });
    if (body !== undefined) yield body;
  }
}

function startBody(raw: string): Json | undefined {
  if (raw.length > MAX_START_BYTES) return undefined;
  try {
    return object(JSON.parse(raw));
  } catch {
    return undefined;
  }
}
