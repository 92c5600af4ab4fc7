/** Bridge line: what becomes of a message that could not be kept, and of the line when a listener of ours fails. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { generate, type Packet, parser } from "mqtt-packet";
import { Line, type LineEvents } from "../../../src/transport/mqtt/bridge-line.ts";
import { TIMERS } from "../../../src/transport/timers.ts";

/** A broker of one line that admits whoever comes. */
async function peerOf(t: TestContext) {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const arrived: Packet[] = [];
  const sockets: Socket[] = [];
  const say = (packet: Packet) => sockets.at(-1)?.write(generate(packet));
  server.on("connection", (socket) => {
    sockets.push(socket);
    const parse = parser({ protocolVersion: 4 });
    parse.on("packet", (packet) => {
      arrived.push(packet);
      if (packet.cmd === "connect") say({ cmd: "connack", returnCode: 0, sessionPresent: false });
    });
    socket.on("data", (chunk) => parse.parse(chunk));
    socket.on("error", () => undefined);
  });
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
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
  const dial = (events: Partial<LineEvents>) =>
    new Line(
      {
        address: { host: "127.0.0.1", port: (server.address() as AddressInfo).port, tls: false },
        clientId: "cib-box",
        will: { topic: "cib/box/online", payload: "0" },
        timers: TIMERS,
      },
      { ...DEAF, ...events },
    );
  return { arrived, say, publish, dial };
}

const DEAF: LineEvents = {
  connected: () => undefined,
  message: async () => undefined,
  tooLarge: () => undefined,
  denied: () => undefined,
  room: () => undefined,
  acknowledged: () => undefined,
  fault: (thrown) => assert.fail(String(thrown)),
  closed: () => undefined,
};

test("what could not be kept costs the line where the broker brings it again, and nothing where it does not", async (t) => {
  const { arrived, publish, dial } = await peerOf(t);
  const heard: string[] = [];
  const full = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
  const why = await new Promise<string>((closed) => {
    dial({
      connected: () => publish("a", 0),
      message: async ({ payload }) => {
        heard.push(payload.toString());
        // The next one in a later turn: the line has outlived this one.
        if (heard.length < 3) setImmediate(() => publish(String(heard.length), heard.length === 1 ? 0 : 1, 7));
        throw full;
      },
      closed,
    });
  });
  assert.deepEqual(heard, ["a", "1", "2"]);
  assert.equal(why, "a command could not be kept");
  assert.ok(!arrived.some(({ cmd }) => cmd === "puback"));
});

test("a listener of ours that throws costs the line, is told as our fault, and nothing more", async (t) => {
  const { say, dial } = await peerOf(t);
  const broken = new TypeError("a slip");
  const fail = () => {
    throw broken;
  };
  const ways: (Partial<LineEvents> & { next?: (line: Line) => void })[] = [
    { connected: fail },
    { acknowledged: fail, next: (line) => line.send("x", Buffer.from("y"), false, line.nextPacketId()) },
    { room: fail, next: (line) => line.publish("x", Buffer.from("y"), false) },
  ];
  for (const { next, ...way } of ways) {
    const faults: unknown[] = [];
    const why = await new Promise<string>((closed) => {
      const line: Line = dial({
        connected: () => {
          next?.(line);
          setImmediate(() => say({ cmd: "puback", messageId: 1 }));
        },
        ...way,
        fault: (thrown) => void faults.push(thrown),
        closed,
      });
    });
    assert.equal(why, "a fault of ours");
    assert.deepEqual(faults, [broken]);
  }
});
