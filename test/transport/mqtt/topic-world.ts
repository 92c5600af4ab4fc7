/** Links over topics without a broker: an outlet that remembers, a clock that the test winds, and a device on the other side. */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DeviceKeys } from "../../../src/auth/device-keys.ts";
import { Gate } from "../../../src/auth/gate.ts";
import { Links } from "../../../src/auth/links.ts";
import { SCOPES } from "../../../src/auth/scopes.ts";
import { Tokens } from "../../../src/auth/tokens.ts";
import { Vault } from "../../../src/auth/vault.ts";
import { nodeProvider } from "../../../src/crypto/aead-node.ts";
import type { ClientLink } from "../../../src/crypto/link-client.ts";
import { decodeValue, encodeValue } from "../../../src/frame/codec.ts";
import { itemsOf } from "../../../src/frame/sequence.ts";
import type { Outlet } from "../../../src/transport/mqtt/ports.ts";
import { type TopicLink, TopicLinks } from "../../../src/transport/mqtt/topic-link.ts";
import type { DeviceKey } from "../../conformance/link-client.ts";
import { clientLink } from "../../conformance/link-client.ts";
import { Inbox } from "../../conformance/way.ts";
import { Hands } from "../hands.ts";
import { FakeControl } from "../http/fake.ts";

const vault = new Vault("m".repeat(40), Buffer.alloc(16));

export interface Sent {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly id: number | undefined;
}

/** One connection: what it is told to send, in order. */
export class FakeOutlet implements Outlet {
  readonly sent: Sent[] = [];
  readonly inbox = new Inbox<Sent>();
  readonly closed: string[] = [];
  gone = false;
  bytesWaiting = 0;
  #id = 0;

  publish(topic: string, payload: Uint8Array, packetId?: number): boolean {
    if (this.gone) return false;
    const sent = { topic, payload: Uint8Array.from(payload), id: packetId };
    this.sent.push(sent);
    this.inbox.put(sent);
    return true;
  }

  waiting(): number {
    return this.bytesWaiting;
  }

  nextPacketId(): number {
    this.#id = (this.#id % 0xffff) + 1;
    return this.#id;
  }

  close(reason: string): void {
    this.closed.push(reason);
    this.gone = true;
  }
}

export class TopicWorld implements Disposable {
  readonly hands = new Hands();
  readonly control = new FakeControl();
  readonly refused: string[] = [];
  readonly faults: unknown[] = [];
  readonly links: TopicLinks;
  readonly keys: DeviceKeys;
  readonly #tokens: Tokens;
  readonly #folder = mkdtempSync(join(tmpdir(), "cib-topics-"));

  constructor() {
    this.#tokens = new Tokens(join(this.#folder, "tokens.json"), () => this.hands.now);
    const file = join(this.#folder, "devices.json");
    this.keys = new DeviceKeys({ file, vault, provider: nodeProvider, now: () => 0 });
    const now = () => this.hands.now;
    const gate = new Gate({ masterToken: "m".repeat(40), tokens: this.#tokens, plain: "loopback", now });
    const links = new Links({ keys: this.keys, gate, provider: nodeProvider, random: randomBytes });
    this.control.link = (wish) => links.greet(wish);
    this.links = new TopicLinks({
      control: this.control,
      now,
      timers: this.hands,
      fault: (thrown) => this.faults.push(thrown),
      refused: (_, why) => this.refused.push(why),
    });
  }

  /** A device's key, and the token it belongs to. */
  key(): DeviceKey & { readonly token: string } {
    const token = Tokens.newId();
    this.#tokens.issue(token, { label: "lamp", scopes: [...SCOPES] });
    return { ...this.keys.create(token, false), token };
  }

  revoke(token: string): void {
    this.#tokens.revoke(token);
  }

  device(key: DeviceKey = this.key()): Device {
    const outlet = new FakeOutlet();
    return new Device(key, outlet, this.links.enter({ outlet, keyId: key.id, address: "192.0.2.7" }));
  }

  [Symbol.dispose](): void {
    this.#tokens[Symbol.dispose]();
    rmSync(this.#folder, { recursive: true });
  }
}

/** A device that came in for links of its key. */
export class Device {
  readonly key: DeviceKey;
  readonly outlet: FakeOutlet;
  readonly end: TopicLink;
  link: ClientLink;
  /** Whether it acknowledges what it reads. */
  acknowledges = true;

  constructor(key: DeviceKey, outlet: FakeOutlet, end: TopicLink) {
    this.key = key;
    this.outlet = outlet;
    this.end = end;
    this.link = clientLink(key, "mqtt");
  }

  up(bytes: Uint8Array): void {
    this.end.message(bytes);
  }

  /** Says hello and takes the reply: half-open. */
  async greet(): Promise<void> {
    this.up(this.link.hello);
    this.link.take((await this.read()).payload);
  }

  /** All of it: the link lives. */
  async open(): Promise<void> {
    await this.greet();
    this.up(this.link.seal(new Uint8Array()));
  }

  command(command: object): Uint8Array {
    return this.link.seal(encodeValue(command));
  }

  /** The next message for it, acknowledged. */
  async read(): Promise<Sent> {
    const sent = await this.outlet.inbox.take();
    if (this.acknowledges && sent.id !== undefined) this.end.acknowledged(sent.id);
    return sent;
  }

  /** What the next record says. */
  async hear(): Promise<unknown[]> {
    const taken = this.link.take((await this.read()).payload);
    if (taken.kind !== "record") throw new Error(`a ${taken.kind} instead of a record`);
    return [...itemsOf(Buffer.from(taken.plaintext))].map((item) => decodeValue(item));
  }
}
