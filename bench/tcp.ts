/** TCP: sealed frames to 50 devices, against the bare loop that seals and writes every frame for every device by itself. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Child } from "./child.ts";
import type { Question } from "./question.ts";
import { median, num } from "./stats.ts";
import type { Order } from "./tcp-server.ts";

const DEVICES = 50;
/** Frames each device gets, by how many of them are due a turn: about two seconds each. */
const FRAMES = { one: 6_000, ten: 15_000 } as const;
/** Of these the first, which are not measured. */
const WARM_SHARE = 1 / 3;
const ROUNDS = 5;
const QUICK_ROUNDS = 2;

interface Run {
  readonly perSecond: number;
  /** Of the server, for one frame to one device. */
  readonly cpuUs: number;
  readonly bytes: number;
  readonly records: number;
}

export const tcp: Question = {
  name: "tcp",
  asks: `How many frames a second reach ${DEVICES} devices over sealed TCP links?`,
  async run(quick = false) {
    const rounds = quick ? QUICK_ROUNDS : ROUNDS;
    const own: Record<string, Run[]> = { one: [], ten: [], each: [], eachOfTen: [], same: [] };
    for (let i = 0; i < rounds; i++) {
      const one = await measure(FRAMES.one, 1);
      own["one"]?.push(one);
      own["each"]?.push(await measure(FRAMES.one, 1, everyFrame(one, FRAMES.one, 1)));
      const ten = await measure(FRAMES.ten, 10);
      own["ten"]?.push(ten);
      own["eachOfTen"]?.push(await measure(FRAMES.ten, 10, everyFrame(ten, FRAMES.ten, 10)));
      own["same"]?.push(await measure(FRAMES.ten, 10, sameRecords(ten)));
    }
    const of = (name: string, what: (run: Run) => number) => median((own[name] ?? []).map(what));
    const speed = (name: string) => of(name, (run) => run.perSecond);
    const ratio = (name: string, base: string) => speed(name) / speed(base);
    const row = (what: string, name: string, beside?: string) => [
      what,
      num(speed(name), 0),
      num(of(name, (run) => run.cpuUs)),
      num(
        of(name, (run) => run.bytes / run.records),
        0,
      ),
      beside === undefined ? "" : num(ratio(beside, name)),
    ];
    return {
      columns: ["", "frames/s delivered", "server CPU µs a frame", "bytes a record", "daemon : this"],
      rows: [
        row("one due a turn: daemon", "one"),
        row("one due a turn: bare, a record each", "each", "one"),
        row("ten due a turn: daemon", "ten"),
        row("ten due a turn: bare, a record each", "eachOfTen", "ten"),
        row("ten due a turn: bare, the daemon's records", "same", "ten"),
      ],
      notes: [
        `text.delta frames of about 120 bytes of CBOR, one or ten due a turn of the loop, ${FRAMES.one} and ${FRAMES.ten} to each device, the first third of them not measured, medians of ${rounds} interleaved rounds. Bare: net.Socket, createCipheriv, and one socket.write for every record, for every device by itself; of the same bytes, and it does nothing else, while the daemon also numbers, encodes and logs (CIB_FSYNC=turn) every frame. The last row seals as few and as large records as the daemon does. The devices are one other process that counts the records of both alike, and opens one link's only.`,
      ],
      figures: {
        one_ratio: ratio("one", "each"),
        ten_ratio: ratio("ten", "eachOfTen"),
        same_ratio: ratio("ten", "same"),
        one_per_s: speed("one"),
        ten_per_s: speed("ten"),
        one_cpu_us: of("one", (run) => run.cpuUs),
        ten_cpu_us: of("ten", (run) => run.cpuUs),
      },
    };
  },
};

/** Length and tag. */
const OVERHEAD = 18;

function everyFrame({ bytes, records }: Run, frames: number, aTurn: number): NonNullable<Order["bare"]> {
  return { bytes: Math.round((bytes - records * OVERHEAD) / (DEVICES * frames)), aTurn, records: frames };
}

function sameRecords({ bytes, records }: Run): NonNullable<Order["bare"]> {
  return { bytes: Math.round(bytes / records) - OVERHEAD, aTurn: 1, records: Math.round(records / DEVICES) };
}

async function measure(frames: number, due: number, bare?: NonNullable<Order["bare"]>): Promise<Run> {
  const folder = mkdtempSync(join(tmpdir(), "cib-bench-tcp-"));
  // Disposed of last: after the server has ended.
  using _ = { [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
  const warm = Math.round(frames * WARM_SHARE);
  const order: Order = { devices: DEVICES, frames, warm, due, folder, ...(bare && { bare }) };
  await using server = Child.file("tcp-server.ts", [JSON.stringify(order)]);
  const at = await server.line<{ port: number }>();
  await using devices = Child.file("tcp-devices.ts", [JSON.stringify(at), String(DEVICES)]);
  await devices.line(); // all are in
  server.say("go");
  const got = await devices.line<{ ms: number; bytes: number; records: number }>();
  server.say("sum");
  const { cpuMs } = await server.line<{ cpuMs: number }>();
  const delivered = DEVICES * (frames - warm);
  return {
    perSecond: delivered / (got.ms / 1000),
    cpuUs: (cpuMs * 1000) / delivered,
    bytes: got.bytes,
    records: got.records,
  };
}
