/** Bridge outbox: brings the queue to the broker, in order, and tells where its bound has cut something. */
import type { Queue } from "./bridge-queue.ts";

/** Replies without acknowledgement at once. */
const MAX_UNDERWAY = 16;

/** QoS 1; false: there is no line. */
export type PublishReply = (topic: string, payload: Buffer, done: () => void) => boolean;

export class Outbox {
  readonly #queue: Queue;
  readonly #gapTopic: string;
  #publish: PublishReply | undefined;
  /** Grows with each line: an acknowledgement of an older one counts, and makes no room. */
  #line = 0;
  #underway = 0;
  /** The last that was sent over this line. */
  #sent = 0;
  /** Of the lost ones, those that are being told. */
  #telling = 0;

  constructor(queue: Queue, root: string) {
    this.#queue = queue;
    this.#gapTopic = `${root}/gap`;
  }

  /** See Queue.push. */
  async push(topic: string, payload: Buffer): Promise<void> {
    try {
      await this.#queue.push(topic, payload);
    } finally {
      this.#pump();
    }
  }

  /** A line is there: whatever was not acknowledged goes out again. */
  begin(publish: PublishReply): void {
    this.#line++;
    this.#underway = 0;
    this.#sent = 0;
    this.#telling = 0;
    this.#publish = publish;
    this.#pump();
  }

  end(): void {
    this.#publish = undefined;
  }

  #pump(): void {
    const publish = this.#publish;
    if (publish === undefined) return;
    this.#tellLost(publish);
    const line = this.#line;
    while (this.#underway < MAX_UNDERWAY) {
      const next = this.#queue.next(this.#sent);
      if (next === undefined) return;
      const arrived = () => {
        this.#queue.done(next.n);
        this.#freed(line);
      };
      if (!publish(next.topic, next.payload, arrived)) return;
      this.#sent = next.n;
      this.#underway++;
    }
  }

  /** How many replies are missing goes out before those that are left. */
  #tellLost(publish: PublishReply): void {
    const lost = this.#queue.lost - this.#telling;
    if (lost <= 0) return;
    const line = this.#line;
    const told = () => {
      this.#queue.told(lost);
      if (line === this.#line) this.#telling -= lost;
      this.#freed(line);
    };
    if (!publish(this.#gapTopic, Buffer.from(JSON.stringify({ lost_replies: lost })), told)) return;
    this.#telling += lost;
    this.#underway++;
  }

  #freed(line: number): void {
    if (line !== this.#line) return;
    this.#underway--;
    this.#pump();
  }
}
