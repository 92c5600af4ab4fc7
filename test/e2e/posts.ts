/** Posts: how a client of each transport sends one input, and what the box says to it. */
import { decode, encode } from "cborg";
import { connect as mqttConnect } from "mqtt";
import WebSocket from "ws";
import { AesClient } from "../conformance/aes-client.ts";
import type { DeviceKey } from "../conformance/link-client.ts";
import { MASTER } from "./box.ts";
import { SealedTcp } from "./dials.ts";
import { mqttClient } from "./sealed-dials.ts";

type Fields = Readonly<Record<string, unknown>>;

/** An input sent once: what the box said to it, or undefined where the connection was lost. */
export type Post = (input: { text: string; id: string }) => Promise<Fields | undefined>;

/** Between a foreign broker and a box that is being killed there is no connection to lose: what has no reply by then is sent again. */
const BRIDGE_PATIENCE_MS = 3_000;

export function postByRest(port: number, session: string): Post {
  return async (input) => {
    try {
      const response = await fetch(`http://127.0.0.1:${port}/api/sessions/${session}/input`, {
        method: "POST",
        headers: { authorization: `Bearer ${MASTER}`, "content-type": "application/json" },
        body: JSON.stringify(input),
      });
      return (await response.json()) as Fields;
    } catch {
      return undefined;
    }
  };
}

export function postByAes(port: number, session: string, key: DeviceKey): Post {
  const client = new AesClient(`http://127.0.0.1:${port}`, key);
  return async (input) => {
    try {
      return (await client.ask([{ cmd: "input", session, ...input }]))[0];
    } catch {
      return undefined;
    }
  };
}

interface Wire {
  send(message: object): void;
}

interface Told {
  open(wire: Wire): void;
  said(reply: Fields): void;
  closed(): void;
}

/** Over a connection that stays, and is opened anew when it is lost. */
function overConnection(session: string, dial: (told: Told) => void): Post {
  let open: Wire | undefined;
  let reply: (said: Fields | undefined) => void = () => undefined;
  return (input) =>
    new Promise((resolve) => {
      const command = { cmd: "input", session, ...input };
      reply = resolve;
      if (open !== undefined) {
        open.send(command);
        return;
      }
      dial({
        open: (wire) => {
          open = wire;
          wire.send(command);
        },
        said: (said) => reply(said),
        closed: () => {
          open = undefined;
          reply(undefined);
        },
      });
    });
}

/** Maps of CBOR as plain objects, as far as a reply and its error need it. */
function plain(value: unknown): Fields {
  if (!(value instanceof Map)) return {};
  return Object.fromEntries([...value].map(([key, item]) => [key, item instanceof Map ? plain(item) : item]));
}

export function postByTcp(port: number, session: string, key: DeviceKey): Post {
  return overConnection(session, ({ open, said, closed }) => {
    const link: SealedTcp = new SealedTcp(port, key, {
      open: () => open(link),
      item: (value) => {
        if (value instanceof Map && value.has("re")) said(plain(value));
      },
      closed,
    });
  });
}

export function postByWebSocket(port: number, session: string): Post {
  return overConnection(session, ({ open, said, closed }) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`, ["cib.v1.json", `bearer.${MASTER}`]);
    socket.on("open", () => open({ send: (message) => socket.send(JSON.stringify(message), () => undefined) }));
    socket.on("message", (data) => {
      const value = JSON.parse(String(data)) as Fields;
      if ("re" in value) said(value);
    });
    // What follows is "close".
    socket.on("error", () => undefined);
    socket.on("close", closed);
  });
}

export function postByMqtt(port: number, session: string): Post {
  const clientId = "master-writer";
  return overConnection(session, ({ open, said, closed }) => {
    mqttClient(port, { clientId, username: "master", password: MASTER }, [`cib/client/${clientId}/reply`], {
      open: (publish) => open({ send: (message) => publish("cib/cmd", encode(message)) }),
      message: (bytes) => said(plain(decode(bytes, { useMaps: true }))),
      closed,
    });
  });
}

/** At a foreign broker, which keeps commands for a box that is away and replies for us. */
export function postByBridge(port: number, root: string, session: string): { readonly post: Post } & Disposable {
  const topic = `${root}/reply/writer`;
  const client = mqttConnect(`mqtt://127.0.0.1:${port}`, { clientId: "writer", clean: false, reconnectPeriod: 100 });
  client.on("error", () => undefined);
  client.subscribe(topic, { qos: 1 });
  const waiting = new Map<unknown, (said: Fields) => void>();
  client.on("message", (_, payload) => {
    const said = JSON.parse(payload.toString()) as Fields;
    waiting.get(said["re"])?.(said);
  });
  return {
    post: (input) =>
      new Promise((resolve) => {
        const done = (said: Fields | undefined) => {
          clearTimeout(timer);
          waiting.delete(input.id);
          resolve(said);
        };
        const timer = setTimeout(() => done(undefined), BRIDGE_PATIENCE_MS);
        waiting.set(input.id, done);
        const command = JSON.stringify({ cmd: "input", ...input, reply: topic });
        client.publish(`${root}/${session}/cmd`, command, { qos: 1 }, () => undefined);
      }),
    [Symbol.dispose]: () => void client.end(true),
  };
}
