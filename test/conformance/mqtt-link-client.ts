/** A client of a sealed link over MQTT for tests: the noble side of a link, on the topics of its key. */
import { randomBytes } from "node:crypto";
import { nobleProvider } from "../../src/crypto/aead-noble.ts";
import type { Carrier } from "../../src/crypto/link.ts";
import { ClientLink } from "../../src/crypto/link-client.ts";
import { LinkKey } from "../../src/crypto/schedule.ts";
import { decodeValue, encodeValue, frameOf } from "../../src/frame/codec.ts";
import type { Frame } from "../../src/frame/frame.ts";
import { itemsOf } from "../../src/frame/sequence.ts";
import type { Arrived, DeviceKey } from "./link-client.ts";
import { ConnectFailed, MqttClient } from "./mqtt-client.ts";
import { Inbox, Refused } from "./way.ts";

type Fields = Record<string, unknown>;

let connections = 0;

/** The client's side of a link. */
export function clientLink(key: DeviceKey, carrier: Carrier, accepts = 65_535): ClientLink {
  return new ClientLink({
    provider: nobleProvider,
    carrier,
    accepts,
    key: linkKey(key),
    keyId: Buffer.from(key.id, "hex"),
    fresh: { boot: 2, counter: connections++, random: randomBytes(16) },
    random: (size) => randomBytes(size),
  });
}

/** What a device shows at the broker's door. */
export function linkLogin(key: DeviceKey, name = `link-${connections++}`) {
  const password = Buffer.from(linkKey(key).mqttPassword()).toString("hex");
  return { clientId: `${key.id}-${name}`, username: key.id, password };
}

function linkKey(key: DeviceKey): LinkKey {
  return new LinkKey(nobleProvider, Buffer.from(key.secret, "hex"));
}

export class MqttLinkClient {
  readonly mqtt: MqttClient;
  readonly link: ClientLink;
  readonly up: string;
  readonly frames = new Inbox<Arrived>();
  /** Why the box ended it: its bye, or "cut". */
  readonly ended: Promise<string>;
  readonly #owed = new Map<string, { resolve(reply: Fields): void; reject(why: Error): void }>();
  readonly #greeted: Promise<void>;
  #asked = 0;
  #bye = "cut";

  private constructor(mqtt: MqttClient, key: DeviceKey, accepts: number) {
    this.mqtt = mqtt;
    this.up = `cib/link/${key.id}/up`;
    this.link = clientLink(key, "mqtt", accepts);
    this.ended = new Promise((resolve) => {
      this.#over = () => resolve(this.#bye);
    });
    this.#greeted = new Promise((resolve, reject) => {
      void this.ended.then((bye) => {
        const why = gone(bye);
        this.frames.end(why);
        reject(why);
      });
      mqtt.routes.set(`cib/link/${key.id}/down`, ({ payload }) => {
        const taken = this.link.take(payload);
        if (taken.kind === "greeted") resolve();
        if (taken.kind === "record") for (const item of itemsOf(Buffer.from(taken.plaintext))) this.#item(item);
      });
    });
    this.#greeted.catch(() => undefined);
    void mqtt.ended.then(() => this.#over());
  }

  #over: () => void = () => undefined;

  static async open(port: number, key: DeviceKey, { accepts = 65_535 } = {}): Promise<MqttLinkClient> {
    const mqtt = await enter(port, key);
    await mqtt.subscribe(`cib/link/${key.id}/down`);
    const client = new MqttLinkClient(mqtt, key, accepts);
    await mqtt.publish(client.up, client.link.hello);
    await client.#greeted;
    await mqtt.publish(client.up, client.link.seal(new Uint8Array()));
    return client;
  }

  send(...messages: readonly object[]): void {
    const record = this.link.seal(Buffer.concat(messages.map((message) => encodeValue(message))));
    // Where the connection ends instead, `ended` says so.
    this.mqtt.publish(this.up, record).catch(() => undefined);
  }

  ask(command: Readonly<Record<string, unknown>>): Promise<Fields> {
    return new Promise((resolve, reject) => {
      // Also where it had ended before.
      void this.ended.then((bye) => reject(gone(bye)));
      const own = typeof command["id"] === "string" ? command["id"] : undefined;
      // Without an id of the test's own the command must not count as exactly-once.
      const once = ["input", "sessions.create", "tokens.create", "send"].includes(String(command["cmd"]));
      const id = own ?? (once ? "null" : `ask-${this.#asked++}`);
      this.#owed.set(id, { resolve, reject });
      this.send(own !== undefined || once ? command : { ...command, id });
    });
  }

  #item(item: Buffer): void {
    const value = decodeValue(item);
    if (Array.isArray(value)) {
      this.frames.put({ frame: frameOf(value) as Frame, bytes: item.length });
      return;
    }
    const { re, ok, error, ...fields } = value as Fields;
    if (typeof fields["bye"] === "string") {
      this.#bye = fields["bye"];
      this.#over();
      return;
    }
    const waiting = this.#owed.get(String(re));
    this.#owed.delete(String(re));
    if (ok === true) waiting?.resolve(fields);
    else waiting?.reject(new Refused(error));
  }
}

function gone(bye: string): Refused {
  return new Refused({ code: "unauthorized", message: `the link has ended: ${bye}`, retryable: false });
}

async function enter(port: number, key: DeviceKey): Promise<MqttClient> {
  try {
    return await MqttClient.open(port, linkLogin(key));
  } catch (thrown) {
    if (!(thrown instanceof ConnectFailed) || thrown.code !== 4) throw thrown;
    throw new Refused({ code: "unauthorized", message: thrown.message, retryable: false });
  }
}
