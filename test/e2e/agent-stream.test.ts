/** The engine suite on the stream engine. */
import { ALL_VERSIONS, JS_VERSION } from "./claude-versions.ts";
import { engineSuite } from "./engine-suite.ts";

const can = { terminal: false, tokens: true, readsTranscript: false, switchesAtOnce: true };

for (const version of ALL_VERSIONS)
  await engineSuite({ version, engine: "stream", can: { ...can, clears: version !== JS_VERSION } });
