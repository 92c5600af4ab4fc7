/** Bridge line: what becomes of a message that could not be kept. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { generate, type Packet, parser } from "mqtt-packet";
import { Line } from "../../../src/transport/mqtt/bridge-line.ts";
import { TIMERS } from "../../../src/transport/timers.ts";

test("what could not be kept costs the line where the broker brings it again, and nothing where it does not", async () => {
  await using server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const arrived: Packet[] = [];
  let peer: Socket | undefined;
  server.on("connection", (socket) => {
    peer = socket;
    const parse = parser({ protocolVersion: 4 });
    parse.on("packet", (packet) => {
      arrived.push(packet);
      if (packet.cmd === "connect") say({ cmd: "connack", returnCode: 0, sessionPresent: false });
    });
    socket.on("data", (chunk) => parse.parse(chunk));
    socket.on("error", () => undefined);
  });
  const say = (packet: Packet) => peer?.write(generate(packet));
  const publish = (payload: string, qos: 0 | 1, messageId?: number) =>
    say({
      cmd: "publish",
      topic: "cib/box/cmd",
      payload,
      qos,
      retain: false,
      dup: false,
      ...(messageId !== undefined && { messageId }),
    });
  const heard: string[] = [];
  const full = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
  const why = await new Promise<string>((resolve) => {
    new Line(
      {
        address: { host: "127.0.0.1", port: (server.address() as AddressInfo).port, tls: false },
        clientId: "cib-box",
        will: { topic: "cib/box/online", payload: "0" },
        timers: TIMERS,
      },
      {
        connected: () => publish("a", 0),
        message: async ({ payload }) => {
          heard.push(payload.toString());
          // The next one in a later turn: the line has outlived this one.
          if (heard.length < 3) setImmediate(() => publish(String(heard.length), heard.length === 1 ? 0 : 1, 7));
          throw full;
        },
        tooLarge: () => undefined,
        denied: () => undefined,
        room: () => undefined,
        acknowledged: () => undefined,
        closed: resolve,
      },
    );
  });
  assert.deepEqual(heard, ["a", "1", "2"]);
  assert.equal(why, "a command could not be kept");
  assert.ok(!arrived.some(({ cmd }) => cmd === "puback"));
});
