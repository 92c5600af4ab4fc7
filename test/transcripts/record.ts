/** Records real runs of every installed version: npm run record [version [scenario …]]. */
import assert from "node:assert/strict";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Source } from "../../src/agent/source.ts";
import type { FrameBody } from "../../src/frame/frame.ts";
import { startRig } from "../agent/rig.ts";
import { ALL_VERSIONS, offlineReason } from "../e2e/claude-versions.ts";
import { parse, replay } from "./replay.ts";
import { SCENARIOS, type Scenario } from "./scenarios.ts";
import { scrubber, slim } from "./scrub.ts";

const here = dirname(fileURLToPath(import.meta.url));
const [, , onlyVersion, ...onlyScenarios] = process.argv;

for (const version of ALL_VERSIONS) {
  if (onlyVersion !== undefined && onlyVersion !== version) continue;
  const reason = await offlineReason(version);
  if (reason !== undefined) {
    console.error(`left out: ${reason}`);
    continue;
  }
  for (const scenario of SCENARIOS) {
    if (onlyScenarios.length > 0 && !onlyScenarios.includes(scenario.name)) continue;
    if (scenario.without?.includes(version)) continue;
    await record(version, scenario);
    console.log(`${version} ${scenario.name}`);
  }
}

async function record(version: string, scenario: Scenario): Promise<void> {
  const sources: Source[] = [];
  let live: FrameBody[] = [];
  let base = "";
  const first = await startRig({
    version,
    script: scenario.script,
    ...(scenario.spec === undefined ? {} : { spec: scenario.spec }),
    ...(scenario.prelude === undefined ? { record: (source: Source) => void sources.push(source) } : {}),
  });
  try {
    base = first.base;
    if (scenario.prelude === undefined) {
      await scenario.run(first);
      await first.agent.stop("term");
      live = [...first.frames];
    } else {
      await scenario.prelude(first);
      await first.agent.stop("term");
      const { session, conversation, workdir } = first.spec;
      // Without a position nothing is caught up: the recording holds what Claude does from here on.
      const spec = { ...scenario.spec, session, conversation, workdir, start: "resume" as const };
      await using second = await startRig({
        version,
        script: scenario.script,
        base,
        spec,
        record: (source) => void sources.push(source),
      });
      await scenario.run(second);
      await second.agent.stop("term");
      live = [...second.frames];
    }
  } finally {
    await first[Symbol.asyncDispose]();
  }
  const start = sources[0]?.at ?? 0;
  const scrub = scrubber(base, start);
  const jsonl = sources.map((source) => `${scrub(JSON.stringify(slim(source, start)))}\n`).join("");
  const frames = replay(version, parse(jsonl));
  // The first frame of a run is the engine's own announcement. What was told live must be what the recording tells.
  assert.deepEqual(frames, JSON.parse(scrub(JSON.stringify(live.slice(1)))));
  const folder = join(here, version, scenario.name);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "in.jsonl"), jsonl);
  await writeFile(join(folder, "frames.json"), `[\n${frames.map((frame) => JSON.stringify(frame)).join(",\n")}\n]\n`);
}
