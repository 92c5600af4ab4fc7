/**
 * Translate: one source event (hook call, transcript line, state, time) becomes frame bodies.
 * No clock, no I/O: the same events give the same frames, which the recorded transcripts in test/ prove.
 */
import type { FrameBody } from "../frame/frame.ts";
import { claimAsk, dropAsks, releaseAsk, waitsForPerson } from "./asks.ts";
import { meta, setStatus, showStatus } from "./frames.ts";
import { onHook } from "./hook-call.ts";
import { onHeard } from "./overheard.ts";
import type { Source } from "./source.ts";
import type { State } from "./state.ts";
import { onMessage, onRuns, onSent, onSet } from "./stream-message.ts";
import { isTold } from "./texts.ts";
import { closeByBatch, result, start } from "./tools.ts";
import { commandDone, onLine } from "./transcript-line.ts";
import { finish, onState, onSwitching, SETTLE_MS } from "./turns.ts";

/** 2.1.112 draws an 84 KB reply for 22 s before it writes it: as long as Stop's last words are owed, it ends nothing before this. */
const DRAWING_MS = 120_000;

/** Claude writes down what a person decided within 0.2 s on a desktop; a loaded Raspberry Pi may take ten times that. */
const LET_GO_MS = 2_000;

/** What this event leads to, in order. Changes `state`. */
export function translate(state: State, source: Source): FrameBody[] {
  const out: FrameBody[] = [];
  step(state, source, out);
  if (state.turn !== undefined && out.some(({ type }) => SPEECH.has(type))) state.turn.spoke = true;
  return out;
}

/** When `tick` is due, if nothing else happens. */
export function deadline(state: State): number | undefined {
  let due = state.turn?.ending?.until;
  for (const tool of state.tools.values()) {
    if (!tool.done && !tool.queued && (!tool.started || tool.fallback !== undefined))
      due = Math.min(due ?? tool.until, tool.until);
  }
  for (const { until } of state.asks.values()) if (until !== undefined) due = Math.min(due ?? until, until);
  if (state.dialogAt !== undefined) due = Math.min(due ?? state.dialogAt, state.dialogAt);
  return due;
}

function step(state: State, source: Source, out: FrameBody[]): void {
  if (belongsToNextTurn(state, source)) {
    state.waiting.push(source);
    return;
  }
  if (source.src === "hook") onHook(state, source, out);
  else if (source.src === "line") onLine(state, source.line, source.agent, source.at, out);
  else if (source.src === "state") onState(state, source.state, source.since ?? source.at, source.at, out);
  else if (source.src === "tap") onHeard(state, source.heard, source.agent, out);
  else if (source.src === "message") onMessage(state, source.message, source.held, source.at, out);
  else if (source.src === "set") onSet(state, source.set, out);
  else if (source.src === "sent") onSent(state, source.command, source.at, out);
  else if (source.src === "runs") onRuns(state, source.body, source.at, out);
  else if (source.src === "title") meta(state, { title: source.title }, out);
  else if (source.src === "skipped")
    out.push({
      type: "error",
      code: "line_skipped",
      message: `a transcript line of ${source.bytes} bytes was passed over`,
    });
  else if (source.src === "judging") state.judging.set(source.id, source.until);
  else if (source.src === "claim") claimAsk(state.asks, source.group);
  else if (source.src === "release") onRelease(state, source.group, source.taken, source.at, out);
  else if (source.src === "let-go") onLetGo(state, source.held, source.at, out);
  else if (source.src === "esc") onEsc(state, source.at);
  else if (source.src === "command") state.commandTold = false;
  else if (source.src === "command-over") {
    commandDone(state, out);
    state.commandTold = true;
  } else if (source.src === "switching") onSwitching(state, source.on, source.at, out);
  else if (source.src === "limit-over") {
    state.limit = undefined;
    showStatus(state, source.at, out);
  } else if (source.src === "mode") meta(state, { permission_mode: source.mode }, out);
  else if (source.src === "tick") onTick(state, source.at, out);
  else if (source.src === "caught-up") onCaughtUp(state, source.at, out);
  else if (source.src === "exit") onExit(state, source.at, out);
  else source satisfies never;
  // Whatever ended the turn let in what waited for its end.
  if (state.turn === undefined) goOn(state, out);
}

/** Frames of an answer: after one of them an interrupt leaves its mark in the transcript. */
const SPEECH: ReadonlySet<string> = new Set(["text.delta", "thinking", "tool.use.start"]);

function onEsc(state: State, now: number): void {
  state.escaped = true;
  if (state.turn !== undefined) state.turn.escAt ??= now;
}

function goOn(state: State, out: FrameBody[]): void {
  const waiting = state.waiting;
  state.waiting = [];
  for (const source of waiting) step(state, source, out);
}

function belongsToNextTurn(state: State, source: Source): boolean {
  if (state.turn?.ending === undefined) return false;
  if (source.src !== "hook" && source.src !== "state" && source.src !== "tap") return false;
  if (source.src === "tap" && source.agent !== undefined) return false;
  if (state.waiting.length > 0) return true;
  return source.src === "hook" && source.event === "UserPromptSubmit" && source.body["agent_id"] === undefined;
}

/** For people: Claude takes no text before this dialog is closed, and only its terminal shows it. */
const DIALOG_NOTE = "a dialog is open in the terminal; keys or interrupt (Esc) close it";

function onTick(state: State, now: number, out: FrameBody[]): void {
  if (state.dialogAt !== undefined && state.dialogAt <= now) {
    state.dialogAt = undefined;
    if (!waitsForPerson(state.asks)) out.push({ type: "meta", note: DIALOG_NOTE });
  }
  for (const [id, tool] of state.tools) {
    if (tool.until > now || tool.done || tool.queued) continue;
    start(state, id, now, out);
    if (tool.fallback !== undefined) closeByBatch(state, id, tool, now, out);
  }
  out.push(...dropAsks(state.asks, "lost", ({ until }) => until !== undefined && until <= now));
  const ending = state.turn?.ending;
  if (ending === undefined || ending.until > now) return;
  const owed = state.turn?.owed;
  const owes = owed !== undefined && !isTold(state.texts, owed);
  if (owes && state.turn !== undefined && now - ending.since < DRAWING_MS)
    state.turn.ending = { ...ending, until: now + SETTLE_MS };
  else finish(state, ending.reason, now, out);
}

/** Claude has the decision: it goes on, unless it waits for another. */
function onRelease(state: State, group: string, taken: boolean, now: number, out: FrameBody[]): void {
  out.push(...releaseAsk(state.asks, group, taken));
  if (!taken) return;
  state.settledAt = now;
  if (state.claude === "waiting" && !waitsForPerson(state.asks)) {
    state.claude = "busy";
    state.dialogAt = undefined;
  }
  showStatus(state, now, out);
}

/** Someone decided at the terminal, which the call's result tells; or it was no call of Claude's, and nothing will. */
function onLetGo(state: State, held: number, now: number, out: FrameBody[]): void {
  for (const ask of state.asks.values()) if (ask.held === held) ask.until = now + LET_GO_MS;
  showStatus(state, now, out);
}

function onCaughtUp(state: State, now: number, out: FrameBody[]): void {
  const ending = state.turn?.ending;
  if (state.turn !== undefined) finish(state, ending?.reason ?? "daemon_restart", now, out);
  state.catchingUp = false;
  state.tools.clear();
  state.usage.clear();
  state.seen.thinking = new Set();
  state.seen.usage = new Set();
}

function onExit(state: State, now: number, out: FrameBody[]): void {
  const ending = state.turn?.ending;
  state.waiting = [];
  for (const group of state.asks.keys()) out.push(...releaseAsk(state.asks, group, false));
  out.push(...dropAsks(state.asks, "lost"));
  if (state.turn !== undefined) finish(state, ending?.firm ? ending.reason : "interrupted", now, out);
  for (const id of state.tools.keys()) {
    start(state, id, now, out);
    result(state, id, { error: "session ended" }, now, out);
  }
  setStatus(state, "stopped", 0, out);
}
