/** A client of a sealed link over MQTT, for tests: on the topics of its key. */
import { clientLink, type DeviceKey, LinkClient, type LinkWish, linkKey } from "./link-client.ts";
import { ConnectFailed, MqttClient } from "./mqtt-client.ts";
import { Refused } from "./way.ts";

let logins = 0;

/** What a device shows at the broker's door. */
export function linkLogin(key: DeviceKey, name = `link-${logins++}`) {
  const password = Buffer.from(linkKey(key).mqttPassword()).toString("hex");
  return { clientId: `${key.id}-${name}`, username: key.id, password };
}

export class MqttLinkClient extends LinkClient {
  readonly mqtt: MqttClient;
  readonly up: string;

  private constructor(mqtt: MqttClient, key: DeviceKey, wish: LinkWish) {
    super(clientLink(key, "mqtt", wish));
    this.mqtt = mqtt;
    this.up = `cib/link/${key.id}/up`;
    mqtt.routes.set(`cib/link/${key.id}/down`, ({ payload }) => this.take(this.link.take(payload)));
    void mqtt.ended.then(() => this.over());
  }

  static async open(port: number, key: DeviceKey, wish: LinkWish = {}): Promise<MqttLinkClient> {
    const mqtt = await enter(port, key);
    await mqtt.subscribe(`cib/link/${key.id}/down`);
    const client = new MqttLinkClient(mqtt, key, wish);
    await mqtt.publish(client.up, client.link.hello);
    await client.greeted;
    await mqtt.publish(client.up, client.link.seal(new Uint8Array()));
    return client;
  }

  protected write(record: Uint8Array): void {
    // Where the connection ends instead, `ended` says so.
    this.mqtt.publish(this.up, record as Buffer).catch(() => undefined);
  }

  /** The connection to the broker stays. */
  protected override said(): void {
    this.over();
  }

  stall(): void {
    this.mqtt.socket.pause();
  }

  resume(): void {
    this.mqtt.socket.resume();
  }

  cut(): void {
    this.mqtt.end();
  }
}

async function enter(port: number, key: DeviceKey): Promise<MqttClient> {
  try {
    return await MqttClient.open(port, linkLogin(key));
  } catch (thrown) {
    if (!(thrown instanceof ConnectFailed) || thrown.code !== 4) throw thrown;
    throw new Refused({ code: "unauthorized", message: thrown.message, retryable: false });
  }
}
