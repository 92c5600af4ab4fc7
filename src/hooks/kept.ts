/** Kept: a hook that is kept running, asked one event at a time: a line in, a line out. */
import { Child, type Place } from "./child.ts";
import type { RunRule } from "./rules.ts";
import { type Answer, MAX_STDOUT_BYTES, type Runner, reason } from "./runner.ts";

interface Question {
  readonly line: string;
  readonly done: (answer: Answer) => void;
}

export class Kept implements Runner {
  readonly #rule: RunRule;
  readonly #place: Place;
  readonly #timeoutMs: number;
  readonly #waiting: Question[] = [];
  #asked: Question | undefined;
  #child: Child | undefined;
  #text = "";
  #timer: NodeJS.Timeout | undefined;
  #retired = false;

  constructor(rule: RunRule, place: Place, timeoutMs: number) {
    this.#rule = rule;
    this.#place = place;
    this.#timeoutMs = timeoutMs;
  }

  /** Started with the first event, and again with the next one after it has ended. */
  ask(_event: string, line: string): Promise<Answer> {
    return new Promise((done) => {
      this.#waiting.push({ line, done });
      this.#next();
    });
  }

  stop(): void {
    const waiting = this.#waiting.splice(0);
    this.#retired = false;
    this.#fail("stopped");
    for (const { done } of waiting) done({ error: "stopped", stderr: "" });
  }

  retire(): void {
    this.#retired = true;
    this.#next();
  }

  #next(): void {
    if (this.#asked !== undefined) return;
    const question = this.#waiting.shift();
    if (question === undefined) {
      if (this.#retired) this.stop();
      return;
    }
    this.#asked = question;
    this.#timer = setTimeout(() => this.#fail(`no verdict within ${this.#timeoutMs} ms`), this.#timeoutMs);
    try {
      this.#child ??= this.#start();
    } catch (failure) {
      this.#fail(`could not run: ${reason(failure)}`);
      return;
    }
    this.#child.write(`${question.line}\n`);
  }

  #start(): Child {
    this.#text = "";
    const child: Child = new Child(this.#rule, this.#place, undefined, (text) => {
      if (this.#child === child) this.#heard(text);
    });
    void child.ended.then(({ error }) => {
      if (this.#child === child) this.#fail(error ?? "ended without a verdict");
    });
    return child;
  }

  #heard(text: string): void {
    this.#text += text;
    const end = this.#text.indexOf("\n");
    // Two verdicts for one event: the second would be taken for the next one's.
    const spoilt = this.#asked === undefined || (end >= 0 && end < this.#text.length - 1);
    if (spoilt) this.#fail("more than one verdict for an event");
    else if (this.#text.length > MAX_STDOUT_BYTES) this.#fail(`more than ${MAX_STDOUT_BYTES} bytes on stdout`);
    else if (end >= 0) {
      const line = this.#text;
      this.#text = "";
      this.#answer({ text: line, stderr: "" });
    }
  }

  /** The process is no good any more; the event it was asked about gets the reason. */
  #fail(error: string): void {
    const child = this.#child;
    this.#child = undefined;
    child?.kill();
    this.#answer({ error, stderr: child?.stderr ?? "" });
  }

  #answer(answer: Answer): void {
    clearTimeout(this.#timer);
    const asked = this.#asked;
    this.#asked = undefined;
    asked?.done(answer);
    this.#next();
  }
}
