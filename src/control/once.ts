/** Once: a command with an id happens once, whoever repeats it and whatever restarts in between (docs/PROTOCOL.md, Exactly once). */
import { createHash } from "node:crypto";
import { CibError } from "../errors.ts";
import type { Ledger } from "../session/ledger.ts";
import type { Accepted } from "../session/queue.ts";

type Fields = Readonly<Record<string, unknown>>;

export interface Outcome {
  readonly reply: Fields;
  /** The command had been accepted before. */
  readonly duplicate: boolean;
}

export class Once {
  readonly #ledger: Ledger;
  /** Commands under way, by principal and id: a repeat waits for the first. */
  readonly #running = new Map<string, { readonly digest: string; readonly reply: Promise<Fields> }>();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /**
   * Runs `act` on what `reserve` chose (ids, no secrets). The reservation is on disk before `act` runs, so a repeat
   * after a crash acts on the same one; `act` must be idempotent for one reservation.
   * Throws `id_conflict` when the id stands for another command.
   */
  async run(
    who: string,
    id: string | undefined,
    digest: string,
    command: { reserve: () => Fields; act: (reserved: Fields) => Promise<Fields> },
  ): Promise<Outcome> {
    if (id === undefined) return { reply: await command.act(command.reserve()), duplicate: false };
    return this.#join(who, id, digest, async () => {
      const known = this.#ledger.find(who, id);
      const reserved = known?.reply ?? command.reserve();
      if (known === undefined) await this.#ledger.accept({ who, id, digest, reply: reserved });
      return { ...reserved, ...(await command.act(reserved)) };
    });
  }

  /** The same for an input, whose entry in the ledger is the reservation itself. */
  async input(who: string, id: string | undefined, digest: string, accept: () => Promise<Accepted>): Promise<Outcome> {
    if (id === undefined) return { reply: { ...(await accept()) }, duplicate: false };
    return this.#join(who, id, digest, async () => {
      const known = this.#ledger.find(who, id);
      if (known === undefined) return { ...(await accept()) };
      return { input: known.input, seq: known.seq };
    });
  }

  async #join(who: string, id: string, digest: string, act: () => Promise<Fields>): Promise<Outcome> {
    const key = `${who}\0${id}`;
    const running = this.#running.get(key);
    const before = running ?? this.#ledger.find(who, id);
    if (before !== undefined && before.digest !== digest) {
      throw new CibError("id_conflict", `id: "${id}" was used for another command; choose a new one`);
    }
    if (running !== undefined) return { reply: await running.reply, duplicate: true };
    const reply = act();
    this.#running.set(key, { digest, reply });
    try {
      return { reply: await reply, duplicate: before !== undefined };
    } finally {
      this.#running.delete(key);
    }
  }
}

/** A digest of a command without its id: equal content gives equal digests, whatever the order of its keys. */
export function digestOf(command: object): string {
  const { id: _id, ...content } = command as Record<string, unknown>;
  return createHash("sha256").update(canonical(content)).digest("base64url");
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (value instanceof Uint8Array) return `h'${Buffer.from(value).toString("hex")}'`;
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined);
    return `{${entries
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`)
      .join()}}`;
  }
  return JSON.stringify(value) ?? "null";
}
