/** Hooked: a session's side of the user's hooks: the rules that hold for it, what passes them and what they judge. */
import type { Call, Judgement } from "../agent/agent.ts";
import type { Body, FrameBody } from "../frame/frame.ts";
import { HookGate } from "../hooks/gate.ts";
import type { Box } from "./box.ts";
import type { Fanout } from "./fanout.ts";
import { Intake } from "./intake.ts";
import { judge } from "./judge.ts";
import { learned } from "./meta.ts";
import type { MetaFile } from "./meta-file.ts";

export class Hooked {
  readonly #box: Box;
  readonly #meta: MetaFile;
  readonly #append: (body: FrameBody, own: boolean) => void;
  readonly #gate: HookGate;
  readonly #intake: Intake;
  readonly #watch: Disposable | undefined;
  /** Claude's starts: an end that waits for its last looks must not end the next one's hooks. */
  #starts = 0;
  #closed = false;

  /** `append` logs a frame; `own`: not one that the agent told. It throws when the log is closed or full. `calmed`: see `calm`. */
  constructor(
    box: Box,
    meta: MetaFile,
    fanout: Pick<Fanout, "endLanes">,
    append: (body: FrameBody, own: boolean) => void,
    calmed: () => void,
  ) {
    this.#box = box;
    this.#meta = meta;
    this.#append = append;
    const { id, workdir } = meta.value;
    const { home, user } = box.settings;
    const rules = () => box.hooks?.rules(meta.value.hooks) ?? [];
    const fault = (thrown: unknown): void => box.fault(`hooks ${id}`, thrown);
    const env = box.hooks?.env ?? {};
    const place = { session: id, workdir, home, env, ...(user && { user }) };
    this.#gate = new HookGate({ place, emit: (hook) => this.#emit(hook) }, rules());
    this.#watch = box.hooks?.watch(() => {
      this.#gate.arm(rules());
      if (this.hidesTerminal) fanout.endLanes();
    });
    this.#intake = new Intake({
      gate: this.#gate,
      append: (body) => append(body, body.type === "hook"),
      blocked: (body) => this.#blocked(body),
      fault,
      calmed,
    });
  }

  /** A rule may hide what the terminal shows: `pty.raw` is refused. */
  get hidesTerminal(): boolean {
    return this.#gate.hidesTerminal;
  }

  /** Whether all that the agent has told is logged: else the log does not say yet what Claude is doing. */
  get calm(): boolean {
    return this.#intake.calm;
  }

  /** Whether a rule may change or refuse the texts that clients send. */
  get judgesInput(): boolean {
    return this.#gate.cares("input");
  }

  /** A rule judges what tools do. */
  get judgesTools(): boolean {
    return this.#gate.cares("tool.use.start");
  }

  /** A text that a client sends, as it is to be accepted. Throws `hook_blocked`. Ask once for each text that is new. */
  input(text: string, by: string): Promise<{ readonly text: string }> {
    return this.#gate.input(text, by);
  }

  /** Claude starts. */
  begin(): void {
    this.#starts++;
  }

  /** One frame of the agent: logged when it has passed. */
  frame(body: FrameBody): void {
    this.#intake.frame(body);
  }

  /** Something that must not overtake the agent's frames. */
  after(run: () => void): void {
    this.#intake.after(run);
  }

  judge(call: Call): Judgement | Promise<Judgement> {
    const { gate, bypass } = this.#meta.value;
    const append = (hook: Body<"hook">): void => this.#emit(hook);
    return judge({ hooks: this.#gate, intake: this.#intake, gate, bypass, append }, call);
  }

  /** It is logged: those who observe are shown it. */
  told(body: FrameBody, own: boolean): void {
    if (!this.#closed) this.#gate.told(body, own);
  }

  /** Resolves when every frame of the agent is logged; bounded. */
  settled(): Promise<void> {
    return this.#intake.settled();
  }

  /** Claude has ended: after the last looks no process of a hook is left; bounded. */
  async rest(): Promise<void> {
    const starts = this.#starts;
    await this.#gate.looked();
    if (this.#starts === starts) this.#gate.stop();
  }

  /** The session is used no more. */
  async close(): Promise<void> {
    this.#watch?.[Symbol.dispose]();
    await this.settled();
    await this.rest();
    this.#closed = true;
    this.#gate.stop();
  }

  /** A hook's answer may come when the log is closed: then there is nobody to tell. */
  #emit(hook: Body<"hook">): void {
    if (this.#closed) return;
    try {
      this.#append(hook, true);
    } catch (failure) {
      this.#box.fault(`hooks ${this.#meta.value.id}`, failure);
    }
  }

  /** Clients do not see it, but where Claude's conversation goes on must be known. */
  #blocked(body: FrameBody): void {
    if (body.type !== "meta") return;
    const { title: _title, ...rest } = body;
    this.#meta.change(learned(rest));
  }
}
