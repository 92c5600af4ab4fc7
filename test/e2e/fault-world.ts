/** The world of the fault test: writers that repeat until they are acknowledged, and watchers, over every transport. */
import assert from "node:assert/strict";
import { type Model, startModel } from "../../src/demo/model.ts";
import type { DeviceKey } from "../conformance/link-client.ts";
import { freePort } from "../free-port.ts";
import type { Mosquitto } from "../transport/mqtt/mosquitto.ts";
import { MASTER, TestBox } from "./box.ts";
import { BridgeWatcher } from "./bridge-watcher.ts";
import { type Dial, events, rawTcp, webSocket } from "./dials.ts";
import { type Post, postByAes, postByBridge, postByMqtt, postByRest, postByTcp, postByWebSocket } from "./posts.ts";
import type { Random } from "./randomness.ts";
import { RoughLink } from "./rough-link.ts";
import { envelope, mqttAttach, sealedMqtt, sealedWebSocket } from "./sealed-dials.ts";
import { Watcher } from "./watcher.ts";

/** The bridge's own topics at the foreign broker. */
const ROOT = "cib/box";

/** Counts what happens and lets others wait for it. */
export class Pulse {
  #count = 0;
  readonly #waiting = new Set<{ readonly check: () => boolean; readonly done: () => void }>();

  readonly beat = (): void => {
    this.#count++;
    for (const waiting of [...this.#waiting]) if (waiting.check()) waiting.done();
  };

  /** Resolves after `n` more events, or when `ms` have passed without enough of them. */
  after(n: number, ms: number): Promise<void> {
    const goal = this.#count + n;
    return this.until(() => this.#count >= goal, ms).catch(() => undefined);
  }

  until(check: () => boolean, ms: number): Promise<void> {
    if (check()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const entry = {
        check,
        done: () => {
          clearTimeout(timer);
          this.#waiting.delete(entry);
          resolve();
        },
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(entry);
        reject(new Error("it did not happen in time"));
      }, ms);
      this.#waiting.add(entry);
    });
  }
}

/** Sends `say w<n>` with id n, one after the other, each repeated until it is acknowledged. */
class Writer {
  readonly #post: Post;
  readonly #pulse: Pulse;
  readonly #inputs: Inputs;
  #stop = false;

  constructor(post: Post, inputs: Inputs, pulse: Pulse) {
    this.#post = post;
    this.#inputs = inputs;
    this.#pulse = pulse;
  }

  async run(mayGoOn: () => boolean): Promise<void> {
    while (!this.#stop) {
      await this.#pulse.until(() => mayGoOn() || this.#stop, 120_000);
      if (this.#stop) return;
      await this.#one(++this.#inputs.sent);
    }
  }

  stop(): void {
    this.#stop = true;
    this.#pulse.beat();
  }

  async #one(n: number): Promise<void> {
    for (;;) {
      const error = await this.#post({ text: `say w${n}`, id: `id-${n}` });
      if (error !== undefined && !("error" in error)) {
        this.#inputs.acknowledged.push(n);
        this.#pulse.beat();
        return;
      }
      // Killed or cut under the call: the same id goes out again.
      if (error !== undefined)
        assert.equal((error["error"] as { retryable: boolean }).retryable, true, JSON.stringify(error));
      await this.#pulse.after(1, 250);
    }
  }
}

/** Of all writers together. */
export interface Inputs {
  /** Sent at least once, perhaps without a reply. */
  sent: number;
  readonly acknowledged: number[];
}

export interface World extends AsyncDisposable {
  readonly model: Model;
  readonly box: TestBox;
  readonly session: string;
  readonly pulse: Pulse;
  readonly watchers: readonly Watcher[];
  /** At the foreign broker, where there is one. */
  readonly afar: BridgeWatcher | undefined;
  readonly inputs: Inputs;
  /** Lets the writers write; resolves when they have been stopped and everything they sent is acknowledged. */
  write(): Promise<void>;
  stopWriting(): void;
  cuts(): number;
}

/**
 * A box with real Claude Code, and a client of every transport at it, each over a rough link of its own; with a broker
 * bridged to it, and a watcher and a writer there.
 */
export async function openFaultWorld(random: Random, broker?: Mosquitto): Promise<World> {
  const pulse = new Pulse();
  const owned: (Disposable | AsyncDisposable)[] = [];
  const own = <T extends Disposable | AsyncDisposable>(thing: T): T => {
    owned.push(thing);
    return thing;
  };
  const model = own(
    await startModel(({ last }) => {
      pulse.beat();
      const words = [...last.matchAll(/say (w\d+|done)/g)].map((match) => match[1]);
      return { blocks: [{ text: [`You said ${words.at(-1)}.\n`, "And ", "that ", "was it."], everyMs: 4 }] };
    }),
  );
  const tcpPort = await freePort();
  const mqttPort = await freePort();
  const env = {
    CIB_TCP_LISTEN: `127.0.0.1:${tcpPort}`,
    CIB_MQTT_LISTEN: `127.0.0.1:${mqttPort}`,
    ...(broker && {
      CIB_MQTT_BRIDGE: `mqtt://127.0.0.1:${broker.port}`,
      CIB_MQTT_BRIDGE_NAME: "box",
      CIB_MQTT_BRIDGE_TOKEN: MASTER,
    }),
  };
  const box = own(await TestBox.start({ model: model.url, env }));
  const httpPort = Number(new URL(box.url).port);
  // Before there is a session: it hears the first frame.
  const afar = broker && own(await BridgeWatcher.open(broker, ROOT, pulse.beat));
  const { body } = await box.call("POST", "/api/sessions", {});
  const session = String(body["session"]);
  const links: RoughLink[] = [];
  /** A rough link of its own to this port. */
  const rough = async (target: number): Promise<number> => {
    const link = own(await RoughLink.open(target, random));
    links.push(link);
    return link.port;
  };
  let delivered = 0;
  const watch = (name: string, dial: Dial, first = false): Watcher =>
    own(
      new Watcher(name, session, dial, (frame) => {
        if (first && frame?.type === "stop") delivered++;
        pulse.beat();
      }),
    );
  const watchers = [
    watch("WebSocket, json", webSocket(await rough(httpPort), "json"), true),
    watch("WebSocket, cbor", webSocket(await rough(httpPort), "cbor")),
    watch("SSE", events(await rough(httpPort))),
    watch("raw TCP", rawTcp(await rough(tcpPort), await deviceKey(box))),
    watch("AES envelope", envelope(await rough(httpPort), await deviceKey(box))),
    watch("WebSocket, sealed", sealedWebSocket(await rough(httpPort), await deviceKey(box))),
    watch("MQTT", mqttAttach(await rough(mqttPort))),
    watch("MQTT, sealed", sealedMqtt(await rough(mqttPort), await deviceKey(box))),
  ];
  const inputs: Inputs = { sent: 0, acknowledged: [] };
  const posts: Post[] = [
    postByRest(await rough(httpPort), session),
    postByTcp(await rough(tcpPort), session, await deviceKey(box)),
    postByWebSocket(await rough(httpPort), session),
    postByAes(await rough(httpPort), session, await deviceKey(box)),
    postByMqtt(await rough(mqttPort), session),
    ...(broker ? [own(postByBridge(broker.port, ROOT, session)).post] : []),
  ];
  const writers = posts.map((post) => new Writer(post, inputs, pulse));
  return {
    model,
    box,
    session,
    pulse,
    watchers,
    afar,
    inputs,
    write: async () => {
      await Promise.all(writers.map((writer) => writer.run(() => inputs.acknowledged.length - delivered < 4)));
    },
    stopWriting: () => {
      for (const writer of writers) writer.stop();
    },
    cuts: () => links.reduce((sum, link) => sum + link.cuts, 0),
    async [Symbol.asyncDispose]() {
      for (const thing of owned.reverse()) {
        if (Symbol.asyncDispose in thing) await thing[Symbol.asyncDispose]();
        else thing[Symbol.dispose]();
      }
    },
  };
}

async function deviceKey(box: TestBox): Promise<DeviceKey> {
  const wish = { label: "device", scopes: ["sessions:read", "sessions:input"], device: true };
  return (await box.call("POST", "/api/tokens", wish)).body["key"] as DeviceKey;
}
