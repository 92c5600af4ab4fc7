/** A watching C client, and an unforgiving reader of what it tells: every frame must be the next one. */
import assert from "node:assert/strict";
import type { Frame } from "../../src/frame/frame.ts";
import { frameOf } from "../../src/frame/item.ts";
import type { Program, Told } from "./program.ts";

export class Watch implements AsyncDisposable {
  readonly program: Program;
  readonly name: string;
  /** Whole frames, pieces joined, in the order in which a device would have handled them. */
  readonly frames: Frame[] = [];
  /** What was wrong with them. */
  readonly faults: string[] = [];
  /** Everything else that was told: what was followed, replies, the line that came and went. */
  readonly news: Told[] = [];
  /** Every seq from the first one on must be there; not where only some types are asked for. */
  gapless = true;
  /** Called after each thing that came. */
  onNews: () => void = () => undefined;
  #parts: Frame[] = [];
  /** Before the first verdict no frame is due. */
  #due = Number.POSITIVE_INFINITY;
  readonly #waiting = new Set<{ check(): boolean; resolve(): void; reject(why: Error): void }>();
  #over: Error | undefined;

  constructor(name: string, program: Program) {
    this.name = name;
    this.program = program;
    program.hear = (told) => {
      this.#hear(told);
      this.#look();
    };
    program.ended().then(
      (code) =>
        this.#end(
          new Error(`${name} has ended with ${code}: ${program.errors}\n${JSON.stringify(this.news.slice(-5))}`),
        ),
      (why: Error) => this.#end(why),
    );
  }

  get next(): number {
    return (this.frames.at(-1)?.seq ?? 0) + 1;
  }

  /** Resolves when this is so; rejects when the program ends before. */
  until(check: () => boolean): Promise<void> {
    if (check()) return Promise.resolve();
    if (this.#over !== undefined) return Promise.reject(this.#over);
    return new Promise((resolve, reject) => this.#waiting.add({ check, resolve, reject }));
  }

  /** Says a command that happens once; its reply when it has come. */
  async once(line: string): Promise<Told> {
    const from = this.news.length;
    this.program.say(line);
    const settled = () =>
      this.news.slice(from).findIndex((told) => told["settled"] === true && told["again"] === false);
    await this.until(() => settled() >= 0);
    return this.news[from + settled() - 1] as Told;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.program[Symbol.asyncDispose]();
  }

  #hear(told: Told): void {
    if (Array.isArray(told["frame"])) this.#frame(told);
    else this.news.push(told);
    if ("down" in told) this.#parts = [];
    if ("taken" in told) this.#verdict(String(told["taken"]), Number(told["seq"]));
  }

  /** `seq` is that of the last frame handled: frames go on behind it. */
  #verdict(taken: string, seq: number): void {
    this.#parts = [];
    if (taken === "ahead") this.frames.splice(this.frames.findLastIndex((frame) => frame.seq <= seq) + 1);
    if (taken === "followed" && this.gapless && this.frames.length > 0 && seq !== this.next - 1)
      this.faults.push(`followed behind ${seq} where ${this.next} was next`);
    this.#due = seq + 1;
  }

  #frame(told: Told): void {
    const [type, seq, ts, session, data] = told["frame"] as [number, number, number, string, object];
    const frame = frameOf([type, seq, ts, Buffer.from(session, "hex"), data]) as Frame;
    const [part, parts] = frame.part ?? [0, 1];
    if (part !== this.#parts.length)
      this.faults.push(`part ${part} of frame ${seq} where ${this.#parts.length} was next`);
    this.#parts.push(frame);
    assert.equal(told["last"], part + 1 === parts);
    if (told["last"] !== true) return;
    if (this.gapless ? seq !== this.#due : seq < this.#due)
      this.faults.push(`frame ${seq} where ${this.#due} was next`);
    this.#due = seq + 1;
    const text = this.#parts.map((piece) => (piece as { text?: string }).text ?? "").join("");
    this.frames.push({ ...frame, ...(text !== "" && { text }) } as Frame);
    this.#parts = [];
  }

  #look(): void {
    for (const waiting of this.#waiting) {
      if (!waiting.check()) continue;
      this.#waiting.delete(waiting);
      waiting.resolve();
    }
    // What is wrong already need not be waited for.
    if (this.faults.length > 0 && this.#over === undefined) this.#end(new Error(`${this.name}: ${this.faults[0]}`));
    this.onNews();
  }

  #end(why: Error): void {
    for (const waiting of this.#waiting) {
      if (waiting.check()) waiting.resolve();
      else waiting.reject(why);
    }
    this.#over ??= why;
    this.#waiting.clear();
  }
}
