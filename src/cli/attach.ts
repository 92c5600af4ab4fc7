/** cib attach: a session's terminal here, or its frames as lines. Goes on by itself when the connection breaks. */
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import * as v from "valibot";
import { lookOf, present, visible } from "../demo/present.ts";
import { CibError } from "../errors.ts";
import { jsonOf } from "../frame/codec.ts";
import type { Frame, FrameTypeName, PtyFrame } from "../frame/frame.ts";
import { TYPES } from "../frame/registry.ts";
import { BOX_OPTIONS, type Box, call, findBox } from "./box.ts";
import { EXIT, Failure, type Io, UsageError } from "./io.ts";
import { type Link, openLink, type Want } from "./link.ts";
import { ownTerminal, type Terminal } from "./terminal.ts";

/** Ctrl-], as telnet has it: plain, and as kitty's and xterm's keyboard protocols spell it. */
const DETACH = ["\x1d", "\x1b[93;5u", "\x1b[27;5;93~"].map((key) => Buffer.from(key));
/** First wait before another try; doubled up to the longest: 0.5, 1, 2, 4, 5, 5 … seconds. */
const RETRY_MS = 500;
const MAX_RETRY_MS = 5000;
/** Between the two sizes of the nudge: two in one go would be one signal, and no change, to Claude. */
const NUDGE_MS = 150;
/** Keys on their way and not yet acknowledged; past this they are dropped, as a terminal would. */
const MAX_KEYS_UNDERWAY = 256;

const OPTIONS = {
  ...BOX_OPTIONS,
  frames: { type: "boolean" },
  json: { type: "boolean" },
  from: { type: "string" },
  types: { type: "string" },
} as const;

const LIST = v.object({
  sessions: v.array(v.object({ session: v.string(), state: v.string(), title: v.optional(v.string()) })),
});

/** What a test may put in another's place. */
export interface AttachDeps {
  readonly open: (box: Box) => Promise<Link>;
  readonly terminal: Terminal;
  readonly retryMs?: number;
}

/** `args` are those after `cib attach`. 0 when the person left; 1 when the session or the box ended it. */
export async function attach(args: readonly string[], io: Io, stop: AbortSignal, deps?: AttachDeps): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  if (positionals.length > 1) throw new UsageError(`attach: does not know what to do with "${positionals[1]}"`);
  const frames = values.frames === true || values.json === true;
  if (!frames && (values.from ?? values.types) !== undefined)
    throw new UsageError("attach: --from and --types go with --frames");
  const want = {
    ...(values.from !== undefined && { from: wholeOf(values.from) }),
    ...(values.types !== undefined && { types: typesOf(values.types) }),
  };
  const { open, terminal, retryMs = RETRY_MS } = deps ?? { open: openLink, terminal: ownTerminal() };
  if (!frames && !terminal.isTTY) throw new Failure("attach: this is no terminal; --frames prints frames anywhere");
  const box = findBox(values, io);
  const session = await pick(box, positionals[0]);
  const reader = new Reader({ box, session, open, retryMs, io, stop });
  return frames ? printFrames(reader, want, values.json === true, io) : sitDown(reader, terminal, io);
}

async function printFrames(reader: Reader, want: Want, json: boolean, io: Io): Promise<number> {
  const look = lookOf(process.stdout, io.env);
  for await (const frame of reader.follow(want)) io.out(`${json ? jsonOf(frame) : present(frame, look)}\n`);
  return EXIT.ok;
}

async function sitDown(reader: Reader, terminal: Terminal, io: Io): Promise<number> {
  io.err(`attached to ${reader.session}; ctrl-] leaves\n`);
  let left = false;
  let underway = 0;
  const send = (command: object) => {
    if (underway >= MAX_KEYS_UNDERWAY) return;
    underway++;
    // Keys are at most once: what a broken connection took with it is not typed again.
    reader
      .run(command)
      .catch(() => {})
      .finally(() => underway--);
  };
  const keys = (bytes: Uint8Array) => {
    const end = detachAt(bytes);
    const data = end === undefined ? bytes : bytes.subarray(0, end);
    if (data.length > 0) send({ cmd: "input", session: reader.session, data });
    if (end === undefined) return;
    left = true;
    reader.leave();
  };
  const size = (rows = terminal.rows) => ({ cmd: "resize", session: reader.session, cols: terminal.cols, rows });
  // A program draws again when its size changes: so a terminal that was elsewhere comes up whole.
  const nudge = async () => {
    await reader.run(size(Math.max(2, terminal.rows - 1)));
    await pause(NUDGE_MS);
    await reader.run(size());
  };
  terminal.take(keys, () => send(size()));
  try {
    const opened = () => void nudge().catch(() => {});
    for await (const frame of reader.follow({ pty: true, types: ["status"] }, opened)) {
      if (frame.type === "pty.raw") terminal.write(frame.data);
      else if (frame.type === "status" && frame.state === "stopped") break;
    }
  } finally {
    terminal.giveBack();
  }
  io.err(left ? `\nleft ${reader.session}; it goes on\n` : `\nsession ${reader.session} has stopped\n`);
  return left ? EXIT.ok : EXIT.failed;
}

interface ReaderOptions {
  readonly box: Box;
  readonly session: string;
  readonly open: (box: Box) => Promise<Link>;
  readonly retryMs: number;
  readonly io: Io;
  readonly stop: AbortSignal;
}

/** One session's frames over as many connections as it takes: each goes on where the last one broke off. */
class Reader {
  readonly session: string;
  readonly #o: ReaderOptions;
  readonly #left = new AbortController();
  readonly #done: AbortSignal;
  #link: Link | undefined;

  constructor(options: ReaderOptions) {
    this.session = options.session;
    this.#o = options;
    this.#done = AbortSignal.any([options.stop, this.#left.signal]);
    this.#done.addEventListener("abort", () => this.#link?.close(), { once: true });
  }

  leave(): void {
    this.#left.abort();
  }

  async run(command: object): Promise<void> {
    await this.#link?.run(command);
  }

  /** Ends when the person leaves. Throws Failure when another try would end the same way. */
  async *follow(want: Want, opened: () => void = () => {}): AsyncGenerator<Frame | PtyFrame> {
    let from = want.from;
    let offset: number | undefined;
    for (let failures = 0; !this.#done.aborted; ) {
      try {
        this.#link = await this.#o.open(this.#o.box);
        if (this.#done.aborted) break;
        const frames = this.#link.attach(this.session, {
          ...want,
          ...(from !== undefined && { from }),
          ...(offset !== undefined && { pty_from: offset }),
        });
        opened();
        for await (const frame of frames) {
          failures = 0;
          if (frame.type === "pty.raw") offset = frame.offset + frame.data.length;
          else if (isLastPart(frame)) from = frame.seq + 1;
          yield frame;
        }
      } catch (failure) {
        if (failure instanceof CibError && !failure.row.retryable)
          throw new Failure(`${failure.code}: ${failure.message}`);
        if (failure instanceof Failure) throw failure;
      } finally {
        this.#link?.close();
        this.#link = undefined;
      }
      if (!this.#done.aborted) await this.#wait(failures++);
    }
  }

  async #wait(failures: number): Promise<void> {
    if (failures === 0) this.#o.io.err("\r\nconnection lost; trying again …\r\n");
    await pause(Math.min(MAX_RETRY_MS, this.#o.retryMs * 2 ** failures), undefined, { signal: this.#done }).catch(
      () => {},
    );
  }
}

function isLastPart({ part }: Frame): boolean {
  return part === undefined || part[0] === part[1] - 1;
}

/** Where the detach key begins in these bytes. */
function detachAt(bytes: Uint8Array): number | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = DETACH.map((key) => buffer.indexOf(key)).filter((at) => at >= 0);
  return found.length === 0 ? undefined : Math.min(...found);
}

/** A session by its id, by the beginning of it, or the only one that runs. */
async function pick(box: Box, given: string | undefined): Promise<string> {
  if (given !== undefined && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(given)) return given;
  const { sessions } = v.parse(LIST, await call(box, "GET", "/api/sessions"));
  const fitting = sessions.filter(({ session, state }) =>
    given === undefined ? state !== "stopped" : session.startsWith(given),
  );
  const [only] = fitting;
  if (only !== undefined && fitting.length === 1) return only.session;
  const lines = fitting.map(({ session, state, title = "" }) => `\n  ${session}  ${state}  ${visible(title)}`).join("");
  if (given !== undefined)
    throw new Failure(
      fitting.length === 0 ? `no session begins with "${given}"` : `several sessions begin with "${given}":${lines}`,
    );
  throw new Failure(fitting.length === 0 ? "no session runs" : `which one?${lines}`);
}

function wholeOf(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new UsageError(`from: expected a whole number, got "${text}"`);
}

function typesOf(text: string): FrameTypeName[] {
  const types = text.split(",");
  const unknown = types.find((type) => !Object.hasOwn(TYPES, type));
  if (unknown !== undefined)
    throw new UsageError(`types: no frame type "${unknown}"; there are ${Object.keys(TYPES).join(", ")}`);
  return types as FrameTypeName[];
}
