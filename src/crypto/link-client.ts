/** Link, the client's side: says hello, checks that the reply comes from the holder of the same secret, and goes on in records. */
import { checkSize, KEY_BYTES } from "./aead.ts";
import { LinkError } from "./fault.ts";
import {
  apart,
  FLAG_MQTT,
  FLAG_X25519,
  helloHead,
  MIN_ACCEPTS,
  type Reply,
  readReply,
  SUITE,
  sizeOfReply,
  withMac,
} from "./hello.ts";
import { Link, type LinkOptions, type Taken } from "./link.ts";
import { type Freshness, KEY_ID_BYTES, type LinkKey } from "./schedule.ts";

export interface ClientLinkOptions extends LinkOptions {
  readonly key: LinkKey;
  /** 8 bytes. */
  readonly keyId: Uint8Array;
  /** Never the same twice for one key: a repeated one would repeat the link's keys. */
  readonly fresh: Freshness;
  /** Forward secrecy: `offer` goes on without it where the daemon declines, `require` does not. */
  readonly x25519?: "offer" | "require" | undefined;
}

export class ClientLink extends Link {
  /** The first thing to send, once. */
  readonly hello: Uint8Array;
  readonly #options: ClientLinkOptions;
  /** This connection's half of X25519, until the reply has come. */
  #secret: Uint8Array | undefined;

  constructor(options: ClientLinkOptions) {
    super(options, MIN_ACCEPTS);
    checkSize("key id", options.keyId, KEY_ID_BYTES);
    const { provider, key, keyId, accepts, fresh, random, carrier, x25519 } = options;
    this.#options = options;
    this.#secret = x25519 === undefined ? undefined : random(KEY_BYTES);
    const head = helloHead({
      flags: (x25519 === undefined ? 0 : FLAG_X25519) | (carrier === "mqtt" ? FLAG_MQTT : 0),
      suite: SUITE,
      accepts,
      keyId,
      random: key.clientRandom(fresh),
      ephemeral: this.#secret && provider.x25519Public(this.#secret),
    });
    this.hello = withMac(head, key.mac1(head));
  }

  protected override greetingSize(start: Uint8Array): number | undefined {
    return sizeOfReply(start);
  }

  protected override greet(unit: Uint8Array): Taken {
    const { provider, key } = this.#options;
    const reply = readReply(unit);
    const { head, mac } = apart(unit);
    if (!provider.equal(key.mac2(this.hello, head), mac)) throw new LinkError("mac");
    this.#check(reply);
    const shared = this.#shared(reply.ephemeral);
    const { clientToServer, serverToClient } = key.directions(this.hello, unit, shared);
    shared?.fill(0);
    this.agreed({ in: serverToClient, out: clientToServer }, reply.accepts);
    return { kind: "greeted" };
  }

  #check({ flags, suite, accepts }: Reply): void {
    const offered = this.hello[4] as number;
    if (suite !== SUITE) throw new LinkError("suite");
    if ((flags & ~offered) !== 0) throw new LinkError("flags");
    if (((flags ^ offered) & FLAG_MQTT) !== 0) throw new LinkError("carrier");
    if (this.#options.x25519 === "require" && (flags & FLAG_X25519) === 0) throw new LinkError("x25519");
    if (accepts < MIN_ACCEPTS) throw new LinkError("accepts");
  }

  #shared(theirs: Uint8Array | undefined): Uint8Array | undefined {
    const secret = this.#secret;
    this.#secret = undefined;
    if (theirs === undefined || secret === undefined) return undefined;
    const shared = this.#options.provider.x25519(secret, theirs);
    secret.fill(0);
    if (shared === undefined) throw new LinkError("x25519");
    return shared;
  }
}
