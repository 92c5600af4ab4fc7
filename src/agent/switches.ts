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

/** Claude answers within 0.5 s on a desktop; for a name it does not know it asks the API first, which may take several tries. */
const ANSWER_MS = 30_000;
/** A screen answers a key within 30 ms on a desktop; a loaded Raspberry Pi takes a second. */
const SHOWN_MS = 3_000;
/** Enter again when what it should have closed still stands there. */
const ENTER_AGAIN_MS = 2_000;
/** No version has more permission modes than this. */
const MAX_MODES = 8;
/** How often the screen is read while it is waited for. */
const LOOK_MS = 20;

const ENTER = "\r";
const ESC = "\x1b";
const SHIFT_TAB = "\x1b[Z";
/** Ctrl+L: Claude draws everything anew, on all three versions. */
const REDRAW = "\x0c";

/** What stands on the screen, from the moment it was asked for. */
export interface Look extends Disposable {
  lines(): readonly string[];
}

/** What a switch needs of its agent. */
export interface Bench {
  readonly spec: AgentSpec;
  readonly state: State;
  /** Claude has ended. */
  readonly gone: boolean;
  type(keys: string): void;
  /** Empties the input box of whatever a person has left in it. */
  emptyBox(): Promise<void>;
  look(): Look;
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
  await bench.until(() => atRest(bench.state) || bench.gone, FOR_EVER_MS, signal);
  alive(bench, signal);
  const by = what === "mode" ? switchMode : switchByCommand;
  const work = async (): Promise<string> => {
    bench.feed({ src: "switching", at: bench.now(), on: true });
    try {
      using look = bench.look();
      bench.type(REDRAW);
      return await by(bench, look, what, value, signal);
    } finally {
      bench.feed({ src: "switching", at: bench.now(), on: false });
    }
  };
  return what === "mode" ? work() : keepingDefaults(bench.spec, work);
}

/** What a gate leaves to a person, no mode may decide. */
function permitted({ gated }: AgentSpec, mode: string): void {
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
  let entered = bench.now();
  bench.type(ENTER);
  const end = entered + ANSWER_MS;
  while (state.said === undefined && bench.now() < end) {
    // A dialog may ask back, and an Enter may be lost: pressed where the screen shows what it is for, and not too often.
    const due = bench.now() - entered >= ENTER_AGAIN_MS;
    const asks = asksBack(look.lines());
    if ((asks && (due || !isAnswered)) || (due && holds(look, command))) {
      entered = bench.now();
      bench.type(ENTER);
    }
    var isAnswered: boolean = asks;
    alive(bench, signal);
    await bench.until(() => state.said !== undefined || bench.gone, LOOK_MS, signal);
  }
  return "";
}
