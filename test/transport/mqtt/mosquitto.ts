/** Mosquitto: a real broker for tests, on a loopback port of its own, that can be killed and come back with what it kept. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mqtt, { type MqttClient } from "mqtt";
import { freePort } from "../../free-port.ts";

/** Generous: the machine may be busy. */
export const PATIENCE_MS = 30_000;

export interface MosquittoOptions {
  /** Lines of mosquitto.conf, beyond ours; `<folder>` stands for its folder. */
  readonly config?: readonly string[];
  /** Files in its folder. */
  readonly files?: Readonly<Record<string, string>>;
}

export class Mosquitto implements AsyncDisposable {
  readonly port: number;
  readonly folder: string;
  #child: ChildProcess | undefined;

  private constructor(port: number, { config = ["allow_anonymous true"], files = {} }: MosquittoOptions) {
    this.port = port;
    this.folder = mkdtempSync(join(tmpdir(), "cib-mosquitto-"));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(this.folder, name), text);
    const lines = [
      `listener ${port} 127.0.0.1`,
      ...config,
      "user root",
      "persistence true",
      `persistence_location ${this.folder}/`,
      // Every change is saved: after kill -9 it knows what it has acknowledged.
      "autosave_on_changes true",
      "autosave_interval 1",
      // The default drops what a slow subscriber has not taken.
      "max_queued_messages 0",
    ];
    writeFileSync(join(this.folder, "conf"), `${lines.join("\n").replaceAll("<folder>", this.folder)}\n`);
  }

  /** Not yet started. */
  static async make(options: MosquittoOptions = {}): Promise<Mosquitto> {
    return new Mosquitto(await freePort(), options);
  }

  static async run(options: MosquittoOptions = {}): Promise<Mosquitto> {
    const broker = await Mosquitto.make(options);
    await broker.start();
    return broker;
  }

  async start(): Promise<void> {
    const child = spawn("mosquitto", ["-c", join(this.folder, "conf")], { stdio: "ignore" });
    this.#child = child;
    await until("mosquitto listens", async () => {
      if (child.exitCode !== null) throw new Error(`mosquitto ended with ${child.exitCode}`);
      const socket = connect(this.port, "127.0.0.1");
      return new Promise<boolean>((resolve) => {
        socket.on("connect", () => resolve(true)).on("error", () => resolve(false));
        socket.on("connect", () => socket.destroy());
      });
    });
  }

  async kill(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export interface Heard {
  readonly topic: string;
  readonly payload: Buffer;
  readonly retain: boolean;
}

/** A client of that broker which collects what it hears, and outlives the broker's absence. */
export class Listener implements AsyncDisposable {
  readonly client: MqttClient;
  readonly heard: Heard[] = [];

  private constructor(client: MqttClient) {
    this.client = client;
    client.on("message", (topic, payload, { retain }) => void this.heard.push({ topic, payload, retain }));
    client.on("error", () => undefined);
  }

  static async open(broker: Mosquitto, filters: readonly string[], options: object = {}): Promise<Listener> {
    const client = mqtt.connect(`mqtt://127.0.0.1:${broker.port}`, {
      reconnectPeriod: 100,
      connectTimeout: PATIENCE_MS,
      ...options,
    });
    const listener = new Listener(client);
    if (!client.connected) await new Promise<void>((resolve) => client.once("connect", () => resolve()));
    await client.subscribeAsync([...filters], { qos: 1 });
    return listener;
  }

  on(topic: string): readonly Heard[] {
    return this.heard.filter((each) => each.topic === topic);
  }

  /** The JSON of what came on a topic. */
  json(topic: string): readonly Record<string, unknown>[] {
    return this.on(topic).map(({ payload }) => JSON.parse(payload.toString()) as Record<string, unknown>);
  }

  async say(topic: string, message: object, options: { readonly retain?: boolean } = {}): Promise<void> {
    await this.client.publishAsync(topic, JSON.stringify(message), { qos: 1, ...options });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.endAsync(true);
  }
}

/** Waits for a condition, looking again after each short while; what is waited for is in the error. */
export async function until<T>(what: string, look: () => T | Promise<T>): Promise<NonNullable<T>> {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== null && found !== false) return found as NonNullable<T>;
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
