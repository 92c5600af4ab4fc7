/** The engine suite on the stream engine. */
import { ALL_VERSIONS } from "./claude-versions.ts";
import { engineSuite } from "./engine-suite.ts";

const can = { terminal: false, tokens: true, switchesAtOnce: true };

for (const version of ALL_VERSIONS) await engineSuite({ version, engine: "stream", can });
