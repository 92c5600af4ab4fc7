/** Waits: conditions that events may change, awaited with a deadline instead of being asked again and again. */

export class Waits {
  readonly #checks = new Set<() => void>();

  /** Something has happened: every condition is looked at. */
  wake(): void {
    for (const check of [...this.#checks]) check();
  }

  /** Waits for a condition; false when `ms` are over or the signal aborts first. */
  until(condition: () => boolean, ms: number, signal?: AbortSignal): Promise<boolean> {
    if (condition()) return Promise.resolve(true);
    return new Promise((done) => {
      const settle = (answer: boolean): void => {
        this.#checks.delete(check);
        clearTimeout(timer);
        signal?.removeEventListener("abort", giveUp);
        done(answer);
      };
      const check = (): void => {
        if (condition()) settle(true);
      };
      const giveUp = (): void => settle(false);
      const timer = setTimeout(giveUp, ms);
      this.#checks.add(check);
      signal?.addEventListener("abort", giveUp);
    });
  }
}
