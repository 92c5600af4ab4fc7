/** Switches: model, effort and permission mode of a live terminal session, each confirmed by Claude itself before it counts. */
import { setTimeout as pause } from "node:timers/promises";
import { CibError } from "../errors.ts";
import type { AgentSpec, Setting } from "./agent.ts";
import { waitsForPerson } from "./asks.ts";
import { setBy } from "./confirmed.ts";
import type { Source } from "./source.ts";
import type { State } from "./state.ts";
import { pastes } from "./typist.ts";
import { keepingDefaults } from "./user-settings.ts";
import type { Look } from "./view.ts";

/** Claude answers within 0.5 s on a desktop; for a name it does not know it asks the API first, which may take several tries. */
const ANSWER_MS = 30_000;
/** The transcript's word comes within 0.3 s of the screen's; later than this none is coming. */
const REFUSED_MS = 1_500;
/** A screen answers a key within 30 ms on a desktop; a loaded Raspberry Pi takes a second. */
const SHOWN_MS = 3_000;
/** Enter again when what it should have closed still stands there. */
const ENTER_AGAIN_MS = 2_000;
/** No version has more permission modes than this. */
const MAX_MODES = 8;
/** A row that has not vanished from the box after this was none. */
const ROW_MS = 300;
/** Rows of a draft that are taken away at most. */
const MAX_BOX_ROWS = 100;
/** How often the screen is read while it is waited for. */
const LOOK_MS = 20;

/** A new size is drawn 30 ms later on a desktop. */
const SETTLED_MS = 60;

const ENTER = "\r";
const ESC = "\x1b";
const SHIFT_TAB = "\x1b[Z";
/** Ctrl+L: Claude draws everything anew, on all three versions. */
const REDRAW = "\x0c";

/** What a switch needs of its agent. */
export interface Bench {
  readonly spec: AgentSpec;
  readonly state: State;
  /** Settled when what Claude offers after a usage limit is closed. */
  offer(): Promise<void>;
  /** Claude has ended. */
  readonly gone: boolean;
  type(keys: string): void;
  /** The input box may hold something: a person's draft, or a prompt that was interrupted. */
  draft: boolean;
  look(): Look;
  /** Looks at Claude's files soon: where no event tells of a change, as in a folder that has just come to be. */
  check(): void;
  feed(source: Source): void;
  now(): number;
  until(condition: () => boolean, ms: number, signal: AbortSignal): Promise<boolean>;
}

/** Longest wait for the end of the turn is the caller's: its signal. */
const FOR_EVER_MS = 2 ** 31 - 1;

/** Names of models (`opus[1m]`, `eu.anthropic.x-v1:0`, `a/b@c`) and of the others: one word that no key can hide in. */
const VALUE = /^[\w.:@/[\]-]{1,200}$/;

/** Waits until Claude is at rest, switches, and resolves with what Claude has now. Nothing else may type meanwhile. */
export async function switchTo(bench: Bench, what: Setting, value: string, signal: AbortSignal): Promise<string> {
  if (!VALUE.test(value)) throw new CibError("bad_request", `${what}: expected one word, got ${JSON.stringify(value)}`);
  if (what === "mode") permitted(bench.spec, value);
  do {
    await bench.until(() => atRest(bench.state) || bench.gone, FOR_EVER_MS, signal);
    await bench.offer();
    alive(bench, signal);
  } while (!atRest(bench.state));
  const by = what === "mode" ? switchMode : switchByCommand;
  const work = async (): Promise<string> => {
    bench.feed({ src: "switching", at: bench.now(), on: true });
    try {
      using look = bench.look();
      // Where the terminal was too small to be read it is drawn for its new size first.
      await pause(SETTLED_MS);
      bench.type(REDRAW);
      return await by(bench, look, what, value, signal);
    } finally {
      bench.feed({ src: "switching", at: bench.now(), on: false });
    }
  };
  return what === "mode" ? work() : keepingDefaults(bench.spec, work);
}

/**
 * After a usage limit 2.1.112 and 2.1.197 open a dialog of their own, which would take the next text's Enter, and
 * 2.1.330 sets itself to go on when the limit resets: that is the session's to decide. Esc ends both.
 */
export async function endLimitOptions(bench: Bench, look: Look, signal: AbortSignal): Promise<void> {
  bench.feed({ src: "switching", at: bench.now(), on: true });
  try {
    if (!(await shows(bench, look, offersOptions, signal))) return;
    if (bench.state.turn !== undefined) return;
    bench.type(ESC);
    await shows(bench, look, (lines) => !offersOptions(lines) || CANCELLED.test(lines.join("\n")), signal);
  } finally {
    bench.feed({ src: "switching", at: bench.now(), on: false });
  }
}

/** The notice stays where it is, and this one comes below it. */
const CANCELLED = /continue cancelled/;

/** The dialog, whose letters may stand there in part where they were there before, or the notice of 2.1.330. */
export function offersOptions(lines: readonly string[]): boolean {
  return /What do you want to do\?|Stop and wait for limit|Continuing automatically|set to continue auto/.test(
    lines.join("\n"),
  );
}

/** What a gate leaves to a person, no mode may decide. */
export function permitted({ gated }: AgentSpec, mode: string): void {
  if (gated !== undefined && !UNGATED.has(mode))
    throw new CibError("conflict", `mode: ${mode} would let tools run past this session's gate`);
}

const UNGATED = new Set(["default", "acceptEdits", "plan"]);

async function switchByCommand(
  bench: Bench,
  look: Look,
  what: Setting,
  value: string,
  signal: AbortSignal,
): Promise<string> {
  const { state } = bench;
  const command = `/${what} ${value}`;
  await typeAlone(bench, look, command, signal);
  bench.type(ENTER);
  let entered = bench.now();
  let answered = false;
  const until = entered + ANSWER_MS;
  const said = (): string | undefined => (state.said?.command === command ? state.said.words : undefined);
  let refused: string | undefined;
  while (said() === undefined && refused === undefined && bench.now() < until && !bench.gone && !signal.aborted) {
    await bench.until(() => said() !== undefined || bench.gone, LOOK_MS, signal);
    bench.check();
    const lines = look.lines();
    const due = bench.now() - entered >= ENTER_AGAIN_MS;
    // 2.1.112 writes nothing down before a conversation's first prompt, but what it has set.
    if (bench.now() - entered >= REFUSED_MS) refused = refusalOn(lines, command);
    // A dialog may ask back, and an Enter may be lost: pressed where the screen shows what it is for, and not too often.
    const asks = asksBack(lines);
    if (said() !== undefined || !((asks && (due || !answered)) || (due && boxOf(lines) === squeezed(command))))
      continue;
    answered = asks;
    entered = bench.now();
    bench.type(ENTER);
  }
  const words = said() ?? refused;
  if (words === undefined) return giveUp(bench, look, command);
  await bench.until(() => atRest(state) || bench.gone, SHOWN_MS, signal);
  if (setBy(command, words) !== undefined) return value;
  if (/^Kept /.test(words)) throw new CibError("claude_failed", `${what}: turned down in the terminal: ${words}`);
  if (/overrides/.test(words)) throw new CibError("conflict", `${what}: ${words}`);
  throw new CibError("bad_request", `${what}: claude does not take "${value}": ${words}`);
}

/** What stands right below the command on the screen, where that is no confirmation. */
export function refusalOn(lines: readonly string[], command: string): string | undefined {
  const at = lines.findLastIndex((line) => line.trim() === `❯ ${command}`);
  const words = at < 0 ? undefined : /^\s*⎿\s+(\S.*)$/.exec(lines[at + 1] ?? "")?.[1]?.trim();
  return words === undefined || setBy(command, words) !== undefined ? undefined : words;
}

/** Types into an empty box, and makes sure that nothing else stands there: a person's draft must not go with it. */
async function typeAlone(bench: Bench, look: Look, text: string, signal: AbortSignal): Promise<void> {
  for (const again of [false, true]) {
    if (again || bench.draft) await clearBox(bench, look, signal);
    alive(bench, signal);
    bench.type(pastes(text, false));
    if (await shows(bench, look, (lines) => boxOf(lines) === squeezed(text), signal)) return;
  }
  await clearBox(bench, look, signal);
  alive(bench, signal);
  throw new CibError("claude_failed", `claude does not show "${text}" in its input box; its screen: ${end(look)}`);
}

/** Ctrl+E and Ctrl+U twice: a row before the cursor and its end; Ctrl+K twice: what is behind it; Backspace leaves the shell mode of a `!`. */
const CLEARING = [...Array<string>(MAX_BOX_ROWS).fill("\x05\x15\x15"), ...Array<string>(MAX_BOX_ROWS).fill("\x0b\x0b")];

/** Row by row, as the screen follows: many keys at once are taken for a paste by a Claude that lags, and stand there as text. */
async function clearBox(bench: Bench, look: Look, signal: AbortSignal): Promise<void> {
  let still = "";
  for (const keys of CLEARING) {
    if (still === keys) continue;
    const before = boxRows(look.lines());
    bench.type(keys);
    if (!(await shows(bench, look, (lines) => boxRows(lines) !== before, signal, ROW_MS))) still = keys;
  }
  bench.type("\x7f");
  bench.draft = false;
}

/** Leaves no dialog behind, and says what stood there. */
async function giveUp(bench: Bench, look: Look, command: string): Promise<never> {
  const shown = end(look);
  if (!bench.gone) {
    if (bench.state.claude === "waiting") bench.type(ESC);
    else if (boxOf(look.lines()) === squeezed(command)) bench.draft = true;
  }
  throw new CibError("claude_failed", `claude did not answer ${command}; its screen: ${shown}`);
}

async function switchMode(bench: Bench, look: Look, _: Setting, wanted: string, signal: AbortSignal): Promise<string> {
  const shown = (): string | undefined => modeOf(look.lines());
  await shows(bench, look, () => shown() !== undefined, signal);
  const seen: string[] = [];
  for (let mode = shown(); seen.length < MAX_MODES; mode = shown()) {
    if (mode === undefined) break;
    if (mode === wanted) {
      bench.feed({ src: "mode", at: bench.now(), mode });
      return mode;
    }
    if (seen.includes(mode)) break;
    seen.push(mode);
    bench.type(SHIFT_TAB);
    await shows(bench, look, () => ![mode, undefined].includes(shown()), signal);
    alive(bench, signal);
  }
  const now = shown();
  if (now !== undefined) bench.feed({ src: "mode", at: bench.now(), mode: now });
  if (seen.length === 0) throw new CibError("claude_failed", `mode: claude's screen does not show one: ${end(look)}`);
  if (bench.state.claude === "waiting") bench.type(ESC);
  throw new CibError("conflict", `mode: this session has ${seen.join(", ")}; not ${wanted}`);
}

/** What the footer shows of the mode, in the words of three versions. 2.1.330 calls the default "manual". */
const MODES: readonly (readonly [RegExp, string])[] = [
  [/bypass permissions on/, "bypassPermissions"],
  [/accept edits on/, "acceptEdits"],
  [/plan mode on/, "plan"],
  [/auto mode on/, "auto"],
  [/don.t ask on/i, "dontAsk"],
  [/manual mode on|\? for shortcuts/, "default"],
];

/** The permission mode in Claude's footer; undefined where there is none to see. */
export function modeOf(lines: readonly string[]): string | undefined {
  const footer = lines.slice(lines.findLastIndex(isRule) + 1).join("\n");
  return MODES.find(([words]) => words.test(footer))?.[1];
}

/** The input box with its rules, which say how much of it is out of sight. */
function boxRows(lines: readonly string[]): string {
  const below = lines.findLastIndex(isRule);
  const above = lines.slice(0, Math.max(0, below)).findLastIndex(isRule);
  return lines.slice(Math.max(0, above), below + 1).join("\n");
}

/** What stands in Claude's input box, between its two rules, without blanks; undefined where there is no box. */
export function boxOf(lines: readonly string[]): string | undefined {
  const below = lines.findLastIndex(isRule);
  const above = lines.slice(0, Math.max(0, below)).findLastIndex(isRule);
  if (above < 0) return undefined;
  return squeezed(
    lines
      .slice(above + 1, below)
      .join("")
      .replace(/^\s*[❯>]/, ""),
  );
}

/** Claude asks whether it shall really switch, and its cursor stands on yes. */
export function asksBack(lines: readonly string[]): boolean {
  const text = lines.join("\n");
  return /Switch model\?|Change effort level\?/.test(text) && /❯\s*1\.\s*Yes/.test(text);
}

function isRule(line: string): boolean {
  return /^\s*─{3,}.*─{8,}/.test(line);
}

function squeezed(text: string): string {
  return text.replace(/\s+/g, "");
}

/** The last words on the screen, for a person. */
function end(look: Look): string {
  return look
    .lines()
    .join(" ")
    .replace(/[─\s]+/g, " ")
    .trim()
    .slice(-300);
}

async function shows(
  bench: Bench,
  look: Look,
  what: (lines: readonly string[]) => boolean,
  signal: AbortSignal,
  ms = SHOWN_MS,
): Promise<boolean> {
  const until = bench.now() + ms;
  while (!what(look.lines())) {
    if (bench.now() > until || bench.gone || signal.aborted) return false;
    await pause(LOOK_MS);
  }
  return true;
}

function atRest({ turn, claude, asks }: State): boolean {
  return turn === undefined && claude === "idle" && !waitsForPerson(asks);
}

function alive(bench: Bench, signal: AbortSignal): void {
  if (bench.gone) throw new CibError("conflict", "session: claude has ended");
  if (signal.aborted) throw new CibError("claude_failed", "the switch was given up before claude confirmed it");
}
