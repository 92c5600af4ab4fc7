import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { NodeSocket } from "../../src/client/node-socket.ts";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

interface Server extends AsyncDisposable {
  readonly url: string;
  /** The accepted connection, after the handshake. */
  readonly peer: Promise<Socket>;
}

/** A server that does nothing but the handshake: the test says the rest, byte by byte. */
async function serve(answer: (key: string) => string): Promise<Server> {
  let found: (peer: Socket) => void = () => {};
  const peer = new Promise<Socket>((resolve) => {
    found = resolve;
  });
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.once("data", (head) => {
      const key = /sec-websocket-key: (.+)\r\n/i.exec(head.toString())?.[1] ?? "";
      socket.write(answer(key));
      found(socket);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    peer,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

const accept = (key: string) =>
  `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: p\r\nSec-WebSocket-Accept: ${createHash(
    "sha1",
  )
    .update(key + GUID)
    .digest("base64")}\r\n\r\n`;

function listen(socket: NodeSocket): {
  got: unknown[];
  next: () => Promise<unknown>;
  end: Promise<{ code: number; reason: string }>;
} {
  const got: unknown[] = [];
  let wake = () => {};
  let read = 0;
  socket.onmessage = ({ data }) => {
    got.push(data);
    wake();
  };
  const end = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.onclose = resolve;
  });
  const next = async () => {
    while (got.length <= read) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return got[read++];
  };
  return { got, next, end };
}

test("a close is answered and told with its code and reason; a cut is 1006", async () => {
  await using server = await serve(accept);
  const told = listen(new NodeSocket(server.url, ["p"]));
  (await server.peer).write(Buffer.concat([Buffer.from([0x88, 0x06, 0x11, 0x80]), Buffer.from("away")]));
  assert.deepEqual(await told.end, { code: 4480, reason: "away" });
  await using other = await serve(accept);
  const cut = listen(new NodeSocket(other.url, ["p"]));
  (await other.peer).destroy();
  assert.equal((await cut.end).code, 1006);
});

test("a refused upgrade closes with 4000 and the status, and the message of the error", async () => {
  const body = '{"error":{"code":"forbidden","message":"not for you","retryable":false}}';
  await using server = await serve(() => `HTTP/1.1 403 Forbidden\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  assert.deepEqual(await listen(new NodeSocket(server.url, ["p"])).end, { code: 4403, reason: "not for you" });
  assert.equal((await listen(new NodeSocket("ws://127.0.0.1:1", ["p"])).end).code, 1006);
});

test("closing before the connection is open opens none", async () => {
  await using server = await serve(accept);
  const socket = new NodeSocket(server.url, ["p"]);
  const { end } = listen(socket);
  let opened = false;
  socket.onopen = () => {
    opened = true;
  };
  socket.close();
  assert.equal((await end).code, 1006);
  assert.equal(opened, false);
});
