/** Fan clients: WebSockets in one process that count messages. Arguments: port, path, clients, frames each. */
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { MASTER } from "../test/e2e/box.ts";

const [port = "", path = "", clients = "", frames = ""] = process.argv.slice(2);
const wanted = Number(clients) * Number(frames);
let counted = 0;
let first = 0;

await Promise.all(Array.from({ length: Number(clients) }, enter));
process.stdout.write("0\n");

/** Resolves when the first message has come: the verdict of the daemon, a word of the bare server. */
function enter(): Promise<void> {
  return new Promise((done, fail) => {
    const socket = connect(Number(port), "127.0.0.1", () => {
      const lines = [
        `GET ${path} HTTP/1.1`,
        `host: 127.0.0.1:${port}`,
        "connection: Upgrade",
        "upgrade: websocket",
        `sec-websocket-key: ${randomBytes(16).toString("base64")}`,
        "sec-websocket-version: 13",
        `sec-websocket-protocol: cib.v1.cbor, bearer.${MASTER}`,
      ];
      socket.write([...lines, "", ""].join("\r\n"));
    });
    let upgraded = false;
    let greeted = false;
    let rest: Buffer = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      if (!upgraded) {
        const end = rest.indexOf("\r\n\r\n");
        if (end < 0) return;
        if (!rest.toString("latin1", 0, 12).endsWith("101")) return fail(new Error(rest.toString("latin1", 0, end)));
        upgraded = true;
        rest = rest.subarray(end + 4);
      }
      const { messages, used } = count(rest);
      rest = rest.subarray(used);
      if (messages === 0) return;
      if (!greeted) {
        greeted = true;
        add(messages - 1);
        done();
      } else add(messages);
    });
    socket.once("error", fail);
  });
}

function add(messages: number): void {
  if (messages === 0) return;
  const now = performance.now();
  if (counted === 0) first = now;
  counted += messages;
  if (counted === wanted) process.stdout.write(`${JSON.stringify({ ms: now - first })}\n`);
}

/** Whole messages at the beginning of these bytes; a server's are not masked (RFC 6455 §5.2) and ours are below 64 KiB. */
function count(bytes: Buffer): { messages: number; used: number } {
  let messages = 0;
  let at = 0;
  while (at + 4 <= bytes.length) {
    const short = (bytes[at + 1] as number) & 127;
    const end = short < 126 ? at + 2 + short : at + 4 + bytes.readUInt16BE(at + 2);
    if (end > bytes.length) break;
    at = end;
    messages++;
  }
  return { messages, used: at };
}
