/** Pinned: Claude Code as a checkout of this repository installs it; in production it is found on PATH. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** The binary of the pinned version; undefined where its package is not installed (production, other platforms). */
export function pinnedClaude(): string | undefined {
  try {
    const manifest = createRequire(import.meta.url).resolve(
      `@anthropic-ai/claude-code-linux-${process.arch}/package.json`,
    );
    const binary = join(dirname(manifest), "claude");
    return existsSync(binary) ? binary : undefined;
  } catch {
    return undefined;
  }
}
