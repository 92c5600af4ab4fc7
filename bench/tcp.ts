/** TCP: sealed frames to 50 devices, against bare sockets that seal the same records with createCipheriv. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Child } from "./child.ts";
import type { Question } from "./question.ts";
import { median, num } from "./stats.ts";

const DEVICES = 50;
/** Frames each device gets; a tick brings ten. */
const FRAMES = 20_000;
const ROUNDS = 5;
const QUICK_ROUNDS = 2;

interface Run {
  readonly perSecond: number;
  readonly cpuUs: number;
  /** What the devices were sent for it, in bytes a record. */
  readonly recordBytes: number;
  readonly records: number;
}

export const tcp: Question = {
  name: "tcp",
  asks: `How many frames a second reach ${DEVICES} devices over sealed TCP links?`,
  async run(quick = false) {
    const rounds = quick ? QUICK_ROUNDS : ROUNDS;
    const own: Run[] = [];
    const bare: Run[] = [];
    for (let i = 0; i < rounds; i++) {
      const run = await measure("daemon");
      own.push(run);
      // The same size of record, and as many of them.
      bare.push(await measure("bare", run));
    }
    const speed = (runs: readonly Run[]) => median(runs.map((run) => run.perSecond));
    const cpu = (runs: readonly Run[]) => median(runs.map((run) => run.cpuUs));
    const bytes = (runs: readonly Run[]) => num(median(runs.map((run) => run.recordBytes)), 0);
    const ratio = speed(own) / speed(bare);
    return {
      columns: ["", "frames/s delivered", "server CPU µs a frame", "bytes a record"],
      rows: [
        ["daemon", num(speed(own), 0), num(cpu(own), 2), bytes(own)],
        ["net.Socket + createCipheriv", num(speed(bare), 0), num(cpu(bare), 2), bytes(bare)],
        ["ratio", num(ratio), "", ""],
      ],
      notes: [
        `text.delta frames of about 130 bytes of CBOR, 10 a turn of the loop, ${FRAMES} to each device, medians of ${rounds} interleaved rounds. The devices are one other process that counts records and opens none: both servers seal, the daemon also numbers, encodes and logs (CIB_FSYNC=turn) every frame. The bare server seals as many records of the same size, one a device and turn.`,
      ],
      figures: { ratio, per_s: speed(own), cpu_us: cpu(own) },
    };
  },
};

async function measure(kind: "bare" | "daemon", like?: Run): Promise<Run> {
  const folder = mkdtempSync(join(tmpdir(), "cib-bench-tcp-"));
  // Disposed of last: after the server has ended.
  using _ = { [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
  const sizes = like === undefined ? [] : [String(Math.round(like.recordBytes)), String(Math.round(like.records))];
  await using server = Child.file("tcp-server.ts", [kind, String(DEVICES), String(FRAMES), folder, ...sizes]);
  const at = await server.line<{ port: number }>();
  await using devices = Child.file("tcp-devices.ts", [JSON.stringify(at), String(DEVICES)]);
  await devices.line(); // all are in
  server.say("go");
  const { ms, bytes, records } = await devices.line<{ ms: number; bytes: number; records: number }>();
  server.say("sum");
  const { cpuMs } = await server.line<{ cpuMs: number }>();
  const delivered = DEVICES * FRAMES;
  const size = like ?? { recordBytes: bytes / records, records: records / DEVICES };
  return {
    perSecond: delivered / (ms / 1000),
    cpuUs: (cpuMs * 1000) / delivered,
    recordBytes: size.recordBytes,
    records: size.records,
  };
}
