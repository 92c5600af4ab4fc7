/** Links: every sealed link of the box, on whatever carrier: whose it is, and that of one key only the newest lives. */
import type { Provider } from "../crypto/aead.ts";
import { LinkError } from "../crypto/fault.ts";
import type { Carrier, LinkState, Taken } from "../crypto/link.ts";
import { ServerLink } from "../crypto/link-server.ts";
import { LinkStream } from "../crypto/stream.ts";
import type { DeviceKeys } from "./device-keys.ts";
import type { Gate, Principal } from "./gate.ts";

/** Links of one key that have been answered and have not proved to live: one, and the next after a lost one. */
export const MAX_HALF_OPEN_A_KEY = 2;

export interface LinkWish {
  readonly carrier: Carrier;
  /** Largest plaintext that the carrier takes, in bytes. */
  readonly accepts: number;
  /** A newer link of the same key is there: say bye where this one lives, and close. */
  superseded(): void;
}

/** One link, as a carrier sees it. It cannot be asked for a key. */
export interface LinkPeer extends Disposable {
  readonly state: LinkState;
  /** Largest plaintext that the client takes, in bytes. */
  readonly room: number;
  /** Nearly used up: say bye. */
  readonly spent: boolean;
  /** Whose it is; undefined before it lives. */
  readonly who: Principal | undefined;
  /** The key id, once the hello has held: for the log. */
  readonly keyId: string | undefined;
  /** What these bytes complete: of a stream any bytes, of other carriers one message. To be read to the end. Throws LinkError. */
  take(bytes: Uint8Array): Iterable<Taken>;
  /** See Link. */
  seal(plaintext: Uint8Array): Uint8Array;
  farewell(): void;
}

export interface LinksOptions {
  readonly keys: DeviceKeys;
  readonly gate: Gate;
  readonly provider: Provider;
  random(size: number): Uint8Array;
}

export class Links {
  readonly #options: LinksOptions;
  /** Of each key its links, half-open and live, in the order in which their hellos were accepted. */
  readonly #byKey = new Map<string, Peer[]>();

  constructor(options: LinksOptions) {
    this.#options = options;
  }

  greet(wish: LinkWish): LinkPeer {
    const { keys, provider, random } = this.#options;
    const link = new ServerLink<string>({
      provider,
      random,
      carrier: wish.carrier,
      accepts: wish.accepts,
      find: (id) => keys.find(id),
      dummy: keys.dummy,
    });
    return new Peer(link, wish, this);
  }

  /** The TLS-PSK key of an identity; for one that is nobody's a key of this boot that nobody knows: it fails as a wrong key does. */
  psk(identity: string): Uint8Array {
    const { keys } = this.#options;
    const known = this.proved(identity) && keys.find(identity);
    return (known?.key ?? keys.dummy).tlsPsk();
  }

  /** Whose key this is, for one who has proved it elsewhere (TLS-PSK); undefined where its token is no more. */
  proved(keyId: string): Principal | undefined {
    const known = this.#options.keys.find(keyId);
    return known && this.#options.gate.holder(known.owner);
  }

  /** The same for one who says the key's MQTT password, which may be a sniffer: it opens a place for links, and no more. */
  mqtt(keyId: string, password: Uint8Array): Principal | undefined {
    const { keys, provider } = this.#options;
    const known = keys.find(keyId);
    const holds = provider.equal((known?.key ?? keys.dummy).mqttPassword(), password);
    return holds ? this.proved(keyId) : undefined;
  }

  /** Links that are answered or live. */
  get size(): number {
    let size = 0;
    for (const peers of this.#byKey.values()) size += peers.length;
    return size;
  }

  /** A hello has held. Throws LinkError when the key's token is no more. */
  accepted(peer: Peer, keyId: string, token: string): Principal {
    const who = this.#options.gate.holder(token);
    if (who === undefined) throw new LinkError("mac");
    const peers = this.#byKey.get(keyId) ?? [];
    this.#byKey.set(keyId, [...peers, peer]);
    const waiting = peers.filter(({ state }) => state === "half-open");
    // The oldest goes: were the newest refused, replayed hellos would lock the device out.
    if (waiting.length >= MAX_HALF_OPEN_A_KEY) waiting[0]?.supersede();
    return who;
  }

  /** A first record has held: what was greeted before it is over. A withheld old record can evict nobody newer. */
  lives(peer: Peer, keyId: string): void {
    const peers = this.#byKey.get(keyId) ?? [];
    for (const older of peers.slice(0, peers.indexOf(peer))) older.supersede();
  }

  forget(peer: Peer, keyId: string): void {
    const left = (this.#byKey.get(keyId) ?? []).filter((each) => each !== peer);
    if (left.length > 0) this.#byKey.set(keyId, left);
    else this.#byKey.delete(keyId);
  }
}

class Peer implements LinkPeer {
  readonly #link: ServerLink<string>;
  readonly #wish: LinkWish;
  readonly #links: Links;
  readonly #take: (bytes: Uint8Array) => Iterable<Taken>;
  #who: Principal | undefined;

  constructor(link: ServerLink<string>, wish: LinkWish, links: Links) {
    this.#link = link;
    this.#wish = wish;
    this.#links = links;
    const stream = wish.carrier === "stream" ? new LinkStream(link) : undefined;
    this.#take = (bytes) => stream?.take(bytes) ?? [link.take(bytes)];
  }

  get state(): LinkState {
    return this.#link.state;
  }

  get room(): number {
    return this.#link.room;
  }

  get spent(): boolean {
    return this.#link.spent;
  }

  get keyId(): string | undefined {
    return this.#link.keyId;
  }

  get who(): Principal | undefined {
    return this.state === "live" ? this.#who : undefined;
  }

  *take(bytes: Uint8Array): Generator<Taken, void> {
    for (const taken of this.#take(bytes)) {
      const { keyId, owner } = this.#link;
      if (keyId !== undefined && owner !== undefined) {
        // Over MQTT a hello may come twice, and its reply is sent twice: it counts once.
        if (taken.kind === "reply" && this.#who === undefined) this.#who = this.#links.accepted(this, keyId, owner);
        if (taken.kind === "record" && taken.first) this.#links.lives(this, keyId);
      }
      yield taken;
    }
  }

  seal(plaintext: Uint8Array): Uint8Array {
    return this.#link.seal(plaintext);
  }

  farewell(): void {
    this.#link.farewell();
  }

  supersede(): void {
    // First the word, for which the link must still live.
    this.#wish.superseded();
    this[Symbol.dispose]();
  }

  /** The carrier has closed, or is to. */
  [Symbol.dispose](): void {
    const { keyId } = this.#link;
    if (keyId !== undefined) this.#links.forget(this, keyId);
    this.#link.end();
  }
}
