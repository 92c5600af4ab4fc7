/** Listen: addresses that somebody else may have, and what the person is told then. */
import { createServer } from "node:net";

interface Address {
  readonly host: string;
  readonly port: number;
  /** A default: where it is taken, the daemon does without. */
  readonly optional?: true;
}

/** A port that somebody else has; the message names the variable and says what to do. */
export class PortTaken extends Error {
  override readonly name = "PortTaken";

  constructor(variable: string, address: Address, cause?: unknown) {
    super(words(variable, address), { cause });
  }

  /** Turns a refused listen into one that names its variable, for `catch`. The addresses by their variables. */
  static by(addresses: Readonly<Record<string, Address | undefined>>): (failure: unknown) => never {
    return (failure) => {
      const { port } = failure as { port?: unknown };
      for (const [variable, address] of Object.entries(addresses))
        if (codeOf(failure) === "EADDRINUSE" && address?.port === port)
          throw new PortTaken(variable, address as Address, failure);
      throw failure;
    };
  }
}

/** The address, or undefined and a note where it is a default that is taken: whatever was asked for must work. */
export async function unlessTaken<A extends Address>(
  variable: string,
  address: A | undefined,
  note: (line: string) => void,
): Promise<A | undefined> {
  if (address?.optional !== true || !(await isTaken(address))) return address;
  note(words(variable, address));
  return undefined;
}

function isTaken({ host, port }: Address): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    // Whatever else is wrong with it, the real attempt will say.
    server.once("error", (failure) => resolve(codeOf(failure) === "EADDRINUSE"));
    server.listen({ host, port }, () => server.close(() => resolve(false)));
  });
}

function words(variable: string, { host, port }: Address): string {
  return `${variable}: port ${port} on ${host} is taken; choose another one, as in ${variable}=${host}:${port + 1}, or "off"`;
}

function codeOf(failure: unknown): unknown {
  return (failure as NodeJS.ErrnoException).code;
}
