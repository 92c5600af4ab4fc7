/** Envelope: what it costs to ask through a sealed request, beside the same question in the clear. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { SCOPES } from "../src/auth/scopes.ts";
import { nodeProvider } from "../src/crypto/aead-node.ts";
import { ResponseOpener, sealRequest } from "../src/crypto/envelope.ts";
import { LinkKey } from "../src/crypto/schedule.ts";
import { encodeValue } from "../src/frame/codec.ts";
import { MASTER, type TestBox } from "../test/e2e/box.ts";
import { boxWith, create } from "./box.ts";
import type { Question } from "./question.ts";
import { median, num } from "./stats.ts";

const CONNECTIONS = 8;
const ROUNDS = 21;
const QUICK_ROUNDS = 7;
const REQUESTS = 1500;
/** The daemon remembers 4,096 requests of a key for 240 s: 2 × 22 × 1,500 of them are 66,000. */
const KEYS = 20;

interface Device {
  readonly key: LinkKey;
  readonly keyId: Uint8Array;
}

export const envelope: Question = {
  name: "envelope",
  asks: "How many requests a second through the AES envelope, beside the same command in the clear?",
  async run(quick = false) {
    await using box = await boxWith("exec cat");
    const session = await create(box);
    const devices: Device[] = [];
    while (devices.length < KEYS) devices.push(await device(box));
    const load = await Load.open(box);
    using _ = load;
    const head = `Host: 127.0.0.1\r\nAuthorization: Bearer ${MASTER}\r\nAccept: application/cbor\r\n`;
    const size = { cols: 100, rows: 30 };
    const body = encodeValue(size);
    const kinds = [
      {
        name: "read",
        what: "sessions.get, GET without a body in the clear",
        clear: Buffer.from(`GET /api/sessions/${session} HTTP/1.1\r\n${head}\r\n`),
        command: () => ({ cmd: "sessions.get", session }),
      },
      {
        name: "command",
        what: "resize, POST with the same CBOR fields in the clear",
        clear: Buffer.concat([
          Buffer.from(
            `POST /api/sessions/${session}/resize HTTP/1.1\r\n${head}Content-Type: application/cbor\r\nContent-Length: ${body.length}\r\n\r\n`,
          ),
          body,
        ]),
        command: () => ({ cmd: "resize", session, ...size, id: `r${counter}` }),
      },
    ];
    const rows: string[][] = [];
    const figures: Record<string, number> = {};
    for (const { name, what, clear, command } of kinds) {
      const rates: [number, number][] = [];
      // The first round warms both up.
      for (let round = -1; round < (quick ? QUICK_ROUNDS : ROUNDS); round++) {
        const bodies = await sealed(box, devices, command);
        const plain = Array.from({ length: REQUESTS }, () => clear);
        const rate: [number, number] = [await load.rate(plain), await load.rate(bodies)];
        if (round >= 0) rates.push(rate);
      }
      const [open, closed] = [median(rates.map(([rate]) => rate)), median(rates.map(([, rate]) => rate))];
      const ratio = median(rates.map(([one, two]) => two / one));
      rows.push([what, num(open), num(closed), num(ratio)]);
      figures[`${name}_ratio`] = ratio;
    }
    return {
      columns: ["command", "clear, requests a second", "sealed", "of the clear one"],
      rows,
      notes: [
        `${CONNECTIONS} connections, one request on each at a time, from another process; ${REQUESTS} requests a round, sealed beforehand and all answered with 200; rounds of both kinds in turn, and the ratio is the median of the rounds'.`,
      ],
      figures,
    };
  },
};

async function device(box: TestBox): Promise<Device> {
  const { body } = await box.call("POST", "/api/tokens", { label: "bench", scopes: SCOPES, device: true });
  const { id, secret } = body["key"] as { id: string; secret: string };
  return { key: new LinkKey(nodeProvider, Buffer.from(secret, "hex")), keyId: Buffer.from(id, "hex") };
}

let counter = 0;

async function sealed(box: TestBox, devices: readonly Device[], command: () => object): Promise<Buffer[]> {
  const { body } = await box.call("GET", "/aes/token");
  const token = Buffer.from(String(body["token"]), "hex");
  const all = Array.from({ length: REQUESTS }, (_, i) => {
    const { key, keyId } = devices[i % devices.length] as Device;
    const plaintexts = [encodeValue(command())];
    const fresh = { boot: 1, counter: counter++, random: randomBytes(16) };
    return sealRequest({
      provider: nodeProvider,
      key,
      keyId,
      token,
      fresh,
      plaintexts,
      method: "POST",
      target: "/aes",
    });
  });
  const probe = all.pop();
  if (probe === undefined) throw new Error("envelope: nothing to send");
  const response = await fetch(`${box.url}/aes`, { method: "POST", body: Uint8Array.from(probe.body) });
  const opener = new ResponseOpener(probe.keys);
  const records = [...opener.take(new Uint8Array(await response.arrayBuffer()))];
  if (records.length === 0 || opener.end() !== "clean") throw new Error("envelope: the answer does not open");
  return all.map(({ body }) =>
    Buffer.concat([
      Buffer.from(
        `POST /aes HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\nContent-Length: ${body.length}\r\n\r\n`,
      ),
      body,
    ]),
  );
}

/** Connections that each send the next request when they have the answer to the last. */
class Load implements Disposable {
  readonly #sockets: readonly Socket[];

  private constructor(sockets: readonly Socket[]) {
    this.#sockets = sockets;
  }

  static async open(box: TestBox): Promise<Load> {
    const { port } = new URL(box.url);
    const sockets = Array.from({ length: CONNECTIONS }, () => connect(Number(port), "127.0.0.1").setNoDelay(true));
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    return new Load(sockets);
  }

  /** Answers a second. */
  async rate(requests: readonly Buffer[]): Promise<number> {
    let next = 0;
    const from = performance.now();
    await Promise.all(
      this.#sockets.map(
        (socket) =>
          new Promise<void>((done, fail) => {
            let got: Buffer = Buffer.alloc(0);
            const send = () => {
              const request = requests[next++];
              if (request !== undefined) socket.write(request);
              else {
                socket.removeAllListeners("data");
                done();
              }
            };
            socket.on("data", (chunk: Buffer) => {
              got = got.length === 0 ? chunk : Buffer.concat([got, chunk]);
              const size = sizeOf(got);
              if (size === undefined || got.length < size) return;
              if (got.toString("latin1", 9, 12) !== "200")
                fail(new Error(`envelope: ${got.toString("latin1", 0, 80)}`));
              got = Buffer.alloc(0);
              send();
            });
            socket.once("close", () => fail(new Error("envelope: the daemon has cut a connection")));
            send();
          }),
      ),
    );
    for (const socket of this.#sockets) socket.removeAllListeners("close");
    return (requests.length * 1000) / (performance.now() - from);
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** Bytes of the answer that begins here; undefined while its head is not whole. */
function sizeOf(bytes: Buffer): number | undefined {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const length = /content-length: (\d+)/i.exec(bytes.toString("latin1", 0, end))?.[1];
  return end + 4 + Number(length ?? 0);
}
