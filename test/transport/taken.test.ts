/** Taken: a peer that reads slowly is told from one that does not, in the middle of one long write. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { bytesTaken } from "../../src/transport/taken.ts";

test("what the peer reads of one long write shows at once, and nothing shows while it does not read", async (t) => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const came = once(server, "connection") as Promise<[Socket]>;
  const peer = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const [socket] = await came;
  t.after(() => {
    server.close();
    for (const end of [peer, socket]) end.destroy();
  });
  // More than any kernel holds for a peer that does not read.
  const long = Buffer.alloc(32 * 1024 * 1024);
  socket.write(long);
  const settled = async () => {
    for (let last = -1; last !== bytesTaken(socket); ) {
      last = bytesTaken(socket);
      for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
    }
    return bytesTaken(socket);
  };
  const before = await settled();
  assert.ok(before < long.length);
  assert.equal(socket.writableLength, long.length, "by Node's own count nothing has happened");
  let read = 0;
  peer.on("data", (chunk) => {
    read += chunk.length;
    if (bytesTaken(socket) > before) peer.pause();
  });
  while (bytesTaken(socket) <= before) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(bytesTaken(socket) < long.length && read > 0);
  assert.equal(socket.writableLength, long.length);
});
