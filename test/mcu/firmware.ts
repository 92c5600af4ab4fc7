/** Firmware: built once by the Makefiles of mcu/, into mcu/build, which git does not see. */
import { execFile, execFileSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const MCU = fileURLToPath(new URL("../../mcu", import.meta.url));

/** Two cores may be busy with everything else that CI does. */
const BUILD_DEADLINE_MS = 240_000;

/** Runs `make` in a folder of mcu/. Its warnings are errors, and what it says is the failure's message. */
export async function make(folder: string, ...targets: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)("make", ["-s", "-C", join(MCU, folder), ...targets], {
    timeout: BUILD_DEADLINE_MS,
  });
  return stdout;
}

/** Bytes of flash that a program takes: its code, constants and the first values of variables. */
export function flashBytes(firmware: string): number {
  const [, numbers = ""] = execFileSync("arm-none-eabi-size", [firmware], { encoding: "utf8" }).split("\n");
  const [text, data] = numbers.trim().split(/\s+/).map(Number);
  return (text ?? 0) + (data ?? 0);
}
