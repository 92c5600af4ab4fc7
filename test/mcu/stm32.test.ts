/** The STM32 HAL port: its logic on the host, and its sources against the HAL's declarations, ours and what passes for ST's. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { needs } from "../skip.ts";
import { MCU, make } from "./firmware.ts";

const arm = needs("gcc-arm-none-eabi", "arm-none-eabi-gcc");
const host = needs("make", "make");

/** A folder that looks like STM32CubeF4, made of the subset, with its prototypes changed by `change`. */
function cube(change: (prototypes: string) => string): string {
  const subset = (file: string) => readFileSync(join(MCU, "stm32/hal_subset", file), "utf8");
  const folder = mkdtempSync(join(tmpdir(), "cib-cube-"));
  const headers = join(folder, "Drivers/STM32F4xx_HAL_Driver/Inc");
  mkdirSync(headers, { recursive: true });
  const types = subset("stm32f4xx_hal.h").replaceAll("CIB_HAL_SUBSET_TYPES", "STANDS_FOR_ST");
  const prototypes = subset("prototypes.h").replaceAll("CIB_HAL_SUBSET_PROTOTYPES", "STANDS_FOR_ST_TOO");
  writeFileSync(
    join(headers, "stm32f4xx_hal.h"),
    types.replace('#include "prototypes.h"', () => change(prototypes)),
  );
  return folder;
}

test(
  "the ring, the AT dialogue, the CRYP cipher and the boot counter do what they say, under the sanitizers",
  host,
  async () => {
    const said = await make("test/stm32");
    for (const part of ["serial", "esp_at", "cryp", "boot"]) assert.match(said, new RegExp(`^ok ${part}: \\d+$`, "m"));
  },
);

describe("the port and the example compile without a warning", { skip: arm.skip || host.skip }, () => {
  test("against the declared subset of the HAL", async () => {
    assert.match(await make("stm32"), /^9 files compile against hal_subset$/m);
  });

  test("and cppcheck finds nothing in them", needs("cppcheck", "cppcheck"), async () => {
    await make("stm32", "check");
  });

  test("against a copy of the HAL that agrees with it, and not against one that has drifted", async () => {
    const [same, drifted] = [
      cube((prototypes) => prototypes),
      cube((prototypes) => prototypes.replace("HAL_Delay(uint32_t Delay)", "HAL_Delay(uint16_t Delay)")),
    ];
    try {
      assert.match(await make("stm32", `CUBE_F4=${same}`), /compile against STM32CubeF4/);
      await make("stm32", "clean");
      await assert.rejects(make("stm32", `CUBE_F4=${drifted}`), /conflicting types for .HAL_Delay/);
    } finally {
      await make("stm32", "clean");
      for (const folder of [same, drifted]) rmSync(folder, { recursive: true });
    }
  });
});
