/** Probing: what the time of a refusal tells whoever tries key ids. */
import { randomBytes } from "node:crypto";
import { nodeProvider } from "../src/crypto/aead-node.ts";
import { ClientLink } from "../src/crypto/link-client.ts";
import { ServerLink } from "../src/crypto/link-server.ts";
import { keyIdText, LinkKey } from "../src/crypto/schedule.ts";
import type { Question } from "./question.ts";
import { median, num, quantile } from "./stats.ts";

const ROUNDS = 200;
/** Hellos of one round; known and unknown ids take turns, one by one. */
const HELLOS = 100;
/** As many as a box may hold. */
const KEYS = 1024;

export const probing: Question = {
  name: "probing",
  asks: "Does a hello with a wrong key take longer where its key id exists?",
  async run(quick = false) {
    const known = Array.from({ length: KEYS }, () => randomBytes(8));
    const keys = new Map(known.map((id) => [keyIdText(id), { key: keyOf(), requireX25519: false, owner: "token" }]));
    const dummy = keyOf();
    const refuse = (hello: Uint8Array): number => {
      const server = new ServerLink({
        provider: nodeProvider,
        carrier: "mqtt",
        accepts: 4096,
        random: randomBytes,
        find: (id) => keys.get(id),
        dummy,
      });
      const from = performance.now();
      try {
        server.take(hello);
      } catch {
        return (performance.now() - from) * 1e6;
      }
      throw new Error("bench: a hello with a wrong key was taken");
    };
    const ns: Record<"known" | "unknown", number[]> = { known: [], unknown: [] };
    for (let round = 0; round < (quick ? ROUNDS / 10 : ROUNDS); round++) {
      const hellos = Array.from({ length: HELLOS }, (_, i) => ({
        known: helloOf(known[(round * HELLOS + i) % KEYS] as Uint8Array),
        unknown: helloOf(randomBytes(8)),
      }));
      const of = { known: [] as number[], unknown: [] as number[] };
      for (const [i, hello] of hellos.entries()) {
        // Who comes first has a colder cache: they take turns.
        const order = i % 2 === 0 ? (["known", "unknown"] as const) : (["unknown", "known"] as const);
        for (const which of order) of[which].push(refuse(hello[which]));
      }
      ns.known.push(median(of.known));
      ns.unknown.push(median(of.unknown));
    }
    const row = (name: string, all: readonly number[]) => [name, num(median(all)), num(quantile(all, 0.95))];
    const ratio = median(ns.known) / median(ns.unknown);
    return {
      columns: ["hello with a wrong key", "median ns", "p95 of the rounds"],
      rows: [row("its id exists", ns.known), row("nobody has its id", ns.unknown), ["ratio", num(ratio), ""]],
      notes: [
        `Medians of rounds of ${HELLOS}, in turns, ${KEYS} keys. Both compute one HMAC and compare it in constant time; what is left is a look into a map.`,
      ],
      figures: { apart_percent: Math.abs(ratio - 1) * 100 },
    };
  },
};

function keyOf(): LinkKey {
  return new LinkKey(nodeProvider, randomBytes(32));
}

function helloOf(keyId: Uint8Array): Uint8Array {
  return new ClientLink({
    provider: nodeProvider,
    carrier: "mqtt",
    accepts: 4096,
    key: keyOf(),
    keyId,
    fresh: { boot: 1, counter: 0, random: randomBytes(16) },
    random: randomBytes,
  }).hello;
}
