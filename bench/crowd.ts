/** Crowd: many idle clients in one process, on raw sockets. Arguments: port, count, ws or sse, path. Prints a line when all are in. */
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { MASTER } from "../test/e2e/box.ts";

/** Handshakes under way at once. */
const AT_ONCE = 16;

const [port = "", count = "", as = "", path = ""] = process.argv.slice(2);
let left = Number(count);
await Promise.all(Array.from({ length: AT_ONCE }, enterAll));
process.stdout.write(`${count}\n`);

async function enterAll(): Promise<void> {
  while (left-- > 0) await enter();
}

/** Resolves when the server has answered; the socket stays open and unread bytes are thrown away. */
function enter(): Promise<void> {
  return new Promise((done, fail) => {
    const socket = connect(Number(port), "127.0.0.1", () => socket.write(as === "ws" ? upgrade() : events()));
    socket.once("data", (bytes) => {
      const status = bytes.toString("latin1").split("\r\n", 1)[0] ?? "";
      if (!/ (101|200) /.test(status)) return fail(new Error(`crowd: ${status}`));
      socket.on("data", () => undefined);
      done();
    });
    socket.once("error", fail);
    socket.once("close", () => fail(new Error("crowd: the server closed a socket")));
  });
}

function upgrade(): string {
  return request([
    "connection: Upgrade",
    "upgrade: websocket",
    `sec-websocket-key: ${randomBytes(16).toString("base64")}`,
    "sec-websocket-version: 13",
    `sec-websocket-protocol: cib.v1.cbor, bearer.${MASTER}`,
  ]);
}

function events(): string {
  return request([`authorization: Bearer ${MASTER}`, "accept: text/event-stream"]);
}

function request(headers: readonly string[]): string {
  return [`GET ${path} HTTP/1.1`, `host: 127.0.0.1:${port}`, ...headers, "", ""].join("\r\n");
}
