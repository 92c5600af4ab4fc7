/** Engine suite, kit: one engine on one version of Claude Code, what it can, and the words the tests are written in. */
import assert from "node:assert/strict";
import { it } from "node:test";
import type { AgentSpec } from "../../../src/agent/agent.ts";
import type { Block, ModelRequest, Script, Turn } from "../../../src/demo/model.ts";
import type { FrameBody } from "../../../src/frame/frame.ts";
import { type Rig, type RigOptions, startRig } from "../../agent/rig.ts";

/** Where engines differ. A test for one side of a flag has its counterpart on the other. */
export interface Can {
  /** Keys, a screen, dialogs, a person in front of it; without: `write` and `resize` throw `no_terminal`. */
  readonly terminal: boolean;
  /** Text and thinking come as the API sends them, in every version; without: whole lines, 2.1.112 whole messages. */
  readonly tokens: boolean;
  /** What is told is read from Claude's transcript; without: from its own lines, and the transcript is for the resume. */
  readonly readsTranscript: boolean;
  /** /clear begins a new conversation; without: Claude says that it has no such command here. */
  readonly clears: boolean;
  /** A switch is obeyed in the middle of a turn; without: when the turn has ended. */
  readonly switchesAtOnce: boolean;
}

export interface Kit {
  readonly version: string;
  readonly engine: AgentSpec["engine"];
  readonly can: Can;
  /** Claude of this version on this engine; disposing the rig ends it. */
  start(options: Omit<RigOptions, "version">): Promise<Rig>;
  /** One test with a Claude of its own, in which no fault may be left over. */
  rigged(title: string, script: Script, run: (rig: Rig) => Promise<void>, spec?: Partial<AgentSpec>): void;
}

export function kitOf(version: string, engine: AgentSpec["engine"], can: Can): Kit {
  const start: Kit["start"] = (options) => startRig({ ...options, version, spec: { engine, ...options.spec } });
  const rigged: Kit["rigged"] = (title, script, run, spec = {}) => {
    it(title, async () => {
      await using rig = await start({ script, spec });
      await run(rig);
      assert.deepEqual(rig.faults, []);
    });
  };
  return { version, engine, can, start, rigged };
}

export const NOW = new AbortController().signal;
export const say = (text: string): Turn => ({ blocks: [{ text }] });
export const call = (...blocks: Block[]): Turn => ({ blocks });

/** The last prompt's answer: a script by words, else a plain one. */
export const when =
  (rules: Readonly<Record<string, (request: ModelRequest) => Turn | Promise<Turn>>>): Script =>
  (request) => {
    for (const [words, answer] of Object.entries(rules)) if (request.last.includes(words)) return answer(request);
    return say("Fine.");
  };

/** Says some text and then nothing until Claude hangs up. */
export async function* hanging(request: ModelRequest, ...pieces: string[]): AsyncGenerator<string> {
  yield* pieces;
  await new Promise<void>((done) => request.gone.addEventListener("abort", () => done()));
}

export const types = (frames: readonly FrameBody[]): string[] => frames.map((frame) => frame.type);
export const stops = (frames: readonly FrameBody[]): string[] =>
  frames.flatMap((f) => (f.type === "stop" ? [f.reason] : []));
export const before = (frames: readonly FrameBody[], first: string, then: string): boolean =>
  types(frames).indexOf(first) < types(frames).indexOf(then);
/** Requests of the conversation itself. */
export const mains = (rig: Rig): ModelRequest[] => rig.model.requests.filter(({ caller }) => caller === "main");
/** What the model read last as the prompt: its last line. */
export const lastLine = (request: ModelRequest | undefined): string | undefined =>
  request?.last.trim().split("\n").at(-1);

/** Waits for the question or permission, and returns the part of its id that is claimed by. */
export async function asked(rig: Rig, from = 0): Promise<string> {
  await rig.until(() => rig.of("status", from).at(-1)?.state === "waiting_for_input", "waiting_for_input");
  return rig.of("ask.question", from)[0]?.id.replace(/\/\d+$/, "") ?? "";
}

/** Waits for the end of the turn that began at `from`. */
export const ended = (rig: Rig, from = 0): Promise<void> =>
  rig.until(
    () => rig.of("stop", from).length > 0 && rig.of("status", from).at(-1)?.state === "idle",
    "the end of the turn",
  );
