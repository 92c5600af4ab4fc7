/** A deadline fires, whatever the garbage collector does. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { deadline } from "../src/deadline.ts";

test("ends with the first of the others, with its reason, also where that has ended before", () => {
  const [a, b] = [new AbortController(), new AbortController()];
  const { signal } = deadline(60_000, a.signal, b.signal);
  b.abort("b");
  a.abort("a");
  assert.equal(signal.reason, "b");
  assert.equal(deadline(60_000, a.signal).signal.reason, "a");
});

test("lets go of the others when it is disposed", () => {
  const other = new AbortController();
  const late = deadline(60_000, other.signal);
  late[Symbol.dispose]();
  other.abort("other");
  assert.equal(late.signal.aborted, false);
});

test("fires although everything else about it has been collected", async () => {
  const source = fileURLToPath(new URL("../src/deadline.ts", import.meta.url));
  const program = `
    import { deadline } from ${JSON.stringify(source)};
    deadline(50, new AbortController().signal).signal.addEventListener("abort", () => console.log("fired"));
    const alive = setInterval(() => globalThis.gc(), 5);
    setTimeout(() => clearInterval(alive), 400);
  `;
  const args = ["--expose-gc", "--import", "tsx", "--input-type=module", "-e", program];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  assert.equal(stdout, "fired\n");
});
