/** Tap request: who asks the model, found in a request's headers and in its body as it flows by; nothing of it is kept. */
import type { IncomingHttpHeaders } from "node:http";

/** Who asked. Undefined: a call on the side, or one that cannot be told apart; other sources tell of it. */
export type Asker = { readonly agent?: string } | undefined;

/**
 * Byte sequences that only the structure of the JSON can contain, for inside a string every quote is escaped.
 * A nested object may hold them too: the mistake is then to leave a request to other sources.
 */
const TOOLS = Buffer.from('"tools":[{');
const AGENT_TOOLS = [Buffer.from('"name":"Agent"'), Buffer.from('"name":"Task"')];
/** How 2.1.112 begins what it tells a subagent, which it does not mark by a header. */
const SUBAGENT = Buffer.from("You are an agent for Claude Code");
const LONGEST = Math.max(TOOLS.length, SUBAGENT.length, ...AGENT_TOOLS.map((name) => name.length));

export class TapRequest {
  readonly #agent: string | undefined;
  readonly #marked: boolean;
  #rest: Buffer = Buffer.alloc(0);
  #tools = false;
  #delegates = false;
  #subagent = false;

  /** `marked`: a subagent's calls carry a header, so that one without it is the main thread's. */
  constructor(headers: IncomingHttpHeaders, marked: boolean) {
    this.#marked = marked;
    const agent = headers["x-claude-code-agent-id"];
    this.#agent = typeof agent === "string" ? agent : undefined;
  }

  /** The next bytes of the body. */
  push(chunk: Buffer): void {
    this.#look(chunk);
    const seam = Buffer.concat([this.#rest, chunk.subarray(0, LONGEST - 1)]);
    this.#look(seam);
    const tail = chunk.length >= LONGEST - 1 ? chunk : seam;
    this.#rest = Buffer.from(tail.subarray(Math.max(0, tail.length - LONGEST + 1)));
  }

  /** Once the body has passed. */
  get asker(): Asker {
    if (!this.#tools) return undefined;
    if (this.#agent !== undefined) return { agent: this.#agent };
    return this.#marked || (this.#delegates && !this.#subagent) ? {} : undefined;
  }

  #look(bytes: Buffer): void {
    this.#tools ||= bytes.includes(TOOLS);
    this.#delegates ||= AGENT_TOOLS.some((name) => bytes.includes(name));
    this.#subagent ||= bytes.includes(SUBAGENT);
  }
}
