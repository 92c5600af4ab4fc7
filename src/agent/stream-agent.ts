/** Stream agent: Claude Code without a terminal, spoken to in stream-json both ways with its control protocol. */
import { CibError } from "../errors.ts";
import type { Agent, Claim, Position, Setting } from "./agent.ts";
import type { Json } from "./json.ts";
import type { AgentStart } from "./pty-agent.ts";

export class StreamAgent implements Agent {
  readonly terminal = false;
  readonly version: string;
  readonly pid = 0;
  readonly ready: Promise<void>;
  readonly at: Position;

  constructor(start: AgentStart) {
    this.version = start.version;
    this.at = start.from;
    this.ready = Promise.reject(new CibError("not_implemented", "engine: stream is not there yet"));
    this.ready.catch(() => undefined);
  }

  /** One hook call, from the inbox. */
  hook(_event: string, _body: Json, _gone: AbortSignal): object | Promise<object> {
    return {};
  }

  async submit(): Promise<void> {}

  write(): void {
    throw new CibError("no_terminal", "this session has no terminal");
  }

  resize(): void {
    throw new CibError("no_terminal", "this session has no terminal");
  }

  async interrupt(): Promise<boolean> {
    return true;
  }

  claim(_group: string): Claim | undefined {
    return undefined;
  }

  async switch(what: Setting): Promise<string> {
    throw new CibError("not_implemented", `${what}: cannot be switched yet`);
  }

  async stop(): Promise<void> {}
}
