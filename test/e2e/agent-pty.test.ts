/** The engine suite on the pty engine. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { ALL_VERSIONS, PINNED, pinnedInPackage } from "./claude-versions.ts";
import { engineSuite } from "./engine-suite.ts";

const can = { terminal: true, tokens: false, readsTranscript: true, clears: true, switchesAtOnce: false };

it("the pinned version of the tests is the one that package.json pins", () => {
  assert.equal(pinnedInPackage(), PINNED);
});

for (const version of ALL_VERSIONS) await engineSuite({ version, engine: "pty", can });
