/** Soon: what connections put off until the running code is done: one microtask for all of them, not one for each of fifty readers of a frame. */

let due: (() => void)[] = [];

/** Calls `act` once the code that runs now has returned, in the order of the calls. */
export function soon(act: () => void): void {
  if (due.push(act) === 1) queueMicrotask(callAll);
}

function callAll(): void {
  const acts = due;
  due = [];
  for (const act of acts) {
    try {
      act();
    } catch (thrown) {
      // As if it had been alone: the others are still called.
      queueMicrotask(() => {
        throw thrown;
      });
    }
  }
}
