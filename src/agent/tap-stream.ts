/** Tap stream: the bytes of one streamed answer of the Messages API become what was said in it, token by token. */
import { type Json, object, text } from "./json.ts";

/** Longest event that is read. A token takes 200 bytes, a search result up to 300 KB; a tool's whole input may be longer. */
export const MAX_EVENT_BYTES = 1024 * 1024;

/** What a stream says of one message, by its id. */
export type Heard = { readonly message: string } & (
  | { readonly tell: "begin"; readonly model: string }
  | { readonly tell: "text"; readonly text: string }
  | { readonly tell: "thinking"; readonly text: string }
  /** A call of a tool, by its id: all that the message says before it has been told. */
  | { readonly tell: "tool"; readonly tool: string }
  /** The message is whole. */
  | { readonly tell: "end" }
  /** The stream ended before the message did. */
  | { readonly tell: "cut" }
  /** Something could not be read: nothing more will be told of this message. */
  | { readonly tell: "lost" }
);

const LF = 0x0a;
const CR = 0x0d;

/** Reads `text/event-stream` (WHATWG HTML §9.2.6, lines that end with LF or CR LF). Never throws. */
export class TapStream {
  #line: Buffer[] = [];
  #bytes = 0;
  #data: string[] = [];
  #message: string | undefined;
  #deaf = false;

  /** What these bytes complete, in order; neighbouring pieces of one text are joined. */
  push(chunk: Uint8Array): Heard[] {
    const out: Heard[] = [];
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    for (let from = 0; !this.#deaf && from < bytes.length; ) {
      const end = bytes.indexOf(LF, from);
      const part = bytes.subarray(from, end < 0 ? bytes.length : end);
      from = end < 0 ? bytes.length : end + 1;
      this.#bytes += part.length;
      if (this.#bytes > MAX_EVENT_BYTES) this.#lose(out);
      // What is kept must not hold on to the whole chunk.
      else if (end < 0) this.#line.push(Buffer.from(part));
      else this.#onLine(this.#line.length === 0 ? part : Buffer.concat([...this.#line, part]), out);
    }
    return out;
  }

  /** The stream is over. */
  end(): Heard[] {
    return this.#message === undefined || this.#deaf ? [] : [{ tell: "cut", message: this.#message }];
  }

  #onLine(line: Buffer, out: Heard[]): void {
    this.#line = [];
    const said = line.toString("utf8", 0, line.at(-1) === CR ? line.length - 1 : line.length);
    if (said.startsWith("data:")) this.#data.push(said.slice(said[5] === " " ? 6 : 5));
    if (said !== "") return;
    const data = this.#data.join("\n");
    this.#data = [];
    this.#bytes = 0;
    if (data !== "") this.#onEvent(data, out);
  }

  #onEvent(data: string, out: Heard[]): void {
    const event = parse(data);
    const type = event?.["type"];
    if (event === undefined) this.#lose(out);
    else if (type === "message_start") this.#begin(object(event["message"]), out);
    else if (this.#message === undefined) return;
    else if (type === "content_block_start") this.#block(object(event["content_block"]), this.#message, out);
    else if (type === "content_block_delta") this.#delta(object(event["delta"]), this.#message, out);
    else if (type === "message_stop") {
      out.push({ tell: "end", message: this.#message });
      this.#message = undefined;
    }
  }

  #begin(message: Json | undefined, out: Heard[]): void {
    const id = text(message?.["id"]);
    if (id === undefined || id === "") this.#lose(out);
    else {
      this.#message = id;
      out.push({ tell: "begin", message: id, model: text(message?.["model"]) ?? "" });
    }
  }

  #block(block: Json | undefined, message: string, out: Heard[]): void {
    const tool = text(block?.["id"]);
    if (block?.["type"] === "tool_use" && tool !== undefined) out.push({ tell: "tool", message, tool });
    else this.#delta(block, message, out);
  }

  /** A block may begin with words of its own, in the shape of a delta. */
  #delta(delta: Json | undefined, message: string, out: Heard[]): void {
    const type = delta?.["type"];
    if (type === "text" || type === "text_delta") say(out, "text", message, text(delta?.["text"]));
    else if (type === "thinking" || type === "thinking_delta") say(out, "thinking", message, text(delta?.["thinking"]));
  }

  /** A hole must not be passed over: what follows it would be told at the wrong place. */
  #lose(out: Heard[]): void {
    if (this.#message !== undefined) out.push({ tell: "lost", message: this.#message });
    this.#deaf = true;
    this.#line = [];
    this.#data = [];
  }
}

function say(out: Heard[], tell: "text" | "thinking", message: string, piece: string | undefined): void {
  if (piece === undefined || piece === "") return;
  const last = out.at(-1);
  if (last?.tell === tell && last.message === message) out[out.length - 1] = { ...last, text: last.text + piece };
  else out.push({ tell, message, text: piece });
}

function parse(data: string): Json | undefined {
  try {
    return object(JSON.parse(data));
  } catch {
    return undefined;
  }
}
