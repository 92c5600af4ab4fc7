/** As user: a command line that runs as another user, without groups, capabilities or the way back to any. */
import { accessSync, constants } from "node:fs";

export interface User {
  readonly uid: number;
  readonly gid: number;
}

const SETPRIV = ["/usr/bin/setpriv", "/bin/setpriv"];

/**
 * setpriv drops the supplementary groups and sets no_new_privs, which spawn and node-pty cannot; it execs, so the pid
 * stays. The same command line where there is nobody to become, or no setpriv: then uid and gid are the caller's to set.
 */
export function asUser(argv: readonly string[], user: User | undefined): readonly string[] {
  if (user === undefined || user.uid === process.getuid?.()) return argv;
  const setpriv = SETPRIV.find(isExecutable);
  if (setpriv === undefined) return argv;
  const drop = ["--clear-groups", "--no-new-privs", "--inh-caps=-all"];
  return [setpriv, `--reuid=${user.uid}`, `--regid=${user.gid}`, ...drop, "--", ...argv];
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
