/** The worked examples of AES-TRANSPORT.md: one request and its response byte by byte, and a known answer of test/vectors. */
import { readFileSync } from "node:fs";
import { nobleProvider } from "../src/crypto/aead-noble.ts";
import { nodeProvider } from "../src/crypto/aead-node.ts";
import { openRequest, ResponseOpener, responseSealer, sealRequest } from "../src/crypto/envelope.ts";
import { LinkKey } from "../src/crypto/schedule.ts";
import { encodeValue } from "../src/frame/codec.ts";

/** Bytes a line. */
const LINE_BYTES = 32;
/** Columns before the hex. */
const NAME_CHARS = 12;

interface Case {
  readonly secret: string;
  readonly keyId: string;
  readonly boot: number;
  readonly requestCounter: number;
  readonly random: string;
  readonly Rs: string;
  readonly token: string;
  readonly method: string;
  readonly path: string;
  readonly plaintexts: readonly string[];
}

const SESSION = "0190f0c2-7a11-7c33-9a55-1234567890ab";
const NEXT = counted(16, 0x70);
const COMMANDS = [
  { cmd: "input", id: "7-0", session: SESSION, text: "hi" },
  { cmd: "sessions.get", id: 1, session: SESSION, max_bytes: 512 },
];
const REPLIES = [
  { id: "7-0", input: "0190f0c2-8d3e-4f5a-b0c1-c0ffee000001", seq: 13, state: "accepted", re: "7-0", ok: true },
  { session: SESSION, state: "working", re: 1, ok: true },
];

/** Two commands, each in a record of its own, and the answer to both in one. */
export function exchange(): string {
  const plaintexts = COMMANDS.map((command) => encodeValue(command));
  const answer = [{ next: NEXT }, ...REPLIES].map((item) => encodeValue(item));
  return fenced([
    ...COMMANDS.map((command, i) => `→ record ${i}: ${JSON.stringify({ ...command, session: "<16 bytes>" })}`),
    "← record 0: {next: <16 bytes>} and the two replies",
    ...worked(
      {
        secret: hex(counted(32, 0x00)),
        keyId: hex(counted(8, 0xa0)),
        boot: 7,
        requestCounter: 0,
        random: hex(counted(16, 0x30)),
        token: hex(counted(16, 0xc0)),
        Rs: hex(counted(16, 0x50)),
        method: "POST",
        path: "/aes",
        plaintexts: plaintexts.map(hex),
      },
      [Buffer.concat(answer)],
    ),
  ]);
}

/** The first envelope of test/vectors/cib1.json, whose plaintexts are random bytes; it answers with what it was asked. */
export function knownAnswer(): string {
  const file = new URL("../test/vectors/cib1.json", import.meta.url);
  const [first] = (JSON.parse(readFileSync(file, "utf8")) as { http: readonly Case[] }).http;
  if (first === undefined) throw new Error("cib1.json: no envelope in it");
  return fenced(worked(first, first.plaintexts.map(bytes)));
}

/** Every step, one library on each side. */
function worked(given: Case, answer: readonly Uint8Array[]): string[] {
  const { boot, requestCounter: counter, method, path } = given;
  const [secret, rs, token] = [given.secret, given.Rs, given.token].map(bytes) as [Buffer, Buffer, Buffer];
  const { body, keys } = sealRequest({
    provider: nobleProvider,
    key: new LinkKey(nobleProvider, secret),
    keyId: bytes(given.keyId),
    token,
    fresh: { boot, counter, random: bytes(given.random) },
    plaintexts: given.plaintexts.map(bytes),
    method,
    target: path,
  });
  const header = body.subarray(0, 48);
  const opened = openRequest(new LinkKey(nodeProvider, secret), { method, target: path }, body);
  const sealer = responseSealer(nodeProvider, opened.keys, rs);
  const records = answer.map((plaintext, i) => sealer.seal(plaintext, i === answer.length - 1));
  const response = Buffer.concat([rs, ...records]);
  const read = [...new ResponseOpener(keys).take(response)];
  if (read.map(hex).join() !== answer.map(hex).join()) throw new Error("the two sides disagree");
  const label = Buffer.alloc(32);
  label.write("claude-in-box link v1");
  const prk0 = nodeProvider.hmac(label, secret);
  const digest = nodeProvider.sha256(Buffer.from(`${method}\n${path}\n`), header);
  const prk = nodeProvider.hmac(prk0, Uint8Array.of(0x21), digest);
  return [
    ...line("secret", secret),
    ...line("key id", bytes(given.keyId)),
    ...line("16 random", bytes(given.random)),
    `boot counter ${boot}, request counter ${counter}`,
    ...line("token", token),
    ...given.plaintexts.flatMap((plaintext, i) => line(`plaintext ${i}`, bytes(plaintext))),
    ...line("PRK0", prk0),
    ...line("Rc", header.subarray(16, 32)),
    ...line("header", header),
    ...line("SHA-256", digest),
    ...line("PRK", prk),
    ...line("Kreq", nodeProvider.hmac(prk, Uint8Array.of(0x10))),
    ...line("request", body),
    "",
    ...line("Rs", rs),
    ...line("Kresp", nodeProvider.hmac(prk, Uint8Array.of(0x11), rs)),
    ...answer.flatMap((plaintext, i) => line(`plaintext ${i}`, plaintext)),
    ...line("response", response),
  ];
}

function line(name: string, data: Uint8Array): string[] {
  const text = hex(data);
  return Array.from({ length: Math.ceil(data.length / LINE_BYTES) }, (_, i) => {
    const part = text.slice(i * LINE_BYTES * 2, (i + 1) * LINE_BYTES * 2);
    return `${(i === 0 ? name : "").padEnd(NAME_CHARS)}${part}`;
  });
}

function fenced(lines: readonly string[]): string {
  return ["```", ...lines, "```"].join("\n");
}

function counted(size: number, from: number): Buffer {
  return Buffer.from(Array.from({ length: size }, (_, i) => from + i));
}

function hex(data: Uint8Array): string {
  return Buffer.from(data).toString("hex");
}

function bytes(text: string): Buffer {
  return Buffer.from(text, "hex");
}
