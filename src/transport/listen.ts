/** Listen: addresses that somebody else may have, and what the person is told then. */
import { createServer } from "node:net";

interface Address {
  readonly host: string;
  readonly port: number;
  /** A default: where it is taken, the daemon does without. */
  readonly optional?: true;
}

/** What the system says when an address cannot be listened on. */
interface Failure {
  readonly code?: unknown;
  readonly syscall?: unknown;
  readonly port?: unknown;
  readonly address?: unknown;
  readonly hostname?: unknown;
}

/** An address that cannot be listened on; the message names the variable and says what to do. */
export class CannotListen extends Error {
  override readonly name = "CannotListen";

  constructor(variable: string, address: Address, cause: unknown) {
    super(words(variable, address, codeOf(cause)), { cause });
  }

  /** Turns a refused listen into one that names its variable, for `catch`. The addresses by their variables. */
  static by(addresses: Readonly<Record<string, Address | undefined>>): (thrown: unknown) => never {
    return (thrown) => {
      const failure = thrown as Failure;
      const meant = Object.entries(addresses).filter(([, address]) => address !== undefined && isOf(failure, address));
      // Two ports of one number: the host tells which. A name has become an address by then, and the first will do.
      const [variable, address] =
        meant.find(([, each]) => [failure.address, failure.hostname].includes(each?.host)) ?? meant[0] ?? [];
      if (variable !== undefined && address !== undefined) throw new CannotListen(variable, address, thrown);
      throw thrown;
    };
  }
}

function isOf({ syscall, port = 0, hostname }: Failure, address: Address): boolean {
  if (syscall === "getaddrinfo") return hostname === address.host;
  return syscall === "listen" && port === address.port;
}

/** The address, or undefined and a note where it is a default that is taken: whatever was asked for must work. */
export async function unlessTaken<A extends Address>(
  variable: string,
  address: A | undefined,
  note: (line: string) => void,
): Promise<A | undefined> {
  if (address?.optional !== true || !(await isTaken(address))) return address;
  note(words(variable, address, "EADDRINUSE"));
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

function words(variable: string, { host, port }: Address, code: unknown): string {
  const as = (text: string) => `${variable}: ${text}`;
  const other = (next: number) => `choose another one, as in ${variable}=${host}:${next}, or "off"`;
  switch (code) {
    case "EADDRINUSE":
      return as(`port ${port} on ${host} is taken; ${other(port + 1)}`);
    case "EACCES":
      return as(`this user may not listen on port ${port}; ${other(port + 8000)}`);
    case "EADDRNOTAVAIL":
      return as(`${host} is no address of this machine; name one of its own, 0.0.0.0 for all of them, or "off"`);
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return as(`no address is known for "${host}"; name one of this machine, 0.0.0.0 for all of them, or "off"`);
    default:
      return as(`cannot listen on port ${port} of ${host} (${String(code)}); choose another address, or "off"`);
  }
}

function codeOf(failure: unknown): unknown {
  return (failure as NodeJS.ErrnoException).code;
}
