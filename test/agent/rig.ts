/** Rig: a real Claude Code on a scripted model, in a scratch home, with everything it tells kept for the test. */
import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Agent, AgentEvents, AgentSpec, Exit, Position } from "../../src/agent/agent.ts";
import { createEngine } from "../../src/agent/engine.ts";
import type { HookInbox } from "../../src/agent/hook-inbox.ts";
import { Screen } from "../../src/agent/screen.ts";
import type { Source } from "../../src/agent/source.ts";
import { type Model, type Script, startModel } from "../../src/demo/model.ts";
import type { Body, FrameBody, SessionId } from "../../src/frame/frame.ts";
import { claudeCommand } from "../e2e/claude-versions.ts";

/** A loaded two-core machine may start 2.1.112 in ten seconds. */
const PATIENCE_MS = 40_000;
export const MODEL = "claude-sonnet-4-5-20250929";
const KEY = "sk-ant-dummy-0123456789abcdefghijklmnop";

export interface RigOptions {
  readonly version: string;
  readonly script: Script;
  /** Whether the API has a model of this name. */
  readonly knows?: (model: string) => boolean;
  readonly spec?: Partial<AgentSpec>;
  /** Start Claude in the folders of an earlier rig. */
  readonly base?: string;
  readonly record?: (source: Source) => void;
  /** What becomes of calls that may be judged; the default lets Claude go on. */
  readonly judge?: AgentEvents["judge"];
  /** Where Claude's hooks arrive, when the test wants to have a hand in that. */
  readonly inbox?: HookInbox;
}

export interface Rig extends AsyncDisposable {
  readonly base: string;
  readonly model: Model;
  readonly agent: Agent;
  readonly spec: AgentSpec;
  readonly frames: readonly FrameBody[];
  readonly positions: readonly Position[];
  readonly exits: readonly Exit[];
  readonly faults: readonly unknown[];
  terminalBytes(): number;
  /** The latest words on the terminal, without what draws them. */
  words(): string;
  shows(at: Position, text: string): Promise<boolean>;
  /** Waits until the condition holds; `what` is for the failure message. */
  until(condition: () => boolean, what: string): Promise<void>;
  /** Submits and waits for the end of the turn. Returns the frames since the submission. */
  turn(text: string): Promise<FrameBody[]>;
  /** Frames of one type, from an index on. */
  of<T extends FrameBody["type"]>(type: T, from?: number): Body<T>[];
}

export async function startRig(options: RigOptions): Promise<Rig> {
  const base = options.base ?? (await mkdtemp(join(tmpdir(), "cib-rig-")));
  const waiters = new Set<() => void>();
  const wake = (): void => {
    for (const waiter of [...waiters]) waiter();
  };
  const script: Script = (request) => {
    queueMicrotask(wake);
    return options.script(request);
  };
  const model = await startModel(script, options.knows === undefined ? {} : { knows: options.knows });
  const frames: FrameBody[] = [];
  const positions: Position[] = [];
  const exits: Exit[] = [];
  const faults: unknown[] = [];
  let bytes = 0;
  const screen = new Screen();
  const until = (condition: () => boolean, what: string): Promise<void> =>
    new Promise((done, fail) => {
      const check = (): void => {
        if (!condition()) return;
        clearTimeout(timer);
        waiters.delete(check);
        done();
      };
      const timer = setTimeout(() => {
        waiters.delete(check);
        fail(new Error(`waited in vain for ${what}; frames: ${JSON.stringify(frames.slice(-12))}`));
      }, PATIENCE_MS);
      waiters.add(check);
      check();
    });
  const workdir = join(base, "work");
  await mkdir(workdir, { recursive: true });
  const spec: AgentSpec = {
    session: randomUUID() as SessionId,
    conversation: randomUUID(),
    start: "new",
    workdir,
    model: MODEL,
    bypass: true,
    cols: 120,
    rows: 40,
    configDir: join(base, "config"),
    projectsDir: join(base, "config", "projects"),
    engine: "pty",
    askTimeoutS: 600,
    home: join(base, "home"),
    runDir: join(base, "run"),
    credential: { mode: "api_key", key: KEY },
    env: {},
    baseUrl: model.url,
    thinking: true,
    ...options.spec,
  };
  const engine = await createEngine({
    command: await claudeCommand(options.version),
    box: `box-${spec.session}`,
    fault: (fault) => faults.push(fault),
    ...(options.record === undefined ? {} : { record: options.record }),
    ...(options.inbox === undefined ? {} : { inbox: options.inbox }),
  });
  const agent = await engine.start(spec, {
    frame(body) {
      frames.push(body);
      wake();
    },
    terminal(chunk) {
      bytes += chunk.length;
      screen.push(chunk, Date.now());
      wake();
    },
    position(at) {
      positions.push(at);
      wake();
    },
    judge: (call) => options.judge?.(call) ?? { do: "pass" },
    ending: () => undefined,
    exited(how) {
      exits.push(how);
      wake();
    },
  });
  const rig: Rig = {
    base,
    model,
    agent,
    spec,
    frames,
    positions,
    exits,
    faults,
    terminalBytes: () => bytes,
    words: () => screen.words(),
    shows: (at, text) => engine.shows(at, text),
    until,
    async turn(text) {
      const from = frames.length;
      await agent.submit(text, AbortSignal.timeout(PATIENCE_MS));
      await until(
        () => frames.slice(from).some((f) => f.type === "stop") && rig.of("status").at(-1)?.state === "idle",
        `the end of "${text.slice(0, 40)}"`,
      );
      return frames.slice(from);
    },
    of<T extends FrameBody["type"]>(type: T, from = 0): Body<T>[] {
      return frames.slice(from).filter((frame): frame is Body<T> => frame.type === type);
    },
    async [Symbol.asyncDispose]() {
      await agent.stop("kill");
      await engine[Symbol.asyncDispose]();
      await model[Symbol.asyncDispose]();
      if (options.base === undefined) await rm(base, { recursive: true, force: true });
    },
  };
  try {
    await agent.ready;
  } catch (thrown) {
    await rig[Symbol.asyncDispose]();
    throw thrown;
  }
  return rig;
}

/** The text of the frames of one message stream, joined. */
export function textOf(frames: readonly FrameBody[], agent?: string): string {
  return frames
    .filter((frame): frame is Body<"text.delta"> => frame.type === "text.delta" && frame.agent === agent)
    .map((frame) => frame.text)
    .join("");
}
