/** MQTT subscribers: raw sockets in one process that count packets by their lengths. Arguments: Where, as JSON; sockets a user; messages each. */
import { once } from "node:events";
import { connect } from "node:net";
import { generate } from "mqtt-packet";
import type { Where } from "./mqtt-broker.ts";

const PUBLISH = 3;
const SUBACK = 9;

const { port, topic, users } = JSON.parse(process.argv[2] ?? "{}") as Where;
const [each, messages] = [Number(process.argv[3]), Number(process.argv[4])];
let waiting = users.length * each;
let [bytes, first] = [0, 0];

for (const user of users) for (let i = 0; i < each; i++) await enter(user, i);
process.stdout.write("0\n");

/** Resolves when it has subscribed. */
async function enter({ name, password }: Where["users"][number], i: number): Promise<void> {
  const socket = connect(port, "127.0.0.1").setNoDelay(true);
  await once(socket, "connect");
  socket.on("close", () => {
    throw new Error("mqtt: the broker closed a connection");
  });
  const clientId = `${name}-${i}`;
  const hello = { protocolId: "MQTT", protocolVersion: 4, clean: true, keepalive: 600 } as const;
  socket.write(generate({ cmd: "connect", ...hello, clientId, username: name, password: Buffer.from(password) }));
  socket.write(generate({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos: 0 }] }));
  let got = 0;
  await new Promise<void>((subscribed) => {
    /** Of the packet under way: bytes to come, and its length so far while that is being read. */
    let [left, length, shift, kind] = [0, 0, -1, 0];
    socket.on("data", (chunk: Buffer) => {
      for (let at = 0; at < chunk.length; ) {
        if (left > 0) {
          const step = Math.min(left, chunk.length - at);
          left -= step;
          at += step;
        } else if (shift < 0) {
          kind = (chunk[at++] ?? 0) >> 4;
          [length, shift] = [0, 0];
          continue;
        } else {
          const digit = chunk[at++] ?? 0;
          length += (digit & 0x7f) << shift;
          shift += 7;
          if (digit >= 0x80) continue;
          left = length;
          shift = -1;
        }
        if (left > 0) continue;
        if (kind === SUBACK) subscribed();
        if (kind === PUBLISH) take(length);
      }
    });
  });

  function take(length: number): void {
    if (first === 0) first = performance.now();
    bytes += length;
    if (++got !== messages || --waiting > 0) return;
    process.stdout.write(`${JSON.stringify({ ms: performance.now() - first, bytes })}\n`);
  }
}
