/** MQTT as a way in: commands on cib/cmd, replies and frames on the client's own topics; each stream has a connection of its own. */
import { decodeValue, encodeValue } from "../../src/frame/codec.ts";
import type { Frame } from "../../src/frame/frame.ts";
import { frameOf } from "../../src/frame/item.ts";
import { ConnectFailed, helloOf, type Message, MqttClient } from "./mqtt-client.ts";
import { type Caller, Inbox, Refused, type Stream, type Verdict, type Want, type Way } from "./way.ts";
import type { World } from "./world.ts";

type Fields = Record<string, unknown>;
type Format = "json" | "cbor";

let connections = 0;

export function mqtt(format: Format): Way {
  return {
    name: `MQTT, ${format}`,
    leastBytes: format === "json" ? 512 : 128,
    connect: async (world, token) => {
      const open: Wire[] = [];
      const dial = async () => {
        const wire = await Wire.open(world, token, format);
        open.push(wire);
        return wire;
      };
      const main = await dial();
      const caller: Caller = {
        run: (command) => main.ask(command),
        follow: async (want) => {
          const wire = await dial();
          // A box takes so many of one principal, and no more.
          return follow(wire, want).catch((refused: unknown) => {
            wire.client.end();
            throw refused;
          });
        },
        close: () => {
          for (const wire of open) wire.client.end();
        },
      };
      return caller;
    },
  };
}

async function follow(wire: Wire, want: Want): Promise<Stream> {
  const { client } = wire;
  const frames = new Inbox<{ frame: Frame; bytes: number }>();
  let bye = "cut";
  client.routes.set(`cib/client/${client.clientId}/${want.session}`, ({ payload }) => {
    const value = wire.read(payload);
    if (Array.isArray(value)) frames.put({ frame: frameOf(value) as Frame, bytes: payload.length });
    else if ("type" in (value as Fields)) frames.put({ frame: value as Frame, bytes: payload.length });
    else if (typeof (value as Fields)["bye"] === "string") bye = String((value as Fields)["bye"]);
  });
  const ended = client.ended.then(() => {
    frames.end(new Error(`the stream has ended: ${bye}`));
    return bye;
  });
  return {
    verdict: (await wire.ask({ cmd: "attach", ...want })) as unknown as Verdict,
    next: () => frames.take(),
    ended,
    stall: () => void client.socket.pause(),
    resume: () => void client.socket.resume(),
    cut: () => client.end(),
  };
}

/** One connection that takes commands. */
class Wire {
  readonly client: MqttClient;
  readonly #format: Format;
  readonly #owed = new Map<string, { resolve(reply: Fields): void; reject(why: Error): void }>();
  #asked = 0;
  #gone: Refused | undefined;

  private constructor(client: MqttClient, format: Format) {
    this.client = client;
    this.#format = format;
    client.routes.set(`cib/client/${client.clientId}/reply`, (message) => this.#reply(message));
    void client.ended.then(() => {
      const gone = new Refused({ code: "unauthorized", message: "the connection is gone", retryable: false });
      this.#gone = gone;
      for (const each of this.#owed.values()) each.reject(gone);
    });
  }

  static async open(world: World, token: string, format: Format): Promise<Wire> {
    try {
      const client = await MqttClient.open(world.mqttPort, helloOf(token, `way-${connections++}`));
      await client.subscribe(`cib/client/${client.clientId}/+`);
      return new Wire(client, format);
    } catch (thrown) {
      if (!(thrown instanceof ConnectFailed) || thrown.code !== 4) throw thrown;
      throw new Refused({ code: "unauthorized", message: thrown.message, retryable: false });
    }
  }

  read(payload: Buffer): unknown {
    return this.#format === "json" ? JSON.parse(payload.toString()) : decodeValue(payload);
  }

  ask(command: Readonly<Record<string, unknown>>): Promise<Fields> {
    return new Promise((resolve, reject) => {
      if (this.#gone !== undefined) {
        reject(this.#gone);
        return;
      }
      const id = typeof command["id"] === "string" ? command["id"] : `ask-${this.#asked++}`;
      // Without an id of the test's own the command must not count as exactly-once.
      const once =
        command["id"] === undefined &&
        ["input", "sessions.create", "tokens.create", "send"].includes(String(command["cmd"]));
      this.#owed.set(once ? "null" : id, { resolve, reject });
      const message = once ? command : { ...command, id };
      const payload = this.#format === "json" ? JSON.stringify(message) : encodeValue(message);
      this.client.publish("cib/cmd", payload).catch(reject);
    });
  }

  #reply({ payload }: Message): void {
    const { re, ok, error, ...fields } = this.read(payload) as Fields;
    const waiting = this.#owed.get(String(re));
    this.#owed.delete(String(re));
    if (ok === true) waiting?.resolve(fields);
    else waiting?.reject(new Refused(error));
  }
}
