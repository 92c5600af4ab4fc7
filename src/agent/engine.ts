/** Engine: starts the agent of a session; daemon.ts wires it with the claude command, the box's id and a hook inbox. */
import { randomUUID } from "node:crypto";
import type { Agent, AgentEvents, AgentSpec, Engine, Position } from "./agent.ts";
import { environment, prepare } from "./command.ts";
import { type HookInbox, startInbox } from "./hook-inbox.ts";
import { type Json, text } from "./json.ts";
import { isInterruptMark, promptOf } from "./prompts.ts";
import { PtyAgent } from "./pty-agent.ts";
import { seed } from "./seed.ts";
import type { Source } from "./source.ts";
import { newState, reopen, type State } from "./state.ts";
import { StreamAgent } from "./stream-agent.ts";
import { startTap, type Tap, type TapLease } from "./tap.ts";
import { readBetween, shows, sizeOf, transcriptFile } from "./transcript.ts";
import { translate } from "./translate.ts";
import { loopbackDirect, wayOf } from "./upstream.ts";
import { detectVersion, rowFor } from "./versions.ts";

export interface EngineOptions {
  /** What runs Claude Code: `["/usr/bin/claude"]`, or node and cli.js. */
  readonly command: readonly string[];
  /** This box's id: marks every process, so that the next daemon can end what this one left. */
  readonly box: string;
  /** Shared by all sessions; started and owned by the engine where it is left out. */
  readonly inbox?: HookInbox;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Gets every source event, in order: how test/transcripts are recorded. */
  readonly record?: (source: Source) => void;
  /** Faults that no call can carry: a file that cannot be read, a process that cannot be ended. */
  readonly fault?: (fault: unknown) => void;
}

/** Makes the engine. Disposing it closes the inbox that it started itself; stop the agents first. */
export async function createEngine(options: EngineOptions): Promise<Engine & AsyncDisposable> {
  const inbox = options.inbox ?? (await startInbox());
  const now = options.now ?? Date.now;
  const fault = options.fault ?? ((what: unknown) => process.emitWarning(String(what)));
  let tap: Promise<Tap> | undefined;
  const tapOf = (): Promise<Tap> => {
    tap ??= startTap();
    return tap;
  };
  return {
    start: (spec, events) => startAgent(options, inbox, tapOf, now, fault, spec, events),
    shows,
    async [Symbol.asyncDispose]() {
      await (await tap)?.[Symbol.asyncDispose]();
      if (options.inbox === undefined) await inbox[Symbol.asyncDispose]();
    },
  };
}

async function startAgent(
  options: EngineOptions,
  inbox: HookInbox,
  tapOf: () => Promise<Tap>,
  now: () => number,
  fault: (fault: unknown) => void,
  wanted: AgentSpec,
  events: AgentEvents,
): Promise<Agent> {
  const spec = await resumable(await seed(wanted));
  const version = await detectVersion(options.command, environment(spec, options.box));
  const { row, note } = rowFor(version);
  const state = newState(row, spec.thinking);
  state.limit = spec.limitResetsAt;
  // Calls come only after the start, but the settings need the address before it.
  let agent: PtyAgent | StreamAgent | undefined;
  const lease = inbox.open((event, body, gone) => agent?.hook(event, body, gone) ?? {});
  let tap: TapLease | undefined;
  try {
    const env = environment(spec, options.box);
    if (spec.tap === true && spec.engine === "pty") {
      tap = (await tapOf()).open({
        way: wayOf(env["ANTHROPIC_BASE_URL"], env),
        marksAgents: row.marksAgents,
        heard: (heard, subagent) => agent instanceof PtyAgent && agent.heard(heard, subagent),
        fault,
      });
    }
    const tapped = tap && { ...spec, baseUrl: tap.url, env: { ...spec.env, ...loopbackDirect(env) } };
    const launch = await prepare(tapped ?? spec, row, options.box, options.command, (event) => lease.url(event));
    announce(events, spec, version, note);
    const from = await beginning(spec, state, events, now);
    const closing: AgentEvents = {
      frame: (body) => events.frame(body),
      terminal: (bytes) => events.terminal(bytes),
      position: (at) => events.position(at),
      judge: (call) => events.judge(call),
      ending: (how) => events.ending(how),
      exited(how) {
        lease[Symbol.dispose]();
        tap?.[Symbol.dispose]();
        events.exited(how);
      },
    };
    agent = new (spec.engine === "stream" ? StreamAgent : PtyAgent)({
      spec,
      events: closing,
      launch,
      version,
      state,
      from,
      now,
      fault,
      record: options.record ?? (() => undefined),
    });
    return agent;
  } catch (thrown) {
    lease[Symbol.dispose]();
    tap?.[Symbol.dispose]();
    throw thrown;
  }
}

/**
 * Claude writes a conversation down with its first prompt: one that never had any begins anew under its own id. Killed
 * in between it leaves a file without a message, which it neither resumes nor begins again: then under another.
 */
async function resumable(spec: AgentSpec): Promise<AgentSpec> {
  if (spec.start !== "resume") return spec;
  const file = await transcriptFile(spec.projectsDir, spec.workdir, spec.conversation);
  const size = await sizeOf(file);
  if (size === 0) return { ...spec, start: "new" };
  return size > MAX_HEAD_BYTES || (await holdsMessage(file, size))
    ? spec
    : { ...spec, start: "new", conversation: randomUUID() };
}

/** What Claude writes before the first prompt is a few KB. */
const MAX_HEAD_BYTES = 1024 * 1024;

async function holdsMessage(file: string, size: number): Promise<boolean> {
  let found = false;
  await readBetween(file, 0, size, ({ type }) => {
    found ||= type === "user" || type === "assistant";
  });
  return found;
}

function announce(events: AgentEvents, spec: AgentSpec, version: string, note: string | undefined): void {
  events.frame({
    type: "meta",
    engine: spec.engine,
    version,
    workdir: spec.workdir,
    auth: spec.credential.mode,
    ...(spec.effort === undefined ? {} : { effort: spec.effort }),
    ...(note === undefined ? {} : { note }),
  });
}

/** Where reading begins. On resume the lines behind `position` are caught up first; what stands before is never told again. */
async function beginning(spec: AgentSpec, state: State, events: AgentEvents, now: () => number): Promise<Position> {
  const file = await transcriptFile(spec.projectsDir, spec.workdir, spec.conversation);
  if (spec.start !== "resume") return { file, offset: 0 };
  const size = await sizeOf(file);
  if (spec.position === undefined) return { file, offset: size };
  reopen(state, spec.seen, now());
  const emit = (source: Source): void => {
    for (const frame of translate(state, source)) events.frame(frame);
  };
  const { position, seen } = spec;
  const oldSize = await sizeOf(position.file);
  const read = async (each: (line: Json) => void): Promise<void> => {
    await readBetween(position.file, position.offset, oldSize, each);
    if (position.file !== file) await readBetween(file, 0, size, each);
  };
  // By time, not by place: the first lines of a file may stand before the prompt that they answer.
  const prompts: number[] = [];
  await read((line) => {
    if (promptOf(line) !== undefined) prompts.push(stampOf(line));
  });
  const first = prompts.sort((a, b) => a - b)[seen?.toldTurns ?? 0];
  // No prompt is left: what stands there are late lines of a turn that is told, unless the open one began earlier.
  const since = seen === undefined || (seen.turnOpen && prompts.length === 0) ? 0 : (first ?? Number.POSITIVE_INFINITY);
  await read((line) => {
    const stamp = stampOf(line);
    // A Claude that loses its daemon interrupts itself: nobody else can, without a terminal.
    if (spec.engine === "stream" && isInterruptMark(line)) return;
    if (stamp >= since) emit({ src: "line", at: stamp > 0 ? stamp : now(), line });
  });
  emit({ src: "caught-up", at: now() });
  const at = { file, offset: size };
  events.position(at);
  return at;
}

/** When Claude wrote the line, ms since 1970; 0 where it does not say. */
function stampOf(line: Json): number {
  return Date.parse(text(line["timestamp"]) ?? "") || 0;
}
