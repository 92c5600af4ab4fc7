/** Typist: brings one text into Claude's input box and has it taken, never typing it twice. */
import { setTimeout as pause } from "node:timers/promises";
import { deadline } from "../deadline.ts";
import { CibError } from "../errors.ts";
import { isPrompt, normal } from "./prompts.ts";

/** From the paste to the last try: a loaded Raspberry Pi takes seconds for a large text. */
const SUBMIT_DEADLINE_MS = 30_000;
/** Enter again after this, then after twice as long, and so on: it does nothing in an empty box. */
const ENTER_AGAIN_MS = 1_500;
/** Commands show no prompt at once, and a second Enter would answer the dialog they open: their effect is on the screen. */
const COMMAND_MS = 2_000;
/** Claude's own end is what shows that it took /exit; a loaded machine takes seconds for it. */
const EXIT_MS = 20_000;
/** The paste is taken when the screen has answered and rests this long. */
const QUIET_MS = 50;
const PASTE_MS = 1_500;

/** What the typist needs of its agent. */
export interface Desk {
  type(keys: string): void;
  /** Milliseconds since Claude last wrote to the terminal, and how often it has. */
  readonly quietMs: number;
  readonly writes: number;
  /** What Claude drew last, without what draws it. */
  words(): string;
  /** This version marks long pastes for the model. */
  readonly marksPastes: boolean;
  /** Claude works or asks: Enter is not ours to press. */
  readonly engaged: boolean;
}

/** Words that end Claude like /exit. */
const EXITS: ReadonlySet<string> = new Set(["exit", "quit", ":q", ":q!", ":wq", ":wq!"]);
const EXIT_COMMANDS: ReadonlySet<string> = new Set(["/exit", "/quit"]);
/** Commands of every version: Claude finds them by their whole name. */
const OFFERED: ReadonlySet<string> = new Set(
  "agents clear compact config context doctor exit export help hooks init login logout mcp memory model permissions resume review status"
    .split(" ")
    .map((name) => `/${name}`),
);
/** Alone, these only switch what the input box takes: no prompt comes of them, and the next text would be taken so. `#`, `&` and `?` are prompts. */
const SWITCHES: ReadonlySet<string> = new Set(["!", "/"]);

/** One submission under way: sources tell it what Claude took. */
export class Submission {
  readonly text: string;
  taken = false;
  /** Claude's transcript shows it: it survives a kill of Claude. */
  kept = false;
  /** Enter was pressed: a prompt that Claude shows from now on is this one. */
  entered = false;
  /** A person typed meanwhile: what Claude shows may be theirs. */
  touched = false;
  /** An end was told since: of a turn, or of the command. */
  over = false;
  /** Why Claude will not send it. */
  refused: string | undefined;
  /** What Claude calls it, where its words differ. */
  #words: string | undefined;
  readonly #onTaken: () => void;
  #wake: (() => void) | undefined;

  constructor(text: string, onTaken: () => void = () => undefined) {
    this.text = text;
    this.#onTaken = onTaken;
  }

  /** Claude shows this prompt; `kept`: in its transcript. */
  said(prompt: string, kept: boolean): void {
    const same = isPrompt(prompt, this.text) || normal(prompt).endsWith(normal(this.text));
    // Claude resolves aliases (/cost is /usage): any command that ran now is ours.
    const alias = this.isCommand && prompt.startsWith(this.text.slice(0, 1));
    if (!same && !alias && !this.#reworded(prompt, kept)) return;
    this.kept ||= kept;
    this.#take();
  }

  /** Whether this prompt, which Claude is about to send, is this one. */
  is(prompt: string): boolean {
    if (!this.entered) return false;
    return isPrompt(prompt, this.text) || (!this.touched && !prompt.startsWith("<"));
  }

  /** Claude is told not to send it. */
  refuse(reason: string): void {
    this.refused = reason;
    this.#wake?.();
  }

  /** Claude began to work, cleared, or opened a dialog: what a command may do. */
  effect(): void {
    if (this.isCommand) this.#take();
  }

  /** An end is about to be told: what it ends is told first. */
  stopping(): void {
    this.effect();
    this.over = true;
  }

  /** Claude ended well and by itself: what some texts ask for. */
  ended(): void {
    if (this.entered && (this.isCommand || EXITS.has(this.text.trim()))) this.#take();
  }

  /** A turn goes on that began after Enter: nobody but us can have begun it. False where somebody can. */
  began(): boolean {
    if (!this.entered || this.touched) return false;
    this.#take();
    return true;
  }

  /** A hook comes at once, so after our Enter it shows our prompt, whatever Claude made of its words; a line may be late. */
  #reworded(prompt: string, kept: boolean): boolean {
    if (kept) return this.#words !== undefined && isPrompt(prompt, this.#words);
    // Claude's own prompts (a background task is done) are written in tags.
    if (!this.entered || this.touched || prompt.startsWith("<")) return false;
    this.#words = prompt;
    return true;
  }

  get isCommand(): boolean {
    return this.text.startsWith("/") || this.text.startsWith("!");
  }

  #take(): void {
    if (!this.taken) this.#onTaken();
    this.taken = true;
    this.#wake?.();
  }

  /** Waits until taken, at most so long. */
  async wait(ms: number, signal: AbortSignal): Promise<boolean> {
    if (this.taken || this.refused !== undefined) return true;
    using late = deadline(ms, signal);
    await new Promise<void>((done) => {
      this.#wake = done;
      late.signal.addEventListener("abort", () => done());
      if (late.signal.aborted) done();
    });
    this.#wake = undefined;
    return this.taken || this.refused !== undefined;
  }
}

/** Types and submits. Rejects with `hook_blocked` where a judgement keeps Claude from sending it, else with `claude_failed`; the box is emptied then, so that the text cannot join the next one. */
export async function typeText(desk: Desk, submission: Submission, signal: AbortSignal): Promise<void> {
  const { text } = submission;
  if (SWITCHES.has(text.trim()))
    throw new CibError("claude_failed", `text: "${text.trim()}" alone only switches Claude's input mode; say more`);
  const started = Date.now();
  const before = desk.writes;
  desk.type(pastes(text, desk.marksPastes));
  // Of a command's Enter there is only one: what Claude draws meanwhile for other reasons is no answer.
  const name = text.startsWith("/") ? (/^\S{1,20}/.exec(text)?.[0] ?? "") : "";
  const drawn = (): boolean => desk.writes > before && desk.quietMs >= QUIET_MS && desk.words().includes(name);
  await until(drawn, PASTE_MS, signal);
  // Enter would take the first of the names that Claude offers for it, /clear for /clea: Esc closes that list. Of a name that there is Claude offers itself first.
  if (/^\/\S+$/.test(text.trim()) && !OFFERED.has(text.trim()) && !desk.engaged) {
    const open = desk.writes;
    const lag = Date.now() - started;
    desk.type(ESC);
    await pause(Math.max(CLOSED_MS, 2 * lag), undefined, { signal });
    // A Claude that lags would read Esc and Enter as one key, a new line: it has drawn that the list is gone first.
    await until(() => desk.writes > open, CLOSED_LATE_MS, signal);
  }
  let wait = enterWait(submission);
  for (;;) {
    signal.throwIfAborted();
    if (!desk.engaged) {
      submission.entered = true;
      desk.type("\r");
    }
    const heard = await submission.wait(wait, signal);
    if (submission.refused !== undefined) throw new CibError("hook_blocked", `text: not sent: ${submission.refused}`);
    if (heard || submission.isCommand) return;
    if (Date.now() - started > SUBMIT_DEADLINE_MS) break;
    wait *= 2;
  }
  if (desk.engaged && submission.began()) return;
  await emptyBox(desk, text);
  throw new CibError("claude_failed", `claude did not take the text as a prompt within ${SUBMIT_DEADLINE_MS / 1000} s`);
}

/** How long one Enter has to show its effect, ms. */
function enterWait({ text, isCommand }: Submission): number {
  if (EXIT_COMMANDS.has(text.trim())) return EXIT_MS;
  return isCommand ? COMMAND_MS : ENTER_AGAIN_MS;
}

/** A small paste is text like any other: one line, and below 800 characters (measured on 2.1.330; 900 were marked). */
const SMALL_PASTE = /[^\n]{1,600}\n?|\n/gu;
/** Longer texts would fill the input box, which is drawn anew with every key: they go as one paste, and are marked. */
const MAX_UNMARKED_CHARS = 32_768;

/** The text as bracketed pastes: one, or many small ones in a row. */
export function pastes(text: string, marked: boolean): string {
  const clean = pasteable(text);
  const parts = marked && clean.length <= MAX_UNMARKED_CHARS ? (clean.match(SMALL_PASTE) ?? []) : [clean];
  return parts.map((part) => `\x1b[200~${part}\x1b[201~`).join("");
}

/** Line ends as the terminal wants them, nothing that could end the paste. At the end, an open `@` would take Enter for its list, a `\` for a new line. */
function pasteable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed
  const clean = text.replace(/\r\n?/g, "\n").replace(/[\x00-\x08\x0b-\x1f\x7f]/g, "");
  return /(^|\s)@\S*$|\\$/.test(clean) ? `${clean} ` : clean;
}

const ESC = "\x1b";
/** A lone Esc is told from the beginning of a key's sequence after 50 ms; the list is gone 30 ms later. */
const CLOSED_MS = 150;
/** A loaded machine takes seconds. */
const CLOSED_LATE_MS = 2_000;

/** Columns of text in the narrowest terminal worth thinking of. */
const NARROW = 40;
/** Rows that are emptied at most: a longer text stands in the box as one mark. */
const MAX_BOX_ROWS = 200;
/** The screen rests this long when Claude has drawn what an interrupt brings; a spinner may never let it. */
const REST_MS = 250;
const REST_DEADLINE_MS = 2_000;
/** Keys in one write: many more are taken for a paste. */
const KEYS_AT_ONCE = 8;
const KEYS_PAUSE_MS = 30;
const KEYS_ECHO_MS = 150;

/** Empties an input box that may hold this text: Ctrl+E, then Ctrl+U twice a row (the rest of the row, its end), then Ctrl+K; Backspace leaves the shell mode of a `!`. */
export async function emptyBox(desk: Desk, text: string): Promise<void> {
  const all = text.split("\n").reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / NARROW)), 0);
  const rows = Math.min(all, MAX_BOX_ROWS);
  // After an interrupt Claude puts the prompt back a little later: emptied before that, the box would be full again.
  await until(() => desk.quietMs >= REST_MS, REST_DEADLINE_MS, new AbortController().signal);
  const keys = `\x05${"\x15".repeat(2 * rows + 4)}${"\x0b".repeat(rows + 4)}\x7f`;
  for (let from = 0; from < keys.length; from += KEYS_AT_ONCE) {
    const before = desk.writes;
    desk.type(keys.slice(from, from + KEYS_AT_ONCE));
    await pause(KEYS_PAUSE_MS);
    // A Claude that lags would read them with the next: it answers these first, if there is anything to answer.
    await until(() => desk.writes > before, KEYS_ECHO_MS, new AbortController().signal);
  }
}

async function until(true_: () => boolean, ms: number, signal: AbortSignal): Promise<void> {
  const end = Date.now() + ms;
  while (!true_() && Date.now() < end) await pause(10, undefined, { signal });
}
