/** The worked example of PROTOCOL.md: one short conversation over a link, byte by byte, from fixed numbers in place of random ones. */
import { nobleProvider } from "../src/crypto/aead-noble.ts";
import { nodeProvider } from "../src/crypto/aead-node.ts";
import type { Link, Taken } from "../src/crypto/link.ts";
import { ClientLink } from "../src/crypto/link-client.ts";
import { ServerLink } from "../src/crypto/link-server.ts";
import { LinkKey } from "../src/crypto/schedule.ts";
import { cborOf, encodeValue } from "../src/frame/codec.ts";
import type { SessionId } from "../src/frame/frame.ts";

const SESSION = "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId;
const INPUT = "0190f0c2-8d3e-4f5a-b0c1-c0ffee000001";
/** What the two sides accept: a small board, and the box. */
const [BOARD_BYTES, BOX_BYTES] = [512, 16_384];
/** Bytes a line. */
const LINE_BYTES = 32;
/** Columns before the hex. */
const NAME_CHARS = 12;

const SECRET = counted(32, 0x00);
const KEY_ID = counted(8, 0xa0);
const RANDOM = counted(16, 0x30);
const SERVER_RANDOM = counted(16, 0x50);
const CLIENT_EPHEMERAL = counted(32, 0x60);
const SERVER_EPHEMERAL = counted(32, 0x80);
const [BOOT, CONNECTION] = [7, 0];

type Fields = Readonly<Record<string, unknown>>;

const TURNS: readonly (readonly ["→" | "←", string, Buffer])[] = [
  turn("→", { cmd: "attach", id: 1, session: SESSION, from: 12, epoch: 1 }),
  turn("←", { session: SESSION, epoch: 1, first: 1, last: 12, from: 12, verdict: "ok", re: 1, ok: true }, 12),
  turn("→", { cmd: "input", id: "7-0", session: SESSION, text: "hi" }),
  turn("←", { id: "7-0", input: INPUT, seq: 13, state: "accepted", re: "7-0", ok: true }),
  ["→", "nothing: it only keeps the link alive", Buffer.alloc(0)],
  turn("→", { bye: "done" }),
];

/** The conversation without X25519, from the secret to the last record. */
export function conversation(): string {
  const { client, server, hello, reply, prk0 } = handshake(undefined);
  const prk1 = nodeProvider.hmac(prk0, Uint8Array.of(3), hello, reply);
  const lines = [
    ...line("secret", SECRET),
    ...line("key id", KEY_ID),
    ...line("16 random", RANDOM),
    `boot counter ${BOOT}, connection counter ${CONNECTION}`,
    ...line("PRK0", prk0),
    ...line("Rc", hello.subarray(16, 32)),
    ...line("hello", hello),
    "",
    ...line("Rs", SERVER_RANDOM),
    ...line("reply", reply),
    ...line("PRK1", prk1),
    ...line("Kc2s", nodeProvider.hmac(prk1, Uint8Array.of(0x10))),
    ...line("Ks2c", nodeProvider.hmac(prk1, Uint8Array.of(0x11))),
  ];
  const counts = { "→": 0, "←": 0 };
  for (const [arrow, said, plaintext] of TURNS) {
    const [from, to] = arrow === "→" ? [client, server] : [server, client];
    const record = from.seal(plaintext);
    if (same(to.take(record)) !== hex(plaintext)) throw new Error("the two sides disagree");
    lines.push("", `${arrow} record ${counts[arrow]++}: ${said}`);
    if (plaintext.length > 0) lines.push(...line("plaintext", plaintext));
    lines.push(...line("record", record));
  }
  return fenced(lines);
}

/** The same handshake with X25519, and the same first record. */
export function conversationX25519(): string {
  const { client, server, hello, reply, prk0 } = handshake("require");
  const theirs = reply.subarray(24, 56);
  const shared = nodeProvider.x25519(CLIENT_EPHEMERAL, theirs) ?? new Uint8Array();
  const prk1 = nodeProvider.hmac(prk0, Uint8Array.of(3), hello, reply, shared);
  const [, , plaintext] = TURNS[0] as (typeof TURNS)[number];
  const record = client.seal(plaintext);
  if (same(server.take(record)) !== hex(plaintext)) throw new Error("the two sides disagree");
  return fenced([
    ...line("client's", CLIENT_EPHEMERAL),
    ...line("Ec", hello.subarray(32, 64)),
    ...line("hello", hello),
    ...line("box's", SERVER_EPHEMERAL),
    ...line("Es", theirs),
    ...line("reply", reply),
    ...line("shared", shared),
    ...line("PRK1", prk1),
    ...line("Kc2s", nodeProvider.hmac(prk1, Uint8Array.of(0x10))),
    ...line("Ks2c", nodeProvider.hmac(prk1, Uint8Array.of(0x11))),
    ...line("→ record 0", record),
  ]);
}

/** Both sides of a link, each with the other library, after a handshake of fixed numbers. */
function handshake(x25519: "require" | undefined) {
  const client = new ClientLink({
    provider: nobleProvider,
    carrier: "stream",
    accepts: BOARD_BYTES,
    key: new LinkKey(nobleProvider, SECRET),
    keyId: KEY_ID,
    fresh: { boot: BOOT, counter: CONNECTION, random: RANDOM },
    random: () => Uint8Array.from(CLIENT_EPHEMERAL),
    x25519,
  });
  const key = new LinkKey(nodeProvider, SECRET);
  const server = new ServerLink<string>({
    provider: nodeProvider,
    carrier: "stream",
    accepts: BOX_BYTES,
    random: (size) => Uint8Array.from(size === 16 ? SERVER_RANDOM : SERVER_EPHEMERAL),
    find: () => ({ key, requireX25519: x25519 !== undefined, owner: "" }),
    dummy: key,
  });
  const answer = server.take(client.hello);
  if (answer.kind !== "reply") throw new Error(`expected a reply, got ${answer.kind}`);
  client.take(answer.bytes);
  const label = Buffer.alloc(32);
  label.write("claude-in-box link v1");
  return {
    client: client as Link,
    server: server as Link,
    hello: client.hello,
    reply: answer.bytes,
    prk0: nodeProvider.hmac(label, SECRET),
  };
}

function turn(arrow: "→" | "←", message: Fields, frame?: number): readonly ["→" | "←", string, Buffer] {
  const { session, ...rest } = message;
  const said = JSON.stringify(session === undefined ? message : { ...rest, session: "<16 bytes>" });
  const item = encodeValue(message);
  if (frame === undefined) return [arrow, said, item];
  const hello = { session: SESSION, seq: frame, ts: 1_763_880_000_123, type: "text.delta", text: "Hello" } as const;
  return [arrow, `${said}, and the frame of seq ${frame}`, Buffer.concat([item, cborOf(hello)])];
}

function same(taken: Taken): string {
  return taken.kind === "record" ? hex(taken.plaintext) : taken.kind;
}

function line(name: string, bytes: Uint8Array): string[] {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += LINE_BYTES) {
    lines.push((at === 0 ? name : "").padEnd(NAME_CHARS) + hex(bytes.subarray(at, at + LINE_BYTES)));
  }
  return lines;
}

function fenced(lines: readonly string[]): string {
  return ["```", ...lines, "```"].join("\n");
}

function counted(size: number, from: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => from + i);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
