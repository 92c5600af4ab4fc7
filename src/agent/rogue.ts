/** Rogue: settings in which a hook stands that could answer for the person. A session with a gate does not start over them. */
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CibError } from "../errors.ts";
import type { AgentSpec } from "./agent.ts";
import { at } from "./json.ts";

/** Larger than any settings file that a person wrote. */
const MAX_SETTINGS_BYTES = 4 * 1024 * 1024;

/**
 * Claude asks every PermissionRequest hook that it finds, and the first answer counts: one in the user's, the project's
 * or the local settings (any session without a gate can write there) would open the gate. Rejects with `conflict`.
 */
export async function refuseRogueHooks(spec: AgentSpec): Promise<void> {
  if (spec.gated === undefined) return;
  for (const file of settingsFiles(spec)) {
    const raw = await readFile(file, "utf8").catch(() => "");
    if (raw.length > MAX_SETTINGS_BYTES || at(at(parsed(raw), "hooks"), "PermissionRequest") !== undefined)
      throw new CibError(
        "conflict",
        `gate: a PermissionRequest hook in ${file} could answer for the person; remove it, then start this session`,
      );
  }
}

/** Claude takes the project's from the working directory; above it they cost nothing to look at. */
function settingsFiles({ configDir, workdir }: AgentSpec): string[] {
  const files = [join(configDir, "settings.json")];
  for (let folder = workdir; ; folder = dirname(folder)) {
    files.push(join(folder, ".claude", "settings.json"), join(folder, ".claude", "settings.local.json"));
    if (dirname(folder) === folder) return files;
  }
}

function parsed(raw: string): unknown {
  try {
    return JSON.parse(raw);
  } catch {
    return undefined;
  }
}
