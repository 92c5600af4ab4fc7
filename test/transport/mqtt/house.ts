/** A house for the tests of MQTT: a world with some sessions, and clients of every sort that close with it. */
import type { Scope } from "../../../src/auth/scopes.ts";
import type { SessionId } from "../../../src/frame/frame.ts";
import { type Hello, helloOf, MqttClient } from "../../conformance/mqtt-client.ts";
import { openWorld, type World } from "../../conformance/world.ts";

export interface Token {
  readonly id: string;
  readonly token: string;
  readonly key?: { readonly id: string; readonly secret: string };
}

export class House implements AsyncDisposable {
  readonly world: World;
  readonly #clients: MqttClient[] = [];
  #names = 0;

  private constructor(world: World) {
    this.world = world;
  }

  static async open(env: Readonly<Record<string, string>> = {}): Promise<House> {
    return new House(await openWorld(env));
  }

  get port(): number {
    return this.world.mqttPort;
  }

  /** REST with the master token. */
  async call(method: string, path: string, body?: object): Promise<Record<string, unknown>> {
    const response = await fetch(this.world.url + path, {
      method,
      headers: { authorization: `Bearer ${this.world.master}` },
      ...(body && { body: JSON.stringify(body) }),
    });
    return (await response.json()) as Record<string, unknown>;
  }

  async session(fields: object = {}): Promise<SessionId> {
    return (await this.call("POST", "/api/sessions", fields))["session"] as SessionId;
  }

  async token(scopes: readonly Scope[], more: object = {}): Promise<Token> {
    return (await this.call("POST", "/api/tokens", { label: "device", scopes, ...more })) as unknown as Token;
  }

  /** A client with this token, the master's when left out. */
  async client(token?: Token, hello: Partial<Hello> = {}): Promise<MqttClient> {
    const shown = helloOf(token?.token ?? this.world.master, `c${this.#names++}`);
    const client = await MqttClient.open(this.port, { ...shown, ...hello });
    this.#clients.push(client);
    return client;
  }

  /** Connected and silent. */
  async stranger(): Promise<MqttClient> {
    const client = await MqttClient.dial(this.port);
    this.#clients.push(client);
    return client;
  }

  /** What health says of MQTT. */
  async health(): Promise<{ clients: number; halfOpen: number; refused: number }> {
    return (await this.call("GET", "/api/health"))["mqtt"] as { clients: number; halfOpen: number; refused: number };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.end();
    await this.world[Symbol.asyncDispose]();
  }
}

/** Asks until it is so; bounded by the test's own deadline. */
export async function eventually<T>(ask: () => Promise<T>, is: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = await ask();
    if (is(value)) return value;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
