/** Workdir: the folder a session works in: inside the workspace, links followed, made when it is missing. */
import { lchownSync, lstatSync, mkdirSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { CibError } from "../errors.ts";
import { PRIVATE_FOLDER } from "../files.ts";

/** Claude Code names a folder after the whole path, and file systems take 255 bytes. */
export const MAX_WORKDIR_BYTES = 250;

/** Its real path. `user`: who owns what is made. Throws `bad_request` for a place outside the workspace or a file. */
export function workdirIn(
  workspace: string,
  wish: string | undefined,
  user: { readonly uid: number; readonly gid: number } | undefined,
): string {
  const root = realpathSync(workspace);
  const path = resolve(root, wish ?? ".");
  if (!inside(root, path)) throw new CibError("bad_request", `workdir: outside the workspace ${workspace}`);
  if (Buffer.byteLength(path) > MAX_WORKDIR_BYTES) {
    throw new CibError("bad_request", `workdir: longer than ${MAX_WORKDIR_BYTES} bytes with the workspace before it`);
  }
  // Only the part that exists can hold links: looked at before anything is made, so that nothing is made out there.
  const missing: string[] = [];
  let at = path;
  while (!exists(at)) {
    missing.unshift(basename(at));
    at = dirname(at);
  }
  const out = () => new CibError("bad_request", `workdir: leads outside the workspace ${workspace}, or nowhere`);
  let real = follow(at);
  if (real === undefined || !inside(root, real)) throw out();
  if (!statSync(real).isDirectory()) throw new CibError("bad_request", "workdir: not a folder");
  for (const name of missing) {
    real = join(real, name);
    mkdirSync(real, user ? PRIVATE_FOLDER : 0o755);
    // A session may have put a link in the way meanwhile: it must not be given a folder elsewhere.
    if (follow(real) !== real) throw out();
    if (user) lchownSync(real, user.uid, user.gid);
  }
  return real;
}

function inside(root: string, path: string): boolean {
  const way = relative(root, path);
  return way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

/** A link exists, wherever it leads. */
function exists(path: string): boolean {
  return unlessMissing(() => lstatSync(path)) !== undefined;
}

/** Undefined for a link that leads nowhere. */
function follow(path: string): string | undefined {
  return unlessMissing(() => realpathSync(path));
}

function unlessMissing<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (thrown) {
    const { code } = thrown as { code?: unknown };
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw thrown;
  }
}
