/** Starts over what an earlier Claude left: a conversation without a message. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { transcriptFile } from "../../src/agent/transcript.ts";
import { ALL_VERSIONS, offlineReason } from "../e2e/claude-versions.ts";
import { startRig, textOf } from "./rig.ts";

const script = () => ({ blocks: [{ text: "Fine." }] });

for (const version of ALL_VERSIONS) {
  const skip = (await offlineReason(version)) ?? false;
  describe(`Claude Code ${version}`, { skip }, () => {
    for (const engine of ["pty", "stream"] as const) {
      test(`killed before it wrote its first prompt down, the session begins anew (${engine})`, async () => {
        const base = await mkdtemp(join(tmpdir(), "cib-rig-"));
        try {
          const [conversation, projectsDir] = [randomUUID(), join(base, "config", "projects")];
          const file = await transcriptFile(projectsDir, join(base, "work"), conversation);
          await mkdir(dirname(file), { recursive: true });
          await writeFile(
            file,
            '{"type":"mode","mode":"normal"}\n{"type":"permission-mode","permissionMode":"default"}\n',
          );
          await using rig = await startRig({ version, script, base, spec: { conversation, engine, start: "resume" } });
          assert.equal(textOf(await rig.turn("hello")), "Fine.");
          const told = rig.of("meta").findLast(({ claude_session }) => claude_session !== undefined);
          assert.ok(told !== undefined && told.claude_session !== conversation, "its new conversation is told");
        } finally {
          await rm(base, { recursive: true, force: true });
        }
      });
    }
  });
}
