/** Turnstile: lets asynchronous work through one after the other, whatever becomes of the one before. */
export class Turnstile {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `work` when everything before it has ended; resolves and rejects with it. */
  pass<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(work, work);
    this.#last = mine.catch(() => undefined);
    return mine;
  }
}
