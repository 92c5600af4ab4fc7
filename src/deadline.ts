/**
 * Deadline: one signal that aborts with any of several, or when a time is over. In place of AbortSignal.any, which on
 * Node 20 is collected together with an AbortSignal.timeout in it and then never fires (seen on 20.20.2; a test shows it).
 */

/** Aborts after `ms` (reason: TimeoutError), or with the first of `others` and its reason. Disposing it lets go of them all. */
export function deadline(ms: number, ...others: readonly AbortSignal[]): { readonly signal: AbortSignal } & Disposable {
  const over = new AbortController();
  const timer = setTimeout(() => end(new DOMException(`not within ${ms} ms`, "TimeoutError")), ms);
  timer.unref(); // no deadline is a reason to keep the process alive
  const listeners = others.map((other) => {
    const listener = (): void => end(other.reason);
    other.addEventListener("abort", listener);
    return () => other.removeEventListener("abort", listener);
  });
  function end(reason?: unknown): void {
    clearTimeout(timer);
    for (const remove of listeners) remove();
    if (reason !== undefined) over.abort(reason);
  }
  const ended = others.find(({ aborted }) => aborted);
  if (ended !== undefined) end(ended.reason);
  return { signal: over.signal, [Symbol.dispose]: () => end() };
}
