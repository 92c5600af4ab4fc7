/** An MQTT client for tests: each packet as the test wants it, acknowledged or not, polite or not. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { generate, type IConnackPacket, type IPublishPacket, type Packet, parser } from "mqtt-packet";
import { Inbox } from "./way.ts";

export interface Hello {
  readonly clientId: string;
  readonly username?: string;
  readonly password?: string;
  readonly clean?: boolean;
  readonly keepalive?: number;
  readonly will?: { topic: string; payload: string; retain?: boolean; qos?: 0 | 1 | 2 };
}

export interface Message {
  readonly topic: string;
  readonly payload: Buffer;
  readonly retain: boolean;
  readonly qos: number;
  readonly dup: boolean;
  readonly id: number | undefined;
}

/** How each kind of token is shown at the door. */
export function helloOf(token: string, name = "test"): Hello {
  const user = /^cib_([0-9a-f]{16})_/.exec(token)?.[1] ?? "master";
  return { clientId: `${user}-${name}`, username: user, password: token };
}

/** CONNACK said no; `code`: MQTT 3.1.1 §3.2.2.3. */
export class ConnectFailed extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`connack ${code}`);
    this.code = code;
  }
}

export class MqttClient {
  readonly socket: Socket;
  readonly clientId: string;
  /** Everything published to it, in order. */
  readonly messages = new Inbox<Message>();
  /** Resolves when the connection is gone. */
  readonly ended: Promise<void>;
  /** PUBACKs go out by themselves. */
  acknowledges = true;
  /** Where the messages of a topic go instead. */
  readonly routes = new Map<string, (message: Message) => void>();
  readonly #answers = new Map<string, (packet: Packet) => void>();
  #id = 0;

  private constructor(socket: Socket, clientId: string) {
    this.socket = socket.setNoDelay(true);
    this.clientId = clientId;
    const parse = parser({ protocolVersion: 4 });
    parse.on("packet", (packet) => this.#take(packet));
    socket.on("data", (chunk) => parse.parse(chunk));
    socket.on("error", () => undefined);
    this.ended = new Promise((resolve) => {
      socket.on("close", () => {
        this.messages.end(new Error("the connection is gone"));
        for (const answer of this.#answers.values()) answer({ cmd: "disconnect" });
        resolve();
      });
    });
  }

  /** Throws ConnectFailed; `present`: a session was kept. */
  static async open(port: number, hello: Hello): Promise<MqttClient> {
    const client = await MqttClient.dial(port, hello.clientId);
    const connack = await client.hello(hello);
    if (connack.returnCode !== 0) throw new ConnectFailed(connack.returnCode ?? -1);
    client.present = connack.sessionPresent;
    return client;
  }

  present = false;

  /** Connected and silent. */
  static async dial(port: number, clientId = "nobody"): Promise<MqttClient> {
    const socket = connect(port, "127.0.0.1");
    const client = new MqttClient(socket, clientId);
    await once(socket, "connect");
    return client;
  }

  async hello({ clean = true, keepalive = 60, password, will, ...rest }: Hello): Promise<IConnackPacket> {
    const answered = this.#answer("connack");
    this.send({
      cmd: "connect",
      protocolId: "MQTT",
      protocolVersion: 4,
      clean,
      keepalive,
      ...rest,
      ...(password !== undefined && { password: Buffer.from(password) }),
      ...(will && { will: { qos: 0, retain: false, ...will, payload: Buffer.from(will.payload) } }),
    } as Packet);
    const packet = await answered;
    if (packet.cmd !== "connack") throw new ConnectFailed(-1);
    return packet;
  }

  /** The granted QoS of each, 128 for a refused one. */
  async subscribe(topics: string | readonly string[], qos: 0 | 1 | 2 = 1): Promise<number[]> {
    const messageId = ++this.#id;
    const answered = this.#answer(`suback ${messageId}`);
    const subscriptions = [topics].flat().map((topic) => ({ topic, qos }));
    this.send({ cmd: "subscribe", messageId, subscriptions } as Packet);
    const packet = await answered;
    if (packet.cmd !== "suback") throw new Error("closed instead of a suback");
    return packet.granted as number[];
  }

  async unsubscribe(topic: string): Promise<void> {
    const messageId = ++this.#id;
    const answered = this.#answer(`unsuback ${messageId}`);
    this.send({ cmd: "unsubscribe", messageId, unsubscriptions: [topic] });
    await answered;
  }

  /** With QoS 1 it resolves with the PUBACK, and rejects where the connection ends instead. */
  async publish(topic: string, payload: string | Uint8Array, { qos = 1, retain = false } = {}): Promise<void> {
    const messageId = ++this.#id;
    const answered = qos === 0 ? undefined : this.#answer(`${qos === 1 ? "puback" : "pubcomp"} ${messageId}`);
    const id = qos === 0 ? {} : { messageId };
    this.send({ cmd: "publish", topic, payload: Buffer.from(payload), qos, retain, dup: false, ...id } as Packet);
    if ((await answered)?.cmd === "disconnect") throw new Error("the connection is gone");
  }

  /** What came until one satisfies, that one included. */
  async until(is: (message: Message) => boolean): Promise<Message[]> {
    const got: Message[] = [];
    for (;;) {
      const message = await this.messages.take();
      got.push(message);
      if (is(message)) return got;
    }
  }

  /** Everything that was on its way has come: the broker answers in order. */
  async settled(): Promise<void> {
    const answered = this.#answer("pingresp");
    this.send({ cmd: "pingreq" });
    await answered;
  }

  acknowledge(id: number): void {
    this.send({ cmd: "puback", messageId: id });
  }

  send(packet: Packet): void {
    this.socket.write(generate(packet));
  }

  end(): void {
    this.socket.destroy();
  }

  #answer(key: string): Promise<Packet> {
    return new Promise((resolve) => this.#answers.set(key, resolve));
  }

  #take(packet: Packet): void {
    if (packet.cmd === "publish") {
      this.#message(packet);
      return;
    }
    if (packet.cmd === "pubrec") this.send({ cmd: "pubrel", messageId: packet.messageId as number });
    const key = packet.messageId === undefined ? packet.cmd : `${packet.cmd} ${packet.messageId}`;
    this.#answers.get(key)?.(packet);
    this.#answers.delete(key);
  }

  #message({ topic, payload, retain, qos, dup, messageId }: IPublishPacket): void {
    const message = { topic, payload: Buffer.from(payload), retain, qos, dup, id: messageId };
    const route = this.routes.get(topic);
    if (route !== undefined) route(message);
    else this.messages.put(message);
    if (messageId !== undefined && this.acknowledges) this.acknowledge(messageId);
  }
}
