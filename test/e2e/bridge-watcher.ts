/** Bridge watcher: follows a box at a foreign broker, with QoS 1 and a kept session, and holds the bridge to docs/MQTT.md, frame by frame. */
import { connect, type MqttClient } from "mqtt";
import type { Mosquitto } from "../transport/mqtt/mosquitto.ts";

interface Came {
  readonly seq: number;
  readonly type: string;
}

/**
 * It leaves nothing out and de-duplicates nothing. The promise: the first frame is 1, each is the one after the last, or
 * the bridge has gone back to what it had sent already and goes on from there; that the box was killed is told, and from
 * where on it may not be as it was.
 */
export class BridgeWatcher implements Disposable {
  /** Those that came, each once, from 1 on. */
  readonly frames: Came[] = [];
  /** How many came, repeats among them. */
  came = 0;
  /** What went wrong; checked by the test. */
  readonly faults: string[] = [];
  /** Gaps and verdicts, as they were told. */
  readonly told: unknown[] = [];
  /** How far back each time, in frames. */
  readonly backs: number[] = [];
  readonly client: MqttClient;
  readonly #onNews: () => void;
  #last = 0;

  private constructor(client: MqttClient, onNews: () => void) {
    this.client = client;
    this.#onNews = onNews;
    client.on("error", () => undefined);
    client.on("message", (topic, payload) => this.#message(topic, payload));
  }

  static async open(broker: Mosquitto, root: string, onNews: () => void): Promise<BridgeWatcher> {
    const client = connect(`mqtt://127.0.0.1:${broker.port}`, {
      clientId: "watcher",
      clean: false,
      reconnectPeriod: 100,
    });
    const watcher = new BridgeWatcher(client, onNews);
    await client.subscribeAsync([`${root}/+/json/#`, `${root}/+/gap`, `${root}/gap`], { qos: 1 });
    return watcher;
  }

  /** The seq after the last of those that came in a row from the first. */
  get next(): number {
    return this.frames.length + 1;
  }

  [Symbol.dispose](): void {
    this.client.end(true);
  }

  #message(topic: string, payload: Buffer): void {
    const value = JSON.parse(payload.toString()) as Record<string, unknown>;
    if (topic.endsWith("/gap")) {
      this.told.push(value);
      if (Array.isArray(value["gap"])) this.#last = Number(value["gap"][1]) - 1;
      else if (typeof value["from"] === "number") this.#last = value["from"] - 1;
      if (this.#last > this.frames.length) this.faults.push(`a hole behind ${this.frames.length}: ${String(payload)}`);
      // What did not survive there comes again under the same numbers.
      if (value["verdict"] === "ahead") this.frames.splice(this.#last);
    } else this.#frame(value["seq"] as number, String(value["type"]));
    this.#onNews();
  }

  #frame(seq: number, type: string): void {
    if (seq > this.#last + 1) this.faults.push(`frame ${seq} behind ${this.#last}, and nothing told`);
    if (seq <= this.#last) this.backs.push(this.#last - seq + 1);
    this.#last = seq;
    this.came++;
    const known = this.frames[seq - 1];
    if (known === undefined) this.frames.push({ seq, type });
    else if (known.type !== type) this.faults.push(`frame ${seq} was ${known.type}, and came again as ${type}`);
  }
}
