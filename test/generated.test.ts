/** Generated files, tested: what is committed is what the sources say, and a C compiler and a CBOR reader agree. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { stale } from "../docs/generate.ts";
import { ERRORS } from "../src/errors.ts";
import { TYPES } from "../src/frame/registry.ts";
import { needs } from "./skip.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const committed = (path: string) => readFileSync(`${ROOT}/${path}`, "utf8");

test("no generated file is stale", () => {
  assert.deepEqual(stale(), [], "run npm run generate");
});

test("every error code is documented", () => {
  const text = committed("docs/ERRORS.md");
  for (const code of Object.keys(ERRORS)) assert.match(text, new RegExp(`^\\| \`${code}\` \\|`, "m"));
});

test("every frame type has its rule and its number in the CDDL", () => {
  const text = committed("docs/frames.cddl");
  for (const [name, { number }] of Object.entries(TYPES)) {
    assert.match(text, new RegExp(`^${name.replaceAll(".", "-")} = \\[${number}, `, "m"));
  }
});

test("no type and no field shares its number with another", () => {
  const numbers = Object.values(TYPES).map(({ number }) => number);
  assert.equal(new Set(numbers).size, numbers.length);
  for (const { fields } of Object.values(TYPES)) {
    const keys = Object.values(fields as Record<string, { key: number }>).map(({ key }) => key);
    assert.equal(new Set(keys).size, keys.length);
  }
});

test("the header is C without a warning, from C99 on", needs("gcc", "cc"), () => {
  const program = `#include "cib_frames.h"\nint main(void) { return CIB_FRAME_TEXT_DELTA - 1 + CIB_KEY_STATUS_STATE + CIB_STATUS_STATE_IDLE[0] - 'i'; }\n`;
  for (const language of ["-std=c99 -x c", "-std=c11 -x c"]) {
    const args = [
      ...language.split(" "),
      "-Wall",
      "-Wextra",
      "-Wpedantic",
      "-Werror",
      "-fsyntax-only",
      `-I${ROOT}/mcu/include`,
      "-",
    ];
    execFileSync("cc", args, { input: program, stdio: ["pipe", "pipe", "pipe"] });
  }
});
