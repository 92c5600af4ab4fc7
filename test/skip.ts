/** Skip: tests that need more than Node, npm and a compiler say which Debian package brings it, and stand aside. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/**
 * The options of a test that needs `command` on PATH. Without it the test is skipped with a line that names
 * the Debian package; with CIB_REQUIRE_ALL=1 (the CI job, where everything is installed) it throws instead.
 */
export function needs(
  debianPackage: string,
  command: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): { skip: string | false } {
  if (onPath(command, env["PATH"] ?? "")) return { skip: false };
  const line = `needs ${command}: apt-get install ${debianPackage}`;
  if (env["CIB_REQUIRE_ALL"] === "1")
    throw new Error(`nothing may be skipped here (CIB_REQUIRE_ALL=1), but this ${line}`);
  return { skip: line };
}

/** The options of a test whose daemon must be able to change its uid. */
export function needsRoot(env: Readonly<Record<string, string | undefined>> = process.env): { skip: string | false } {
  if (process.getuid?.() === 0) return { skip: false };
  const line = "needs root: run it with sudo";
  if (env["CIB_REQUIRE_ALL"] === "1")
    throw new Error(`nothing may be skipped here (CIB_REQUIRE_ALL=1), but this ${line}`);
  return { skip: line };
}

function onPath(command: string, path: string): boolean {
  return path.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return folder !== "";
    } catch {
      return false;
    }
  });
}
