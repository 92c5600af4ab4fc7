/** Bridge words: why a line to a foreign broker ended, as the operator reads it: never with anything that we sent. */

/** CONNACK's return codes (MQTT 3.1.1 §3.2.2.3). */
const REFUSALS: Readonly<Record<number, string>> = {
  1: "it does not speak MQTT 3.1.1",
  2: "it does not accept this client id",
  3: "it is not available",
  4: "wrong user name or password",
  5: "this user may not connect",
};

export function refusalWords(code: number): string {
  return `the broker refuses us: ${REFUSALS[code] ?? `code ${code}`}`;
}

/** A failed connection: system codes and addresses. */
export function failureWords(failure: unknown): string {
  if (!(failure instanceof Error)) return "unknown fault";
  const { code } = failure as NodeJS.ErrnoException;
  // Node tries every address of a name, and then throws them all.
  const first =
    failure instanceof AggregateError ? (failure.errors[0] as NodeJS.ErrnoException | undefined) : undefined;
  return (
    first?.code ??
    (code === undefined || failure.message.includes(code) ? failure.message : `${failure.message} (${code})`)
  );
}
