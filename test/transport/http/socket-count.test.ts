import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { NodeSocket } from "../../../src/client/node-socket.ts";
import { type Box, openBox, TOKEN } from "./fake.ts";

/** A connection that asks one thing and stays: answered, so that the box has counted it, or closed. */
async function kept(box: Box): Promise<{ socket: Socket; answered: boolean }> {
  const socket = connect(box.http.port, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.write("GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const answered = await Promise.race([once(socket, "data").then(() => true), once(socket, "close").then(() => false)]);
  return { socket, answered };
}

async function gone(socket: Socket): Promise<void> {
  socket.destroy();
  await once(socket, "close");
}

/** Retries until the box has seen that there is room again. */
async function welcomed(box: Box): Promise<Socket> {
  for (;;) {
    const { socket, answered } = await kept(box);
    if (answered) return socket;
  }
}

test("connections beyond the limit are closed at once, those within it live, and who leaves makes room", async () => {
  await using box = await openBox({ limits: { sockets: 3 } });
  const first = [await kept(box), await kept(box), await kept(box)];
  assert.deepEqual(
    first.map(({ answered }) => answered),
    [true, true, true],
  );
  for (let i = 0; i < 5; i++) assert.equal((await kept(box)).answered, false);
  for (const { socket } of first) assert.equal(socket.destroyed, false);
  await gone((first[0] as { socket: Socket }).socket);
  const again = await welcomed(box);
  for (const socket of [...first.slice(1).map(({ socket }) => socket), again]) await gone(socket);
  assert.deepEqual(box.faults, []);
});

test("a WebSocket counts as long as it is open, and no longer", async () => {
  await using box = await openBox({ limits: { sockets: 1 } });
  for (let i = 0; i < 5; i++) {
    const socket = new NodeSocket(`${box.url}/ws`, ["cib.v1.json", `bearer.${TOKEN}`]);
    // The one before may still be closing.
    const end = new Promise<boolean>((resolve) => {
      socket.onclose = () => resolve(false);
    });
    const open = new Promise<boolean>((resolve) => {
      socket.onopen = () => resolve(true);
    });
    if (!(await Promise.race([open, end]))) {
      i--;
      continue;
    }
    assert.equal((await kept(box)).answered, false);
    socket.close();
    await end;
  }
  (await welcomed(box)).destroy();
  assert.deepEqual(box.faults, []);
});
