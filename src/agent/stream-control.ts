/** Stream control: requests to Claude and their answers, over the lines of stream-json. */
import { CibError } from "../errors.ts";
import { type Json, object, text } from "./json.ts";

/** Claude answers within 30 ms; while it starts, on a Raspberry Pi with a cold SD card, it may take a minute. */
const ANSWER_DEADLINE_MS = 120_000;

interface Pending {
  done(response: Json): void;
  fail(why: CibError): void;
}

export class StreamControl {
  readonly #write: (message: object) => void;
  readonly #pending = new Map<string, Pending>();
  #asked = 0;
  #over = false;

  constructor(write: (message: object) => void) {
    this.#write = write;
  }

  /** Asks Claude. Rejects with `claude_failed` and its own words where it refuses, ends, or does not answer in time. */
  request(request: { readonly subtype: string; readonly [field: string]: unknown }): Promise<Json> {
    const { subtype } = request;
    if (this.#over) return Promise.reject(new CibError("claude_failed", `${subtype}: claude has ended`));
    const id = `cib-${++this.#asked}`;
    return new Promise((done, fail) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        fail(new CibError("claude_failed", `${subtype}: claude did not answer within ${ANSWER_DEADLINE_MS / 1000} s`));
      }, ANSWER_DEADLINE_MS);
      const settle = (settled: () => void): void => {
        clearTimeout(timer);
        this.#pending.delete(id);
        settled();
      };
      this.#pending.set(id, {
        done: (response) => settle(() => done(response)),
        fail: (why) => settle(() => fail(why)),
      });
      this.#write({ type: "control_request", request_id: id, request });
    });
  }

  /** A `control_response` has come. With --replay-user-messages Claude also repeats ours: those are not waited for. */
  answered(message: Json): void {
    const response = object(message["response"]);
    const pending = this.#pending.get(text(response?.["request_id"]) ?? "");
    if (pending === undefined) return;
    if (response?.["subtype"] === "success") pending.done(object(response["response"]) ?? {});
    else pending.fail(new CibError("claude_failed", text(response?.["error"]) ?? "claude refused without a word"));
  }

  /** Answers a request of Claude's. */
  answer(id: string, response: object): void {
    this.#write({ type: "control_response", response: { subtype: "success", request_id: id, response } });
  }

  /** Turns down a request of Claude's that nobody here knows: it would wait for ever. */
  refuse(id: string, error: string): void {
    this.#write({ type: "control_response", response: { subtype: "error", request_id: id, error } });
  }

  /** Claude has ended. */
  end(): void {
    this.#over = true;
    for (const pending of [...this.#pending.values()])
      pending.fail(new CibError("claude_failed", "claude ended before it answered"));
  }
}
