/** Refusals: who was turned away without a word, on any carrier: counted, and told to the operator in lines that no flood can fill a disk with. */
import { TIMERS, type Timers } from "./timers.ts";

/** At most one line of an address and reason in so long. */
export const QUIET_MS = 60_000;
/** Addresses and reasons told apart within that time; the rest shares a line: 64 + a few lines of 120 bytes a minute are 11 MB a day at worst. */
export const MAX_APART = 64;
/** Longest address: IPv4 in IPv6 with a zone. */
const MAX_ADDRESS_CHARS = 64;

export type Carrier = "tcp" | "websocket" | "aes" | "mqtt" | "bridge";

/** What each of them turns away. */
const NOUNS: Readonly<Record<Carrier, string>> = {
  tcp: "link",
  websocket: "link",
  aes: "request",
  mqtt: "link",
  bridge: "message",
};

/** What a carrier calls, once for each it turns away. `why`: a word of ours, never one of the peer's. */
export type Refused = (carrier: Carrier, address: string, why: string) => void;

/** Since the start: of each carrier, how many for each reason. */
export type RefusalCounts = Readonly<Partial<Record<Carrier, Readonly<Record<string, number>>>>>;

export interface RefusalsOptions {
  /** One line, without its end. */
  say(line: string): void;
  /** What the log says of a reason, or of "<carrier> <reason>"; a reason that is not here speaks for itself. */
  readonly words?: Readonly<Record<string, string>>;
  readonly timers?: Timers;
}

interface Told {
  readonly carrier: Carrier;
  readonly from: string;
  readonly why: string;
  /** Since its last line. */
  untold: number;
}

export class Refusals implements Disposable {
  readonly #options: RefusalsOptions;
  readonly #timers: Timers;
  readonly #counts = new Map<Carrier, Map<string, number>>();
  /** Those that had a line within the last QUIET_MS. */
  readonly #told = new Map<string, Told>();
  readonly #waiting = new Set<() => void>();

  constructor(options: RefusalsOptions) {
    this.#options = options;
    this.#timers = options.timers ?? TIMERS;
  }

  /** May be passed on by itself. */
  readonly refused: Refused = (carrier, address, why) => {
    const counts = this.#counts.get(carrier) ?? new Map<string, number>();
    this.#counts.set(carrier, counts.set(why, (counts.get(why) ?? 0) + 1));
    const told = this.#find(carrier, addressOf(address), why);
    told.untold++;
    if (told.untold === 1 && !this.#told.has(keyOf(told))) this.#tell(told);
  };

  get counts(): RefusalCounts {
    return Object.fromEntries(Array.from(this.#counts, ([carrier, whys]) => [carrier, Object.fromEntries(whys)]));
  }

  /** What has not been told yet is told now. */
  [Symbol.dispose](): void {
    for (const cancel of this.#waiting) cancel();
    this.#waiting.clear();
    for (const told of this.#told.values()) this.#say(told);
    this.#told.clear();
  }

  #find(carrier: Carrier, from: string, why: string): Told {
    const own: Told = { carrier, from, why, untold: 0 };
    const known = this.#told.get(keyOf(own));
    if (known !== undefined) return known;
    if (this.#told.size < MAX_APART) return own;
    const rest: Told = { ...own, from: "other addresses" };
    return this.#told.get(keyOf(rest)) ?? rest;
  }

  /** The first is told at once, what comes within the minute at its end; after a minute without any it is forgotten. */
  #tell(told: Told): void {
    this.#told.set(keyOf(told), told);
    this.#say(told);
    const cancel = this.#timers.after(QUIET_MS, () => {
      this.#waiting.delete(cancel);
      if (told.untold > 0) this.#tell(told);
      else this.#told.delete(keyOf(told));
    });
    this.#waiting.add(cancel);
  }

  #say(told: Told): void {
    const { carrier, from, why, untold } = told;
    if (untold === 0) return;
    told.untold = 0;
    const what = `${untold} ${NOUNS[carrier]}${untold === 1 ? "" : "s"}`;
    const words = this.#options.words ?? {};
    const known = [`${carrier} ${why}`, why].find((each) => Object.hasOwn(words, each));
    const said = known === undefined ? why : words[known];
    this.#options.say(`${carrier}: ${what} refused from ${from}: ${said}`);
  }
}

function keyOf({ carrier, from, why }: Told): string {
  return `${carrier} ${from} ${why}`;
}

function addressOf(address: string): string {
  return /^[0-9a-zA-Z.:%_-]+$/.test(address) ? address.slice(0, MAX_ADDRESS_CHARS) : "an unknown address";
}
