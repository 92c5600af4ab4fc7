/** TCP devices: sockets in one process that count; the first of links opens its records, and so tells how many bytes make the frames. Arguments: where, as JSON; devices. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { nodeProvider } from "../src/crypto/aead-node.ts";
import { ClientLink } from "../src/crypto/link-client.ts";
import { LinkKey } from "../src/crypto/schedule.ts";
import { LinkStream } from "../src/crypto/stream.ts";
import { encodeValue } from "../src/frame/codec.ts";
import { itemsOf } from "../src/frame/sequence.ts";

interface Where {
  readonly port: number;
  /** Plaintext bytes for each device, in all and before the clock starts: where they are no links. */
  readonly bytes?: number;
  readonly warmBytes?: number;
  /** The same as frames: where they are links. */
  readonly frames?: number;
  readonly warm?: number;
  readonly session?: string;
  readonly keys?: readonly { readonly id: string; readonly secret: string }[];
}

const ACCEPTS = 16_384;
const RECORD_OVERHEAD = 18;
/** A frame's CBOR begins as an array of five, a reply as a map. */
const ARRAY_OF_FIVE = 0x85;
const where = JSON.parse(process.argv[2] ?? "{}") as Where;
const devices = Number(process.argv[3]);
const got = new Float64Array(devices);
let [frames, first, records, bytes] = [0, 0, 0, 0];
let target = where.bytes ?? Number.POSITIVE_INFINITY;
let told = false;

for (let i = 0; i < devices; i++) await enter(i);
process.stdout.write("0\n");

async function enter(i: number): Promise<void> {
  const socket = connect(where.port, "127.0.0.1").setNoDelay(true);
  await once(socket, "connect");
  const stream = await greeted(socket, i);
  let left = 0;
  /** The first byte of a length whose second one has not come yet, in its place; else -1. */
  let half = -1;
  socket.on("data", (chunk: Buffer) => {
    let found = 0;
    if (i === 0 && stream !== undefined)
      for (const taken of stream.take(chunk)) if (taken.kind === "record") count(taken.plaintext);
    // Of every record its plaintext's length; the other devices need not open it to know that.
    let at = 0;
    while (at < chunk.length) {
      if (left > 0) {
        const step = Math.min(left, chunk.length - at);
        left -= step;
        at += step;
        continue;
      }
      let size = half;
      if (half < 0 && chunk.length - at === 1) {
        half = (chunk[at] ?? 0) << 8;
        break;
      }
      if (half < 0) size = (chunk[at++] ?? 0) << 8;
      size |= chunk[at++] ?? 0;
      half = -1;
      left = size + RECORD_OVERHEAD - 2;
      found += size;
      records++;
      bytes += size + RECORD_OVERHEAD;
    }
    add(i, found);
  });
}

/** The link, where it is one, once it follows the session. */
async function greeted(socket: Socket, i: number): Promise<LinkStream<ClientLink> | undefined> {
  const key = where.keys?.[i];
  if (key === undefined || where.session === undefined) {
    await once(socket, "data");
    return undefined;
  }
  const link = new ClientLink({
    provider: nodeProvider,
    carrier: "stream",
    accepts: ACCEPTS,
    key: new LinkKey(nodeProvider, Buffer.from(key.secret, "hex")),
    keyId: Buffer.from(key.id, "hex"),
    fresh: { boot: 1, counter: 0, random: randomBytes(16) },
    random: randomBytes,
  });
  const stream = new LinkStream(link);
  socket.write(link.hello);
  const [reply] = (await once(socket, "data")) as [Buffer];
  for (const _ of stream.take(reply)) socket.write(link.seal(attach(where.session)));
  const [verdict] = (await once(socket, "data")) as [Buffer];
  for (const _ of stream.take(verdict));
  return stream;
}

function attach(session: string): Buffer {
  return encodeValue({ cmd: "attach", id: 1, session, types: ["text.delta"] });
}

function count(plaintext: Uint8Array): void {
  for (const item of itemsOf(Buffer.from(plaintext))) if (item[0] === ARRAY_OF_FIVE) frames++;
}

function add(i: number, more: number): void {
  got[i] = (got[i] ?? 0) + more;
  if (first === 0 && (where.warm === undefined ? (got[0] ?? 0) >= (where.warmBytes ?? 0) : frames >= where.warm))
    first = performance.now();
  if (where.frames !== undefined && frames === where.frames) target = got[0] ?? 0;
  if (told || got.some((each) => each < target)) return;
  told = true;
  process.stdout.write(`${JSON.stringify({ ms: performance.now() - first, bytes, records })}\n`);
}
