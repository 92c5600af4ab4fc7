/** Steer: how soon a person's word reaches Claude, and Claude's first word a person. */
import { setTimeout as pause } from "node:timers/promises";
import type { ModelRequest, Turn } from "../src/demo/model.ts";
import { encodeValue } from "../src/frame/codec.ts";
import type { Frame, PtyFrame } from "../src/frame/frame.ts";
import { bareClaude } from "./bare.ts";
import { create, DEADLINE_MS, Follower, reach, send, type World, world } from "./box.ts";
import type { Question } from "./question.ts";
import { median, num, quantile } from "./stats.ts";

const ROUNDS = 50;
const QUICK_ROUNDS = 10;
const ENGINES = ["pty", "stream"] as const;
/** Words of one answer, and the time between them: so many a second as a fast model says. */
const WORDS = 6;
const WORD_MS = 30;
/** Claude has drawn what it got, as when a person has read it and decides. */
const READING_MS = 300;

export const steer: Question = {
  name: "steer",
  asks: "How long from allow to the tool, from interrupt to idle, from the API's first token to a WebSocket client?",
  async run(quick = false) {
    const rounds = quick ? QUICK_ROUNDS : ROUNDS;
    const rows: string[][] = [];
    const figures: Record<string, number> = {};
    const add = (name: string, figure: string, ms: readonly number[]): void => {
      rows.push([name, String(ms.length), num(median(ms)), num(quantile(ms, 0.95)), num(Math.max(...ms))]);
      figures[figure] = median(ms);
    };
    {
      await using w = await world(script);
      for (const engine of ENGINES)
        add(`allow sent → the tool's own clock, ${engine}`, `allow_${engine}_ms`, await allows(w, engine, rounds));
      const alone = await allowsAlone(w.model.url, rounds);
      add("allow said → the tool's own clock, Claude alone in a terminal", "allow_alone_ms", alone);
      for (const engine of ENGINES)
        add(`interrupt sent → idle, ${engine}`, `interrupt_${engine}_ms`, await interrupts(w, engine, rounds));
      const { first } = await tokens(w, "stream", rounds);
      add("API's first token → frame, stream engine", "token_stream_ms", first);
    }
    figures["allow_pty_more_ms"] = (figures["allow_pty_ms"] ?? 0) - (figures["allow_alone_ms"] ?? 0);
    await using w = await world(script, { CIB_TAP: "on" });
    const { first, all } = await tokens(w, "pty", rounds);
    add("API's first token → frame, pty engine with the tap", "token_tap_ms", first);
    add("every token → frame, pty engine with the tap", "tokens_tap_ms", all);
    return {
      columns: ["from → to", "n", "median ms", "p95", "most"],
      rows,
      notes: [
        "Real Claude Code, a scripted model, one WebSocket client; model and client are one process with one clock. The tool is `echo $EPOCHREALTIME`: its clock is read when the shell that Claude started runs the command. Answers and interrupts are sent 300 ms after what they are about was seen.",
      ],
      figures,
    };
  },
};

/** When the model handed each word to its socket. */
const wrote = new Map<string, number>();

function script(request: ModelRequest): Turn {
  const { last, gone } = request;
  // Before a prompt may stand what Claude says of an interrupt.
  const [prompt = "", what] = [...last.matchAll(/^(tool|hang|talk) \d+$/gm)].at(-1) ?? [];
  const clock = clockIn(last);
  if (clock !== undefined) told(clock);
  if (what === "tool")
    return { blocks: [{ tool: "Bash", input: { command: "echo $EPOCHREALTIME", description: prompt } }] };
  if (what === "hang") return { blocks: [{ text: hanging(prompt, gone) }] };
  if (what === "talk") return { blocks: [{ text: words(prompt) }] };
  return { blocks: [{ text: "Done.\n" }] };
}

async function* hanging(prompt: string, gone: AbortSignal): AsyncGenerator<string> {
  yield `${prompt}.\n`;
  if (!gone.aborted) await new Promise((done) => gone.addEventListener("abort", done));
}

async function* words(prompt: string): AsyncGenerator<string> {
  for (let i = 0; i < WORDS; i++) {
    const word = `${prompt}/${i}`;
    wrote.set(word, performance.now());
    yield `${word}; `;
    await pause(WORD_MS);
  }
}

/** A follower that can be waited on. */
class Watch implements Disposable {
  readonly #follower: Follower;
  readonly #session: string;
  #look: (frame: Frame | PtyFrame, at: number) => void = () => undefined;

  constructor(w: World, session: string) {
    this.#session = session;
    this.#follower = new Follower(w.box, `session=${session}`, (frame, at) => this.#look(frame, at));
  }

  get opened(): Promise<void> {
    return this.#follower.opened;
  }

  command(command: object): void {
    this.#follower.send(encodeValue({ session: this.#session, ...command }));
  }

  /** The first frame from now on in which `find` finds something, with the time of its arrival. */
  next<T>(find: (frame: Frame | PtyFrame) => T | undefined, what: string): Promise<{ found: T; at: number }> {
    return new Promise((done, fail) => {
      const timer = setTimeout(() => fail(new Error(`steer: no ${what}`)), DEADLINE_MS);
      this.#look = (frame, at) => {
        const found = find(frame);
        if (found === undefined) return;
        clearTimeout(timer);
        this.#look = () => undefined;
        done({ found, at });
      };
    });
  }

  each(look: (frame: Frame | PtyFrame, at: number) => void): void {
    this.#look = look;
  }

  [Symbol.dispose](): void {
    this.#follower[Symbol.dispose]();
  }
}

async function watched(w: World, body: object): Promise<{ session: string; watch: Watch }> {
  const session = await create(w.box, body);
  await send(w.box, session, "warm up");
  await reach(w.box, session, "idle");
  const watch = new Watch(w, session);
  await watch.opened;
  return { session, watch };
}

async function allows(w: World, engine: string, rounds: number): Promise<number[]> {
  const { session, watch } = await watched(w, { engine, gate: ["Bash"] });
  using _ = watch;
  const ms: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const asked = watch.next((frame) => (frame.type === "ask.question" ? frame.id : undefined), "question");
    await input(w, session, `tool ${i}`);
    const { found: ask } = await asked;
    await pause(READING_MS);
    const result = watch.next((frame) => (frame.type === "tool.use.result" ? frame.output : undefined), "result");
    const sent = performance.timeOrigin + performance.now();
    watch.command({ cmd: "answer", ask, decision: "allow" });
    const said = JSON.stringify((await result).found);
    const clock = clockIn(said);
    if (clock === undefined) throw new Error(`steer: the tool did not tell its time: ${said}`);
    ms.push(clock - sent);
    await reach(w.box, session, "idle");
  }
  return ms;
}

/** What the tool said of its start, ms since 1970. */
function clockIn(text: string): number | undefined {
  const [, seconds] = /(\d{10}\.\d{6})/.exec(text) ?? [];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}

let told: (clock: number) => void = () => undefined;

/** The same without the daemon: Claude asks a hook that only says yes. */
async function allowsAlone(model: string, rounds: number): Promise<number[]> {
  await using alone = await bareClaude(model);
  const ms: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const clock = new Promise<number>((done) => {
      told = done;
    });
    const said = await alone.allow(`tool ${i}`, READING_MS);
    ms.push((await clock) - said);
    await alone.rest();
  }
  return ms;
}

async function interrupts(w: World, engine: string, rounds: number): Promise<number[]> {
  const { session, watch } = await watched(w, { engine });
  using _ = watch;
  const ms: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const spoke = watch.next((frame) => (frame.type === "text.delta" ? true : undefined), "text");
    await input(w, session, `hang ${i}`);
    await spoke;
    await pause(READING_MS);
    const idle = watch.next((frame) => (frame.type === "status" && frame.state === "idle" ? true : undefined), "idle");
    const sent = performance.now();
    watch.command({ cmd: "interrupt" });
    ms.push((await idle).at - sent);
    await reach(w.box, session, "idle");
  }
  return ms;
}

async function tokens(w: World, engine: string, rounds: number): Promise<{ first: number[]; all: number[] }> {
  const { session, watch } = await watched(w, { engine });
  using _ = watch;
  const seen = new Map<string, number>();
  wrote.clear();
  watch.each((frame, at) => {
    if (frame.type !== "text.delta") return;
    for (const [word] of frame.text.matchAll(/talk \d+\/\d+/g)) if (!seen.has(word)) seen.set(word, at);
  });
  for (let i = 0; i < rounds; i++) await send(w.box, session, `talk ${i}`);
  const times = [...wrote].map(([word, from]) => ({ word, ms: (seen.get(word) ?? Number.NaN) - from }));
  const missing = times.find(({ ms }) => Number.isNaN(ms));
  if (missing !== undefined) throw new Error(`steer: ${missing.word} did not arrive`);
  return {
    first: times.filter(({ word }) => word.endsWith("/0")).map(({ ms }) => ms),
    all: times.map(({ ms }) => ms),
  };
}

async function input(w: World, session: string, text: string): Promise<void> {
  const reply = await w.box.call("POST", `/api/sessions/${session}/input`, { text });
  if (reply.status !== 200) throw new Error(`steer: input: ${JSON.stringify(reply.body)}`);
}
