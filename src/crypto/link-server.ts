/** Link, the daemon's side: takes a hello from anybody, and does no more for strangers than for friends until it holds. */

import { KEY_BYTES, type Provider } from "./aead.ts";
import { LinkError } from "./fault.ts";
import {
  apart,
  FLAG_MQTT,
  FLAG_X25519,
  type Hello,
  MIN_ACCEPTS,
  readHello,
  replyHead,
  SUITE,
  sizeOfHello,
  withMac,
} from "./hello.ts";
import { Link, type LinkOptions, type Taken } from "./link.ts";
import { keyIdText, type LinkKey, RANDOM_BYTES } from "./schedule.ts";

/** A key that the daemon knows, and whose it is. */
export interface Known<T> {
  readonly key: LinkKey;
  /** A hello without X25519 is refused. */
  readonly requireX25519: boolean;
  readonly owner: T;
}

export interface ServerLinkOptions<T> extends LinkOptions {
  /** The key of an id (16 hex digits), held ready: finding one and finding none must take the same time. */
  find(keyId: string): Known<T> | undefined;
  /** Stands in for unknown ids, so that they cost the same work: a key of this boot, of random bytes. */
  readonly dummy: LinkKey;
}

export class ServerLink<T> extends Link {
  readonly #options: ServerLinkOptions<T>;
  #owner: T | undefined;
  #keyId: string | undefined;

  constructor(options: ServerLinkOptions<T>) {
    super(options, MIN_ACCEPTS);
    this.#options = options;
  }

  /** Whose key it is; undefined before the hello has held. Half-open, it may be somebody who replays. */
  get owner(): T | undefined {
    return this.#owner;
  }

  /** 16 hex digits; undefined before the hello has held. */
  get keyId(): string | undefined {
    return this.#keyId;
  }

  protected override greetingSize(start: Uint8Array): number | undefined {
    return sizeOfHello(start);
  }

  protected override greet(unit: Uint8Array): Taken {
    const { provider, find, dummy, random } = this.#options;
    const hello = readHello(unit);
    const { head, mac } = apart(unit);
    const keyId = keyIdText(hello.keyId);
    const known = find(keyId);
    // One HMAC before anything else, the same for ids that nobody has.
    const holds = provider.equal((known?.key ?? dummy).mac1(head), mac);
    if (!holds || known === undefined) throw new LinkError("mac");
    checkOffer(hello, this.carrier === "mqtt", known.requireX25519);
    const { shared, ephemeral } = exchange(provider, random, hello.ephemeral);
    const { flags, suite } = hello;
    const answer = replyHead({ flags, suite, accepts: this.accepts, random: random(RANDOM_BYTES), ephemeral });
    const reply = withMac(answer, known.key.mac2(unit, answer));
    const { clientToServer, serverToClient } = known.key.directions(unit, reply, shared);
    shared?.fill(0);
    this.#owner = known.owner;
    this.#keyId = keyId;
    this.agreed({ in: clientToServer, out: serverToClient }, hello.accepts);
    return { kind: "reply", bytes: reply };
  }
}

/** Only now that mac1 holds: what a friend offers, and this daemon does not do. */
function checkOffer({ flags, suite, accepts }: Hello, mqtt: boolean, requireX25519: boolean): void {
  if (suite !== SUITE) throw new LinkError("suite");
  if ((flags & ~(FLAG_X25519 | FLAG_MQTT)) !== 0) throw new LinkError("flags");
  if (((flags & FLAG_MQTT) !== 0) !== mqtt) throw new LinkError("carrier");
  if (requireX25519 && (flags & FLAG_X25519) === 0) throw new LinkError("x25519");
  if (accepts < MIN_ACCEPTS) throw new LinkError("accepts");
}

function exchange(
  provider: Provider,
  random: (size: number) => Uint8Array,
  theirs: Uint8Array | undefined,
): { shared: Uint8Array | undefined; ephemeral: Uint8Array | undefined } {
  if (theirs === undefined) return { shared: undefined, ephemeral: undefined };
  const secret = random(KEY_BYTES);
  const shared = provider.x25519(secret, theirs);
  if (shared === undefined) throw new LinkError("x25519");
  const ephemeral = provider.x25519Public(secret);
  secret.fill(0);
  return { shared, ephemeral };
}
