/** cib attach: a session's terminal here, or its frames as lines. Goes on by itself when the connection breaks. */
import { parseArgs } from "node:util";
import * as v from "valibot";
import type { FeedOptions, VerdictMark } from "../client/feed.ts";
import { lookOf, present, visible } from "../demo/present.ts";
import { jsonOf } from "../frame/codec.ts";
import { type FrameTypeName, sessionId } from "../frame/frame.ts";
import { TYPES } from "../frame/registry.ts";
import { BOX_OPTIONS, findAnyBox } from "./box.ts";
import { EXIT, Failure, type Io, UsageError } from "./io.ts";
import { detachAt, typed } from "./keys.ts";
import { inputs, type Link, noBox, openLink, told } from "./link.ts";
import { ownTerminal, type Terminal } from "./terminal.ts";

/** Between the two sizes of the nudge: two in one go would be one signal, and no change, to Claude. */
const NUDGE_MS = 150;
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
  readonly open: typeof openLink;
  readonly terminal: Terminal;
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
  const { open, terminal } = deps ?? { open: openLink, terminal: ownTerminal() };
  if (!frames && !terminal.isTTY) throw new Failure("attach: this is no terminal; --frames prints frames anywhere");
  const box = findAnyBox(values, io);
  let [reached, lost] = [false, false];
  const away = new AbortController();
  const link = open(box, (state, why) => {
    // Before the first connection nothing is lost: a box that is not there is told at once.
    if (!reached && state === "lost") {
      if (why) away.abort(noBox(box, why));
      return;
    }
    reached = true;
    if (lost !== (state === "lost"))
      io.err(state === "lost" ? "\r\n[connection lost; trying again]\r\n" : "[back]\r\n");
    lost = state === "lost";
  });
  const close = () => link.close();
  stop.addEventListener("abort", close);
  try {
    const session = await pick(link, positionals[0], away.signal);
    return await (frames
      ? printFrames(link, session, want, values.json === true, io)
      : sitDown(link, session, terminal, io));
  } catch (failure) {
    throw told(failure);
  } finally {
    stop.removeEventListener("abort", close);
    close();
  }
}

async function printFrames(link: Link, session: string, want: FeedOptions, json: boolean, io: Io): Promise<number> {
  const look = lookOf(process.stdout, io.env);
  for await (const item of link.attach(session, want)) {
    if (item.type === "gap") io.err(`note: frames ${item.from} to ${item.to - 1} are no longer kept\n`);
    else if (item.type === "verdict") io.err(verdictNote(item));
    else io.out(`${json ? jsonOf(item) : present(item, look)}\n`);
  }
  return EXIT.ok;
}

function verdictNote({ verdict, from, first }: VerdictMark): string {
  if (verdict === "gap") return `note: frames before ${first} are no longer kept\n`;
  return verdict === "ahead" ? `note: the box lost frames in a power failure; forget those from ${from} on\n` : "";
}

async function sitDown(link: Link, session: string, terminal: Terminal, io: Io): Promise<number> {
  let left = false;
  const keys = (bytes: Uint8Array) => {
    const end = detachAt(bytes);
    const data = typed(end === undefined ? bytes : bytes.subarray(0, end));
    // Keys are at most once: what a broken connection took with it is not typed again.
    for (const input of inputs(session, data)) link.post(input);
    if (end === undefined) return;
    left = true;
    link.close();
  };
  const resize = (rows = terminal.rows) => link.post({ cmd: "resize", session, cols: terminal.cols, rows });
  let nudge: NodeJS.Timeout | undefined;
  io.err(`attached to ${session}; ctrl-] leaves\n`);
  terminal.take(keys, () => resize());
  try {
    for await (const item of link.attach(session, { pty: true, types: ["status"] })) {
      if (item.type === "pty.raw") terminal.write(item.data);
      else if (item.type === "status" && item.state === "stopped") break;
      else if (item.type === "verdict") {
        // A program draws again when its size changes: so the screen comes up whole, in the size that it has here.
        resize(Math.max(2, terminal.rows - 1));
        clearTimeout(nudge);
        nudge = setTimeout(() => resize(), NUDGE_MS);
      }
    }
  } finally {
    clearTimeout(nudge);
    terminal.giveBack();
  }
  io.err(left ? `\nleft ${session}; it goes on\n` : `\nsession ${session} has ended here\n`);
  return left ? EXIT.ok : EXIT.failed;
}

/** A session by its id, by the beginning of it, or the only one that runs. */
async function pick(link: Link, given: string | undefined, away: AbortSignal): Promise<string> {
  if (given !== undefined && sessionId(given) !== undefined) {
    // Asked for first: a wrong id or token is told before the terminal is taken.
    await link.run({ cmd: "sessions.get", session: given }, away);
    return given;
  }
  const { sessions } = v.parse(LIST, await link.run({ cmd: "sessions.list" }, away));
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
