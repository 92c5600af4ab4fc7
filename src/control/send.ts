/** Send: waits for the end of the turn that an input began, by following the log like any client. */
import type { Frame } from "../frame/frame.ts";
import { maskOf } from "../frame/select.ts";
import type { Sink } from "../frame/sink.ts";
import type { Session } from "../session/session.ts";

/** Characters of text collected for one reply; the frames have the rest. */
const MAX_REPLY_CHARS = 1024 * 1024;

export interface Message {
  readonly message?: string;
  readonly text: string;
}

export interface Turn {
  /** False when the wait was cut short: the turn goes on. */
  readonly ended: boolean;
  /** The last seq looked at. */
  readonly last: number;
  readonly messages: readonly Message[];
  readonly reason?: string;
  /** What an error frame of the turn said last. */
  readonly error?: string;
  readonly truncated?: true;
}

/** What the turn says after its input was delivered, from the accepted frame on: also for a repeat after a restart. */
export function collectTurn(
  session: Session,
  input: { input: string; seq: number },
  signal: AbortSignal,
): Promise<Turn> {
  return new Promise((resolve) => {
    const messages: { message?: string; text: string }[] = [];
    let last = input.seq;
    let begun = false;
    let chars = 0;
    let error: string | undefined;
    const finish = (ended: boolean, reason?: string): void => {
      signal.removeEventListener("abort", onAbort);
      reader[Symbol.dispose]();
      const truncated = chars > MAX_REPLY_CHARS;
      resolve({
        ended,
        last,
        messages,
        ...(reason !== undefined && { reason }),
        ...(error !== undefined && { error }),
        ...(truncated && { truncated }),
      });
    };
    const onAbort = (): void => finish(false);
    const take = (frame: Frame): "ok" | "gone" => {
      last = frame.seq;
      if (frame.type === "input" && frame.input === input.input) {
        if (frame.state === "failed") {
          finish(true, `input failed: ${frame.reason ?? "not taken"}`);
          return "gone";
        }
        begun ||= frame.state === "delivered";
      } else if (begun && frame.type === "text.delta" && frame.agent === undefined) {
        chars += frame.text.length;
        if (chars <= MAX_REPLY_CHARS) add(messages, frame);
      } else if (begun && frame.type === "error") {
        error = frame.message;
      } else if (begun && frame.type === "stop") {
        finish(true, frame.reason);
        return "gone";
      } else if (frame.type === "status" && frame.state === "stopped") {
        // The input stays accepted: it is delivered when the session is resumed.
        finish(true, "stopped");
        return "gone";
      }
      return "ok";
    };
    const sink: Sink = {
      write: (encoded) => take(encoded.frame() as Frame),
      gap: () => undefined,
      close: () => finish(false),
    };
    const reader = session.fanout.attach({
      from: input.seq,
      mask: maskOf(["text.delta", "input", "stop", "status", "error"]),
      sink,
    });
    if (signal.aborted) finish(false);
    else signal.addEventListener("abort", onAbort, { once: true });
  });
}

function add(
  messages: { message?: string; text: string }[],
  { text, message }: { text: string; message?: string },
): void {
  const open = messages.at(-1);
  if (open !== undefined && open.message === message) open.text += text;
  else messages.push({ text, ...(message !== undefined && { message }) });
}
