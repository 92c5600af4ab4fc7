/** The C client's own checks (mcu/Makefile): unit tests by two compilers under sanitizers, cppcheck, and a short run of every fuzz target. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { needs } from "../skip.ts";
import { CORPUS, seeds } from "./seeds.ts";

const MCU = join(import.meta.dirname, "../../mcu");
/** Of each fuzz target; mcu/README.md tells of the long runs. */
const FUZZ_SECONDS = 2;

/** Programs of unit tests, at least. */
const UNIT_TESTS = 12;
const FUZZ_TARGETS = 6;

/** What a target of mcu/Makefile says. Fails with its words where it fails. In a folder of its own: test files run side by side. */
async function make(...args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)("make", [
    "-C",
    MCU,
    "--no-print-directory",
    "BUILD=build/core",
    ...args,
  ]).catch((thrown: unknown) => {
    const { stdout = "", stderr = "" } = thrown as { stdout?: string; stderr?: string };
    throw new Error(`make ${args.join(" ")}:\n${stdout.slice(-2000)}${stderr.slice(-2000)}`);
  });
  return stdout;
}

/** How often a line of this form stands in the output. */
function count(output: string, line: RegExp): number {
  return output.split("\n").filter((each) => line.test(each)).length;
}

test(
  "every unit test passes under AddressSanitizer and UBSan, built by gcc without a warning",
  needs("gcc", "gcc"),
  async () => {
    assert.ok(count(await make("test"), /^ok \w+: [1-9]/) >= UNIT_TESTS);
  },
);

test("the same built by clang", needs("clang", "clang"), async () => {
  assert.ok(count(await make("clang"), /^ok \w+: [1-9]/) >= UNIT_TESTS);
});

const emulated = [
  needs("gcc-riscv64-unknown-elf", "riscv64-unknown-elf-gcc"),
  needs("picolibc-riscv64-unknown-elf", "riscv64-unknown-elf-gcc"),
  needs("qemu-system-misc", "qemu-system-riscv32"),
].find(({ skip }) => skip !== false);

test("the same on a 32-bit part in QEMU", emulated ?? {}, async () => {
  assert.ok(count(await make("rv32"), /^ok \w+: [1-9]/) >= UNIT_TESTS);
});

test("cppcheck finds nothing", needs("cppcheck", "cppcheck"), async () => {
  await make("check");
});

test("every fuzz target runs from its corpus without a fault", needs("clang", "clang"), async () => {
  const output = await make("fuzz", `SECONDS=${FUZZ_SECONDS}`);
  assert.ok(count(output, /^fuzz \w+: runs [1-9]/) >= FUZZ_TARGETS, output);
});

test("the corpus is what this version says", () => {
  for (const [name, bytes] of seeds())
    assert.deepEqual(readFileSync(join(CORPUS, name)), bytes, `${name}: run node --import tsx test/mcu/seeds.ts`);
});
