/** Owned file: reads what a session can write, so that no link, pipe or foreign file laid in its place is read for it. */
import { constants, open } from "node:fs/promises";
import type { AgentSpec } from "./agent.ts";

/** Larger than any configuration that Claude or a person wrote. */
const MAX_BYTES = 16 * 1024 * 1024;

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;

/**
 * The text of a regular file of at most 16 MiB; undefined where there is none. Of a session with a user of its own only
 * that user's own file counts, and no link: the daemon may read more than the session, and what it reads here the
 * session gets back. Without one a link may well be the person's, and leads nowhere the session cannot go itself.
 */
export async function readOwned(path: string, user: AgentSpec["user"]): Promise<string | undefined> {
  // Not blocking: the open of a pipe would wait for a writer, and hold one of the few threads that read files.
  const flags = O_RDONLY | O_NONBLOCK | (user === undefined ? 0 : O_NOFOLLOW);
  const file = await open(path, flags).catch(() => undefined);
  if (file === undefined) return undefined;
  try {
    const stat = await file.stat();
    if (!stat.isFile() || stat.size > MAX_BYTES || (user !== undefined && stat.uid !== user.uid)) return undefined;
    // Never more than that, however the file grows meanwhile.
    const bytes = Buffer.alloc(stat.size);
    let length = 0;
    while (length < bytes.length) {
      const { bytesRead } = await file.read(bytes, length, bytes.length - length, length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return bytes.toString("utf8", 0, length);
  } catch {
    return undefined;
  } finally {
    await file.close();
  }
}
