/** Replay: recorded source events through the pure translator. */
import type { Source } from "../../src/agent/source.ts";
import { newState } from "../../src/agent/state.ts";
import { translate } from "../../src/agent/translate.ts";
import { rowFor } from "../../src/agent/versions.ts";
import type { FrameBody } from "../../src/frame/frame.ts";

export function parse(jsonl: string): Source[] {
  return jsonl
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Source);
}

export function replay(version: string, sources: Iterable<Source>): FrameBody[] {
  const state = newState(rowFor(version).row, true);
  const frames: FrameBody[] = [];
  for (const source of sources) frames.push(...translate(state, source));
  return frames;
}
