/** Bridge retained: the latest of each retained topic, brought to a foreign broker once a line: states, whatever came before them, in the order in which they changed. */

/** Retained messages without acknowledgement at once. */
const MAX_UNDERWAY = 16;

/** Sends one, QoS 1 and retained; false: there is no line. */
export type PublishRetained = (topic: string, payload: Buffer, done: () => void) => boolean;

const NOTHING = Buffer.alloc(0);

export class RetainedTopics {
  /** What each topic is to say; empty: that it is no more. */
  readonly #wanted = new Map<string, Buffer>();
  /** Topics that do not say it yet, in order. */
  readonly #due = new Set<string>();
  #publish: PublishRetained | undefined;
  /** Grows with each line: an acknowledgement of an older one says nothing. */
  #line = 0;
  #underway = 0;

  set(topic: string, payload: Buffer): void {
    if (this.#wanted.get(topic)?.equals(payload) === true) return;
    this.#wanted.set(topic, payload);
    // Behind what changed before it.
    this.#due.delete(topic);
    this.#due.add(topic);
    this.#pump();
  }

  /** Takes it back: the broker forgets it, too. */
  delete(topic: string): void {
    this.set(topic, NOTHING);
  }

  /** A line is there: everything is said again, for nobody knows what the broker still has. */
  begin(publish: PublishRetained): void {
    this.#line++;
    this.#underway = 0;
    this.#publish = publish;
    for (const topic of this.#wanted.keys()) this.#due.add(topic);
    this.#pump();
  }

  end(): void {
    this.#publish = undefined;
  }

  /** Without a word: nothing of it is to be said any more. */
  clear(): void {
    this.#wanted.clear();
    this.#due.clear();
  }

  /** Takes everything back. */
  deleteAll(): void {
    for (const topic of [...this.#wanted.keys()]) this.delete(topic);
  }

  #pump(): void {
    for (const topic of this.#due) {
      if (this.#publish === undefined || this.#underway >= MAX_UNDERWAY) return;
      const payload = this.#wanted.get(topic) ?? NOTHING;
      const line = this.#line;
      if (!this.#publish(topic, payload, () => this.#arrived(line, topic, payload))) return;
      this.#due.delete(topic);
      this.#underway++;
    }
  }

  #arrived(line: number, topic: string, payload: Buffer): void {
    if (line !== this.#line) return;
    this.#underway--;
    if (payload.length === 0 && this.#wanted.get(topic) === payload) this.#wanted.delete(topic);
    this.#pump();
  }
}
