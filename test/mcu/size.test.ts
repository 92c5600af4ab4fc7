/** The bytes of flash that the C client takes, object by object, against mcu/size.json: what passes a limit is not merged. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { needs } from "../skip.ts";

const MCU = join(import.meta.dirname, "../../mcu");

interface Budget {
  /** Objects of src, by name. */
  readonly objects: readonly string[];
  /** Bytes of code and constants on a Cortex-M4 at -Os. */
  readonly max: number;
}

const { budgets, linked } = JSON.parse(readFileSync(join(MCU, "size.json"), "utf8")) as {
  readonly budgets: Readonly<Record<string, Budget>>;
  /** The client that cib.h shows, with what it uses of the C library: bytes of flash, and of variables with its buffers. */
  readonly linked: { readonly flash: number; readonly variables: number };
};

interface Size {
  readonly flash: number;
  readonly variables: number;
}

/** Bytes of each object: what `make size` prints, by part ("m4", "m3", "rv32") and name. */
function read(output: string): Map<string, Map<string, Size>> {
  const parts = new Map<string, Map<string, Size>>();
  let objects = new Map<string, Size>();
  for (const line of output.split("\n")) {
    const [, part] = /^# (\w+)$/.exec(line) ?? [];
    if (part !== undefined) {
      objects = new Map();
      parts.set(part, objects);
    }
    const [, text, data, bss, path] = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+\d+\s+[0-9a-f]+\s+(\S+)$/.exec(line) ?? [];
    if (path === undefined) continue;
    objects.set(basename(path, ".o"), { flash: Number(text), variables: Number(data) + Number(bss) });
  }
  return parts;
}

const options = [
  needs("gcc-arm-none-eabi", "arm-none-eabi-gcc"),
  needs("gcc-riscv64-unknown-elf", "riscv64-unknown-elf-gcc"),
].find(({ skip }) => skip !== false);

test(
  "every part of the C client keeps to its bytes of flash, without variables of its own",
  options ?? {},
  async (t) => {
    const { stdout } = await promisify(execFile)("make", [
      "-C",
      MCU,
      "--no-print-directory",
      "BUILD=build/size",
      "size",
    ]);
    const parts = read(stdout);
    assert.deepEqual([...parts.keys()], ["m4", "m3", "linked", "rv32"]);
    const sum = (part: string, objects: readonly string[]) =>
      objects.reduce((total, name) => {
        const size = parts.get(part)?.get(name);
        assert.ok(size, `mcu/size.json names ${name}, which ${part} does not have`);
        assert.equal(size.variables, 0, `${name}: the library has no variables of its own`);
        return total + size.flash;
      }, 0);
    const over: string[] = [];
    for (const [name, { objects, max }] of Object.entries(budgets)) {
      const [m4, m3, rv32] = ["m4", "m3", "rv32"].map((part) => sum(part, objects));
      t.diagnostic(`${name}: ${m4} B of ${max} (Cortex-M3 ${m3}, RV32IMC ${rv32})`);
      if (m4 !== undefined && m4 > max) over.push(`${name}: ${m4} bytes, ${max} at most`);
    }
    const smallest = parts.get("linked")?.get("smallest.elf");
    assert.ok(smallest);
    t.diagnostic(
      `smallest client, linked: ${smallest.flash} B of ${linked.flash}, variables ${smallest.variables} B of ${linked.variables}`,
    );
    if (smallest.flash > linked.flash || smallest.variables > linked.variables)
      over.push("the smallest client, linked");
    assert.deepEqual(over, []);
  },
);

test("no object is without a budget", () => {
  const budgeted = new Set(Object.values(budgets).flatMap(({ objects }) => objects));
  const sources = readdirSync(join(MCU, "src")).filter((name) => name.endsWith(".c"));
  assert.deepEqual(
    sources.map((name) => basename(name, ".c")).filter((name) => !budgeted.has(name)),
    [],
  );
});

test("the client whose size is told is the one that cib.h shows", () => {
  const shown = readFileSync(join(MCU, "include/cib.h"), "utf8")
    .split("smallest whole client")[1]
    ?.split("Rules that hold")[0];
  const lines = (shown ?? "").split("\n").map((line) =>
    line
      .replace(/^ \*/, "")
      .replace(/\/\/.*/, "")
      .trim(),
  );
  const code = lines.filter((line) => /[;{}]$/.test(line) || line.startsWith("while") || line.startsWith("if"));
  assert.ok(code.length > 20);
  const compiled = readFileSync(join(MCU, "test/smallest.c"), "utf8")
    .split("\n")
    .map((line) => line.trim());
  let at = 0;
  for (const line of code) {
    at = compiled.indexOf(line, at) + 1;
    assert.ok(at > 0, `mcu/test/smallest.c does not have, at its place: ${line}`);
  }
});
