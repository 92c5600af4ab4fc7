/** Presenter: a frame as one line for a person, for the demo and `cib attach --frames`. */
import type { Body, Frame, PtyFrame, Todo } from "../frame/frame.ts";

/** How the lines look. */
export interface Look {
  readonly color: boolean;
  /** Cut lines to this many characters; undefined: never. */
  readonly columns: number | undefined;
}

const PAINT = {
  plain: "",
  bold: "1",
  dim: "2",
  red: "31",
  green: "32",
  yellow: "33",
  blue: "34",
  magenta: "35",
  cyan: "36",
};
type Paint = keyof typeof PAINT;

const LABEL: Readonly<Record<(Frame | PtyFrame)["type"], readonly [string, Paint]>> = {
  "text.delta": ["text", "plain"],
  thinking: ["thinking", "dim"],
  "tool.use.start": ["tool", "cyan"],
  "tool.use.result": ["result", "green"],
  "todo.update": ["todo", "yellow"],
  "ask.question": ["ask", "magenta"],
  "ask.answer": ["answer", "magenta"],
  usage: ["usage", "dim"],
  status: ["status", "blue"],
  stop: ["stop", "bold"],
  meta: ["meta", "dim"],
  hook: ["hook", "dim"],
  input: ["input", "bold"],
  error: ["error", "red"],
  "pty.raw": ["terminal", "dim"],
};
const SEQ_COLUMNS = 5;
const LABEL_COLUMNS = 9;
/** A line narrower than this says nothing. */
const MIN_COLUMNS = 30;
/** Without a terminal's width a line still ends: one 20 MB tool result is not for reading. */
const MAX_LINE_CHARS = 4096;

/** Colours on a terminal only, and not where NO_COLOR is set (no-color.org). */
export function lookOf(
  stream: { readonly isTTY?: boolean; readonly columns?: number },
  env: Readonly<Record<string, string | undefined>>,
): Look {
  const tty = stream.isTTY === true;
  return { color: tty && !env["NO_COLOR"] && env["TERM"] !== "dumb", columns: tty ? stream.columns : undefined };
}

/** One line, without its newline. Whatever the content, it cannot steer the terminal. */
export function present(frame: Frame | PtyFrame, look: Look): string {
  const [label, paint] = LABEL[frame.type];
  const failed = frame.type === "tool.use.result" && frame.error !== undefined;
  const number = "seq" in frame ? String(frame.seq) : "";
  const head = `${number.padStart(SEQ_COLUMNS)}  ${label.padEnd(LABEL_COLUMNS)} `;
  const room = look.columns === undefined ? MAX_LINE_CHARS : Math.max(MIN_COLUMNS, look.columns) - head.length;
  const agent = "agent" in frame && frame.agent !== undefined ? "(subagent) " : "";
  const text = cut(visible(`${agent}${says(frame)}${cutMark(frame)}`), room);
  return look.color
    ? `\x1b[2m${head.slice(0, SEQ_COLUMNS + 2)}\x1b[0m${painted(failed ? "red" : paint, head.slice(SEQ_COLUMNS + 2) + text)}`
    : `${head}${text}`;
}

/**
 * Text with everything that a terminal would obey made visible: C0 and C1 controls, DEL, and the marks that turn
 * the direction of writing (a reviewer must read what is there, not what it is made to look like).
 */
export function visible(text: string): string {
  const folded = text.replace(/\r?\n/g, " ⏎ ").replace(/\t/g, " ");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return folded.replace(/[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g, (control) => {
    const code = control.codePointAt(0) ?? 0;
    return code < 0x20 ? String.fromCodePoint(0x2400 + code) : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

function says(frame: Frame | PtyFrame): string {
  switch (frame.type) {
    case "text.delta":
    case "thinking":
      return frame.text;
    case "tool.use.start":
      return `${frame.tool}  ${gist(frame.input)}`;
    case "tool.use.result":
      return `${frame.tool}  ${seconds(frame.duration_ms)}  ${frame.error ?? gist(frame.output)}`;
    case "todo.update":
      return frame.items.map((item) => `${box(item)} ${item.subject}`).join(" · ") || "(empty)";
    case "ask.question":
      return `${frame.prompt}  ${frame.options.map(({ label }, i) => `${i + 1}) ${label}`).join("  ")}`;
    case "ask.answer":
      return `${gist(frame.answer)} (${frame.by})`;
    case "usage":
      return usage(frame);
    case "status":
      return `${frame.state}${frame.elapsed_ms > 0 ? `  after ${seconds(frame.elapsed_ms)}` : ""}`;
    case "stop":
      return frame.reason;
    case "meta":
      return pairs(frame);
    case "hook":
      return `${frame.name}  ${frame.event}  ${frame.result === undefined ? "" : gist(frame.result)}`;
    case "input":
      return `${frame.state}${frame.reason === undefined ? "" : ` (${frame.reason})`}  ${frame.text ?? frame.input ?? frame.id ?? ""}  (${frame.by})`;
    case "error":
      return `${frame.code}: ${frame.message}`;
    case "pty.raw":
      return `${frame.data.length} bytes at ${frame.offset}`;
    default:
      return frame satisfies never;
  }
}

/** The part of a tool's input or output that a person would read first. */
function gist(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "object" && value !== null) {
    const fields = value as Readonly<Record<string, unknown>>;
    for (const name of [
      "stdout",
      "command",
      "file_path",
      "pattern",
      "url",
      "query",
      "subject",
      "description",
      "prompt",
    ]) {
      const field = fields[name];
      if (typeof field === "string" && field !== "") return field;
    }
  }
  return JSON.stringify(value) ?? "";
}

function box({ status }: Todo): string {
  if (status === "completed") return "[x]";
  return status === "in_progress" ? "[>]" : "[ ]";
}

function usage({ input, output, cache_read, cache_write, model, cost_usd }: Body<"usage">): string {
  const cost = cost_usd === undefined ? "" : `  $${cost_usd.toFixed(4)}`;
  return `${input} in, ${output} out, cache ${cache_read} read, ${cache_write} written${cost}  ${model ?? ""}`;
}

function pairs(frame: object): string {
  const hidden = ["session", "seq", "ts", "type", "part", "truncated"];
  const shown = Object.entries(frame).filter(([name, value]) => !hidden.includes(name) && value !== undefined);
  return shown.map(([name, value]) => `${name} ${String(value)}`).join("  ");
}

function cutMark(frame: Frame | PtyFrame): string {
  if (frame.type === "pty.raw") return "";
  const part = frame.part === undefined ? "" : `  [${frame.part[0] + 1} of ${frame.part[1]}]`;
  return frame.truncated === undefined ? part : `${part}  [cut from ${frame.truncated} bytes]`;
}

function seconds(ms: number): string {
  return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function cut(text: string, room: number): string {
  if (text.length <= room) return text.trimEnd();
  // Not between the halves of a surrogate pair.
  const end = /[\ud800-\udbff]/.test(text.charAt(room - 2)) ? room - 2 : room - 1;
  return `${text.slice(0, end)}…`;
}

function painted(paint: Paint, text: string): string {
  return PAINT[paint] === "" ? text : `\x1b[${PAINT[paint]}m${text}\x1b[0m`;
}
