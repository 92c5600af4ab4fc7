/** Fan-out: live frames to many WebSockets, against uWebSockets.js publishing the same bytes. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Child } from "./child.ts";
import type { Question } from "./question.ts";
import { median, num } from "./stats.ts";

/** Clients, and frames each gets: about as many deliveries for each. */
const LOADS = [
  [1, 20_000],
  [10, 10_000],
  [50, 4_000],
] as const;
const ROUNDS = 5;

/** What fan-server.ts prints when all frames are out. */
interface Sent {
  readonly cpuMs: number;
}

interface Run {
  readonly perSecond: number;
  readonly cpuUs: number;
}

export const fanOut: Question = {
  name: "fan-out",
  asks: "How many live frames a second reach 1, 10 and 50 WebSocket clients?",
  async run() {
    const rows: string[][] = [];
    const figures: Record<string, number> = {};
    for (const [clients, frames] of LOADS) {
      const own: Run[] = [];
      const bare: Run[] = [];
      for (let i = 0; i < ROUNDS; i++) {
        bare.push(await measure("bare", clients, frames));
        own.push(await measure("daemon", clients, frames));
      }
      const speed = (runs: readonly Run[]) => median(runs.map((run) => run.perSecond));
      const cpu = (runs: readonly Run[]) => median(runs.map((run) => run.cpuUs));
      rows.push([
        String(clients),
        num(speed(own), 0),
        num(speed(bare), 0),
        num(speed(own) / speed(bare)),
        num(cpu(own), 1),
        num(cpu(bare), 1),
      ]);
      figures[`clients_${clients}_per_s`] = speed(own);
      figures[`clients_${clients}_ratio`] = speed(own) / speed(bare);
      figures[`clients_${clients}_cpu_us`] = cpu(own);
    }
    return {
      columns: ["clients", "delivered/s", "uWS publish", "ratio", "server CPU µs each", "uWS publish"],
      rows,
      notes: [
        `text.delta frames of about 130 bytes of CBOR, 10 a turn of the loop as fast as the server goes, medians of ${ROUNDS}; all deliveries counted at the clients, which are one other process. The daemon numbers, encodes, logs (CIB_FSYNC=turn) and reads every frame; the bare server has the bytes ready and publishes them. Claude Code is left out here: the way from it is the question first-text.`,
      ],
      figures,
    };
  },
};

async function measure(kind: "bare" | "daemon", clients: number, frames: number): Promise<Run> {
  const folder = mkdtempSync(join(tmpdir(), "cib-bench-fan-"));
  // Disposed of last: after the server has ended.
  using _ = { [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
  await using server = Child.file("fan-server.ts", [kind, String(frames), folder]);
  const { port, path } = await server.line<{ port: number; path: string }>();
  await using readers = Child.file("fan-clients.ts", [String(port), path, String(clients), String(frames)]);
  await readers.line(); // all are in
  server.say("go");
  const { ms } = await readers.line<{ ms: number }>();
  server.say("sum");
  const { cpuMs } = await server.line<Sent>();
  const delivered = clients * frames;
  return { perSecond: delivered / (ms / 1000), cpuUs: (cpuMs * 1000) / delivered };
}
