/** Journal: what was promised to be on disk is there, whatever went wrong around it. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import fs from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Journal } from "../../../src/transport/mqtt/journal.ts";

test("what is appended after a rewrite that failed, at whatever step, is in the file", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "cib-journal-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "lines");
  for (const [broken, kept] of [
    [`${path}.next`, [{ n: 1 }]],
    [folder, [{ n: 2 }]],
  ] as const) {
    const { journal } = await Journal.open(path);
    await journal.append({ n: 1 }, true);
    const { open } = fs;
    fs.open = async (...args) => {
      if (args[0] === broken) throw Object.assign(new Error("too many open files"), { code: "EMFILE" });
      return open(...args);
    };
    syncBuiltinESMExports();
    try {
      await assert.rejects(journal.rewrite([{ n: 2 }]), /too many/);
    } finally {
      fs.open = open;
      syncBuiltinESMExports();
    }
    await journal.append({ n: 3 }, true);
    await journal.append({ n: 4 }, false);
    await journal.close();
    const again = await Journal.open(path);
    assert.deepEqual(again.values, [...kept, { n: 3 }, { n: 4 }]);
    await again.journal.rewrite([]);
    await again.journal.close();
  }
});
