/** Ends: of tokens, told to their clients: one listener for each token, however many of its clients are in. */
import type { Client } from "./client.ts";

export class Ends {
  readonly #clients = new Map<AbortSignal, { readonly clients: Set<Client>; stop(): void }>();
  readonly #ended: (client: Client) => void;

  constructor(ended: (client: Client) => void) {
    this.#ended = ended;
  }

  /** Tells of one that has ended already, too. */
  add(client: Client): void {
    const { ended } = client;
    if (ended.aborted) {
      this.#ended(client);
      return;
    }
    const known = this.#clients.get(ended) ?? this.#listen(ended);
    known.clients.add(client);
  }

  delete(client: Client): void {
    const known = this.#clients.get(client.ended);
    if (known === undefined || !known.clients.delete(client) || known.clients.size > 0) return;
    known.stop();
    this.#clients.delete(client.ended);
  }

  #listen(ended: AbortSignal): { readonly clients: Set<Client>; stop(): void } {
    const clients = new Set<Client>();
    const told = () => {
      for (const client of [...clients]) this.#ended(client);
    };
    ended.addEventListener("abort", told);
    const known = { clients, stop: () => ended.removeEventListener("abort", told) };
    this.#clients.set(ended, known);
    return known;
  }
}
