/** A client and a daemon for the tests of the link: seeded randomness, a counting provider, and a device called lamp. */
import { createHash } from "node:crypto";
import type { Provider } from "../../src/crypto/aead.ts";
import { nodeProvider } from "../../src/crypto/aead-node.ts";
import type { Carrier } from "../../src/crypto/link.ts";
import { ClientLink } from "../../src/crypto/link-client.ts";
import { type Known, ServerLink } from "../../src/crypto/link-server.ts";
import { keyIdText, LinkKey } from "../../src/crypto/schedule.ts";

export const SECRET = seeded("secret")(32);
export const KEY_ID = seeded("key id")(8);

export interface PairWish {
  readonly provider?: Provider;
  readonly carrier?: Carrier;
  readonly serverCarrier?: Carrier;
  readonly x25519?: "offer" | "require";
  readonly requireX25519?: boolean;
  readonly clientAccepts?: number;
  readonly serverAccepts?: number;
  /** Another client, connection and daemon random. */
  readonly seed?: string;
  readonly secret?: Uint8Array;
  readonly keyId?: Uint8Array;
}

export interface Pair {
  readonly client: ClientLink;
  readonly server: ServerLink<string>;
}

/** Random bytes that are the same in every run. */
export function seeded(seed: string): (size: number) => Uint8Array {
  let drawn = 0;
  return (size) => {
    const bytes = new Uint8Array(size);
    for (let at = 0; at < size; at += 32)
      bytes.set(
        createHash("sha256")
          .update(`${seed} ${drawn++}`)
          .digest()
          .subarray(0, size - at),
        at,
      );
    return bytes;
  };
}

export function makeClient(wish: PairWish = {}): ClientLink {
  const { provider = nodeProvider, carrier = "stream", seed = "pair" } = wish;
  const random = seeded(`client ${seed}`);
  return new ClientLink({
    provider,
    carrier,
    accepts: wish.clientAccepts ?? 4096,
    key: new LinkKey(provider, wish.secret ?? SECRET),
    keyId: wish.keyId ?? KEY_ID,
    fresh: { boot: 1, counter: 0, random: random(16) },
    random,
    x25519: wish.x25519,
  });
}

export function makeServer(wish: PairWish = {}): ServerLink<string> {
  const { provider = nodeProvider, carrier = "stream", seed = "pair" } = wish;
  const lamp: Known<string> = {
    key: new LinkKey(provider, SECRET),
    requireX25519: wish.requireX25519 ?? false,
    owner: "lamp",
  };
  return new ServerLink({
    provider,
    carrier: wish.serverCarrier ?? carrier,
    accepts: wish.serverAccepts ?? 4096,
    random: seeded(`server ${seed}`),
    find: (id) => (id === keyIdText(KEY_ID) ? lamp : undefined),
    dummy: new LinkKey(provider, seeded("dummy")(32)),
  });
}

/** Both, with the handshake done; the daemon waits for its first record. */
export function shaken(wish: PairWish = {}): Pair & { readonly reply: Uint8Array } {
  const [client, server] = [makeClient(wish), makeServer(wish)];
  const taken = server.take(client.hello);
  if (taken.kind !== "reply") throw new Error(`expected a reply, got ${taken.kind}`);
  client.take(taken.bytes);
  return { client, server, reply: taken.bytes };
}

/** The same, alive: an empty record has gone each way. */
export function alive(wish: PairWish = {}): Pair {
  const { client, server } = shaken(wish);
  server.take(client.seal(new Uint8Array()));
  client.take(server.seal(new Uint8Array()));
  return { client, server };
}

export type Counts = Record<"hmac" | "sha256" | "aead" | "x25519" | "x25519Public" | "equal" | "seal" | "open", number>;

/** A provider that counts what is asked of it. */
export function counting(inner: Provider = nodeProvider): { readonly provider: Provider; readonly counts: Counts } {
  const counts: Counts = { hmac: 0, sha256: 0, aead: 0, x25519: 0, x25519Public: 0, equal: 0, seal: 0, open: 0 };
  const count = <A extends readonly unknown[], R>(what: keyof Counts, act: (...args: A) => R) => {
    return (...args: A): R => {
      counts[what]++;
      return act(...args);
    };
  };
  const provider: Provider = {
    name: inner.name,
    hmac: count("hmac", inner.hmac),
    sha256: count("sha256", inner.sha256),
    aead: count("aead", (key: Uint8Array) => {
      const aead = inner.aead(key);
      return {
        seal: count("seal", aead.seal.bind(aead)),
        open: count("open", aead.open.bind(aead)),
      };
    }),
    x25519: count("x25519", inner.x25519),
    x25519Public: count("x25519Public", inner.x25519Public),
    equal: count("equal", inner.equal),
    alloc: inner.alloc,
  };
  return { provider, counts };
}
