/** Dials of devices without TLS, and of MQTT: sealed links over WebSocket and topics, AES envelopes, a stock MQTT client. */
import { decode, encode } from "cborg";
import { connect as mqttConnect } from "mqtt";
import WebSocket from "ws";
import type { ClientLink } from "../../src/crypto/link-client.ts";
import { AesClient } from "../conformance/aes-client.ts";
import type { DeviceKey } from "../conformance/link-client.ts";
import { clientLink } from "../conformance/link-client.ts";
import { linkLogin } from "../conformance/mqtt-link-client.ts";
import { MASTER } from "./box.ts";
import { type Dial, fieldsOf, sequenceOf, type Told } from "./dials.ts";

/** What a message of a link completes: the greeting, then items. */
function take(link: ClientLink, bytes: Uint8Array, told: Told, open: () => void): void {
  const taken = link.take(bytes);
  if (taken.kind === "greeted") open();
  if (taken.kind === "record") for (const value of sequenceOf(taken.plaintext)) told.message(value);
}

export function sealedWebSocket(port: number, key: DeviceKey): Dial {
  return (want, told) => {
    const link = clientLink(key, "socket");
    const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`, ["cib.v1.link"]);
    socket.on("open", () => socket.send(link.hello));
    socket.on("message", (data) => {
      take(link, data as Buffer, told, () =>
        socket.send(link.seal(encode({ cmd: "attach", id: "a", ...fieldsOf(want) }))),
      );
    });
    socket.on("error", () => undefined);
    socket.on("close", () => told.closed());
    return () => socket.terminate();
  };
}

export function envelope(port: number, key: DeviceKey): Dial {
  const client = new AesClient(`http://127.0.0.1:${port}`, key);
  return (want, told) => {
    let cut: () => void = () => undefined;
    let over = false;
    const follow = async () => {
      const stream = await client.follow({ max_bytes: 32_767, ...fieldsOf(want) });
      cut = () => stream.cut();
      if (over) cut();
      told.message(await stream.verdict);
      for (;;) told.message((await stream.frames.take()).frame);
    };
    follow()
      .catch(() => undefined)
      .finally(() => told.closed());
    return () => {
      over = true;
      cut();
    };
  };
}

interface Login {
  readonly clientId: string;
  readonly username: string;
  readonly password: string;
}

/** A stock client that is subscribed to some topics; what it publishes is acknowledged by the box. */
export function mqttClient(
  port: number,
  login: Login,
  topics: string[],
  on: {
    open(publish: (topic: string, payload: Uint8Array) => void): void;
    message(bytes: Buffer): void;
    closed(): void;
  },
): () => void {
  const client = mqttConnect(`mqtt://127.0.0.1:${port}`, {
    ...login,
    clean: true,
    reconnectPeriod: 0,
    protocolVersion: 4,
  });
  const publish = (topic: string, payload: Uint8Array) => {
    // A lost connection is told by "close".
    client.publish(topic, Buffer.from(payload), { qos: 1 }, () => undefined);
  };
  client.on("connect", () => {
    client.subscribe(topics, { qos: 1 }, (failed) => {
      if (!failed) on.open(publish);
    });
  });
  client.on("message", (_, payload) => on.message(payload));
  client.on("error", () => undefined);
  client.on("close", () => on.closed());
  return () => void client.end(true);
}

export function mqttAttach(port: number): Dial {
  const clientId = "master-watcher";
  const topics = (session: string) => ["reply", session].map((name) => `cib/client/${clientId}/${name}`);
  return (want, told) =>
    mqttClient(port, { clientId, username: "master", password: MASTER }, topics(want.session), {
      open: (publish) => publish("cib/cmd", encode({ cmd: "attach", id: "a", ...fieldsOf(want) })),
      message: (bytes) => told.message(decode(bytes, { useMaps: true })),
      closed: () => told.closed(),
    });
}

export function sealedMqtt(port: number, key: DeviceKey): Dial {
  return (want, told) => {
    const link = clientLink(key, "mqtt");
    const up = `cib/link/${key.id}/up`;
    let say: (payload: Uint8Array) => void = () => undefined;
    return mqttClient(port, linkLogin(key), [`cib/link/${key.id}/down`], {
      open: (publish) => {
        say = (payload) => publish(up, payload);
        say(link.hello);
      },
      message: (bytes) =>
        take(link, bytes, told, () => say(link.seal(encode({ cmd: "attach", id: "a", ...fieldsOf(want) })))),
      closed: () => told.closed(),
    });
  };
}
