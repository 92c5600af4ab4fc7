/** The client as others import it: the page that explains it works as it stands there. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { deviceKey } from "../conformance/keys.ts";
import { openWorld } from "../conformance/world.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);

test("the example of CLIENT.md runs in a folder of its own, against a box over raw TCP", async (t) => {
  if (!existsSync(join(ROOT, "dist/client/client.mjs"))) {
    assert.notEqual(process.env["CIB_REQUIRE_ALL"], "1", "dist/client is missing");
    t.skip("dist/client: npm run build makes it");
    return;
  }
  const example = /```js\n([\s\S]*?)```/.exec(readFileSync(join(ROOT, "docs/CLIENT.md"), "utf8"))?.[1];
  assert.ok(example);
  const folder = mkdtempSync(join(tmpdir(), "cib-consumer-"));
  await using world = await openWorld();
  try {
    mkdirSync(join(folder, "node_modules"));
    symlinkSync(ROOT, join(folder, "node_modules/claude-in-box"));
    writeFileSync(join(folder, "example.mjs"), example);
    const { id, secret } = await deviceKey(world);
    const { stdout } = await run(process.execPath, ["example.mjs"], {
      cwd: folder,
      env: { CIB_URL: `tcp://127.0.0.1:${world.tcpPort}`, CIB_DEVICE_KEY: `${id}:${secret}` },
      timeout: 60_000,
    });
    assert.equal(stdout, "heard: hello");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
