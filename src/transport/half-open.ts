/** Half-open: callers who have proved nothing yet; few of them, fewer from one address, and the oldest makes room. */

/** At about 20 KiB each, with a first record that never ends, 5 MiB. */
export const MAX_HALF_OPEN = 256;
/** A household behind one address that comes back all at once. */
export const MAX_HALF_OPEN_AN_ADDRESS = 32;

export interface Caller {
  readonly address: string;
  /** Another takes its place: close without a word. */
  evicted(): void;
}

export class HalfOpen {
  /** In the order in which they came. */
  readonly #callers = new Set<Caller>();
  readonly #byAddress = new Map<string, Set<Caller>>();
  readonly #most: number;
  readonly #mostAnAddress: number;

  constructor(most = MAX_HALF_OPEN, mostAnAddress = MAX_HALF_OPEN_AN_ADDRESS) {
    this.#most = most;
    this.#mostAnAddress = mostAnAddress;
  }

  get size(): number {
    return this.#callers.size;
  }

  /** Lets one in; where there is no room the oldest goes, first of its own address: a flood pushes out the flood. */
  add(caller: Caller): void {
    const same = this.#byAddress.get(caller.address) ?? new Set();
    if (same.size >= this.#mostAnAddress) this.#evict(same);
    else if (this.#callers.size >= this.#most) this.#evict(this.#callers);
    same.add(caller);
    // Set only now: an address whose last caller has gone has no entry.
    this.#byAddress.set(caller.address, same);
    this.#callers.add(caller);
  }

  /** It lives, or is gone. */
  delete(caller: Caller): void {
    if (!this.#callers.delete(caller)) return;
    const same = this.#byAddress.get(caller.address);
    same?.delete(caller);
    if (same?.size === 0) this.#byAddress.delete(caller.address);
  }

  #evict(from: ReadonlySet<Caller>): void {
    const [oldest] = from;
    if (oldest === undefined) return;
    this.delete(oldest);
    oldest.evicted();
  }
}
