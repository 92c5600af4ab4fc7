/** What mcu/esp-idf/Makefile makes, in a folder of one test's own. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const MCU = fileURLToPath(new URL("../../mcu", import.meta.url));

export class EspBuild implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), "cib-esp-idf-"));

  /** What it said; throws what a compiler or a test said instead. */
  make(target: string): string {
    const made = spawnSync("make", ["-s", "-C", join(MCU, "esp-idf"), `BUILD=${this.folder}`, target], {
      encoding: "utf8",
    });
    assert.equal(made.status, 0, made.stdout + made.stderr);
    return made.stdout;
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** For `needs`, which looks for commands: one that is there where the header is, else one that cannot be. */
export function headerOf(header: string): string {
  const found = spawnSync("gcc", ["-E", "-x", "c", "-"], { input: `#include <${header}>\n` }).status === 0;
  return found ? "gcc" : `the header ${header}`;
}
