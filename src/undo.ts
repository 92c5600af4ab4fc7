/** Undo: how a start that fails half-way, and a stop, close what was opened. */

/** What has been opened, closed again in the opposite order; one that fails does not keep the others from it. */
export class Undo {
  readonly #steps: (() => unknown)[] = [];
  readonly #fault: (where: string, thrown: unknown) => void;

  constructor(fault: (where: string, thrown: unknown) => void) {
    this.#fault = fault;
  }

  defer(step: () => unknown): void {
    this.#steps.push(step);
  }

  use<T extends Disposable | AsyncDisposable>(thing: T): T {
    this.defer(() => (Symbol.asyncDispose in thing ? thing[Symbol.asyncDispose]() : thing[Symbol.dispose]()));
    return thing;
  }

  async run(): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step();
      } catch (thrown) {
        this.#fault("stop", thrown);
      }
    }
  }
}
