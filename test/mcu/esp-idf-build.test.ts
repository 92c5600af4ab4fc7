/** The sources for ESP-IDF without a box: PSA Crypto's answers, a second compiler, the CMake files, cppcheck. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { needs } from "../skip.ts";
import { EspBuild, headerOf, MCU } from "./esp-build.ts";

const missing = [
  needs("gcc", "gcc").skip,
  needs("make", "make").skip,
  needs("libmbedtls-dev", headerOf("psa/crypto.h")).skip,
].filter((line) => line !== false);
const options = { skip: missing.length > 0 ? missing.join("; ") : false, timeout: 180_000 };
const build = new EspBuild();

after(() => build[Symbol.dispose]());

describe("the sources for ESP-IDF", options, () => {
  test("the known answers hold with PSA in the place of our own cipher, and its limits are told", () => {
    const said = build.make("psa");
    for (const unit of ["psa", "vectors", "crypto", "link", "http"])
      assert.match(said, new RegExp(`^ok ${unit}: \\d+$`, "m"));
  });

  test("a second compiler finds nothing in component, examples and stand-in", needs("clang", "clang"), () => {
    build.make("clang");
  });

  test(
    "ESP-IDF's CMake files name every source that the host builds, and none that is not there",
    needs("cmake", "cmake"),
    () => {
      const taken = Array.from(build.make("cmake").matchAll(/^-- takes (.*\.c)$/gm), ([, path = ""]) => path);
      const folders = ["src", "esp-idf/components/cib", "esp-idf/examples/common/station"];
      for (const example of ["approve-button", "http-status"]) folders.push(`esp-idf/examples/${example}/main`);
      const expected = folders
        .flatMap((folder) => readdirSync(join(MCU, folder)).map((name) => join(MCU, folder, name)))
        .filter((path) => path.endsWith(".c") && !path.endsWith("cib_crypto_soft.c"));
      expected.push(join(MCU, "port/psa/cib_crypto_psa.c"));
      assert.deepEqual([...new Set(taken)].sort(), expected.sort());
    },
  );

  test("cppcheck finds nothing in them either", needs("cppcheck", "cppcheck"), () => {
    build.make("check");
  });
});
