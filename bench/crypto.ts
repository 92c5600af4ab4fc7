/** Crypto: what a record and a handshake cost, in node:crypto and in noble, beside the bare cipher. */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import type { Provider } from "../src/crypto/aead.ts";
import { nobleProvider } from "../src/crypto/aead-noble.ts";
import { nodeProvider } from "../src/crypto/aead-node.ts";
import { ClientLink } from "../src/crypto/link-client.ts";
import { ServerLink } from "../src/crypto/link-server.ts";
import { LinkKey } from "../src/crypto/schedule.ts";
import type { Answer, Question } from "./question.ts";
import { median, num } from "./stats.ts";

/** The fastest of many short rounds: what others on the machine take is not the cipher's. */
const ROUNDS = 40;
const SIZES = [200, 2048];
/** Records of one round: few enough that no collection comes between. */
const RECORDS = 500;
const HANDSHAKES = 20;

export const crypto: Question = {
  name: "crypto",
  asks: "What does a sealed record cost, and what a handshake?",
  async run() {
    const rows: string[][] = [];
    const figures: Record<string, number> = {};
    for (const size of SIZES) {
      const bare = bareCipher(size);
      for (const provider of [nodeProvider, nobleProvider]) {
        const pair = live(provider);
        const plaintext = randomBytes(size);
        let record: Uint8Array = plaintext;
        const sealed = measured(RECORDS, () => {
          record = pair.client.seal(plaintext);
        });
        const both = measured(
          RECORDS,
          () => pair.server.take(pair.client.seal(plaintext)),
          () => Object.assign(pair, live(provider)),
        );
        void record;
        const opened = { ns: both.ns - sealed.ns, bytes: both.bytes - sealed.bytes };
        rows.push([
          `${provider.name}, ${size} B`,
          ...[sealed.ns, opened.ns, bare.seal, bare.open, sealed.bytes, opened.bytes].map(num),
        ]);
        figures[`${provider.name}_seal_${size}_ns`] = sealed.ns;
        figures[`${provider.name}_open_${size}_ns`] = opened.ns;
      }
    }
    for (const provider of [nodeProvider, nobleProvider])
      for (const x25519 of [false, true]) {
        const { ns, bytes } = measured(HANDSHAKES, () => live(provider, x25519));
        rows.push([
          `${provider.name}, handshake of both sides${x25519 ? " with X25519" : ""}`,
          num(ns),
          "",
          "",
          "",
          num(bytes),
          "",
        ]);
        figures[`${provider.name}_handshake${x25519 ? "_x25519" : ""}_ns`] = ns;
      }
    const hellos = Object.entries(strangers());
    // The first to be measured would otherwise pay for what the second finds warm.
    for (const [, hello] of hellos) measured(RECORDS, () => refused(hello));
    for (const [who, hello] of hellos) {
      const { ns, bytes } = measured(RECORDS, () => refused(hello));
      rows.push([`node, hello refused: ${who}`, num(ns), "", "", "", num(bytes), ""]);
      figures[`refused_${who.replaceAll(" ", "_")}_ns`] = ns;
    }
    return {
      columns: [
        "what",
        "seal, ns",
        "open, ns",
        "bare cipher, ns",
        "bare decipher, ns",
        "seal, B on the heap",
        "open, B on the heap",
      ],
      rows,
      notes: [
        `The fastest of ${ROUNDS} rounds of ${RECORDS} records (${HANDSHAKES} handshakes, keys held ready), through the whole state machine; open is seal and take less seal. The bare cipher is createCipheriv, update, final and the tag. Heap includes what stands outside it (ArrayBuffers).`,
      ],
      figures,
    } satisfies Answer;
  },
};

function measured(
  times: number,
  act: () => unknown,
  before: () => unknown = () => undefined,
): { ns: number; bytes: number } {
  const rounds = Array.from({ length: ROUNDS + 1 }, () => {
    before();
    globalThis.gc?.();
    const memory = allocated();
    const start = process.hrtime.bigint();
    for (let i = 0; i < times; i++) act();
    return { ns: Number(process.hrtime.bigint() - start) / times, bytes: (allocated() - memory) / times };
  }).slice(1);
  return { ns: Math.min(...rounds.map(({ ns }) => ns)), bytes: median(rounds.map(({ bytes }) => bytes)) };
}

function allocated(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

function bareCipher(size: number): { seal: number; open: number } {
  const [key, nonce, aad, plaintext] = [randomBytes(32), randomBytes(12), randomBytes(2), randomBytes(size)];
  const options = { authTagLength: 16 };
  let [sealed, tag] = [plaintext, aad];
  const seal = measured(RECORDS, () => {
    const cipher = createCipheriv("aes-256-gcm", key, nonce, options).setAAD(aad);
    sealed = cipher.update(plaintext);
    cipher.final();
    tag = cipher.getAuthTag();
  });
  const open = measured(RECORDS, () => {
    const cipher = createDecipheriv("aes-256-gcm", key, nonce, options).setAAD(aad).setAuthTag(tag);
    cipher.update(sealed);
    cipher.final();
  });
  return { seal: seal.ns, open: open.ns };
}

const SECRET = randomBytes(32);
const KEY_ID = randomBytes(8);
const KEYS = new Map<Provider, LinkKey>();

/** Two hellos that an attacker can make: for a key id that exists, and for one that does not. */
function strangers(): Record<string, Uint8Array> {
  const hello = (keyId: Uint8Array) =>
    new ClientLink({
      provider: nodeProvider,
      carrier: "stream",
      accepts: 4096,
      random: (n) => randomBytes(n),
      key: new LinkKey(nodeProvider, randomBytes(32)),
      keyId,
      fresh: { boot: 1, counter: 0, random: randomBytes(16) },
    }).hello;
  return { "known id": hello(KEY_ID), "unknown id": hello(randomBytes(8)) };
}

const DUMMY = new LinkKey(nodeProvider, randomBytes(32));
const KNOWN = { key: new LinkKey(nodeProvider, SECRET), requireX25519: false, owner: "bench" };
const HELD = new Map([[KEY_ID.toString("hex"), KNOWN]]);

function refused(hello: Uint8Array): void {
  const server = new ServerLink({
    provider: nodeProvider,
    carrier: "stream",
    accepts: 4096,
    random: (n: number) => randomBytes(n),
    find: (id) => HELD.get(id),
    dummy: DUMMY,
  });
  try {
    server.take(hello);
  } catch {
    return;
  }
  throw new Error("bench: a stranger got in");
}

function live(provider: Provider, x25519 = false) {
  const key = KEYS.get(provider) ?? new LinkKey(provider, SECRET);
  KEYS.set(provider, key);
  const common = { provider, carrier: "stream", accepts: 4096, random: (n: number) => randomBytes(n) } as const;
  const client = new ClientLink({
    ...common,
    key,
    keyId: KEY_ID,
    fresh: { boot: 1, counter: 0, random: randomBytes(16) },
    x25519: x25519 ? "require" : undefined,
  });
  const known = { key, requireX25519: false, owner: "bench" };
  const server = new ServerLink({ ...common, find: () => known, dummy: key });
  const reply = server.take(client.hello);
  if (reply.kind === "reply") client.take(reply.bytes);
  return { client, server };
}
