/** Bridge links: sealed links of devices that come in over a foreign broker, which can read and forge none of it. */
import type { CallersOptions } from "../callers.ts";
import type { Line } from "./bridge-line.ts";
import type { Outlet } from "./ports.ts";
import { isHello, type TopicLink, TopicLinks } from "./topic-link.ts";

/** Keys whose links are open, or just over, at once: of those that are no key of ours none stays. */
export const MAX_KEYS = 1024;

export class BridgeLinks {
  readonly #links: TopicLinks;
  readonly #root: string;
  readonly #byKey = new Map<string, TopicLink>();
  /** Whose packet it was, by packet id. */
  readonly #sent = new Map<number, TopicLink>();
  #line: Line | undefined;

  constructor(root: string, options: CallersOptions) {
    this.#root = root;
    this.#links = new TopicLinks(options);
  }

  get counts(): TopicLinks["counts"] {
    return this.#links.counts;
  }

  begin(line: Line): void {
    this.#line = line;
  }

  /** The line is gone, and with it every link: what is still on its way comes to nothing, and devices begin again. */
  end(): void {
    this.#line = undefined;
    for (const link of this.#byKey.values()) link.closed();
    this.#byKey.clear();
    this.#sent.clear();
  }

  /** Says goodbye to those that live. */
  stop(): void {
    this.#links.stop();
  }

  message(keyId: string, payload: Buffer): void {
    const known = this.#byKey.get(keyId);
    if (known !== undefined) known.message(payload);
    else if (isHello(payload) && this.#byKey.size < MAX_KEYS) this.#enter(keyId, payload);
  }

  acknowledged(packetId: number): void {
    const link = this.#sent.get(packetId);
    this.#sent.delete(packetId);
    link?.acknowledged(packetId);
  }

  drained(): void {
    for (const link of this.#byKey.values()) link.drained();
  }

  #enter(keyId: string, hello: Buffer): void {
    const line = this.#line;
    if (line === undefined) return;
    let link: TopicLink | undefined;
    const outlet: Outlet = {
      publish: (topic, payload, packetId) => {
        if (packetId !== undefined && link !== undefined) this.#sent.set(packetId, link);
        return line.send(topic, payload, false, packetId);
      },
      waiting: () => line.waiting,
      nextPacketId: () => line.nextPacketId(),
      // It has failed, or idled: the next hello of this key finds nothing of it.
      close: () => {
        if (this.#byKey.get(keyId) === link) this.#byKey.delete(keyId);
      },
    };
    // The broker is what they share: each key has the caps of an address of its own.
    link = this.#links.enter({ outlet, keyId, address: `bridge-${keyId}`, root: this.#root });
    this.#byKey.set(keyId, link);
    link.message(hello);
  }
}
